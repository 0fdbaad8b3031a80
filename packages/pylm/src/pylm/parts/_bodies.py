"""How large the body of an HTTP request may be; for the parts that serve HTTP."""

from __future__ import annotations

from email.message import Message
from typing import Final

__all__ = ["body_size"]

MAX_BODY_BYTES: Final = 256 * 2**20


def body_size(headers: Message) -> int | None:
    """Return the announced size in bytes; ``None`` when it is no number or above :data:`MAX_BODY_BYTES`."""
    announced = headers.get("content-length") or "0"
    if not (announced.isascii() and announced.isdigit()):
        return None
    size = int(announced[:20])
    return size if size <= MAX_BODY_BYTES else None
