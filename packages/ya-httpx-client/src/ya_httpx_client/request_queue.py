"""Requests of one URL that wait for a provider: bounded, first come first served, retries first.

``Cluster.request_queue`` is one of these; size functions and balancers read :meth:`qsize` and :meth:`empty` as they
did of the ``asyncio.Queue`` in its place. A request that finds a free slot does not wait and is never counted. Bound
to one event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from transport_utils.errors import NoNodeAvailable, PoolTimeout, TransportError

__all__ = ["RequestQueue", "Slot"]

DELAY_WEIGHT = 0.2


class Slot(Protocol):
    """Something that can serve a request now, and was reserved for it."""

    def give_back(self) -> None:
        """Free the reservation without having used it."""


class RequestQueue:
    """Waiting requests of one URL.

    Args:
        reserve: Reserves a free slot and returns it, ``None`` when there is none.
        maxsize: Requests that may wait; further ones wait outside until there is room (back-pressure) and are not
            counted by :meth:`qsize`.
        explain: Returns why no provider is at hand, for error messages.
        cluster: The cluster whose requests wait here.
    """

    def __init__(
        self,
        reserve: Callable[[], Slot | None],
        maxsize: int,
        explain: Callable[[], str],
        cluster: Any = None,
    ) -> None:
        self._reserve = reserve
        self._explain = explain
        self.cluster = cluster
        self.maxsize = maxsize
        self._waiting: deque[asyncio.Future[Slot]] = deque()
        self._outside: deque[asyncio.Future[Slot]] = deque()
        self._closed: TransportError | None = None
        self.delay_s = 0.0
        """Moving average of how long requests waited lately, seconds."""

    def qsize(self) -> int:
        """Return the number of waiting requests, at most ``maxsize``."""
        return len(self._waiting)

    def empty(self) -> bool:
        """Return whether no request waits."""
        return not self._waiting

    def full(self) -> bool:
        """Return whether ``maxsize`` requests wait."""
        return len(self._waiting) >= self.maxsize

    async def acquire(self, *, timeout_s: float | None, first: bool = False) -> Slot:
        """Return a reserved slot, waiting for one if need be.

        Args:
            timeout_s: Longest wait, seconds; ``None`` for no limit.
            first: Whether to wait at the head of the queue, for a request whose provider was lost.

        Raises:
            PoolTimeout: No slot within ``timeout_s``.
            TransportError: The queue was closed; the error given to :meth:`close`.
        """
        if self._closed is not None:
            raise self._closed
        if (not self._waiting or first) and (slot := self._reserve()) is not None:
            self.delay_s *= 1 - DELAY_WEIGHT
            return slot
        started = time.monotonic()
        future: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        if first:
            self._waiting.appendleft(future)
        elif self.full():
            self._outside.append(future)
        else:
            self._waiting.append(future)
        try:
            await asyncio.wait((future,), timeout=timeout_s)
            if future.done():
                slot = future.result()
                waited = time.monotonic() - started
                self.delay_s += DELAY_WEIGHT * (waited - self.delay_s)
                return slot
        except asyncio.CancelledError:
            if not future.done():
                self._forget(future)
            elif future.exception() is None:
                future.result().give_back()
            raise
        self._forget(future)
        raise PoolTimeout(f"no provider took the request within {timeout_s} s: {self._explain()}")

    def _forget(self, future: asyncio.Future[Slot]) -> None:
        """Take a request that gave up out of its line; one that was answered has left it."""
        future.cancel()
        for line in (self._waiting, self._outside):
            if future in line:
                line.remove(future)
        self._admit()

    def _admit(self) -> None:
        while self._outside and not self.full():
            self._waiting.append(self._outside.popleft())

    def serve(self) -> None:
        """Hand free slots to waiting requests; call when a slot became free."""
        while self._waiting:
            if self._waiting[0].done():
                self._waiting.popleft()
                continue
            slot = self._reserve()
            if slot is None:
                return
            self._waiting.popleft().set_result(slot)
            self._admit()

    def fail(self, message: str) -> int:
        """Fail every waiting request with :class:`NoNodeAvailable`; return how many."""
        failed = 0
        for line in (self._waiting, self._outside):
            while line:
                future = line.popleft()
                if not future.done():
                    future.set_exception(NoNodeAvailable(message))
                    failed += 1
        return failed

    def close(self, error: TransportError) -> None:
        """Refuse requests from now on and fail those that wait, with ``error``."""
        self._closed = error
        for line in (self._waiting, self._outside):
            while line:
                future = line.popleft()
                if not future.done():
                    future.set_exception(error)

    def open(self) -> None:
        """Take requests again after :meth:`close`."""
        self._closed = None
