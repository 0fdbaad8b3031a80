"""urllib3's connections and pools, made to know what they work for: limits, deadline, how far a request got.

Used by the urllib3 and requests backends. A connection writes a whole request at once and lets
:mod:`transport_utils.h1` judge the response's head, in place of the email parser of http.client, which takes most of
the time of a small request; bodies are read by http.client and urllib3.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import io
import math
import queue
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from transport_utils import errors
from transport_utils.deadline import Deadline
from transport_utils.endpoint import Endpoint
from transport_utils.errors import SentState
from transport_utils.h1 import (
    CHUNKED,
    LIMITS,
    ChunkedDecoder,
    Head,
    HeadTemplate,
    chunk,
    parse_head,
)
from transport_utils.messages import Request
from transport_utils.sockets import open_socket
from transport_utils.tls import check_pins, config_for

__all__ = ["Exchange", "TrackingPool", "TrackingSecurePool", "exchanging"]


class Exchange:
    """One request on its way through urllib3, as its connection sees it."""

    __slots__ = (
        "complete",
        "connection",
        "deadline",
        "endpoint",
        "head",
        "payload",
        "request",
        "reused",
        "sock",
        "started",
        "wants_headers",
    )

    def __init__(
        self, endpoint: Endpoint, request: Request, deadline: Deadline, payload: bytes
    ) -> None:
        self.endpoint = endpoint
        self.payload = payload
        self.head: Head | None = None
        self.request = request
        self.deadline = deadline
        self.connection: Any = None
        self.sock: Any = None
        self.reused = False
        self.complete = False
        self.started = False
        self.wants_headers = False

    @property
    def sent(self) -> SentState:
        """How far it got."""
        if self.started:
            return SentState.RESPONSE_STARTED
        if self.complete:
            return SentState.SENT
        if self.connection is None or not self.connection.sent_bytes:
            return SentState.NOT_SENT
        return SentState.PARTIAL

    def limits(self) -> tuple[float | None, float | None, float | None]:
        """Return how long connecting, a receive and the wait for a connection may take now, in seconds.

        Raises:
            TotalTimeout: No time is left.
        """
        now = time.monotonic()
        deadline, timeout = self.deadline, self.request.timeout
        if deadline.at <= now:
            raise errors.TotalTimeout("no time left to send the request")
        return (
            deadline.bound(timeout.connect, now),
            deadline.bound(timeout.read, now),
            deadline.bound(timeout.pool, now),
        )

    def cut(self) -> None:
        """End the exchange from another thread."""
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


_current = threading.local()


@contextlib.contextmanager
def exchanging(exchange: Exchange) -> Iterator[None]:
    """Make ``exchange`` the one that this thread's connections work for."""
    _current.exchange = exchange
    try:
        yield
    finally:
        _current.exchange = None


class _Tracking:
    """What both connection classes add to urllib3's."""

    sock: Any
    close: Any
    timeout: Any
    served = 0
    sent_bytes = 0

    def _new_conn(self) -> socket.socket:
        exchange: Exchange = _current.exchange
        endpoint = exchange.endpoint
        until = Deadline.after(exchange.request.timeout.connect, time.monotonic())
        until = Deadline(min(until.at, exchange.deadline.at))
        sock = open_socket(
            self._dns_host,  # type: ignore[attr-defined]
            self.port,  # type: ignore[attr-defined]
            until,
            uds=endpoint.uds,
            socket_options=endpoint.socket_options,
            where=None if endpoint.proxy is not None else endpoint.base_url,
        )
        # For the TLS handshake, which urllib3 refuses to make on a non-blocking socket.
        sock.settimeout(until.bound(None, time.monotonic()) or None)
        return sock

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        # Whoever gave TlsConfig(verify=False) knows; urllib3 would warn at every connection, also of pinned ones.
        self.is_verified = True
        self.served = 0
        endpoint = _current.exchange.endpoint
        if endpoint.scheme == "https":
            check_pins(self.sock, endpoint)
            if config_for(endpoint).fingerprints:
                self.is_verified = True

    def request(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Any = None,
        *,
        chunked: bool = False,
        **_: Any,
    ) -> None:
        exchange: Exchange = _current.exchange
        exchange.connection = self
        self._exchange = exchange
        self.sent_bytes = 0
        if self.sock is None:
            self.connect()
        exchange.sock = self.sock
        exchange.reused = self.served > 0
        self.served += 1
        timeout, deadline = exchange.request.timeout, exchange.deadline
        limit_s = timeout.write
        if deadline.at != math.inf:
            limit_s = deadline.bound(limit_s, time.monotonic())
        if limit_s != self.sock.gettimeout():
            self.sock.settimeout(limit_s)
        payload = exchange.payload or _encode(method, url, body, headers, chunked)
        if body is None or isinstance(body, bytes):
            self._send(payload + (body or b""))
        else:
            self._send(payload)
            for piece in body:
                self._send(chunk(piece) if chunked else piece)
            if chunked:
                self._send(chunk(b""))
        exchange.complete = True

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            count = self.sock.send(view)
            self.sent_bytes += count
            view = view[count:]

    def getresponse(self) -> Any:
        exchange = self._exchange
        if self.timeout != self.sock.gettimeout():
            self.sock.settimeout(self.timeout)
        answer = _Answer(self.sock, method=exchange.request.method)
        try:
            answer.begin()
        except BaseException:
            answer.close()
            raise
        head = exchange.head = answer.head
        if answer.will_close:
            self.close()
        return urllib3.HTTPResponse(
            body=answer,
            headers=urllib3.HTTPHeaderDict(
                _for_requests(head) if exchange.wants_headers else _framing(head)
            ),
            status=head.status,
            version=answer.version,
            reason=head.reason,
            preload_content=False,
            decode_content=False,
            original_response=answer,
            request_method=exchange.request.method,
        )


