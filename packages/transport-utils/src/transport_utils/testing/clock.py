"""A clock that stands still until it is told to go on."""

from __future__ import annotations

__all__ = ["FakeClock"]


class FakeClock:
    """Monotonic time under the control of a test; give it as ``clock=`` to a transport, or its ``now`` to a policy.

    Args:
        now: Where it starts, seconds.

    Attributes:
        now: Its time.
        pauses: What :meth:`sleep` was asked for, in order.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        """Return the time in seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        self.now += seconds

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass, and note them."""
        self.pauses.append(seconds)
        self.now += seconds
