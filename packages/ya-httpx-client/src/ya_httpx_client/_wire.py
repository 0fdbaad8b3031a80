"""HTTP/1.1 bytes: encoding a request, parsing a response. No I/O.

Called by ``exchange``. Parsing is llhttp's (httptools), strict; what this module adds is what llhttp leaves to its
user: which request the answer belongs to (HEAD), interim responses, and bodies that end with the connection.
"""

from __future__ import annotations

from collections.abc import Iterable

import httptools
from transport_utils.errors import BadResponse, HeaderTooLarge, TruncatedBody
from transport_utils.headers import check_field

__all__ = ["MAX_HEAD_BYTES", "ResponseParser", "encode_chunk", "encode_head"]

MAX_HEAD_BYTES = 256 * 1024
RawHeaders = list[tuple[bytes, bytes]]


def encode_head(method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return request line and header fields, the empty line included.

    Args:
        method: Method, upper case.
        target: Path and query as sent.
        headers: Fields in order; a ``Host`` among them.

    Raises:
        LocalProtocolError: A field's name or value cannot be sent safely (CR, LF or NUL in it).
    """
    lines = [b"%b %b HTTP/1.1\r\n" % (method, target)]
    for name, value in headers:
        check_field(name.decode("latin-1"), value.decode("latin-1"))
        lines.append(b"%b: %b\r\n" % (name, value))
    lines.append(b"\r\n")
    return b"".join(lines)


def encode_chunk(data: bytes) -> bytes:
    """Return one chunk of a chunked body; empty ``data`` gives the last chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b"0\r\n\r\n"


class ResponseParser:
    """Turns received bytes into one final response.

    Attributes:
        status: Status code, 0 until the head is complete.
        reason: Reason phrase.
        http_version: ``b"HTTP/1.1"`` or ``b"HTTP/1.0"``.
        headers: Fields in order, names as received.
        head_complete: Whether the above are valid.
        complete: Whether the message has ended.
        keep_alive: Whether the connection can carry another request, once ``complete``.
        started: Whether any byte arrived.
    """

    __slots__ = (
        "_chunks",
        "_head_bytes",
        "_head_only",
        "_interim",
        "_parser",
        "complete",
        "head_complete",
        "headers",
        "http_version",
        "keep_alive",
        "reason",
        "started",
        "status",
    )

    def __init__(self, *, head_only: bool = False) -> None:
        """Start a parser; ``head_only`` says that the request was a HEAD, whose answer has no body."""
        self._head_only = head_only
        self._chunks: list[bytes] = []
        self._head_bytes = 0
        self._interim = False
        self.status = 0
        self.reason = b""
        self.http_version = b"HTTP/1.1"
        self.headers: RawHeaders = []
        self.head_complete = False
        self.complete = False
        self.keep_alive = False
        self.started = False
        self._parser = httptools.HttpResponseParser(self)

    # callbacks of httptools --------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Start over: an interim response may have come before."""
        if self.complete:
            raise ValueError("data after the end of the response")
        self.headers = []
        self.reason = b""

    def on_status(self, status: bytes) -> None:
        """Take (a part of) the reason phrase."""
        self.reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one field; trailers are dropped, since the head has been handed out."""
        if not self.head_complete:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Take the head, unless it is an interim one."""
        status = self._parser.get_status_code()
        self._interim = 100 <= status < 200
        if self._interim:
            return
        self.status = status
        self.http_version = b"HTTP/" + self._parser.get_http_version().encode()
        self.head_complete = True
        self.keep_alive = self._parser.should_keep_alive()
        if self._head_only:
            self.complete = True

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if not self._head_only:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        """Note the end."""
        if not self._interim:
            self.complete = True
            self.keep_alive = self.keep_alive and self._parser.should_keep_alive()

    # use ---------------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Parse received bytes.

        Raises:
            BadResponse: They are no HTTP response, or more than one.
            HeaderTooLarge: The head exceeds :data:`MAX_HEAD_BYTES`.
        """
        self.started = True
        if not self.head_complete:
            self._head_bytes += len(data)
        elif self._head_only and self.complete:
            self.keep_alive = False  # a body where none may be: the connection is out of step
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as cause:
            raise BadResponse("the server switched protocols, which was not asked for") from cause
        except httptools.HttpParserError as cause:
            if self.complete:
                self.keep_alive = False  # garbage after a complete response
                return
            raise BadResponse(f"the answer is not valid HTTP/1.1: {cause}") from cause
        if not self.head_complete and self._head_bytes > MAX_HEAD_BYTES:
            raise HeaderTooLarge(f"the head of the answer exceeds {MAX_HEAD_BYTES} bytes")

    def end(self) -> None:
        """Note that the connection ended, which ends a body without a length.

        Raises:
            TruncatedBody: The message should have been longer.
        """
        self.keep_alive = False
        if self.complete:
            return
        names = {name.lower() for name, _ in self.headers}
        if self.head_complete and not names & {b"content-length", b"transfer-encoding"}:
            self.complete = True
            return
        raise TruncatedBody("the connection ended before the answer was complete")

    def take(self) -> bytes:
        """Return and forget the body received so far."""
        if not self._chunks:
            return b""
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        return data

    def content_length(self) -> int | None:
        """Return the announced length of the body, ``None`` when there is none or the body is chunked."""
        found: int | None = None
        for name, value in self.headers:
            lower = name.lower()
            if lower == b"transfer-encoding":
                return None
            if lower == b"content-length" and value.isdigit():
                found = int(value)
        return found
