"""Options of servers, workers and clients that the original did not have; every default keeps its behaviour.

Given as ``options=`` to any server or worker. Clients take their few options as keyword arguments.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Final, Literal, TypeAlias

import transport_utils.errors
import zmq

from pylm.security import Curve

__all__ = ["ConfigurationError", "Overflow", "ServerOptions", "check_choice", "check_seconds"]

ConfigurationError = transport_utils.errors.ConfigurationError

HARD_LIMIT: Final = 4

Overflow: TypeAlias = Literal["block", "drop-oldest", "raise"]


def check_seconds(name: str, value: float | None) -> None:
    """Refuse anything but a finite number above 0 or ``None``.

    Raises:
        ConfigurationError: With the name and the value.
    """
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ConfigurationError(
            f"{name}={value!r}: expected seconds above 0, or None for no limit"
        )


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a value outside ``allowed``.

    Raises:
        ConfigurationError: With the name, the value and what is allowed.
    """
    if value not in allowed:
        raise ConfigurationError(f"{name}={value!r}: expected one of {', '.join(allowed)}")


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """What a server or worker may be told beyond its addresses.

    Args:
        overflow: When answers pile up because a reader is slow: ``block`` stops reading new work until there is room
            (the senders' queues fill, then block), ``drop-oldest`` drops and counts the oldest waiting answer,
            ``raise`` answers new work with :class:`~pylm.errors.Overloaded`.
        backlog: Answers that may wait inside the server, per server; above 0. The socket queues come on top.
        stall_s: Seconds after which answers for a reader that takes nothing at all are dropped and counted.
        hold_s: Seconds an answer waits for its reader's subscription.
        high_water_mark: Queue length of each socket and peer, messages; ``None`` for the library's 1000.
        max_message_bytes: Larger payloads are answered with :class:`~pylm.errors.TooLarge`; frames four times as large
            close the sender's connection unread. ``None`` for no limit.
        max_cache_bytes: Limit of the cache's values together; ``None`` for no limit.
        drain_s: Seconds a server may go on working after SIGTERM before it gives up the rest.
        heartbeat_s: Interval of a worker's heartbeats; a worker silent for three of them is dead.
        credit: Jobs a worker holds at a time, the one in work included; 1 is exact and balances best, more hides
            latency: then a worker that returns jobs within 5 ms may hold up to eight times as many.
        max_attempts: Runs of an idempotent job before its loss is reported.
        queue_limit: Jobs that wait inside a master for a worker; beyond, ``overflow`` decides.
        channel: How a worker gets its jobs: ``auto`` uses the acknowledged channel where the master has one,
            ``push`` the original's, ``router`` insists on the acknowledged one.
        router_address: Where a master binds its acknowledged channel, and where a worker looks for it; ``None``: a free
            port beside ``worker_push_address``, which the master tells its workers.
        connect_s: Seconds a worker waits for its master in the constructor; ``None`` waits for ever.
        curve: Keys of the cluster; with it plain peers are refused.
        advertise_host: Host that clients and workers are told instead of a wildcard the server is bound to; ``None``
            tells them the address as it was given.
        context: ZeroMQ context; ``None`` for the process-wide one.
        threads: Threads in which a ``Server``, ``Pipeline`` or ``Sink`` of the present API runs its functions; 0 runs
            them in the server's own thread, one at a time and in order.

    Raises:
        ConfigurationError: A value is of the wrong kind or out of range.
    """

    overflow: Overflow = "block"
    backlog: int = 1000
    stall_s: float = 30.0
    hold_s: float = 5.0
    high_water_mark: int | None = None
    max_message_bytes: int | None = None
    max_cache_bytes: int | None = None
    drain_s: float = 10.0
    heartbeat_s: float = 1.0
    credit: int = 4
    max_attempts: int = 5
    queue_limit: int = 1000
    channel: Literal["auto", "push", "router"] = "auto"
    router_address: str | None = None
    connect_s: float | None = 60.0
    curve: Curve | None = None
    advertise_host: str | None = None
    context: zmq.Context[Any] | None = None
    threads: int = 0

    def __post_init__(self) -> None:
        check_choice("overflow", self.overflow, ("block", "drop-oldest", "raise"))
        check_choice("channel", self.channel, ("auto", "push", "router"))
        for name in ("stall_s", "hold_s", "drain_s", "heartbeat_s"):
            value = getattr(self, name)
            if value is None:
                raise ConfigurationError(f"{name}=None: expected seconds above 0")
            check_seconds(name, value)
        check_seconds("connect_s", self.connect_s)
        for name in ("backlog", "credit", "max_attempts", "queue_limit"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigurationError(f"{name}={value!r}: expected a whole number above 0")
        threads = self.threads
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 0:
            raise ConfigurationError(f"threads={threads!r}: expected a whole number from 0 up")
        for name in ("high_water_mark", "max_message_bytes", "max_cache_bytes"):
            value = getattr(self, name)
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int) or value < 1
            ):
                raise ConfigurationError(
                    f"{name}={value!r}: expected a whole number above 0, or None"
                )

    def open_context(self) -> zmq.Context[Any]:
        """Return the context to make sockets in."""
        return self.context if self.context is not None else zmq.Context.instance()

    def open_socket(
        self,
        kind: int,
        *,
        bind: str | None = None,
        connect: str | None = None,
        linger_ms: int = 1000,
    ) -> zmq.Socket[bytes]:
        """Return a socket with the limits and keys applied, bound or connected.

        Raises:
            zmq.ZMQError: The address is in use or not an address; the socket is closed, the address in the text.
        """
        socket: zmq.Socket[bytes] = self.open_context().socket(kind)
        try:
            socket.linger = linger_ms
            if self.high_water_mark is not None:
                socket.set_hwm(self.high_water_mark)
            if self.max_message_bytes is not None:
                socket.maxmsgsize = HARD_LIMIT * self.max_message_bytes + 65536
            if self.curve is not None:
                self.curve.apply(socket, as_server=bind is not None)
            if bind is not None:
                socket.bind(bind)
            if connect is not None:
                socket.connect(connect)
        except BaseException:
            socket.close(0)
            raise
        return socket
