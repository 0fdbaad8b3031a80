"""HTTP/1.1 on the wire, without I/O: encodes request heads, parses responses, refuses what is not clearly valid.

Used by the native backends, by batch, and by clients with a raw fast path (:class:`HeadTemplate`, :func:`parse_head`).

A response head is taken whole (up to ``CRLF CRLF``, within :class:`Limits`) and its syntax is judged by llhttp through
httptools, or by one regular expression where httptools is missing or ``TRANSPORT_UTILS_PURE`` is set; what follows
from it (framing, keep-alive) is decided here, once for both. llhttp alone would not do: it has no size limits, cannot
be told that the request was a HEAD, and hands out bodies by a callback per read. Bodies are therefore framed here,
which also lets a backend receive a long body straight into its final buffer.

Stricter than ``http.client``: no ``Content-Length`` beside ``Transfer-Encoding``, no second ``Content-Length``, no
bare LF, no folded header, no transfer coding but ``chunked``, no upgrade. Source: RFC 9112; llhttp 9; compared with h11
in the tests.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Any

from transport_utils.errors import BadResponse, HeaderTooLarge, LocalProtocolError, TruncatedBody
from transport_utils.headers import Headers, check_field

_llhttp: Any = None
if not os.environ.get("TRANSPORT_UTILS_PURE"):
    with contextlib.suppress(ImportError):
        import httptools.parser.parser as _llhttp

__all__ = [
    "CHUNKED",
    "LIMITS",
    "UNTIL_CLOSE",
    "ChunkedDecoder",
    "Head",
    "HeadTemplate",
    "Limits",
    "ResponseParser",
    "chunk",
    "parse_head",
    "parse_head_pure",
]

CHUNKED = -1
"""``Head.length`` of a chunked body."""
UNTIL_CLOSE = -2
"""``Head.length`` of a body that ends with the connection."""


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What a response may make us hold besides its body.

    Args:
        head_bytes: Status line and header block together.
        fields: Header fields.
        interim: 1xx responses before the real one.
        chunk_line_bytes: Size line of one chunk, extensions included.
        trailer_bytes: Trailer block after a chunked body; trailers are checked and dropped.
    """

    head_bytes: int = 65536
    fields: int = 256
    interim: int = 8
    chunk_line_bytes: int = 4096
    trailer_bytes: int = 16384


LIMITS = Limits()
"""The limits the backends use."""

_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_FIELDS = _NAME + r":[^\x00-\x08\x0a-\x1f\x7f]*\r\n"
_HEAD = re.compile(
    rf"HTTP/1\.[01] [1-9][0-9][0-9](?: [^\x00-\x08\x0a-\x1f\x7f]*)?\r\n(?:{_FIELDS})*\r\n".encode()
)
_TRAILERS = re.compile(rf"(?:{_FIELDS})*\r\n".encode())
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_BAD_TARGET = re.compile(r"[^\x21\x22\x24-\x7e]").search
_BAD_VALUE = re.compile(r"[\x00\r\n]").search
_METHOD = re.compile(_NAME).fullmatch


class Head:
    """The head of one response.

    Attributes:
        status: 100..999.
        minor: HTTP minor version, 0 or 1.
        length: Bytes of body, or :data:`CHUNKED`, or :data:`UNTIL_CLOSE`.
        keep_alive: Whether the connection may serve another request once the body has been read.
        block: The bytes of the head, closing blank line included.
    """

    __slots__ = ("_headers", "block", "keep_alive", "length", "minor", "status")

    def __init__(
        self, status: int, minor: int, length: int, keep_alive: bool, block: bytes
    ) -> None:
        self.status = status
        self.minor = minor
        self.length = length
        self.keep_alive = keep_alive
        self.block = block
        self._headers: Headers | None = None

    @property
    def http_version(self) -> str:
        """``"1.0"`` or ``"1.1"``."""
        return "1.1" if self.minor else "1.0"

    @property
    def reason(self) -> str:
        """The reason phrase, decoded as Latin-1; often empty."""
        return self.block[13 : self.block.index(b"\r\n")].decode("latin-1").strip()

    @property
    def headers(self) -> Headers:
        """The header fields, split on first use."""
        if self._headers is None:
            self._headers = Headers.from_raw(self.raw_fields())
        return self._headers

    def raw_fields(self) -> list[tuple[bytes, bytes]]:
        """Return the fields as received, without the white space around values."""
        fields = []
        for line in self.block.split(b"\r\n")[1:-2]:
            name, _, value = line.partition(b":")
            fields.append((name, value.strip(b" \t")))
        return fields


