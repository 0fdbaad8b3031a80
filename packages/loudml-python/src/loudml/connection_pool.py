"""The live and the dead nodes, and the choice among the live.

Used by the transports; users pass ``selector_class``, ``dead_timeout`` ... to the client or subclass what is here. The
times and the selection come from transport-utils (health preset ``legacy``). Source: loudml-python 1.6.3,
``connection_pool``.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
from collections.abc import Sequence
from typing import Any

from transport_utils import selectors
from transport_utils.errors import ConfigurationError
from transport_utils.health import HealthPolicy

from loudml import _clock
from loudml.errors import ImproperlyConfigured

__all__ = [
    "ConnectionPool",
    "ConnectionSelector",
    "DummyConnectionPool",
    "RandomSelector",
    "RoundRobinSelector",
    "logger",
]

logger = logging.getLogger("loudml")


class ConnectionSelector:
    """Chooses one of the live connections; subclass it and give the class as ``selector_class``.

    Args:
        opts: ``{connection: options of its node}`` for all connections of the pool, also dead ones.

    Attributes:
        connection_opts: ``opts``.
    """

    def __init__(self, opts: dict[Any, dict[str, Any]]) -> None:
        self.connection_opts = opts

    def select(self, connections: Sequence[Any]) -> Any:
        """Return one of ``connections``, which holds at least two; called from any thread."""
        raise NotImplementedError(f"{type(self).__name__}.select")


class RandomSelector(ConnectionSelector):
    """Any connection, all equally likely."""

    def __init__(self, opts: dict[Any, dict[str, Any]]) -> None:
        super().__init__(opts)
        self._selector = selectors.RandomSelector()

    def select(self, connections: Sequence[Any]) -> Any:
        """Return a random connection."""
        return self._selector.select(connections)


class RoundRobinSelector(ConnectionSelector):
    """Each connection in turn, over all threads together."""

    def __init__(self, opts: dict[Any, dict[str, Any]]) -> None:
        super().__init__(opts)
        self._selector = selectors.RoundRobinSelector()

    def select(self, connections: Sequence[Any]) -> Any:
        """Return the next connection."""
        return self._selector.select(connections)


class _Dead(tuple[float, Any]):
    """``(revive time, connection)``; equal times are in order without comparing connections."""

    __slots__ = ()

    def __lt__(self, other: Any) -> bool:
        return bool(self[0] < other[0])


class ConnectionPool:
    """The connections of a client.

    A connection that fails is put on hold for ``dead_timeout * 2 ** min(n - 1, timeout_cutoff)`` seconds, n counting
    its failures in a row: 60, 120 ... 1920 s. When all are on hold, the one whose time is up first is used.
    Thread-safe.

    Args:
        connections: ``(connection, options of its node)`` each, at least one.
        dead_timeout: Hold after the first failure, seconds, > 0.
        timeout_cutoff: The hold doubles this often, >= 0.
        selector_class: A :class:`ConnectionSelector`.
        randomize_hosts: Shuffle the connections once, so that many clients do not all begin with the same node.
        kwargs: Ignored: the client's other options.

    Attributes:
        connection_opts: ``(connection, options)`` pairs, as given.
        connections: The live ones; not to be changed.
        orig_connections: All, as a tuple.
        dead: Queue of ``(revive time in seconds since the epoch, connection)``, earliest first.
        dead_count: ``{connection: failures in a row}``.
        dead_timeout: As given.
        timeout_cutoff: As given.
        selector: The selector.

    Raises:
        ImproperlyConfigured: No connection, or a figure out of its range.
    """

    def __init__(
        self,
        connections: Sequence[tuple[Any, dict[str, Any]]],
        dead_timeout: float = 60,
        timeout_cutoff: int = 5,
        selector_class: type[ConnectionSelector] = RoundRobinSelector,
        randomize_hosts: bool = True,
        **kwargs: Any,
    ) -> None:
        if not connections:
            raise ImproperlyConfigured(
                "No defined connections, you need to specify at least one host."
            )
        self.connection_opts = connections
        self.connections = [connection for connection, _ in connections]
        self.orig_connections = tuple(self.connections)
        self.dead: queue.PriorityQueue[Any] = queue.PriorityQueue(len(self.connections))
        self.dead_count: dict[Any, int] = {}
        self.dead_timeout = dead_timeout
        self.timeout_cutoff = timeout_cutoff
        self._rng = random.Random()
        self._lock = threading.RLock()
        try:
            self._policy = HealthPolicy.legacy(dead_timeout, timeout_cutoff)
        except ConfigurationError as cause:
            raise ImproperlyConfigured(
                f"dead_timeout={dead_timeout!r}, timeout_cutoff={timeout_cutoff!r}: {cause}"
            ) from cause
        if randomize_hosts:
            self._rng.shuffle(self.connections)
        self.selector = selector_class(dict(connections))

    def mark_dead(self, connection: Any, now: float | None = None) -> None:
        """Put a connection on hold; nothing happens if it already is, or is no longer in the pool.

        Args:
            connection: The one that failed.
            now: Seconds since the epoch; ``None`` for the present.
        """
        now = _clock.now() if now is None else now
        with self._lock:
            if connection not in self.connections:
                return
            self.connections = [live for live in self.connections if live is not connection]
            failures = self.dead_count.get(connection, 0) + 1
            self.dead_count[connection] = failures
            hold_s = self._policy.ejection_s(failures, self._rng)
            self.dead.put_nowait(_Dead((now + hold_s, connection)))
        logger.warning(
            "Connection %r has failed for %i times in a row, putting on %i second timeout.",
            connection,
            failures,
            hold_s,
        )

    def mark_live(self, connection: Any) -> None:
        """Forget the failures of a connection that has answered."""
        if connection in self.dead_count:
            with self._lock:
                self.dead_count.pop(connection, None)

    def resurrect(self, force: bool = False) -> Any:
        """Bring the connection whose hold ends first back to the live ones, if its time is up.

        Args:
            force: Whether to do so before its time.

        Returns:
            The connection; ``None`` if none was due. Forced with nothing on hold: any connection of the pool.
        """
        if not self.dead.queue:
            return self._rng.choice(self.orig_connections) if force else None
        with self._lock:
            try:
                revive_at, connection = self.dead.get_nowait()
            except queue.Empty:
                return self._rng.choice(self.orig_connections) if force else None
            if not force and revive_at > _clock.now():
                self.dead.put_nowait(_Dead((revive_at, connection)))
                return None
            self.connections = [*self.connections, connection]
        logger.info("Resurrecting connection %r (force=%s).", connection, force)
        return connection

    def get_connection(self) -> Any:
        """Return the connection for the next attempt."""
        if self.dead.queue:
            self.resurrect()
        connections = self.connections
        if len(connections) > 1:
            return self.selector.select(connections)
        return connections[0] if connections else self.resurrect(force=True)

    def take_over(self, previous: ConnectionPool) -> None:
        """Put the connections that are on hold in a previous pool on hold here too, for as long."""
        for revive_at, connection in sorted(previous.dead.queue):
            if connection in self.connections:
                with self._lock:
                    self.connections = [live for live in self.connections if live is not connection]
                    self.dead.put_nowait(_Dead((revive_at, connection)))
        for connection, failures in list(previous.dead_count.items()):
            if connection in self.orig_connections:
                self.dead_count[connection] = failures

    def close(self) -> None:
        """Close all connections, also those on hold."""
        for connection in self.orig_connections:
            connection.close()


class DummyConnectionPool(ConnectionPool):
    """The pool of a single connection, which is never on hold.

    Args:
        connections: One ``(connection, options of its node)``.
        kwargs: Ignored: the client's other options.

    Raises:
        ImproperlyConfigured: Not exactly one connection.
    """

    def __init__(self, connections: Sequence[tuple[Any, dict[str, Any]]], **kwargs: Any) -> None:
        if len(connections) != 1:
            raise ImproperlyConfigured("DummyConnectionPool needs exactly one connection defined.")
        self.connection_opts = connections
        self.connection = connections[0][0]
        self.connections = [self.connection]
        self.orig_connections = (self.connection,)
        self.dead = queue.PriorityQueue(1)
        self.dead_count = {}

    def get_connection(self) -> Any:
        """Return the connection."""
        return self.connection

    def mark_dead(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: there is no other to turn to."""

    def mark_live(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def resurrect(self, *args: Any, **kwargs: Any) -> Any:
        """Do nothing."""
        return None

    def take_over(self, previous: ConnectionPool) -> None:
        """Do nothing."""
