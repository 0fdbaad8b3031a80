"""Keeps connections to one endpoint open and lends them out; thread-safe and fork-safe.

Used by the native backend and batch. A lease takes the most recently used connection in constant time and without a
lock; a lock is taken only to open, to wait or to close. A forked child forgets all connections of its parent without
disturbing them.
"""

from __future__ import annotations

import collections
import math
import os
import threading
import time
import weakref
from collections.abc import Callable

from transport_utils import sockets
from transport_utils.deadline import Deadline, Timeout
from transport_utils.endpoint import Endpoint
from transport_utils.errors import PoolTimeout, TotalTimeout, TransportClosed
from transport_utils.hooks import PoolEvent

__all__ = ["ConnectionPool"]

_FRESH_S = 1.0
"""A connection idle for less is not tested before use: the race would be lost as often."""


class ConnectionPool:
    """The connections to one endpoint.

    Args:
        endpoint: Gives ``max_connections`` (a hard limit), ``max_idle_s`` and ``max_age_s``.
        on_event: Told what happens to connections; ``None`` for nobody.

    All methods may be called from any thread. Whoever leases must call :meth:`release` or :meth:`discard` once.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        on_event: Callable[[Endpoint, PoolEvent], object] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._on_event = on_event
        self.base_url = endpoint.base_url
        self._max_idle_s = math.inf if endpoint.max_idle_s is None else endpoint.max_idle_s
        self._max_age_s = math.inf if endpoint.max_age_s is None else endpoint.max_age_s
        self._fresh_s = min(_FRESH_S, self._max_idle_s)
        self._reset()
        self._closed = False
        _POOLS.add(self)

    def _reset(self) -> None:
        self._idle: collections.deque[sockets.Connection] = collections.deque()
        self._open: set[sockets.Connection] = set()
        self._reserved = 0
        self._waiting = 0
        # Reentrant, since a forgotten response may be collected, and its connection closed, while we hold it.
        self._changed = threading.Condition(threading.RLock())
        self._generation = _generation

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` has been called."""
        return self._closed

    @property
    def open_count(self) -> int:
        """Connections that are open or being opened, at most ``max_connections``."""
        return self._reserved

    @property
    def idle_count(self) -> int:
        """Open connections that nobody uses."""
        return len(self._idle)

    def lease(self, timeout: Timeout, deadline: Deadline, now: float) -> sockets.Connection:
        """Return a connection, idle or new, for the caller alone.

        Args:
            timeout: Its ``pool`` and ``connect`` limits apply.
            deadline: The call's end; an earlier one wins over both.
            now: Monotonic seconds.

        Raises:
            PoolTimeout: All connections stayed busy.
            TotalTimeout: The deadline came first.
            TransportClosed: The pool is closed.
            TransportError: As :func:`transport_utils.sockets.dial`.
        """
        return self.take_idle(now) or self._lease_new(timeout, deadline, now)

    @property
    def is_full(self) -> bool:
        """Whether a lease would have to wait, as far as can be told without a lock."""
        return not self._idle and self._reserved >= self.endpoint.max_connections

    def take_idle(self, now: float) -> sockets.Connection | None:
        """Return an idle connection that is fit for use, or ``None``; neither waits nor opens."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if (
                now - connection.idle_since < self._fresh_s
                and now - connection.opened_at < self._max_age_s
            ) or self._is_usable(connection, now):
                if self._on_event is not None:
                    self._on_event(self.endpoint, PoolEvent.REUSED)
                return connection
            self._expire(connection)

    def _is_usable(self, connection: sockets.Connection, now: float) -> bool:
        idle_s = now - connection.idle_since
        return (
            idle_s < self._max_idle_s
            and now - connection.opened_at < self._max_age_s
            and (idle_s < _FRESH_S or not connection.is_readable())
        )

    def _lease_new(self, timeout: Timeout, deadline: Deadline, now: float) -> sockets.Connection:
        waited = self._reserve(timeout, deadline, now)
        if waited is not None:
            return waited
        try:
            until = Deadline.after(timeout.connect, time.monotonic())
            if deadline.at < until.at:
                until = deadline
            connection = sockets.dial(self.endpoint, until, self._generation)
        except BaseException as error:
            with self._changed:
                self._reserved -= 1
                self._changed.notify()
            if isinstance(error, TimeoutError) and time.monotonic() >= deadline.at:
                raise TotalTimeout(
                    f"no time left while connecting to {self.base_url}", node=self.base_url
                ) from error
            raise
        with self._changed:
            closed = self._closed
            if not closed:
                self._open.add(connection)
        if closed:
            connection.close()
            raise self._closed_error()
        if self._on_event is not None:
            self._on_event(self.endpoint, PoolEvent.OPENED)
        return connection

    def _reserve(
        self, timeout: Timeout, deadline: Deadline, now: float
    ) -> sockets.Connection | None:
        """Return an idle connection, or ``None`` once there is room to open one."""
        limit = self.endpoint.max_connections
        if self._on_event is not None and self._reserved >= limit:
            self._on_event(self.endpoint, PoolEvent.EXHAUSTED)
        give_up = deadline.bound(timeout.pool, now)
        until = math.inf if give_up is None else now + give_up
        with self._changed:
            self._waiting += 1
            try:
                while True:
                    if self._closed:
                        raise self._closed_error()
                    # Looked at again under the lock, after announcing ourselves: see release().
                    try:
                        return self._idle.pop()
                    except IndexError:
                        pass
                    if self._reserved < limit:
                        self._reserved += 1
                        return None
                    left = until - time.monotonic()
                    if left <= 0:
                        raise self._busy_error(deadline, now)
                    self._changed.wait(None if left == math.inf else left)
            finally:
                self._waiting -= 1

    def _busy_error(self, deadline: Deadline, started: float) -> TotalTimeout | PoolTimeout:
        now = time.monotonic()
        limit = self.endpoint.max_connections
        kind = TotalTimeout if deadline.expired(now) else PoolTimeout
        return kind(
            f"all {limit} connections to {self.base_url} stayed busy for {now - started:.1f} s; "
            "raise max_connections, or send less at once",
            node=self.base_url,
        )

    def _closed_error(self) -> TransportClosed:
        return TransportClosed(
            f"the connections to {self.base_url} have been closed", node=self.base_url
        )

    def release(self, connection: sockets.Connection) -> None:
        """Give back a connection that is ready for another request."""
        if connection.generation != self._generation:
            connection.close()
            return
        connection.idle_since = now = time.monotonic()
        if self._on_event is not None:
            self._on_event(self.endpoint, PoolEvent.RETURNED)
        idle = self._idle
        idle.append(connection)
        # A waiter announces itself before it looks at the idle ones, so one of us two sees the other.
        if self._waiting:
            with self._changed:
                self._changed.notify()
        if self._closed:
            self._close_idle()
        elif len(idle) > 1 and now - idle[0].idle_since > self._max_idle_s:
            self._drop_oldest(now)

    def _drop_oldest(self, now: float) -> None:
        try:
            oldest = self._idle.popleft()
        except IndexError:
            return
        if now - oldest.idle_since > self._max_idle_s:
            self._expire(oldest)
        else:
            self._idle.appendleft(oldest)

    def discard(self, connection: sockets.Connection) -> None:
        """Close a leased connection and make room for another."""
        if self._on_event is not None:
            self._on_event(self.endpoint, PoolEvent.CLOSED)
        self._drop(connection)

    def _expire(self, connection: sockets.Connection) -> None:
        if self._on_event is not None:
            self._on_event(self.endpoint, PoolEvent.EXPIRED)
        self._drop(connection)

    def _drop(self, connection: sockets.Connection) -> None:
        connection.close()
        if connection.generation != self._generation:
            return
        with self._changed:
            if connection in self._open:
                self._open.remove(connection)
                self._reserved -= 1
                self._changed.notify()

    def close(self, drain_s: float = 0.0) -> None:
        """Close all connections; idempotent. Whoever waits or is in the middle of an exchange gets an error.

        Args:
            drain_s: How long exchanges in progress may go on, seconds.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._close_idle()
        until = time.monotonic() + drain_s
        with self._changed:
            while self._open and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            for connection in self._open:
                connection.shut_down()

    def _close_idle(self) -> None:
        while True:
            try:
                self._expire(self._idle.pop())
            except IndexError:
                return

    def forget_parent(self) -> None:
        """Drop, without a word on the wire, what a forked child inherited; called in the child."""
        inherited = self._open
        self._reset()
        for connection in inherited:
            connection.close()


_POOLS: weakref.WeakSet[ConnectionPool] = weakref.WeakSet()
_generation = 0


def _after_fork() -> None:
    global _generation
    _generation += 1
    for pool in list(_POOLS):
        pool.forget_parent()


os.register_at_fork(after_in_child=_after_fork)
