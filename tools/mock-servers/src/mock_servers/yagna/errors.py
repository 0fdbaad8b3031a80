"""Errors the API answers with: one class, raised by the domain modules, rendered by ``app``."""

from __future__ import annotations

__all__ = ["ApiError"]


class ApiError(Exception):
    """A request that is answered with an error status.

    Attributes:
        status: HTTP status.
        message: Text of ``{"message": ...}``; ``None`` is null there, and no body at all for a websocket.
        plain: Whether the message is the whole body, as the daemon does for requests it cannot decode.
    """

    def __init__(self, status: int, message: str | None, *, plain: bool = False) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.plain = plain
