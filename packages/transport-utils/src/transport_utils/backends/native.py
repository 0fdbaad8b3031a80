"""The default backend: HTTP/1.1 over pooled sockets, one pass through few Python calls.

Used by :class:`transport_utils.transport.Transport`; :class:`Channel` is also the raw entry for clients that build
their own request bytes (:meth:`Channel.exchange`). Thread-safe and fork-safe, like the pool below it.

The usual exchange, a request of whole bytes whose answer has a ``Content-Length`` and arrives in one receive, is
written out in :meth:`Channel.exchange`; everything else (long and chunked bodies, streams, interim responses, limits
that fire) continues in :class:`_Conversation`. Both apply the same checks of :mod:`transport_utils.h1`.
"""

from __future__ import annotations

import io
import math
import threading
import time
from typing import NoReturn, TypeAlias

from transport_utils import errors
from transport_utils.bodies import BodyStream, measure
from transport_utils.deadline import Deadline, Timeout
from transport_utils.endpoint import Endpoint
from transport_utils.errors import SentState, TransportError
from transport_utils.h1 import (
    CHUNKED,
    Head,
    HeadTemplate,
    ResponseParser,
    chunk,
    parse_head,
)
from transport_utils.messages import Request, Response
from transport_utils.pool import ConnectionPool
from transport_utils.sockets import Connection

__all__ = ["Channel", "NativeBackend", "announced_length", "host_header", "same_connections"]

_RECEIVE_BYTES = 65536
_JOIN_BYTES = 65536
_LONG_BYTES = 64 * 1024 * 1024
_PIECE_BYTES = 262144
_CHANNELS_MAX = 1024
_INF = math.inf

Begun: TypeAlias = "tuple[Connection, bytes, int, float]"
"""A request on its way: connection, its bytes, how many of them were sent, and when, monotonic seconds."""


class NativeBackend:
    """Sends requests through sockets of its own; see :class:`transport_utils.backends.HttpBackend`."""

    name = "native"

    def __init__(self) -> None:
        self._channels: dict[int, Channel] = {}
        self._pools: dict[Endpoint, ConnectionPool] = {}
        self._lock = threading.Lock()
        self._closed = False

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
                pool = self._pools[endpoint] = ConnectionPool(endpoint)
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
            body is not None and (type(body) is not bytes or len(body) > _JOIN_BYTES)
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

    def begin(self, payload: bytes, timeout: Timeout, deadline: Deadline) -> Begun:
        """Send the bytes of one whole request; the first half of :meth:`exchange`.

        Returns:
            What :meth:`end` or :meth:`abandon` must be called with, once, in any order among those begun.

        Raises:
            TransportError: As :meth:`exchange`.
        """
        now = time.monotonic()
        connection = self.pool.lease(timeout, deadline, now)
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
        self, begun: Begun, method: str, timeout: Timeout, deadline: Deadline
    ) -> tuple[Head, bytes, bool]:
        """Wait for the response to a request that was begun; the second half of :meth:`exchange`."""
        connection, payload, sent, now = begun
        data = b""
        ticked = sent < len(payload)
        try:
            if not ticked:
                data = connection.recv(_RECEIVE_BYTES)
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
        talk = _Conversation(self, connection, method, timeout, deadline, now)
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
        talk = _Conversation(self, connection, request.method, request.timeout, deadline, now)
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
        method, target, _ = payload[: payload.index(b"\r\n")].decode("latin-1").split(" ", 2)
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


def limit(connection: Connection, timeout: Timeout, deadline: Deadline, now: float) -> None:
    """Set the connection's limits to those of the call, sparing system calls where they nearly hold already.

    A limit that fires early is only a tick, so it may be up to twice as short as wanted; it must not be longer.

    Raises:
        TotalTimeout: No time is left.
    """
    left = deadline.at - now
    if left <= 0:
        raise errors.TotalTimeout("no time left to send the request")
    wanted = min(_INF if timeout.read is None else timeout.read, left)
    if not _holds(connection.read_s, wanted, left):
        connection.limit_read(None if wanted == _INF else wanted)
    wanted = min(_INF if timeout.write is None else timeout.write, left)
    if not _holds(connection.write_s, wanted, left):
        connection.limit_write(None if wanted == _INF else wanted)


def _holds(current: float | None, wanted: float, left: float) -> bool:
    if current is None:
        return wanted == _INF
    if left == _INF:
        return current == wanted
    return wanted * 0.5 <= current <= wanted * 1.03 + 0.005


