"""Locks that a forked child finds open, whatever the threads of its parent were doing.

Used by everything here that holds a lock for a moment: a fork in that moment would leave the child's copy locked for
ever, since the thread that would open it does not exist there. Policy floor: standard library only.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

__all__ = ["LockHolder", "renew_lock_after_fork"]


class LockHolder(Protocol):
    """Something with a lock in ``_lock``."""

    _lock: threading.Lock


_holders: weakref.WeakSet[LockHolder] = weakref.WeakSet()


def renew_lock_after_fork(holder: LockHolder) -> threading.Lock:
    """Return a new lock for ``holder._lock``, which a forked child gets anew; ``holder`` is not kept alive."""
    _holders.add(holder)
    return threading.Lock()


def _after_fork_in_child() -> None:
    for holder in list(_holders):
        holder._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
