"""Functions of a server in threads: work leaves the loop's thread and comes back to it finished.

Made by :mod:`pylm._server` when ``ServerOptions.threads`` asks for it. Sockets, counters and hooks stay in the loop's
thread; only the user's function runs elsewhere.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from pylm._loop import Loop

__all__ = ["FunctionPool"]

_AHEAD: Final = 4
"""Messages taken in per thread, the one in work included."""

T = TypeVar("T")


class FunctionPool:
    """Runs work in threads, and what follows it in the thread of a loop.

    Args:
        threads: How many.
        name: Of the server.
        loop: Runs what follows.

    Belongs to the loop's thread.
    """

    def __init__(self, threads: int, name: str, loop: Loop) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"{name}-function")
        self._limit = _AHEAD * threads
        self._loop = loop
        self.in_work = 0

    def is_full(self) -> bool:
        """Return whether no more should be taken in now."""
        return self.in_work >= self._limit

    def submit(self, work: Callable[[], T], finish: Callable[[T], None]) -> None:
        """Call ``work``, which must not raise, in a thread, then ``finish`` with its result in the loop's."""
        self.in_work += 1
        self._executor.submit(self._run, work, finish)

    def _run(self, work: Callable[[], Any], finish: Callable[[Any], None]) -> None:
        self._loop.call_soon_threadsafe(functools.partial(self._done, finish, work()))

    def _done(self, finish: Callable[[Any], None], outcome: Any) -> None:
        self.in_work -= 1
        finish(outcome)

    def close(self) -> None:
        """Wait for the functions that run; those that have not begun never do."""
        self._executor.shutdown(wait=True, cancel_futures=True)