class _Conversation:
    """One exchange on one leased connection, in the general case; becomes the source of a streamed response."""

    def __init__(
        self,
        channel: Channel,
        connection: Connection,
        method: str,
        timeout: Timeout,
        deadline: Deadline,
        now: float,
    ) -> None:
        self._channel = channel
        self._connection = connection
        self._timeout = timeout
        self._deadline = deadline
        self._parser = ResponseParser(method)
        self._moved_at = now
        self._payload = b""
        self._sent = 0
        self._complete = False
        self._open = True

    def finish(
        self, payload: bytes, sent: int, data: bytes, ticked: bool
    ) -> tuple[Head, bytes, bool]:
        """Continue an exchange of which ``sent`` bytes were written and ``data`` was received.

        ``ticked`` says that a limit has fired, waiting for the peer to take or to send something.
        """
        self._payload = payload
        self._sent = sent
        try:
            self._complete = sent == len(payload)
            if ticked and self._complete:
                self._watch(0, errors.ReadTimeout, self._timeout.read)
            elif ticked:
                self._watch(0, errors.WriteTimeout, self._timeout.write)
            if not self._complete:
                self._send(memoryview(payload)[sent:])
                self._complete = True
            if data:
                self._feed(data)
            head = self._read_head()
            content = self._read_body(head)
        except BaseException as error:
            self._fail(error)
        return head, content, self._release()

    def run(
        self, payload: bytes, body: bytes | BodyStream | None, length: int | None, stream: bool
    ) -> Response:
        """Send head and body, and return the response; streamed if asked for."""
        self._payload = payload
        connection = self._connection
        reused = connection.served > 0
        try:
            limit(connection, self._timeout, self._deadline, self._moved_at)
            try:
                self._send_all(payload, body, length)
                self._complete = True
            except (BrokenPipeError, ConnectionResetError):
                # A server may refuse a body half-way, say why and close: its answer tells more than our error.
                if not self._sent or not self._has_answer():
                    raise
            head = self._read_head()
            if stream:
                if self._parser.complete:
                    content: bytes | None = self._parser.take()
                    self._release()
                else:
                    return Response(head, None, self._channel.base_url, reused, self)
            else:
                content = self._read_body(head)
                self._release()
        except BaseException as error:
            self._fail(error)
        return Response(head, content, self._channel.base_url, reused)

    # -- sending

    def _send_all(
        self, payload: bytes, body: bytes | BodyStream | None, length: int | None
    ) -> None:
        if isinstance(body, bytes) and len(body) > _JOIN_BYTES:
            count = self._connection.sock.sendmsg([payload, body]) if self._can_gather() else 0
            self._sent += count
            if count < len(payload):
                self._send(memoryview(payload)[count:])
                count = len(payload)
            self._send(memoryview(body)[count - len(payload) :])
        elif not isinstance(body, BodyStream):
            self._send(memoryview(payload + (body or b"")))
        elif length == CHUNKED:
            self._send(memoryview(payload))
            for piece in body.pieces():
                self._send(memoryview(chunk(piece)))
            self._send(memoryview(chunk(b"")))
        else:
            self._send(memoryview(payload))
            left = length or 0
            for piece in body.pieces():
                left -= len(piece)
                if left < 0:
                    break
                self._send(memoryview(piece))
            if left:
                raise errors.LocalProtocolError(
                    f"the body is {'longer' if left < 0 else 'shorter'} than its content-length of {length}"
                )

    def _can_gather(self) -> bool:
        # TLS sockets have no scattered send.
        return type(self._connection) is Connection

    def _send(self, view: memoryview) -> None:
        connection = self._connection
        while view:
            try:
                count = connection.send(view)
            except OSError as error:
                if not connection.is_tick(error):
                    raise
                count = 0
            self._sent += count
            view = view[count:]
            self._watch(count, errors.WriteTimeout, self._timeout.write)

    def _has_answer(self) -> bool:
        try:
            self._feed(self._connection.recv(_RECEIVE_BYTES))
        except (OSError, TransportError):
            return False
        return self._parser.started

    # -- receiving

    def _receive(self, size: int) -> bytes:
        connection = self._connection
        while True:
            try:
                data = connection.recv(size)
            except OSError as error:
                if not connection.is_tick(error):
                    raise
                self._watch(0, errors.ReadTimeout, self._timeout.read)
                continue
            self._watch(len(data), errors.ReadTimeout, self._timeout.read)
            return data

    def _watch(self, moved: int, kind: type[errors.TimedOut], limit_s: float | None) -> None:
        """Give up when a limit is reached; ``moved`` bytes went through since the last look."""
        deadline = self._deadline
        if moved and deadline.at == _INF:
            self._moved_at = time.monotonic()
            return
        now = time.monotonic()
        if now >= deadline.at:
            raise errors.TotalTimeout(
                f"no time left while {'sending' if kind is errors.WriteTimeout else 'receiving'}"
            )
        if moved:
            self._moved_at = now
        elif limit_s is not None and now - self._moved_at >= limit_s * 0.999:
            verb = "took no data" if kind is errors.WriteTimeout else "sent nothing"
            raise kind(f"{self._channel.base_url} {verb} for {limit_s:g} s")
        if deadline.at != _INF or not moved:
            left = Deadline(min(deadline.at, _INF if limit_s is None else self._moved_at + limit_s))
            limit(self._connection, self._timeout, left, now)

    def _feed(self, data: bytes) -> None:
        if data:
            self._parser.feed(data)
        elif self._parser.started:
            self._parser.feed_eof()
        else:
            raise ConnectionResetError("closed without an answer")

    def _read_head(self) -> Head:
        parser = self._parser
        while parser.head is None:
            self._feed(self._receive(_RECEIVE_BYTES))
        return parser.head

    def _read_body(self, head: Head) -> bytes:
        parser = self._parser
        if parser.remaining > _RECEIVE_BYTES:
            return self._read_long(parser.take())
        while not parser.complete:
            self._feed(self._receive(_RECEIVE_BYTES))
        return parser.take()

    def _read_long(self, first: bytes) -> bytes:
        """Receive a long body straight into the bytes object that is returned.

        ``BytesIO`` hands out its buffer without a copy when it is exactly full.
        """
        parser = self._parser
        connection = self._connection
        length = len(first) + parser.remaining
        if length > _LONG_BYTES:
            # Not believed until it arrives.
            return self._read_pieces(first)
        holder = io.BytesIO()
        holder.seek(length - 1)
        holder.write(b"\0")
        with holder.getbuffer() as view:
            view[: len(first)] = first
            at = len(first)
            while at < length:
                try:
                    count = connection.recv_into(view[at:])
                except OSError as error:
                    if not connection.is_tick(error):
                        raise
                    self._watch(0, errors.ReadTimeout, self._timeout.read)
                    continue
                if not count:
                    parser.feed_eof()
                at += count
                parser.received(count)
                self._watch(count, errors.ReadTimeout, self._timeout.read)
        return holder.getvalue()

    def _read_pieces(self, first: bytes) -> bytes:
        holder = io.BytesIO()
        holder.write(first)
        while not self._parser.complete:
            self._feed(self._receive(_PIECE_BYTES))
            holder.write(self._parser.take())
        return holder.getvalue()

    # -- as the source of a streamed response

    def read(self, limit: int) -> bytes:
        """See :class:`transport_utils.messages.BodySource`."""
        parser = self._parser
        try:
            data = parser.take(limit)
            while not data and not parser.complete:
                self._feed(self._receive(limit))
                data = parser.take(limit)
            if parser.complete and not parser.pending:
                self._release()
        except BaseException as error:
            self._fail(error)
        return data

    def read_into(self, buffer: memoryview) -> int:
        """See :class:`transport_utils.messages.BodySource`."""
        parser = self._parser
        if parser.pending or parser.remaining == 0:
            data = self.read(len(buffer))
            buffer[: len(data)] = data
            return len(data)
        connection = self._connection
        try:
            while True:
                try:
                    count = connection.recv_into(buffer, min(len(buffer), parser.remaining))
                    break
                except OSError as error:
                    if not connection.is_tick(error):
                        raise
                    self._watch(0, errors.ReadTimeout, self._timeout.read)
            if not count:
                parser.feed_eof()
            self._watch(count, errors.ReadTimeout, self._timeout.read)
            parser.received(count)
            if parser.complete:
                self._release()
        except BaseException as error:
            self._fail(error)
        return count

    def close(self) -> None:
        """See :class:`transport_utils.messages.BodySource`."""
        if self._open:
            self._open = False
            self._channel.pool.discard(self._connection)

    # -- the end

    def _release(self) -> bool:
        """Give the connection back if it can serve again; return whether it had served before."""
        connection = self._connection
        reused = connection.served > 0
        if self._open:
            self._open = False
            if self._parser.reusable and self._complete:
                connection.served += 1
                self._channel.pool.release(connection)
            else:
                self._channel.pool.discard(connection)
        return reused

    def _fail(self, error: BaseException) -> NoReturn:
        self._open = False
        self._channel.fail(
            error,
            self._connection,
            self._payload,
            self._sent,
            self._parser.started,
            self._complete,
        )
