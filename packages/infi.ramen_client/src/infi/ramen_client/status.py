"""What the active reader last reported about itself, for ``ramen-client status`` in another process.

A small JSON file beside the queue, replaced at most twice a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

from infi.ramen_client.diskqueue.files import QueueFiles, replacement

if TYPE_CHECKING:
    from infi.ramen_client.delivery import Delivery

__all__ = ["StatusFile"]

INTERVAL_S = 0.5


class StatusFile:
    """Writes and reads the report of one queue's reader; one thread at a time.

    Args:
        files: The queue.
    """

    def __init__(self, files: QueueFiles) -> None:
        self.path = files.status
        self._due = 0.0
        self._last: tuple[Any, ...] = ()
        self._measured_at = time.monotonic()
        self._measured = 0
        self._rate = 0.0

    def note(self, delivery: Delivery, *, idle: bool = False) -> None:
        """Write the report if it is time, or if the reader falls idle and something has changed; never fails."""
        now = time.monotonic()
        if now < self._due and not idle:
            return
        stats = delivery.stats
        facts = tuple(vars(stats).values())
        if facts == self._last:
            return
        self._last = facts
        self._due = now + INTERVAL_S
        done = stats.accepted + stats.dropped + stats.dead
        passed_s = now - self._measured_at
        if passed_s >= INTERVAL_S:
            self._rate = (done - self._measured) / passed_s
            self._measured_at, self._measured = now, done
        report = {
            "pid": os.getpid(),
            "written_at": time.time(),
            "rate_per_s": round(self._rate, 2),
            "waiting": delivery.is_held(),
            **vars(stats),
        }
        text = json.dumps(report)
        with (
            contextlib.suppress(OSError),
            replacement(self.path) as fd,
            open(fd, "w", encoding="utf-8", closefd=False) as file,
        ):
            file.write(text)

    def read(self) -> dict[str, Any] | None:
        """Return the last report, ``None`` when there is none that can be read."""
        try:
            with open(self.path, encoding="utf-8") as file:
                report = json.load(file)
        except (OSError, ValueError):
            return None
        return report if isinstance(report, dict) else None
