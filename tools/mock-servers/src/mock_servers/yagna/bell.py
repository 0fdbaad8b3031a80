"""Waiting for a change of state without polling, and timestamps as the daemon writes them.

Called by every domain module of the server: long polls wait on a :class:`Bell` that writers ring.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timezone

__all__ = ["Bell", "now", "stamp"]


def now() -> datetime:
    """Return the present time, UTC, timezone-aware."""
    return datetime.now(timezone.utc)


def stamp(moment: datetime | None = None) -> str:
    """Return an ISO 8601 timestamp with microseconds and ``Z``, of ``moment`` or of now."""
    return (moment or now()).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Bell:
    """Wakes everybody who waits for a condition. Not thread-safe: one event loop."""

    def __init__(self) -> None:
        self._sleepers: set[asyncio.Future[None]] = set()
        self._closed = False

    def close(self) -> None:
        """End all waiting, now and later; every :meth:`until` answers at once."""
        self._closed = True
        self.ring()

    def ring(self) -> None:
        """Make every waiter look at its condition again."""
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(None)
        self._sleepers.clear()

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until ``condition()`` holds, at most ``timeout_s`` seconds; return whether it does."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while not condition():
            remaining = deadline - loop.time()
            if remaining <= 0 or self._closed:
                return False
            sleeper = loop.create_future()
            self._sleepers.add(sleeper)
            try:
                await asyncio.wait_for(sleeper, remaining)
            except asyncio.TimeoutError:
                return condition()
            finally:
                self._sleepers.discard(sleeper)
        return True
