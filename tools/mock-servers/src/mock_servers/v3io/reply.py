"""What a handler answers; the application adds ``content-length``."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["JSON", "Reply"]

JSON = (b"content-type", b"application/json")


class Reply(NamedTuple):
    """Status, body and header fields of one answer."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
