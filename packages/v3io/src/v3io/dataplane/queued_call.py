"""A call that waits in a batch, and what became of it."""

from __future__ import annotations

from typing import Any

from v3io.dataplane.response import Response

__all__ = ["NOT_RUN", "QueuedCall"]

NOT_RUN: Any = object()
"""Outcome of a call that has not been sent."""


class QueuedCall:
    """A call in a batch, and what became of it.

    Attributes:
        call: The encoded request, or a callable for calls of several requests; ``None`` once it has been answered.
        outcome: Response or exception; :data:`NOT_RUN` before.
    """

    __slots__ = ("call", "outcome")

    def __init__(self, call: Any) -> None:
        self.call = call
        self.outcome: Any = NOT_RUN

    @property
    def done(self) -> bool:
        """Whether the batch has run this call."""
        return self.outcome is not NOT_RUN

    def result(self) -> Response:
        """Return the response.

        Raises:
            RuntimeError: The batch has not run, or ended before this call was sent.
            Exception: What the call failed with.
        """
        if self.outcome is NOT_RUN:
            raise RuntimeError("this call has not been sent: wait() for its batch first")
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        response: Response = self.outcome
        return response

    def exception(self) -> BaseException | None:
        """Return what the call failed with; ``None`` when it succeeded or was not sent."""
        return self.outcome if isinstance(self.outcome, BaseException) else None
