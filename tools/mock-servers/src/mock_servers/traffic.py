"""Record of the requests the mock servers answered, newest kept: a ring buffer shared by all nodes and servers.

Written by :class:`mock_servers.control.Controlled`, read by tests (``traffic.requests``), by ``GET /_mock/requests``
and by the console page.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import threading
import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mock_servers.secrets import HIDDEN, hide, is_secret

__all__ = ["Exchange", "TrafficLog"]

Headers = list[tuple[str, str]]
SHOWN_BYTES = 65536


def _shown_headers(headers: Headers) -> Headers:
    return [(name, HIDDEN if is_secret(name) else value) for name, value in headers]


def _shown_body(body: bytes, headers: Headers) -> dict[str, str]:
    codings = [value for name, value in headers if name.lower() == "content-encoding"]
    if body and codings in (["gzip"], ["deflate"]):
        with contextlib.suppress(zlib.error):
            body = zlib.decompressobj(wbits=zlib.MAX_WBITS + 32).decompress(body, SHOWN_BYTES)
    try:
        return {"text": hide(body.decode())}
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":  # cut inside a character
            return {"text": hide(body[: error.start].decode())}
        return {"base64": base64.b64encode(body).decode()}


@dataclass(slots=True)
class Exchange:
    """One request and what became of it.

    Attributes:
        number: Position in the log, from 1, without gaps; 0 until it is in one.
        server: Kind of server, ``"loudml"``.
        node: Name of the node that received it.
        started_at: Wall clock, seconds since the epoch.
        method: HTTP method, upper case.
        target: Path and query exactly as sent, percent-encoding included.
        request_headers: In order of arrival, names lower case.
        request_body: At most the log's ``body_limit`` bytes of the body.
        status: Status sent, ``None`` when the connection ended without one.
        response_headers: As sent by the application.
        response_body: At most ``body_limit`` bytes.
        duration_s: Until the last byte was ready to send, or the connection ended, seconds.
        fault: Action of the fault that struck, ``None`` for none.
        request_size: Length of the body in bytes, also when it is cut here.
        response_size: Likewise.
    """

    server: str
    node: str
    started_at: float
    method: str
    target: str
    request_headers: Headers
    number: int = 0
    request_body: bytes = b""
    request_size: int = 0
    status: int | None = None
    response_headers: Headers = field(default_factory=list)
    response_body: bytes = b""
    response_size: int = 0
    duration_s: float = 0.0
    fault: str | None = None

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def shown(self) -> dict[str, Any]:
        """Return the record as JSON values: secrets hidden, bodies as ``{"text": ...}`` or ``{"base64": ...}``.

        A compressed body (gzip, deflate) is shown as what it holds, at most :data:`SHOWN_BYTES` of it.
        """
        return {
            "number": self.number,
            "server": self.server,
            "node": self.node,
            "started_at": self.started_at,
            "method": self.method,
            "target": hide(self.target),
            "request_headers": _shown_headers(self.request_headers),
            "request_body": _shown_body(self.request_body, self.request_headers),
            "request_size": self.request_size,
            "status": self.status,
            "response_headers": _shown_headers(self.response_headers),
            "response_body": _shown_body(self.response_body, self.response_headers),
            "response_size": self.response_size,
            "duration_s": self.duration_s,
            "fault": self.fault,
        }


class TrafficLog:
    """Ring buffer of :class:`Exchange`; thread-safe.

    Args:
        capacity: Exchanges kept; the oldest falls out.
        body_limit: Bytes kept of each body.
    """

    def __init__(self, capacity: int = 1000, body_limit: int = 65536) -> None:
        self.body_limit = body_limit
        self._entries: deque[Exchange] = deque(maxlen=capacity)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._last = 0

    @property
    def total(self) -> int:
        """Number of the newest exchange: how many there have been in all."""
        return self._last

    @property
    def requests(self) -> list[Exchange]:
        """The exchanges kept, oldest first."""
        with self._lock:
            return list(self._entries)

    def add(self, exchange: Exchange) -> None:
        """Number an exchange and append it."""
        with self._lock:
            exchange.number = self._last = next(self._numbers)
            self._entries.append(exchange)

    def since(self, number: int, limit: int | None = None) -> list[Exchange]:
        """Return the kept exchanges after ``number``, oldest first; the newest ``limit`` of them when limited."""
        with self._lock:
            count = min(self._last - number, len(self._entries))
            if limit is not None:
                count = min(count, limit)
            return list(itertools.islice(reversed(self._entries), max(count, 0)))[::-1]

    def seen(self, method: str, path: str) -> list[Exchange]:
        """Return the kept exchanges of one method and exact path (without query), oldest first."""
        return [entry for entry in self.requests if (entry.method, entry.path) == (method, path)]

    def clear(self) -> None:
        """Forget all exchanges; numbering goes on."""
        with self._lock:
            self._entries.clear()


def decoded_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return ASGI header pairs as latin-1 text."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
