"""A deadline for backends over libraries that have none.

Those libraries limit single reads and writes; a peer that sends a byte now and then keeps them waiting for ever. The
watchdog cuts the socket at the deadline, from a thread of its own that sleeps until the earliest one.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable

from transport_utils.deadline import Deadline

__all__ = ["Watchdog"]


class Watchdog:
    """Calls functions when their deadlines pass; thread-safe, starts its thread on first use, again after a fork."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._watched: dict[object, tuple[float, Callable[[], None]]] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._wakes_at = math.inf
        self._stopped = False

    def watch(self, key: object, deadline: Deadline, cut: Callable[[], None]) -> None:
        """Call ``cut`` when ``deadline`` passes, unless :meth:`forget` comes first; it must not block."""
        self._watched[key] = (deadline.at, cut)
        if self._thread is None or self._pid != os.getpid():
            self._start()
        if deadline.at < self._wakes_at:
            with self._changed:
                self._changed.notify()

    def forget(self, key: object) -> None:
        """Stop watching; idempotent."""
        self._watched.pop(key, None)

    def cut_all(self) -> None:
        """Cut everything that is watched, now."""
        for key, (_, cut) in list(self._watched.items()):
            if self._watched.pop(key, None) is not None:
                cut()

    def stop(self) -> None:
        """End the thread; idempotent."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        thread = self._thread
        if (
            thread is not None
            and self._pid == os.getpid()
            and thread is not threading.current_thread()
        ):
            thread.join()
        self._thread = None

    def _start(self) -> None:
        if self._pid != os.getpid():
            self._changed = threading.Condition()
            self._thread = None
        with self._changed:
            if self._thread is None and not self._stopped:
                self._pid = os.getpid()
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def _run(self) -> None:
        with self._changed:
            while not self._stopped:
                now = time.monotonic()
                earliest = math.inf
                for key, (at, cut) in list(self._watched.items()):
                    if at <= now:
                        if self._watched.pop(key, None) is not None:
                            cut()
                    elif at < earliest:
                        earliest = at
                self._wakes_at = earliest
                # Looked at at least once a second: an earlier deadline may slip in just before we sleep.
                self._changed.wait(min(1.0, earliest - now))
