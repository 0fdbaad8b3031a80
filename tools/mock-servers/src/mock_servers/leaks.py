"""Find threads and sockets a test left behind.

Used through the ``no_leaks`` fixture of :mod:`mock_servers.pytest_plugin`, which this repository applies to every test.
Linux only: elsewhere sockets are not checked.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass

__all__ = ["Resources", "leaked"]

FD_FOLDER = "/proc/self/fd"


def _open_sockets() -> frozenset[str]:
    """Return the kernel names (``socket:[inode]``) of this process's open sockets."""
    names = set()
    try:
        descriptors = os.listdir(FD_FOLDER)
    except FileNotFoundError:
        return frozenset()
    for descriptor in descriptors:
        try:
            name = os.readlink(f"{FD_FOLDER}/{descriptor}")
        except FileNotFoundError:
            continue
        if name.startswith("socket:"):
            names.add(name)
    return frozenset(names)


@dataclass(frozen=True, slots=True)
class Resources:
    """The threads and sockets of this process at one moment."""

    threads: frozenset[threading.Thread]
    sockets: frozenset[str]

    @classmethod
    def now(cls) -> Resources:
        """Take stock."""
        return cls(frozenset(threading.enumerate()), _open_sockets())


def leaked(before: Resources, grace_s: float = 2.0) -> str | None:
    """Say what exists now and did not before, or ``None`` when nothing does.

    A peer in another thread may still be closing its end, so what is found is given ``grace_s`` seconds to go.

    Args:
        before: Stock taken earlier.
        grace_s: How long to wait for stragglers, seconds.
    """
    deadline = time.monotonic() + grace_s
    while True:
        now = Resources.now()
        threads, sockets = now.threads - before.threads, now.sockets - before.sockets
        if not threads and not sockets:
            return None
        if time.monotonic() >= deadline:
            names = ", ".join(sorted(thread.name for thread in threads)) or "none"
            return f"left behind: {len(sockets)} open sockets; threads: {names}"
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(0.01)
        time.sleep(0.005)
