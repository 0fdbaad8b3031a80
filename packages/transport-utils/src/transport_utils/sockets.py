"""Opens sockets and moves bytes through them under time limits, blocking style.

Used by the connection pool and the native backend. A :class:`Connection` belongs to one thread at a time.

Plain sockets stay in blocking mode and their limits are kernel timeouts (``SO_RCVTIMEO``, ``SO_SNDTIMEO``): with
``settimeout`` CPython polls before every receive, which costs 13 % of a small request instead of 9 %. TLS sockets
use ``settimeout``, since OpenSSL would retry for ever. Either way a limit that fires is a *tick*: the caller looks
at the clock, then gives up or goes on.
"""

from __future__ import annotations

import contextlib
import errno
import math
import queue
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeAlias

from transport_utils.deadline import Deadline
from transport_utils.endpoint import Endpoint
from transport_utils.errors import (
    ConfigurationError,
    ConnectError,
    ConnectTimeout,
    DnsError,
    TransportError,
)

__all__ = [
    "Address",
    "Connection",
    "TlsConnection",
    "dial",
    "keepalive_options",
    "look_up",
    "numeric_addresses",
    "open_socket",
    "set_options",
    "usable_addresses",
]

Address: TypeAlias = "tuple[str, int] | tuple[str, int, int, int]"
"""A socket address of TCP over IPv4 or IPv6."""
_STAGGER_S = 0.25
_MINIMUM_S = 0.001


class Connection:
    """An open stream to an endpoint.

    Attributes:
        sock: The socket.
        number: Its descriptor; meaningless once it is closed.
        served: Requests it has served.
        opened_at: Monotonic seconds.
        idle_since: Monotonic seconds of the last return to the pool.
        generation: Fork generation it was opened in.
        read_s: The current receive limit in seconds; ``None`` for none.
        write_s: The current send limit in seconds; ``None`` for none.
    """

    __slots__ = (
        "generation",
        "idle_since",
        "number",
        "opened_at",
        "read_s",
        "recv",
        "recv_into",
        "send",
        "served",
        "sock",
        "write_s",
    )

    def __init__(self, sock: socket.socket, generation: int) -> None:
        sock.settimeout(None)
        self.sock = sock
        self.number = sock.fileno()
        self.recv = sock.recv
        self.recv_into = sock.recv_into
        self.send = sock.send
        self.served = 0
        self.generation = generation
        self.opened_at = self.idle_since = time.monotonic()
        self.read_s: float | None = None
        self.write_s: float | None = None

    def limit_read(self, seconds: float | None) -> None:
        """Let a receive fail with a tick (``OSError`` for which :meth:`is_tick` is true) after ``seconds``."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(seconds))
        self.read_s = seconds

    def limit_write(self, seconds: float | None) -> None:
        """Let a send that takes nothing fail with a tick after ``seconds``."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(seconds))
        self.write_s = seconds

    def is_tick(self, error: OSError) -> bool:
        """Return whether ``error`` says that a limit fired."""
        return isinstance(error, BlockingIOError)

    def is_readable(self) -> bool:
        """Return whether an idle connection has something to read: bytes nobody asked for, or its end."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))

    def shut_down(self) -> None:
        """Wake whoever is blocked on the socket, from another thread."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the descriptor; idempotent, sends no TLS goodbye, leaves a parent process's connection alone."""
        self.sock.close()


class TlsConnection(Connection):
    """An open TLS stream; limits are CPython's own, since OpenSSL retries a kernel timeout for ever."""

    __slots__ = ()

    def limit_read(self, seconds: float | None) -> None:
        """See :meth:`Connection.limit_read`; the shorter of both limits serves both directions."""
        self.read_s = seconds
        self._limit()

    def limit_write(self, seconds: float | None) -> None:
        """See :meth:`Connection.limit_write`."""
        self.write_s = seconds
        self._limit()

    def _limit(self) -> None:
        limits = [seconds for seconds in (self.read_s, self.write_s) if seconds is not None]
        self.sock.settimeout(max(min(limits), _MINIMUM_S) if limits else None)

    def is_tick(self, error: OSError) -> bool:
        """See :meth:`Connection.is_tick`."""
        import ssl

        return isinstance(error, (TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError))

    def is_readable(self) -> bool:
        """See :meth:`Connection.is_readable`."""
        import ssl

        # A TLS 1.3 server may leave session tickets unread behind a response: only the end of the stream counts.
        if not super().is_readable():
            return False
        self.sock.settimeout(0)
        try:
            self.sock.recv(1)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._limit()
            return False
        except OSError:
            return True
        return True


