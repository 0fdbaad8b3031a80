"""The default backend: HTTP/1.1 over pooled sockets, one pass through few Python calls.

Used by :class:`transport_utils.transport.Transport`; :class:`Channel` is also the raw entry for clients that build
their own request bytes (:meth:`Channel.exchange`). Thread-safe and fork-safe, like the pool below it.

The usual exchange, a request of whole bytes whose answer has a ``Content-Length`` and arrives in one receive, is
written out in :meth:`Channel.exchange`; everything else (long and chunked bodies, streams, interim responses, limits
that fire) continues in :mod:`transport_utils.backends.conversation`. Both apply the same checks of
:mod:`transport_utils.h1`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NoReturn, TypeAlias, overload

from transport_utils import errors
from transport_utils.backends.conversation import JOIN_BYTES, RECEIVE_BYTES, Conversation, limit
from transport_utils.bodies import BodyStream, measure
from transport_utils.deadline import Deadline, Timeout
from transport_utils.endpoint import Endpoint
from transport_utils.errors import SentState, TransportError
from transport_utils.forks import renew_lock_after_fork
from transport_utils.h1 import (
    CHUNKED,
    Head,
    HeadTemplate,
    parse_head,
)
from transport_utils.hooks import PoolEvent
from transport_utils.messages import Request, Response
from transport_utils.pool import ConnectionPool
from transport_utils.sockets import Connection

__all__ = [
    "Channel",
    "NativeBackend",
    "announced_length",
    "host_header",
    "request_line",
    "same_connections",
]

_CHANNELS_MAX = 1024
_INF = math.inf

Begun: TypeAlias = "tuple[Connection, bytes, int, float]"
"""A request on its way: connection, its bytes, how many of them were sent, and when, monotonic seconds."""


class NativeBackend:
    """Sends requests through sockets of its own; see :class:`transport_utils.backends.HttpBackend`.

    Attributes:
        on_pool: Told what happens to connections of pools opened from then on; see :mod:`transport_utils.hooks`.
    """

    name = "native"

    def __init__(self) -> None:
        self._channels: dict[int, Channel] = {}
        self._pools: dict[Endpoint, ConnectionPool] = {}
        self._lock = renew_lock_after_fork(self)
        self._closed = False
        self.on_pool: Callable[[Endpoint, PoolEvent], object] | None = None

    def channel(self, endpoint: Endpoint) -> Channel:
        """Return what serves this endpoint object: its connection pool and encoded headers.

        Raises:
            ConfigurationError: The endpoint asks for a proxy.
            TransportClosed: The backend is closed.
        """
        found = self._channels.get(id(endpoint))
        return found if found is not None else self._open_channel(endpoint)

    def _open_channel(self, endpoint: Endpoint) -> Channel:
        with self._lock:
            if self._closed:
                raise errors.TransportClosed("the backend has been closed", node=endpoint.base_url)
            pool = self._pools.get(endpoint)
            if pool is None or not same_connections(pool.endpoint, endpoint):
                if pool is not None:
                    pool.close()
                pool = self._pools[endpoint] = ConnectionPool(endpoint, self.on_pool)
            channel = Channel(endpoint, pool)
            # Keyed by identity, which is cheap; bounded, for callers that make an endpoint for every call.
            if len(self._channels) >= _CHANNELS_MAX:
                self._channels.clear()
            self._channels[id(endpoint)] = channel
            return channel

    def request(self, endpoint: Endpoint, request: Request, deadline: Deadline) -> Response:
        """See :meth:`transport_utils.backends.HttpBackend.request`."""
        channel = self._channels.get(id(endpoint)) or self._open_channel(endpoint)
        body = request.body
        if request.stream or (
            body is not None and (type(body) is not bytes or len(body) > JOIN_BYTES)
        ):
            return channel.converse(request, deadline)
        method = request.method
        if body is None:
            payload = channel.template.encode(method, request.target, request.headers)
        else:
            payload = channel.template.encode(method, request.target, request.headers, len(body))
            payload += body
        head, content, reused = channel.exchange(payload, method, request.timeout, deadline)
        return Response(head, content, channel.base_url, reused)

    def forget(self, endpoint: Endpoint) -> None:
        """See :meth:`transport_utils.backends.HttpBackend.forget`."""
        with self._lock:
            pool = self._pools.pop(endpoint, None)
            for key, channel in list(self._channels.items()):
                if channel.endpoint == endpoint:
                    del self._channels[key]
        if pool is not None:
            pool.close(drain_s=0.0)

    def close(self, drain_s: float = 0.0) -> None:
        """See :meth:`transport_utils.backends.HttpBackend.close`."""
        with self._lock:
            self._closed = True
            pools = list(self._pools.values())
        until = time.monotonic() + drain_s
        for pool in pools:
            pool.close(max(0.0, until - time.monotonic()))


def same_connections(one: Endpoint, other: Endpoint) -> bool:
    """Return whether two endpoints of equal address may share connections."""
    names = ("max_connections", "tls", "max_idle_s", "max_age_s", "socket_options")
    return all(getattr(one, name) == getattr(other, name) for name in names)


class Channel:
    """Exchanges with one endpoint.

    Attributes:
        endpoint: The endpoint.
        base_url: Its URL without credentials.
        pool: Its connections, shared by all channels to the same address.
        template: Encodes request heads with the endpoint's headers.
    """

    __slots__ = ("base_url", "endpoint", "pool", "template")

    def __init__(self, endpoint: Endpoint, pool: ConnectionPool) -> None:
        if endpoint.proxy is not None:
            raise errors.ConfigurationError(
                f"proxy for {endpoint.base_url}: the native backend knows none; use backend='urllib3'"
            )
        self.endpoint = endpoint
        self.base_url = endpoint.base_url
        self.pool = pool
        self.template = HeadTemplate(host_header(endpoint), endpoint.path_prefix, endpoint.headers)

    def exchange(
        self, payload: bytes, method: str, timeout: Timeout, deadline: Deadline
    ) -> tuple[Head, bytes, bool]:
        """Send the bytes of one whole request and return the response.

        The raw entry: ``payload`` is sent as it is, so its framing is the caller's responsibility; build it from
        :meth:`HeadTemplate.encode <transport_utils.h1.HeadTemplate.encode>` and the body.

        Args:
            payload: Head and body.
            method: Method in ``payload``; decides whether the response has a body.
            timeout: Limits of this exchange; its ``total`` is not looked at.
            deadline: When it must have ended.

        Returns:
            The head, the whole body as received, and whether the connection had served a request before.

        Raises:
            TransportError: As :meth:`transport_utils.backends.HttpBackend.request`.
        """
        return self.end(self.begin(payload, timeout, deadline), method, timeout, deadline)

    @overload
    def begin(self, payload: bytes, timeout: Timeout, deadline: Deadline) -> Begun: ...

    @overload
    def begin(
        self, payload: bytes, timeout: Timeout, deadline: Deadline, *, wait: bool
    ) -> Begun | None: ...

    def begin(
        self, payload: bytes, timeout: Timeout, deadline: Deadline, *, wait: bool = True
    ) -> Begun | None:
        """Send the bytes of one whole request; the first half of :meth:`exchange`.

        Args:
            payload: See :meth:`exchange`.
            timeout: As there.
            deadline: As there.
            wait: Whether to wait for a connection when all are busy.

        Returns:
            What :meth:`end` or :meth:`abandon` must be called with, once, in any order among those begun; ``None`` when
            all connections are busy and ``wait`` is false.

        Raises:
            TransportError: As :meth:`exchange`.
        """
        now = time.monotonic()
        pool = self.pool
        connection = pool.take_idle(now)
        if connection is None:
            if not wait and pool.is_full:
                return None
            connection = pool.lease(timeout, deadline, now)
        sent = 0
        try:
            if (
                connection.read_s != timeout.read
                or connection.write_s != timeout.write
                or deadline.at != _INF
            ):
                limit(connection, timeout, deadline, now)
            sent = connection.send(payload)
        except OSError as error:
            if not connection.is_tick(error):
                self.fail(error, connection, payload, sent, False)
            # The limit fired before anything moved: end() looks at the clock and goes on from there.
        except BaseException as error:
            self.fail(error, connection, payload, sent, False)
        return connection, payload, sent, now

    def end(
        self,
        begun: Begun,
        method: str,
        timeout: Timeout,
        deadline: Deadline,
        *,
        expired: bool = False,
    ) -> tuple[Head, bytes, bool]:
        """Wait for the response to a request that was begun; the second half of :meth:`exchange`.

        ``expired`` says that nothing came until a limit was reached.
        """
        connection, payload, sent, now = begun
        data = b""
        ticked = expired or sent < len(payload)
        try:
            if not ticked:
                data = connection.recv(RECEIVE_BYTES)
                end = data.find(b"\r\n\r\n") + 4
                if end > 4:
                    head = parse_head(data[:end], method)
                    if head.length == len(data) - end and head.status >= 200:
                        reused = connection.served > 0
                        if head.keep_alive:
                            connection.served += 1
                            self.pool.release(connection)
                        else:
                            self.pool.discard(connection)
                        return head, data[end:], reused
        except OSError as error:
            if not connection.is_tick(error):
                self.fail(error, connection, payload, sent, bool(data))
            # A limit fired: look at the clock and go on from there.
            ticked = True
        except BaseException as error:
            self.fail(error, connection, payload, sent, bool(data))
        talk = Conversation(self, connection, method, timeout, deadline, now)
        return talk.finish(payload, sent, data, ticked)

    def abandon(self, begun: Begun) -> None:
        """Close the connection of a request that was begun and whose response nobody wants."""
        self.pool.discard(begun[0])

    def converse(self, request: Request, deadline: Deadline) -> Response:
        """Send a request of any kind: streamed or long bodies, streamed responses."""
        body = measure(request.body)
        if isinstance(body, BodyStream):
            length = body.length
            if length is None:
                length = announced_length(request)
        else:
            length = None if body is None else len(body)
        head = self.template.encode(request.method, request.target, request.headers, length)
        now = time.monotonic()
        connection = self.pool.lease(request.timeout, deadline, now)
        talk = Conversation(self, connection, request.method, request.timeout, deadline, now)
        return talk.run(head, body, length, request.stream)

    def fail(
        self,
        error: BaseException,
        connection: Connection,
        payload: bytes,
        sent: int,
        started: bool,
        complete: bool | None = None,
    ) -> NoReturn:
        """Close the connection and raise what ``error`` means.

        Args:
            error: What happened.
            connection: Leased.
            payload: Request head, to name the request.
            sent: Bytes of it that were written.
            started: Whether any byte of a response arrived.
            complete: Whether the whole request was written; ``None`` when ``payload`` was all of it.
        """
        self.pool.discard(connection)
        method, target = request_line(payload)
        if started:
            state = SentState.RESPONSE_STARTED
        elif sent >= len(payload) if complete is None else complete:
            state = SentState.SENT
        else:
            state = SentState.PARTIAL if sent else SentState.NOT_SENT
        if isinstance(error, TransportError):
            error.node, error.method, error.target, error.sent = (
                self.base_url,
                method,
                target,
                state,
            )
            raise error
        if not isinstance(error, OSError):
            raise error
        if self.pool.closed:
            kind: type[TransportError] = errors.TransportClosed
            what = "closed while the exchange was in progress"
        elif connection.served and not started:
            kind = errors.StaleConnection
            what = f"the kept-alive connection was closed by the peer ({error})"
        else:
            kind = errors.ConnectionReset
            what = f"the connection broke ({error})"
        raise kind(what, node=self.base_url, method=method, target=target, sent=state) from error


def request_line(payload: bytes) -> tuple[str, str]:
    """Return method and target of an encoded request, as far as they can be told."""
    method, _, rest = payload.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    return method, rest.partition(" ")[0]


def host_header(endpoint: Endpoint) -> str:
    """Return the value of the ``host`` header: without the port where it is the scheme's own."""
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    usual = 443 if endpoint.scheme == "https" else 80
    return host if endpoint.port == usual else f"{host}:{endpoint.port}"


def announced_length(request: Request) -> int:
    """Return the ``content-length`` a caller gave for a body whose length we cannot know, else ``CHUNKED``."""
    for name, value in (request.headers or {}).items():
        if name.lower() == "content-length" and value is not None:
            if not (value.isascii() and value.isdigit()):
                raise errors.LocalProtocolError(f"header content-length: {value!r} is no number")
            return int(value)
    return CHUNKED
