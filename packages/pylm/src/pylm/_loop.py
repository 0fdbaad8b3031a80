"""The poll loop that every server, worker and side service runs on: sockets, timers, wake-ups, one thread.

Handlers are called when their socket is readable and are expected to drain it with ``NOBLOCK`` up to
:data:`DRAIN` messages. Everything of a loop runs in the thread that called :meth:`Loop.run`; only ``stop`` and
``call_soon_threadsafe`` may be called from elsewhere (or from a signal handler).
"""

from __future__ import annotations

import collections
import contextlib
import heapq
import itertools
import os
import time
from collections.abc import Callable
from typing import Any, Final

import zmq

__all__ = ["DRAIN", "Clock", "Loop", "Timer"]

DRAIN: Final = 128
"""Messages taken from one socket before the others get their turn."""

Clock = Callable[[], float]


class Timer:
    """A call that a loop will make; ``cancel`` prevents it."""

    __slots__ = ("at", "call", "cancelled")

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        """Prevent the call; harmless afterwards."""
        self.cancelled = True


class Loop:
    """One thread's poll loop.

    Args:
        clock: Monotonic seconds; tests give their own.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.clock = clock
        self._poller = zmq.Poller()
        self._readers: dict[Any, Callable[[], object]] = {}
        self._writers: dict[Any, Callable[[], object]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._soon: collections.deque[Callable[[], None]] = collections.deque()
        self._running = False
        self._closed = False
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_out, False)
        os.set_blocking(self._wake_in, False)
        self._poller.register(self._wake_out, zmq.POLLIN)

    def add_reader(self, socket: zmq.Socket[bytes], handler: Callable[[], object]) -> None:
        """Call ``handler`` whenever ``socket`` is readable."""
        self._readers[socket] = handler
        self._register(socket)

    def remove_reader(self, socket: zmq.Socket[bytes]) -> None:
        """Stop reading ``socket``: its peers' queues fill up, which is the back-pressure."""
        self._readers.pop(socket, None)
        self._register(socket)

    def add_writer(self, socket: zmq.Socket[bytes], handler: Callable[[], object]) -> None:
        """Call ``handler`` whenever ``socket`` can take a message, until removed."""
        self._writers[socket] = handler
        self._register(socket)

    def remove_writer(self, socket: zmq.Socket[bytes]) -> None:
        """Undo :meth:`add_writer`."""
        if self._writers.pop(socket, None) is not None:
            self._register(socket)

    def _register(self, socket: zmq.Socket[bytes]) -> None:
        events = (zmq.POLLIN if socket in self._readers else 0) | (
            zmq.POLLOUT if socket in self._writers else 0
        )
        if events:
            self._poller.register(socket, events)
        elif socket in self._poller:
            self._poller.unregister(socket)

    def call_at(self, at: float, call: Callable[[], None]) -> Timer:
        """Call once at ``at`` on the loop's clock."""
        timer = Timer(at, call)
        heapq.heappush(self._timers, (at, next(self._order), timer))
        return timer

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Call once in ``delay_s`` seconds."""
        return self.call_at(self.clock() + delay_s, call)

    def call_soon_threadsafe(self, call: Callable[[], None]) -> None:
        """Call from the loop's thread at its next turn; the only door for other threads and signal handlers."""
        self._soon.append(call)
        self._wake()

    def _wake(self) -> None:
        if not self._closed:
            with contextlib.suppress(BlockingIOError):
                os.write(self._wake_in, b"\0")

    @property
    def running(self) -> bool:
        """Whether :meth:`run` is active."""
        return self._running

    def stop(self) -> None:
        """Make :meth:`run` return after the present turn; thread-safe."""
        self.call_soon_threadsafe(self._halt)

    def _halt(self) -> None:
        self._running = False

    def run(self) -> None:
        """Serve until :meth:`stop`; exceptions of handlers pass through."""
        self._running = True
        poll = self._poller.poll
        readers, writers = self._readers, self._writers
        try:
            while self._running:
                for socket, event in poll(self.timeout_ms()):
                    if socket == self._wake_out:
                        self._drain_wake()
                        continue
                    if event & zmq.POLLIN:
                        reader = readers.get(socket)
                        if reader is not None:
                            reader()
                    if event & zmq.POLLOUT:
                        writer = writers.get(socket)
                        if writer is not None:
                            writer()
                if self._timers:
                    self.run_due()
        finally:
            self._running = False

    def _drain_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_out, 4096)
        while self._soon:
            self._soon.popleft()()

    def timeout_ms(self) -> int | None:
        """Return how long the next poll may wait: milliseconds rounded up, or ``None`` without timers."""
        timers = self._timers
        while timers and timers[0][2].cancelled:
            heapq.heappop(timers)
        if not timers:
            return None
        return max(0, int((timers[0][0] - self.clock()) * 1000) + 1)

    def run_due(self) -> None:
        """Run every timer that is due; :meth:`run` does, and tests with a fake clock."""
        now = self.clock()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if not timer.cancelled:
                timer.call()

    def close(self) -> None:
        """Release the wake-up pipe; the sockets belong to their owners."""
        if not self._closed:
            self._closed = True
            os.close(self._wake_in)
            os.close(self._wake_out)