def _timeval(seconds: float | None) -> bytes:
    if seconds is None:
        return struct.pack("@ll", 0, 0)
    whole, part = divmod(max(seconds, _MINIMUM_S), 1)
    return struct.pack("@ll", int(whole), int(part * 1e6))


def keepalive_options(
    idle_s: int = 45, interval_s: int = 15, probes: int = 3, user_timeout_s: float | None = None
) -> tuple[tuple[int, int, int | bytes], ...]:
    """Return ``socket_options`` for an endpoint behind a NAT or balancer that drops silent connections.

    Args:
        idle_s: Silence before the first probe, seconds.
        interval_s: Time between probes, seconds.
        probes: Unanswered probes that end the connection.
        user_timeout_s: Longest time sent data may stay unacknowledged, seconds; ``None`` for the system's.

    Raises:
        ConfigurationError: A figure is below 1.
    """
    if min(idle_s, interval_s, probes) < 1 or (user_timeout_s is not None and user_timeout_s <= 0):
        raise ConfigurationError("keepalive: expected figures of at least 1")
    options: list[tuple[int, int, int | bytes]] = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (
        ("TCP_KEEPIDLE", idle_s),
        ("TCP_KEEPINTVL", interval_s),
        ("TCP_KEEPCNT", probes),
        ("TCP_USER_TIMEOUT", None if user_timeout_s is None else int(user_timeout_s * 1000)),
    ):
        if value is not None and hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return tuple(options)


def dial(endpoint: Endpoint, deadline: Deadline, generation: int) -> Connection:
    """Open a connection: look the name up, connect (IPv6 and IPv4 raced, 250 ms apart), shake hands for TLS.

    Args:
        endpoint: Where to.
        deadline: When all of it must be done; the earlier of the connect limit and the call's own.
        generation: Stored in the connection.

    Raises:
        ConnectError: Refused or unreachable; names every address that was tried.
        ConnectTimeout: Not open in time.
        DnsError: The name does not resolve.
        TlsError: The handshake failed; or one of its subclasses.
    """
    sock = open_socket(
        endpoint.host,
        endpoint.port,
        deadline,
        uds=endpoint.uds,
        socket_options=endpoint.socket_options,
        where=endpoint.base_url,
    )
    if endpoint.scheme == "http":
        return Connection(sock, generation)
    from transport_utils.tls import wrap

    return TlsConnection(wrap(sock, endpoint, deadline), generation)


def open_socket(
    host: str,
    port: int,
    deadline: Deadline,
    *,
    uds: str | None = None,
    socket_options: Iterable[tuple[int, int, int | bytes]] = (),
    where: str | None = None,
) -> socket.socket:
    """Open a plain socket, as :func:`dial` does before the TLS handshake.

    Args:
        host: Name or address.
        port: TCP port.
        deadline: When it must be open.
        uds: Path of a unix socket to connect to instead; ``None`` for TCP.
        socket_options: Set besides ``TCP_NODELAY``.
        where: What errors call it; ``None`` for host and port.

    Raises:
        ConnectError: As for :func:`dial`, like ConnectTimeout and DnsError.
    """
    started = time.monotonic()
    where = where or f"{host}:{port}"
    try:
        if uds is not None:
            return _connect_unix(uds, deadline)
        return _connect_tcp(_resolve(host, port, deadline, where), deadline, socket_options)
    except TimeoutError as cause:
        raise ConnectTimeout(
            f"connection to {where} did not open in {time.monotonic() - started:.1f} s", node=where
        ) from cause
    except OSError as cause:
        if isinstance(cause, TransportError):
            raise
        raise ConnectError(f"cannot connect to {where}: {cause}", node=where) from cause


def _left(deadline: Deadline) -> float | None:
    left = deadline.at - time.monotonic()
    if left <= 0:
        raise TimeoutError("no time left")
    return None if left == math.inf else left


