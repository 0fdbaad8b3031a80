"""Parses responses that arrive in pieces: the general path of the native backends.

The usual path, a whole response in one receive, uses :func:`transport_utils.h1.head.parse_head` directly.
"""

from __future__ import annotations

import re

from transport_utils.errors import BadResponse, HeaderTooLarge, TruncatedBody
from transport_utils.h1.head import (
    CHUNKED,
    FIELD_PATTERN,
    LIMITS,
    UNTIL_CLOSE,
    Head,
    Limits,
    excerpt,
    parse_head,
    parse_head_pure,
)

__all__ = ["ChunkedDecoder", "ResponseParser"]

_TRAILERS = re.compile(rf"(?:{FIELD_PATTERN})*\r\n".encode())
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")
_BARE_LF = re.compile(rb"(?<!\r)\n")


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
                    raise BadResponse(f"line without CR in the head: {excerpt(bytes(buffer))}")
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
                f"connection closed inside the response head: {excerpt(bytes(self._buffer))}"
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
