"""Bytes of whole requests, and responses whose headers are parsed when somebody looks.

Called by the native transports, blocking and asyncio, for every call: this is the hot path. The header order and case
are those that v3io 0.7.2 sent. Source: ``v3io-wire-vectors`` of the tests.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import orjson
from transport_utils.bodies import BodyStream
from transport_utils.buffers import keep_buffers
from transport_utils.deadline import Timeout
from transport_utils.headers import Headers, check_field
from transport_utils.messages import HeadLike, ResponseMeta
from transport_utils.messages import Request as HttpRequest

from v3io.dataplane.request import OBJECT_TYPE, Encoded, JsonBody, Request
from v3io.dataplane.response import Response
from v3io.paths import encode_query, is_safe, quote_path

__all__ = ["RequestWriter", "WireResponse", "stream_message"]

_JSON = "Content-Type: application/json\r\n"
_WHOLE_BYTES = 65536
_SENDS_LENGTH = frozenset({"PATCH", "POST", "PUT"})


class RequestWriter:
    """Writes the requests for one endpoint; immutable but for a cache, thread-safe.

    Args:
        host: Value of the ``Host`` header.
        path_prefix: Put in front of every path; empty or ``/prefix``.
    """

    def __init__(self, host: str, path_prefix: str = "") -> None:
        self._prefix = path_prefix
        self._fixed = f" HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: identity\r\n"
        self._with_length = self._fixed + "Content-Length: "
        self._without_body = self._with_length + "0\r\n"
        self._lines: dict[tuple[str, str | None, str | None, bool, bool], tuple[str, str]] = {}

    def write(self, encoded: Encoded, access_key: str | None) -> bytes | None:
        """Return head and body of a request.

        Args:
            encoded: As an encoder of :mod:`v3io.dataplane.request` returns it.
            access_key: ``None`` sends none.

        Returns:
            The bytes; ``None`` when the body is a stream, or so long that it had better be sent without a copy: see
            :func:`stream_message`.

        Raises:
            LocalProtocolError: The access key cannot be sent in a header.
            TypeError: The body cannot be sent as JSON.
        """
        method, path, query, function, own_headers, body = encoded
        kind = type(body)
        is_json = False
        if kind is bytes:
            if len(body) > _WHOLE_BYTES:
                return None
        elif kind is dict:
            try:
                body = orjson.dumps(body)
            except TypeError as cause:
                raise TypeError(f"{function or method} {path}: {cause}") from cause
            is_json = True
        elif kind is JsonBody:
            is_json = True
        elif body is not None:
            if not isinstance(body, (bytes, bytearray, memoryview)):
                return None
            body = bytes(body)
            if len(body) > _WHOLE_BYTES:
                return None
        target = path if is_safe(path) else quote_path(path)
        if query:
            target = f"{target}?{encode_query(query)}"
        own = ""
        is_object = own_headers is OBJECT_TYPE
        if own_headers is not None:
            is_json = is_json and "Content-Type" not in own_headers
            if not is_object:
                own = "".join([f"{name}: {value}\r\n" for name, value in own_headers.items()])
        lines = self._lines.get((method, function, access_key, is_json, is_object))
        if lines is None:
            lines = self._make_lines(method, function, access_key, is_json, is_object)
        start, tail = lines
        if body is not None:
            size = len(body)
            head = f"{start}{target}{self._with_length}{size}\r\n{own}{tail}"
            if kind is JsonBody:
                keep_buffers(size)
                return b"".join([head.encode("latin-1"), *body.pieces])
            whole: bytes = head.encode("latin-1") + body
            return whole
        fixed = self._without_body if method in _SENDS_LENGTH else self._fixed
        return f"{start}{target}{fixed}{own}{tail}".encode("latin-1")

    def _make_lines(
        self,
        method: str,
        function: str | None,
        access_key: str | None,
        is_json: bool,
        is_object: bool,
    ) -> tuple[str, str]:
        """Return what goes before the target and after the calls' own headers, and keep it."""
        tail = "".join(f"{name}: {value}\r\n" for name, value in OBJECT_TYPE.items() if is_object)
        if function:
            tail += f"X-v3io-function: {function}\r\n"
        if access_key:
            check_field("X-v3io-session-key", access_key)
            tail += f"X-v3io-session-key: {access_key}\r\n"
        tail += (_JSON if is_json else "") + "\r\n"
        if len(self._lines) >= 1024:  # one key per call would grow it for ever
            self._lines.clear()
        lines = self._lines[method, function, access_key, is_json, is_object] = (
            f"{method} {self._prefix}",
            tail,
        )
        return lines


def stream_message(
    encoded: Encoded, access_key: str | None, limits: Timeout
) -> tuple[HttpRequest, bool]:
    """Return a request whose body is a stream or long, for the backend to send, and whether it can be sent again.

    Args:
        encoded: As an encoder of :mod:`v3io.dataplane.request` returns it; without a function.
        access_key: ``None`` sends none.
        limits: Of each attempt.

    Raises:
        LocalProtocolError: The body is nothing that can be sent.
    """
    request = Request(None, access_key, None, lambda _: encoded, {})
    body = request.content
    replayable = True
    if not isinstance(body, (bytes, bytearray, memoryview)):
        body = BodyStream(body)
        replayable = body.replayable
    headers = {"accept-encoding": "identity", **request.headers}
    return HttpRequest(request.method, request.encode_path(), headers, body, limits), replayable


class WireResponse(Response):
    """A response of a native transport: headers and facts are read on first use.

    Args:
        output: Class of the parsed answer; ``None`` when the API has none.
        head: Status line and headers.
        body: The whole body.
        node: Base URL of the endpoint.
        started: When the call began, monotonic seconds.
        ended: When it ended.
        attempts: Attempts made, >= 1.
        reused: Whether the connection had served a request before.
    """

    __slots__ = ("_attempts", "_ended", "_head", "_node", "_reused", "_started")

    def __init__(
        self,
        output: Callable[[Any], Any] | None,
        head: HeadLike,
        body: bytes,
        node: str,
        started: float,
        ended: float,
        attempts: int,
        reused: bool,
    ) -> None:
        self._output = output
        self._parsed_output = None
        self.status_code = head.status
        self.body = body
        self._head = head
        self._node = node
        self._started = started
        self._ended = ended
        self._attempts = attempts
        self._reused = reused

    @functools.cached_property
    def headers(self) -> Headers:  # type: ignore[override]
        """The response headers, looked up without regard to case."""
        return self._head.headers

    @property
    def meta(self) -> ResponseMeta:
        """Facts about the exchange: attempts, duration, node, protocol."""
        head = self._head
        return ResponseMeta(
            head.status,
            head.reason,
            head.http_version,
            self.headers,
            self._node,
            self._ended - self._started,
            self._attempts,
            self._reused,
        )