class _Sink:
    """What llhttp reports to: only whether the header block is complete."""

    __slots__ = ("complete",)

    def __init__(self) -> None:
        self.complete = False

    def on_headers_complete(self) -> None:
        """Take note; called by llhttp."""
        self.complete = True


def parse_head(block: bytes, method: str, limits: Limits = LIMITS) -> Head:
    """Parse a response head.

    Args:
        block: From the status line to the blank line inclusive, within ``limits.head_bytes``.
        method: Method of the request; a response to HEAD has no body.
        limits: See :class:`Limits`.

    Raises:
        BadResponse: The head is not valid HTTP/1.x, or its framing is ambiguous.
        HeaderTooLarge: Too many fields.
    """
    if _llhttp is None:
        return parse_head_pure(block, method, limits)
    sink = _Sink()
    try:
        _llhttp.HttpResponseParser(sink).feed_data(block)
    except Exception as cause:
        raise BadResponse(f"malformed response head ({cause}): {_excerpt(block)}") from cause
    if not sink.complete or block[:7] != b"HTTP/1.":
        raise BadResponse(f"malformed response head: {_excerpt(block)}")
    if _CONTROL.search(block) is not None:
        raise BadResponse(f"control character in the response head: {_excerpt(block)}")
    return _judge(block, method, limits)


def parse_head_pure(block: bytes, method: str, limits: Limits = LIMITS) -> Head:
    """Do what :func:`parse_head` does without httptools; slower on long heads, equally strict."""
    if _HEAD.fullmatch(block) is None:
        raise BadResponse(f"malformed response head: {_excerpt(block)}")
    return _judge(block, method, limits)


def _judge(block: bytes, method: str, limits: Limits) -> Head:
    """Decide framing and keep-alive of a head whose syntax is known to be good."""
    if block.count(b"\r\n") > limits.fields + 2:
        raise HeaderTooLarge(f"more than {limits.fields} header fields")
    status = int(block[9:12])
    minor = block[7] - 48
    if minor not in (0, 1) or status < 100 or status == 101:
        raise BadResponse(f"unexpected response: {_excerpt(block)}")
    lower = block.lower()
    connection = lower.find(b"\r\nconnection:")
    keep_alive = minor == 1 if connection < 0 else _keeps_alive(lower, minor)
    coding = lower.find(b"\r\ntransfer-encoding:")
    at = lower.find(b"\r\ncontent-length:")
    if coding >= 0:
        value = lower[coding + 20 : lower.index(b"\r\n", coding + 2)].strip(b" \t")
        if (
            value != b"chunked"
            or at >= 0
            or minor == 0
            or lower.find(b"\r\ntransfer-encoding:", coding + 2) >= 0
        ):
            raise BadResponse(f"unacceptable transfer-encoding: {_excerpt(block)}")
        length = CHUNKED
    elif at >= 0:
        digits = lower[at + 17 : lower.index(b"\r\n", at + 2)].strip(b" \t")
        if (
            not digits.isdigit()
            or len(digits) > 18
            or lower.find(b"\r\ncontent-length:", at + 2) >= 0
        ):
            raise BadResponse(f"unacceptable content-length: {_excerpt(block)}")
        length = int(digits)
    else:
        length = UNTIL_CLOSE
    if method == "HEAD" or status == 204 or status == 304 or status < 200:
        length = 0
    elif length == UNTIL_CLOSE:
        keep_alive = False
    return Head(status, minor, length, keep_alive, block)