def _connect_unix(path: str, deadline: Deadline) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(_left(deadline))
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


def _resolve(host: str, port: int, deadline: Deadline, where: str) -> list[tuple[int, Address]]:
    numeric = numeric_addresses(host, port)
    if numeric is not None:
        return numeric
    results: queue.SimpleQueue[object] = queue.SimpleQueue()
    look_up(host, port, results.put)
    try:
        found = results.get(timeout=_left(deadline))
    except queue.Empty:
        raise TimeoutError(f"look-up of {host} did not end in time") from None
    return usable_addresses(found, host, where)


def numeric_addresses(host: str, port: int) -> list[tuple[int, Address]] | None:
    """Return the addresses of a host given as an address, without a look-up; ``None`` for a name."""
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    try:
        return _addresses(socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, flags))
    except socket.gaierror:
        return None


def look_up(host: str, port: int, done: Callable[[object], object]) -> None:
    """Look a name up in a thread that can be left behind, since the system's resolver knows no time limit of ours.

    Args:
        host: Name.
        port: TCP port.
        done: Called in that thread with what was found or the error; see :func:`usable_addresses`.
    """

    def run() -> None:
        try:
            found: object = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            found = error
        done(found)

    threading.Thread(target=run, name=f"look-up of {host}", daemon=True).start()


def usable_addresses(found: object, host: str, where: str) -> list[tuple[int, Address]]:
    """Return the addresses that :func:`look_up` found, in the order to try them.

    Raises:
        DnsError: It found none.
    """
    if isinstance(found, BaseException):
        raise DnsError(
            f"host {host!r} does not resolve: {found}; check the name", node=where
        ) from found
    return _addresses(found)  # type: ignore[arg-type]


def _addresses(
    found: Iterable[tuple[int, int, int, str, Address | tuple[int, bytes]]],
) -> list[tuple[int, Address]]:
    """Return distinct addresses with the two families alternating, in the system's order of preference."""
    unique = list(dict.fromkeys((entry[0], entry[4]) for entry in found))
    first = [one for one in unique if one[0] == unique[0][0]]
    second = [one for one in unique if one[0] != unique[0][0]]
    mixed = []
    for index in range(max(len(first), len(second))):
        mixed += first[index : index + 1] + second[index : index + 1]
    return mixed  # type: ignore[return-value]


def _connect_tcp(
    addresses: list[tuple[int, Address]],
    deadline: Deadline,
    socket_options: Iterable[tuple[int, int, int | bytes]],
) -> socket.socket:
    """Race the addresses: a new attempt begins when the last one failed or has taken 250 ms (RFC 8305)."""
    waiting = list(reversed(addresses))
    pending: dict[int, tuple[socket.socket, Address]] = {}
    failures: list[str] = []
    poll = select.poll()
    try:
        while True:
            if waiting:
                family, address = waiting.pop()
                sock = socket.socket(family, socket.SOCK_STREAM)
                pending[sock.fileno()] = (sock, address)
                set_options(sock, socket_options)
                sock.setblocking(False)
                code = sock.connect_ex(address)
                if code not in (0, errno.EINPROGRESS):
                    failures.append(f"{address[0]}: {errno.errorcode.get(code, code)}")
                    pending.pop(sock.fileno())
                    sock.close()
                else:
                    poll.register(sock, select.POLLOUT)
            if not pending:
                if waiting:
                    continue
                raise OSError("; ".join(failures))
            left = _left(deadline)
            wait_s = min(_STAGGER_S, math.inf if left is None else left) if waiting else left
            for number, _ in poll.poll(None if wait_s is None else math.ceil(wait_s * 1000)):
                sock, address = pending.pop(number)
                poll.unregister(number)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code == 0:
                    return sock
                failures.append(f"{address[0]}: {errno.errorcode.get(code, code)}")
                sock.close()
    finally:
        for sock, _ in pending.values():
            sock.close()


def set_options(sock: socket.socket, options: Iterable[tuple[int, int, int | bytes]]) -> None:
    """Set ``TCP_NODELAY`` and an endpoint's own options."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for level, option, value in options:
        sock.setsockopt(level, option, value)
