"""Clocks of the mock servers: the real one, and one that moves only when told.

A server takes a :class:`Clock` and does everything that depends on time through it, so that a test can let a day pass
in a millisecond and a run can be repeated exactly.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Clock", "ManualClock", "SystemClock"]


class Clock(Protocol):
    """Source of time, seconds since the epoch."""

    def now(self) -> float:
        """Return the time."""

    def sleep(self, seconds: float, cancelled: Callable[[], bool]) -> None:
        """Return after ``seconds``, or soon after ``cancelled()`` became true and :meth:`wake` was called."""

    def wake(self) -> None:
        """Make all sleepers look at their ``cancelled`` again."""


class SystemClock:
    """The machine's wall clock; thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()

    def now(self) -> float:
        """Return the time."""
        return time.time()

    def sleep(self, seconds: float, cancelled: Callable[[], bool]) -> None:
        """Return after ``seconds`` or once cancelled."""
        with self._changed:
            self._changed.wait_for(cancelled, timeout=seconds)

    def wake(self) -> None:
        """Make all sleepers look at their ``cancelled`` again."""
        with self._changed:
            self._changed.notify_all()


class ManualClock:
    """A clock that stands still until :meth:`move`; thread-safe.

    Args:
        start: First time shown, seconds since the epoch.
    """

    def __init__(self, start: float = 1_600_000_000.0) -> None:
        self._now = start
        self._changed = threading.Condition()
        self._sleepers: list[float] = []

    def now(self) -> float:
        """Return the time."""
        with self._changed:
            return self._now

    @property
    def sleepers(self) -> int:
        """How many threads sleep on this clock with time still to go."""
        with self._changed:
            return sum(due > self._now for due in self._sleepers)

    def sleep(self, seconds: float, cancelled: Callable[[], bool]) -> None:
        """Return once the clock was moved ``seconds`` on, or once cancelled."""
        with self._changed:
            due = self._now + seconds
            self._sleepers.append(due)
            self._changed.notify_all()
            try:
                self._changed.wait_for(lambda: self._now >= due or cancelled())
            finally:
                self._sleepers.remove(due)

    def wake(self) -> None:
        """Make all sleepers look at their ``cancelled`` again."""
        with self._changed:
            self._changed.notify_all()

    def move(self, seconds: float) -> None:
        """Move the clock forward (or back, as an administrator would) and wake who is due."""
        with self._changed:
            self._now += seconds
            self._changed.notify_all()