def _keeps_alive(lower: bytes, minor: int) -> bool:
    tokens: set[bytes] = set()
    for line in lower.split(b"\r\n")[1:-2]:
        name, _, value = line.partition(b":")
        if name == b"connection":
            tokens.update(token.strip() for token in value.split(b","))
    if b"close" in tokens:
        return False
    return minor == 1 or b"keep-alive" in tokens


def _excerpt(block: bytes) -> str:
    return repr(block[:80])[1:]


class ChunkedDecoder:
    """Decodes a chunked body fed in pieces of any size.

    Attributes:
        complete: Whether the last chunk and the trailers have been read.
        excess: Bytes that came after the end of the message.
    """

    __slots__ = ("_left", "_limits", "_rest", "_state", "complete", "excess")

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._rest = b""
        self._left = 0
        self._state = "size"
        self.complete = False
        self.excess = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes from the wire and return the pieces of body among them.

        Raises:
            BadResponse: The framing is wrong.
            HeaderTooLarge: A chunk line or the trailers exceed the limits.
        """
        out: list[bytes] = []
        buffer = self._rest + data if self._rest else data
        self._rest = b""
        at = 0
        while True:
            if self._state == "data":
                piece = buffer[at : at + self._left]
                if piece:
                    out.append(piece)
                    at += len(piece)
                    self._left -= len(piece)
                if self._left:
                    return out
                self._state = "end"
            elif self._state == "end":
                mark = buffer[at : at + 2]
                if mark != b"\r\n"[: len(mark)]:
                    raise BadResponse(f"chunk does not end with CRLF but {mark!r}")
                if len(mark) < 2:
                    self._rest = mark
                    return out
                at += 2
                self._state = "size"
            elif self._state == "size":
                end = buffer.find(b"\n", at)
                line = buffer[at : end + 1] if end >= 0 else buffer[at:]
                if len(line) > self._limits.chunk_line_bytes:
                    raise HeaderTooLarge(
                        f"chunk line longer than {self._limits.chunk_line_bytes} bytes"
                    )
                if end < 0:
                    self._rest = line
                    return out
                match = _CHUNK_LINE.fullmatch(line)
                if match is None:
                    raise BadResponse(f"bad chunk line {line[:40]!r}")
                at = end + 1
                self._left = int(match.group(1), 16)
                self._state = "data" if self._left else "trailers"
            else:
                return self._end(buffer[at:], out)

    def _end(self, rest: bytes, out: list[bytes]) -> list[bytes]:
        end = 0 if rest[:2] == b"\r\n" else rest.find(b"\r\n\r\n") + 2
        if end == 1:
            if len(rest) > self._limits.trailer_bytes:
                raise HeaderTooLarge(f"trailers longer than {self._limits.trailer_bytes} bytes")
            if _BARE_LF.search(rest) is not None:
                raise BadResponse("line without CR in the trailers")
            self._rest = rest
            return out
        if end > self._limits.trailer_bytes:
            raise HeaderTooLarge(f"trailers longer than {self._limits.trailer_bytes} bytes")
        if _TRAILERS.fullmatch(rest[: end + 2]) is None:
            raise BadResponse(f"bad trailers {rest[:40]!r}")
        self.complete = True
        self.excess = rest[end + 2 :]
        return out


class ResponseParser:
    """Parses one response from pieces of any size; one parser per response.

    Attributes:
        head: The head of the final (not 1xx) response; ``None`` until it is complete.
        complete: Whether the message has ended.
        reusable: Whether the connection may serve another request: the message is complete, allows it, and nothing
            followed it.
        remaining: Bytes of body still to come when the length is known, else 0. A backend may receive them itself and
            say so with :meth:`received`.
    """

    __slots__ = (
        "_buffer",
        "_chunked",
        "_interim",
        "_limits",
        "_method",
        "_parse_head",
        "_pieces",
        "complete",
        "excess",
        "head",
        "remaining",
    )

    def __init__(self, method: str, limits: Limits = LIMITS, *, pure: bool = False) -> None:
        self._method = method
        self._limits = limits
        self._parse_head = parse_head_pure if pure else parse_head
        self._buffer = bytearray()
        self._pieces: list[bytes] = []
        self._chunked: ChunkedDecoder | None = None
        self._interim = 0
        self.head: Head | None = None
        self.complete = False
        self.remaining = 0
        self.excess = b""

    @property
    def started(self) -> bool:
        """Whether any byte has arrived."""
        return bool(self.head or self._buffer or self._interim)

    @property
    def reusable(self) -> bool:
        """Whether the connection may serve another request."""
        return self.complete and self.head is not None and self.head.keep_alive and not self.excess

    def feed(self, data: bytes) -> bool:
        """Take bytes from the wire; return whether the message is complete.

        Raises:
            BadResponse: The bytes are not a valid response, or more came after a complete one was reported.
            HeaderTooLarge: A limit is exceeded.
        """
        if self.complete:
            self.excess += data[:16]
            return True
        if self.head is None:
            rest = self._feed_head(data)
            if rest is None or self.complete:
                return self.complete
            data = rest
        self._feed_body(data)
        return self.complete

    def _feed_head(self, data: bytes) -> bytes | None:
        """Take bytes up to the end of the head; return those after it, ``None`` while it is incomplete."""
        buffer = self._buffer
        start = max(0, len(buffer) - 3)
        buffer += data
        while True:
            end = buffer.find(b"\r\n\r\n", start)
            if (end if end >= 0 else len(buffer)) + 4 > self._limits.head_bytes:
                raise HeaderTooLarge(f"response head longer than {self._limits.head_bytes} bytes")
            if end < 0:
                if _BARE_LF.search(buffer, start) is not None:
                    raise BadResponse(f"line without CR in the head: {_excerpt(bytes(buffer))}")
                return None
            head = self._parse_head(bytes(buffer[: end + 4]), self._method, self._limits)
            del buffer[: end + 4]
            if head.status >= 200:
                break
            start = 0
            self._interim += 1
            if self._interim > self._limits.interim:
                raise BadResponse(f"more than {self._limits.interim} interim responses")
        self.head = head
        rest = bytes(buffer)
        buffer.clear()
        if head.length == CHUNKED:
            self._chunked = ChunkedDecoder(self._limits)
        elif head.length >= 0:
            self.remaining = head.length
            if not self.remaining:
                self.complete = True
                self.excess = rest
        return rest

    def _feed_body(self, data: bytes) -> None:
        if self._chunked is not None:
            self._pieces += self._chunked.feed(data)
            self.complete = self._chunked.complete
            self.excess = self._chunked.excess
        elif self.head is not None and self.head.length == UNTIL_CLOSE:
            if data:
                self._pieces.append(data)
        else:
            if len(data) > self.remaining:
                self.excess = data[self.remaining :]
                data = data[: self.remaining]
            if data:
                self._pieces.append(data)
            self.received(len(data))

    def received(self, count: int) -> None:
        """Note that ``count`` bytes of a body of known length were received without :meth:`feed`."""
        self.remaining -= count
        self.complete = not self.remaining

    def feed_eof(self) -> None:
        """Note that the peer closed the connection.

        Raises:
            BadResponse: Inside the head.
            TruncatedBody: Inside the body.
        """
        if self.complete:
            return
        if self.head is None:
            raise BadResponse(
                f"connection closed inside the response head: {_excerpt(bytes(self._buffer))}"
            )
        if self.head.length == UNTIL_CLOSE:
            self.complete = True
        elif self._chunked is not None:
            raise TruncatedBody("connection closed inside a chunked body")
        else:
            raise TruncatedBody(
                f"connection closed {self.remaining} bytes before the end of a body of {self.head.length} bytes"
            )

    @property
    def pending(self) -> bool:
        """Whether :meth:`take` has something to return."""
        return bool(self._pieces)

    def take(self, limit: int | None = None) -> bytes:
        """Return the body received since the last call, and forget it.

        Args:
            limit: The most bytes to return, the rest is kept for the next call; ``None`` for all.
        """
        pieces = self._pieces
        if not pieces:
            return b""
        data = pieces.pop() if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        if limit is not None and len(data) > limit:
            pieces.append(data[limit:])
            data = data[:limit]
        return data


_KNOWN_NAMES: dict[str, str] = {}
_KNOWN_NAMES_MAX = 1024
_KNOWN_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_LENGTH_REQUIRED = frozenset({"PATCH", "POST", "PUT"})


def _field(name: str, value: str) -> str:
    """Return one encoded header line; names seen before skip their check."""
    lower = _KNOWN_NAMES.get(name)
    if lower is None or type(value) is not str or _BAD_VALUE(value) is not None:
        check_field(name, value)
        lower = name.lower()
        if len(_KNOWN_NAMES) < _KNOWN_NAMES_MAX:
            _KNOWN_NAMES[name] = lower
    return f"{lower}: {value}\r\n"


class HeadTemplate:
    """The part of the request head that is the same for all requests to one endpoint, encoded once.

    Args:
        host: Value of the ``host`` header.
        path_prefix: Put in front of every target.
        headers: Sent with every request; names are lower-cased. ``host`` may be among them.

    Immutable and thread-safe.
    """

    __slots__ = ("_block", "_fields", "_prefix")

    def __init__(
        self, host: str, path_prefix: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        self._prefix = path_prefix
        self._fields = {"host": _field("host", host)}
        for name, value in (headers or {}).items():
            self._fields[name.lower()] = _field(name, value)
        self._block = "".join(self._fields.values())

    def encode(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str | None] | None = None,
        length: int | None = None,
    ) -> bytes:
        """Return a complete request head.

        Args:
            method: Upper-case token.
            target: Origin form, percent-encoded.
            headers: Added to the template's, replacing those of the same name; ``None`` removes one.
            length: Bytes of body that will follow; :data:`CHUNKED`; or ``None`` for no body.

        Raises:
            LocalProtocolError: Method, target or a header is not valid, or a framing header contradicts the body.
        """
        if method not in _KNOWN_METHODS and (
            not isinstance(method, str) or _METHOD(method) is None
        ):
            raise LocalProtocolError(f"method {method!r}: expected an HTTP token")
        if target[:1] != "/" and target != "*":
            raise LocalProtocolError(f"target {target!r}: expected a path starting with '/'")
        if _BAD_TARGET(target) is not None:
            raise LocalProtocolError(
                f"target {target!r}: holds a space, a control or a non-ASCII character; percent-encode it"
            )
        block = self._block if not headers else self._merge(headers, length)
        if length is None:
            if method in _LENGTH_REQUIRED:
                block += "content-length: 0\r\n"
        elif length >= 0:
            block += f"content-length: {length}\r\n"
        else:
            block += "transfer-encoding: chunked\r\n"
        try:
            return f"{method} {self._prefix}{target} HTTP/1.1\r\n{block}\r\n".encode("latin-1")
        except UnicodeEncodeError as cause:
            raise LocalProtocolError(
                f"a header value holds {cause.object[cause.start]!r}, which is not Latin-1"
            ) from cause

    def _merge(self, headers: Mapping[str, str | None], length: int | None) -> str:
        block = self._block
        fields: dict[str, str] | None = None
        for name, value in headers.items():
            lower = _KNOWN_NAMES.get(name) or name.lower()
            if lower == "content-length" or lower == "transfer-encoding":
                _check_framing(lower, value, length)
            elif value is None:
                fields = dict(self._fields) if fields is None else fields
                fields.pop(lower, None)
            elif fields is not None or lower in self._fields:
                # From here on lines are kept by name, those added so far too.
                if fields is None:
                    fields = dict(self._fields)
                    fields[""] = block[len(self._block) :]
                fields[lower] = _field(name, value)
            else:
                block += _field(name, value)
        return block if fields is None else "".join(fields.values())


def _check_framing(name: str, value: str | None, length: int | None) -> None:
    expected: Any = None
    if name == "content-length":
        expected = None if length == CHUNKED else str(length or 0)
    elif length == CHUNKED:
        expected = "chunked"
    if value is not None and value != expected:
        raise LocalProtocolError(
            f"header {name}: {value!r} contradicts the body, for which it is {expected!r}; leave it to the transport"
        )


def chunk(data: bytes) -> bytes:
    """Return ``data`` as one chunk; empty data ends a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