def _encode(method: str, url: str, body: Any, headers: Any, chunked: bool) -> bytes:
    """Encode the head of a request that another library prepared, with what its auth added."""
    fields = {name.lower(): value for name, value in headers.items()}
    fields = {name: value for name, value in fields.items() if value != urllib3.util.SKIP_HEADER}
    length = len(body) if isinstance(body, bytes) else None
    if length is None and body is not None:
        length = CHUNKED if chunked else int(fields["content-length"])
    # A proxy is asked for the whole URL.
    scheme, found, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    prefix = f"{scheme}://{host}" if found else ""
    target = slash + path if found else url
    return HeadTemplate(fields.pop("host"), prefix).encode(method, target, fields, length)


class _Answer(http.client.HTTPResponse):
    """http.client's response, with the head judged by :mod:`transport_utils.h1` instead of the email parser."""

    head: Head

    def begin(self) -> None:
        """Read the head of the final response."""
        fp: Any = self.fp
        method: str = self._method  # type: ignore[attr-defined]
        for _ in range(LIMITS.interim + 1):
            head = parse_head(_read_block(fp), method)
            if head.status >= 200:
                break
        else:
            raise errors.BadResponse(f"more than {LIMITS.interim} interim responses")
        self.head = head
        self.status = self.code = head.status
        self.reason = head.reason
        self.version = 10 + head.minor
        self.chunked = False
        if head.length == CHUNKED:
            # http.client believes any chunk size and does not look at the end of a chunk.
            self.fp = io.BufferedReader(_ChunkedBody(fp))
        self.length = head.length if head.length >= 0 else None
        self.will_close = not head.keep_alive
        self.headers = self.msg = http.client.HTTPMessage()
        if self.length == 0:
            self._close_conn()  # type: ignore[attr-defined]


class _ChunkedBody(io.RawIOBase):
    """The decoded body of a chunked response, as a file that ends with it."""

    def __init__(self, fp: Any) -> None:
        self._fp = fp
        self._decoder = ChunkedDecoder()
        self._pieces: collections.deque[bytes] = collections.deque()

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a part of ``buffer``; 0 at the end of the body."""
        while not self._pieces:
            if self._decoder.complete:
                return 0
            data = self._fp.read1(65536)
            if not data:
                raise errors.TruncatedBody("connection closed inside a chunked body")
            self._pieces += self._decoder.feed(data)
        piece = self._pieces.popleft()
        count = len(buffer)
        buffer[: len(piece)] = piece[:count]
        if len(piece) > count:
            self._pieces.appendleft(piece[count:])
        return min(count, len(piece))

    def close(self) -> None:
        """Let the connection go."""
        self._fp.close()
        super().close()


def _read_block(fp: Any) -> bytes:
    lines: list[bytes] = []
    left = LIMITS.head_bytes
    while left > 0:
        line = fp.readline(left + 1)
        left -= len(line)
        if not line:
            if not lines:
                raise http.client.RemoteDisconnected("closed without an answer")
            raise errors.BadResponse("connection closed inside the response head")
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
        if line[-2:] != b"\r\n" and left > 0:
            raise errors.BadResponse(f"line without CRLF in the head: {line[:40]!r}")
    raise errors.HeaderTooLarge(f"response head longer than {LIMITS.head_bytes} bytes")


def _for_requests(head: Head) -> list[tuple[str, str]]:
    """Return all fields but the one that has been dealt with."""
    pairs = head.headers.items_all()
    return [pair for pair in pairs if pair[0].lower() != "transfer-encoding"]


def _framing(head: Head) -> dict[str, str]:
    """Return the fields that urllib3 itself looks at."""
    return {"content-length": str(head.length)} if head.length >= 0 else {}


class _Connection(_Tracking, HTTPConnection):
    pass


class _SecureConnection(_Tracking, HTTPSConnection):
    pass


class _BoundedQueue(queue.LifoQueue[Any]):
    """Bounds the wait for a connection also where the library above urllib3 does not."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if block and timeout is None:  # not when a thread that never sent closes the pool
            exchange: Exchange = _current.exchange
            timeout = exchange.deadline.bound(exchange.request.timeout.pool, time.monotonic())
        return super().get(block, timeout)


class TrackingPool(HTTPConnectionPool):
    """urllib3's pool with our connections."""

    ConnectionCls = _Connection
    QueueCls = _BoundedQueue


class TrackingSecurePool(HTTPSConnectionPool):
    """urllib3's TLS pool with our connections."""

    ConnectionCls = _SecureConnection
    QueueCls = _BoundedQueue
