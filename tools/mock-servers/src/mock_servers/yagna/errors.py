"""Errors the API answers with: one class, raised by the domain modules, rendered by ``app``."""

from __future__ import annotations

__all__ = ["ApiError"]


class ApiError(Exception):
    """A request that is answered with an error status.

    Attributes:
        status: HTTP status.
        message: Text of ``{"message": ...}``; ``None`` answers with an empty body.
    """

    def __init__(self, status: int, message: str | None) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
