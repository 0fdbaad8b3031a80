"""HTTP/1.1 on the wire, without I/O: encodes request heads, parses responses, refuses what is not clearly valid.

Used by the native backends, by batch, and by clients with a raw fast path (:class:`HeadTemplate`,
:func:`parse_head`).

A response head is taken whole (up to ``CRLF CRLF``, within :class:`Limits`) and its syntax is judged by llhttp
through httptools, or by one regular expression where httptools is missing or ``TRANSPORT_UTILS_PURE`` is set; what
follows from it (framing, keep-alive) is decided here, once for both. llhttp alone would not do: it has no size
limits, cannot be told that the request was a HEAD, and hands out bodies by a callback per read. Bodies are therefore
framed here, which also lets a backend receive a long body straight into its final buffer.

Stricter than ``http.client``: no ``Content-Length`` beside ``Transfer-Encoding``, no second ``Content-Length``, no
bare LF, no folded header, no transfer coding but ``chunked``, no upgrade. Source: RFC 9112; llhttp 9; compared with
h11 in the tests.
"""

from transport_utils.h1.head import (
    CHUNKED,
    LIMITS,
    UNTIL_CLOSE,
    Head,
    Limits,
    parse_head,
    parse_head_pure,
)
from transport_utils.h1.request import HeadTemplate, chunk
from transport_utils.h1.response import ChunkedDecoder, ResponseParser

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
