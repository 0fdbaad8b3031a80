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
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import zmq

from pylm._frames import LARGE, recv_body

__all__ = ["DRAIN", "Clock", "Loop", "Timer"]

DRAIN: Final = 128
"""Messages taken from one socket before the others get their turn."""

ALONE_MS: Final = 50
"""Longest wait in ``recv`` of a lone socket: how late a stop is noticed."""

_POLLIN: Final = int(zmq.POLLIN)
_POLLOUT: Final = int(zmq.POLLOUT)

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
        self._pipe_lock = threading.RLock()  # a signal handler may stop the loop while it wakes it
        self._alone: tuple[zmq.Socket[bytes], Callable[[Any], object]] | None = None
        self._alone_large = False
        self._alone_ms = -2
        self._is_quiet: Callable[[], bool] = bool
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
        with self._pipe_lock:
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
        try:
            while self._running:
                if self._alone is not None and self._is_quiet():
                    self._serve_alone()
                else:
                    self._turn()
                if self._timers:
                    self.run_due()
        finally:
            self._running = False

    def _turn(self) -> None:
        readers, writers = self._readers, self._writers
        for socket, event in self._poller.poll(self.timeout_ms()):
            if socket == self._wake_out:
                self._drain_wake()
                continue
            if event & _POLLIN:
                reader = readers.get(socket)
                if reader is not None:
                    reader()
            if event & _POLLOUT:
                writer = writers.get(socket)
                if writer is not None:
                    writer()

    def set_alone(
        self,
        socket: zmq.Socket[bytes],
        handler: Callable[[Any], object],
        is_quiet: Callable[[], bool],
    ) -> None:
        """Wait in ``recv`` of this socket, which is cheaper than polling, whenever nothing else can happen.

        Args:
            socket: A reader.
            handler: Takes the first part of a message: ``bytes``, or a view of a large one.
            is_quiet: Whether no other socket needs attention; from then on until a timer or a writer says otherwise.
        """
        self._alone = socket, handler
        self._is_quiet = is_quiet
        self._alone_ms = -2

    def _serve_alone(self) -> None:
        assert self._alone is not None
        socket, handler = self._alone
        if socket not in self._readers:
            self._turn()
            return
        left_ms = self.timeout_ms()
        wait_ms = ALONE_MS if left_ms is None or left_ms > ALONE_MS else max(1, left_ms)
        if wait_ms != self._alone_ms:
            socket.rcvtimeo = self._alone_ms = wait_ms
        soon, timers, writers, receive = self._soon, self._timers, self._writers, socket.recv
        large = self._alone_large
        try:
            for _ in range(DRAIN):
                frame: bytes | memoryview = recv_body(receive, 0, True) if large else receive()
                large = len(frame) >= LARGE
                handler(frame)
                if soon or timers or writers or not self._running:
                    break
        except zmq.Again:
            pass
        self._alone_large = large
        if soon:
            self._drain_wake()

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
        with self._pipe_lock:
            if not self._closed:
                self._closed = True
                os.close(self._wake_in)
                os.close(self._wake_out)
