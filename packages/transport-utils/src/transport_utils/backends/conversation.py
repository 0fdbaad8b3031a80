"""One exchange of the native backend in the general case: long, chunked and streamed bodies, limits that fire.

Used by :mod:`transport_utils.backends.native`, which handles the usual short exchange itself and continues here.
"""

from __future__ import annotations

import io
import math
import time
import warnings
from typing import NoReturn, Protocol

from transport_utils import errors
from transport_utils.bodies import BodyStream
from transport_utils.deadline import Deadline, Timeout
from transport_utils.errors import TransportError
from transport_utils.h1 import CHUNKED, Head, ResponseParser, chunk
from transport_utils.messages import Response
from transport_utils.pool import ConnectionPool
from transport_utils.sockets import Connection

__all__ = ["JOIN_BYTES", "RECEIVE_BYTES", "Conversation", "Line", "limit"]

RECEIVE_BYTES = 65536
"""Size of one receive."""
JOIN_BYTES = 65536
"""A body up to this size is joined with its head and sent in one go."""
_STEP_BYTES = 128 * 1024
_LONG_BYTES = 64 * 1024 * 1024
_INF = math.inf


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


class Line(Protocol):
    """What a conversation needs of its endpoint; :class:`transport_utils.backends.native.Channel`."""

    base_url: str
    pool: ConnectionPool

    def fail(
        self,
        error: BaseException,
        connection: Connection,
        payload: bytes,
        sent: int,
        started: bool,
        complete: bool | None = None,
    ) -> NoReturn:
        """Close the connection and raise what ``error`` means."""


class Conversation:
    """One exchange on one leased connection, in the general case; becomes the source of a streamed response."""

    def __init__(
        self,
        channel: Line,
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
        if isinstance(body, bytes) and len(body) > JOIN_BYTES:
            count = self._connection.sock.sendmsg([payload, body]) if self._can_gather() else 0
            self._sent += count
            self._watch(count, errors.WriteTimeout, self._timeout.write)
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
            self._feed(self._connection.recv(RECEIVE_BYTES))
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
            self._feed(self._receive(RECEIVE_BYTES))
        return parser.head

    def _read_body(self, head: Head) -> bytes:
        parser = self._parser
        if parser.remaining > RECEIVE_BYTES:
            return self._read_long(parser.take())
        while not parser.complete:
            self._feed(self._receive(RECEIVE_BYTES))
        return parser.take()

    def _read_long(self, first: bytes) -> bytes:
        """Receive a long body into the bytes object that is returned.

        ``BytesIO`` takes over, lets write into and hands out a bytes object that nobody else holds without a copy, and
        ``bytes(n)`` gets its zeros from the system where it can. Receiving by way of a small buffer that stays in the
        processor's cache is quicker than receiving into the long one, though it copies once more (10 MiB: 0.91 of it).
        """
        parser, receive = self._parser, self._connection.recv_into
        length = len(first) + parser.remaining
        buffer = memoryview(bytearray(min(_STEP_BYTES, parser.remaining)))
        # A length beyond that is not believed until it arrives.
        holder = io.BytesIO(bytes(length) if length <= _LONG_BYTES else b"")
        holder.write(first)
        while parser.remaining:
            try:
                count = receive(buffer, min(_STEP_BYTES, parser.remaining))
            except OSError as error:
                if not self._connection.is_tick(error):
                    raise
                self._watch(0, errors.ReadTimeout, self._timeout.read)
                continue
            if not count:
                parser.feed_eof()
            parser.received(count)
            holder.write(buffer[:count])
            self._watch(count, errors.ReadTimeout, self._timeout.read)
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

    def __del__(self) -> None:
        if self._open:
            warnings.warn(
                f"a streamed response from {self._channel.base_url} was neither read to its end nor closed",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
            self.close()

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
