"""Request and the facts of a response as every backend takes and returns them.

Used by the drivers, the backends and the clients' own wire layers. ``Headers`` is the multi-value, case-insensitive
mapping of :mod:`transport_utils.headers`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import IO, Any, TypeAlias

from transport_utils.deadline import DEFAULT_TIMEOUT, Timeout
from transport_utils.headers import Headers

__all__ = ["Body", "Request", "ResponseMeta"]

Body: TypeAlias = (
    "bytes | bytearray | memoryview | Iterable[bytes] | AsyncIterable[bytes] | IO[bytes] | None"
)


@dataclasses.dataclass(slots=True)
class Request:
    """One HTTP request, without the node that will serve it.

    Args:
        method: Upper-case token.
        target: Origin form, percent-encoded: path with leading ``/`` and optional query. An endpoint's
            ``path_prefix`` is put in front by the backend.
        headers: Extra headers, on top of the endpoint's; a ``None`` value removes an inherited one.
        body: Whole bytes, or a file or iterable that is streamed (chunked unless ``content-length`` is given).
        timeout: Limits of the exchange; ``total`` is the driver's, a backend gets it as a deadline.
        stream: When true the backend returns after the header block and the body is read from the response.
        extensions: Options of one backend, by name; unknown ones are ignored by the others.
    """

    method: str
    target: str
    headers: Mapping[str, str | None] | None = None
    body: Body = None
    timeout: Timeout = DEFAULT_TIMEOUT
    stream: bool = False
    extensions: Mapping[str, Any] | None = None


@dataclasses.dataclass(slots=True)
class ResponseMeta:
    """Facts about a response and about how it was obtained.

    Args:
        status: HTTP status, 200..599.
        reason: Reason phrase as sent, may be empty.
        http_version: ``"1.1"`` or ``"1.0"`` (a backend that speaks HTTP/2 says ``"2"``).
        headers: Response headers, repeated ones kept.
        node: Base URL of the node that answered, without credentials.
        duration_s: Seconds from the start of the call to its end, all attempts included.
        attempts: Attempts made, >= 1.
        reused: Whether the connection had served a request before.
        decode_error: Why a non-2xx body was left undecoded; ``None`` otherwise.
    """

    status: int
    reason: str
    http_version: str
    headers: Headers
    node: str
    duration_s: float = 0.0
    attempts: int = 1
    reused: bool = False
    decode_error: str | None = None

    @property
    def mimetype(self) -> str:
        """Return the content type without parameters, lower case; empty when the server sent none."""
        value = self.headers.get("content-type") or ""
        return value.partition(";")[0].strip().lower()
