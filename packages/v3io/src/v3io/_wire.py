"""Bytes of whole requests, and responses whose headers are parsed when somebody looks.

Called by the native transports, blocking and asyncio, for every call: this is the hot path. The header order and case
are those that v3io 0.7.2 sent. Source: ``v3io-wire-vectors`` of the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from transport_utils.headers import check_field
from transport_utils.messages import HeadLike, ResponseMeta

from v3io.dataplane.response import Response
from v3io.paths import encode_query, quote_path

__all__ = ["RequestWriter", "WireResponse"]

_JSON = "Content-Type: application/json\r\n"
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
        self._tails: dict[tuple[str | None, str | None, bool], str] = {}

    def write(
        self,
        method: str,
        path: str,
        query: dict[str, str | int] | None,
        function: str | None,
        own_headers: Mapping[str, str] | None,
        body: Any,
        access_key: str | None,
    ) -> bytes | None:
        """Return head and body of a request.

        Args:
            method: As an encoder of :mod:`v3io.dataplane.request` returns it, like all up to ``body``.
            path: Unescaped.
            query: ``None`` for none.
            function: ``X-v3io-function``; ``None`` for none.
            own_headers: Headers of the call itself.
            body: A dict for JSON, bytes, a stream or ``None``.
            access_key: ``None`` sends none.

        Returns:
            The bytes; ``None`` when the body is a stream, which cannot be written at once.

        Raises:
            LocalProtocolError: The access key cannot be sent in a header.
        """
        is_json = type(body) is dict
        if is_json:
            body = orjson.dumps(body)
        elif body is not None and type(body) is not bytes:
            if not isinstance(body, (bytearray, memoryview)):
                return None
            body = bytes(body)
        target = quote_path(path)
        if query:
            target = f"{target}?{encode_query(query)}"
        if own_headers is None:
            tail = self._tails.get((function, access_key, is_json))
            if tail is None:
                tail = self._make_tail(function, access_key, is_json)
        else:
            is_json = is_json and "Content-Type" not in own_headers
            tail = self._tails.get((function, access_key, is_json))
            if tail is None:
                tail = self._make_tail(function, access_key, is_json)
            tail = "".join([f"{name}: {value}\r\n" for name, value in own_headers.items()]) + tail
        if body is not None:
            head = f"{method} {self._prefix}{target}{self._with_length}{len(body)}\r\n{tail}"
            return b"%b%b" % (head.encode("latin-1"), body)
        if method in _SENDS_LENGTH:
            return f"{method} {self._prefix}{target}{self._with_length}0\r\n{tail}".encode(
                "latin-1"
            )
        return f"{method} {self._prefix}{target}{self._fixed}{tail}".encode("latin-1")

    def _make_tail(self, function: str | None, access_key: str | None, is_json: bool) -> str:
        tail = f"X-v3io-function: {function}\r\n" if function else ""
        if access_key:
            check_field("X-v3io-session-key", access_key)
            tail += f"X-v3io-session-key: {access_key}\r\n"
        tail += (_JSON if is_json else "") + "\r\n"
        if len(self._tails) >= 1024:  # one key per call would grow it for ever
            self._tails.clear()
        self._tails[function, access_key, is_json] = tail
        return tail


class WireResponse(Response):
    """A response of a native transport: headers and facts are read on first use.

    Args:
        output: Class of the parsed answer; ``None`` when the API has none.
        head: Status line and headers.
        body: The whole body.
        node: Base URL of the endpoint.
        duration_s: Seconds from the start of the call, all attempts included.
        attempts: Attempts made, >= 1.
        reused: Whether the connection had served a request before.
    """

    def __init__(
        self,
        output: Callable[[Any], Any] | None,
        head: HeadLike,
        body: bytes,
        node: str,
        duration_s: float,
        attempts: int,
        reused: bool,
    ) -> None:
        self._output = output
        self._parsed_output = None
        self.status_code = head.status
        self.body = body
        self._head = head
        self._facts = (node, duration_s, attempts, reused)

    @property
    def headers(self) -> Mapping[str, str]:  # type: ignore[override]
        """The response headers, looked up without regard to case."""
        return self._head.headers

    @property
    def meta(self) -> ResponseMeta:
        """Facts about the exchange: attempts, duration, node, protocol."""
        node, duration_s, attempts, reused = self._facts
        head = self._head
        return ResponseMeta(
            head.status,
            head.reason,
            head.http_version,
            head.headers,
            node,
            duration_s,
            attempts,
            reused,
        )
