"""Parses and judges the head of a response.

Used by :mod:`transport_utils.h1.response` and, with a whole head at hand, by the native backends' usual path.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from typing import Any

from transport_utils.errors import BadResponse, HeaderTooLarge
from transport_utils.headers import Headers

_llhttp: Any = None
if not os.environ.get("TRANSPORT_UTILS_PURE"):
    with contextlib.suppress(ImportError):
        import httptools.parser.parser as _llhttp

__all__ = [
    "CHUNKED",
    "FIELD_PATTERN",
    "LIMITS",
    "UNTIL_CLOSE",
    "Head",
    "Limits",
    "excerpt",
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
FIELD_PATTERN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\x00-\x08\x0a-\x1f\x7f]*\r\n"
"""One header line as a regular expression over Latin-1."""
_HEAD = re.compile(
    rf"HTTP/1\.[01] [1-9][0-9][0-9](?: [^\x00-\x08\x0a-\x1f\x7f]*)?\r\n(?:{FIELD_PATTERN})*\r\n".encode()
)
# The usual head, judged in one pass: HTTP/1.1, one content-length, nothing else that touches framing or keep-alive.
# The length's line splits the others in one way only, so that a mismatch costs no more than a match.
_OTHER_FIELDS = (
    r"(?:(?![CcTt](?i:onnection|ontent-encoding|ontent-length|ransfer-encoding):)"
    + FIELD_PATTERN
    + ")*"
)
_USUAL_HEAD = re.compile(
    (
        r"HTTP/1\.1 ([2-5][0-9][0-9])(?: [^\x00-\x08\x0a-\x1f\x7f]*)?\r\n"
        + _OTHER_FIELDS
        + r"[Cc]ontent-[Ll]ength:[\t ]*([0-9]{1,18})[\t ]*\r\n"
        + _OTHER_FIELDS
        + r"\r\n"
    ).encode()
).fullmatch
_SHORT_BYTES = 1024
_BODILESS = frozenset((b"204", b"304"))
_RECENT: dict[bytes, Head] = {}
_RECENT_MAX = 64
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Head:
    """The head of one response, or of many: heads that are equal to the last byte may be one object. Immutable.

    Attributes:
        status: 100..999.
        minor: HTTP minor version, 0 or 1.
        length: Bytes of body, or :data:`CHUNKED`, or :data:`UNTIL_CLOSE`.
        keep_alive: Whether the connection may serve another request once the body has been read.
        is_encoded: Whether the body has a content coding.
        block: The bytes of the head, closing blank line included.
    """

    __slots__ = ("block", "is_encoded", "keep_alive", "length", "minor", "status")

    def __init__(
        self,
        status: int,
        minor: int,
        length: int,
        keep_alive: bool,
        is_encoded: bool,
        block: bytes,
    ) -> None:
        self.status = status
        self.minor = minor
        self.length = length
        self.keep_alive = keep_alive
        self.is_encoded = is_encoded
        self.block = block

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
        """The header fields, split anew each time: whoever asked may change what he got."""
        return Headers.from_raw(self.raw_fields())

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
    if limits is LIMITS and len(block) <= _SHORT_BYTES:  # too short for too many fields
        # Servers repeat themselves: within a second most heads of small answers are equal to the last byte.
        known = _RECENT.get(block)
        if known is not None and method != "HEAD":
            return known
        usual = _USUAL_HEAD(block)
        if usual is not None:
            status, length = usual.groups()
            if method == "HEAD" or status in _BODILESS:
                return Head(int(status), 1, 0, True, False, block)
            return _remember(Head(int(status), 1, int(length), True, False, block))
    if _llhttp is None or block[9:12] == b"101":  # which llhttp reports in three ways
        return parse_head_pure(block, method, limits)
    sink = _Sink()
    try:
        _llhttp.HttpResponseParser(sink).feed_data(block)
    except Exception as cause:
        raise BadResponse(f"malformed response head ({cause}): {excerpt(block)}") from cause
    if not sink.complete or block[:7] != b"HTTP/1.":
        raise BadResponse(f"malformed response head: {excerpt(block)}")
    if _CONTROL.search(block) is not None:
        raise BadResponse(f"control character in the response head: {excerpt(block)}")
    head = _judge(block, method, limits)
    if method != "HEAD" and len(block) <= _SHORT_BYTES and limits is LIMITS:
        _remember(head)
    return head


def _remember(head: Head) -> Head:
    if len(_RECENT) >= _RECENT_MAX:
        _RECENT.clear()
    _RECENT[head.block] = head
    return head


def parse_head_pure(block: bytes, method: str, limits: Limits = LIMITS) -> Head:
    """Do what :func:`parse_head` does without httptools; slower on long heads, equally strict."""
    if _HEAD.fullmatch(block) is None:
        raise BadResponse(f"malformed response head: {excerpt(block)}")
    return _judge(block, method, limits)


def _judge(block: bytes, method: str, limits: Limits) -> Head:
    """Decide framing and keep-alive of a head whose syntax is known to be good."""
    if block.count(b"\r\n") > limits.fields + 2:
        raise HeaderTooLarge(f"more than {limits.fields} header fields")
    status = int(block[9:12])
    minor = block[7] - 48
    if status == 101:
        raise BadResponse(
            f"the server switched protocols, which was not asked for: {excerpt(block)}"
        )
    if minor not in (0, 1) or status < 100:
        raise BadResponse(f"unexpected response: {excerpt(block)}")
    lower = block.lower()
    keep_alive = minor == 1
    connection = lower.find(b"\r\nconnection:")
    if connection >= 0:
        end = lower.index(b"\r\n", connection + 2)
        if (
            lower[connection + 13 : end] == b" keep-alive"
            and lower.find(b"\r\nconnection:", end) < 0
        ):
            keep_alive = True
        else:
            keep_alive = _keeps_alive(lower, minor)
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
            raise BadResponse(f"unacceptable transfer-encoding: {excerpt(block)}")
        length = CHUNKED
    elif at >= 0:
        digits = lower[at + 17 : lower.index(b"\r\n", at + 2)].strip(b" \t")
        if (
            not digits.isdigit()
            or len(digits) > 18
            or lower.find(b"\r\ncontent-length:", at + 2) >= 0
        ):
            raise BadResponse(f"unacceptable content-length: {excerpt(block)}")
        length = int(digits)
    else:
        length = UNTIL_CLOSE
    if method == "HEAD" or status == 204 or status == 304 or status < 200:
        length = 0
    elif length == UNTIL_CLOSE:
        keep_alive = False
    is_encoded = lower.find(b"\r\ncontent-encoding:") >= 0
    return Head(status, minor, length, keep_alive, is_encoded, block)


def _keeps_alive(lower: bytes, minor: int) -> bool:
    tokens: set[bytes] = set()
    for line in lower.split(b"\r\n")[1:-2]:
        name, _, value = line.partition(b":")
        if name == b"connection":
            tokens.update(token.strip() for token in value.split(b","))
    if b"close" in tokens:
        return False
    return minor == 1 or b"keep-alive" in tokens


def excerpt(block: bytes) -> str:
    """Return the beginning of a head for an error message."""
    return repr(block[:80])[1:]
