"""Keeps asyncio connections to one endpoint open and lends them out; belongs to one event loop.

Used by the asynchronous native backend and batch. The counterpart of :mod:`transport_utils.pool`: leases take the
most recently used connection in constant time, waiters are served in order, a cancelled waiter or opener gives its
place back. Time limits cost no timer per request: each connection and each pool keeps one timer that looks at the
clock.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import math
import os
import time
from collections.abc import Callable

from transport_utils.aio.connection import AsyncConnection
from transport_utils.aio.dialing import dial
from transport_utils.deadline import Deadline, Timeout
from transport_utils.endpoint import Endpoint
from transport_utils.errors import ConnectTimeout, PoolTimeout, TotalTimeout, TransportClosed
from transport_utils.hooks import PoolEvent

__all__ = ["AsyncConnectionPool"]


class AsyncConnectionPool:
    """The connections of one event loop to one endpoint.

    Args:
        endpoint: Gives ``max_connections`` (a hard limit), ``max_idle_s`` and ``max_age_s``.
        loop: The running loop.
        on_event: Told what happens to connections; ``None`` for nobody.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        loop: asyncio.AbstractEventLoop,
        on_event: Callable[[Endpoint, PoolEvent], object] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._on_event = on_event
        self.base_url = endpoint.base_url
        self.loop = loop
        self.closed = False
        self._pid = os.getpid()
        self._max_idle_s = math.inf if endpoint.max_idle_s is None else endpoint.max_idle_s
        self._max_age_s = math.inf if endpoint.max_age_s is None else endpoint.max_age_s
        self._idle: collections.deque[AsyncConnection] = collections.deque()
        self._open: set[AsyncConnection] = set()
        self._reserved = 0
        self._waiters: collections.deque[asyncio.Future[AsyncConnection | None]] = (
            collections.deque()
        )
        self._drained: asyncio.Event | None = None

    @property
    def open_count(self) -> int:
        """Connections that are open or being opened, at most ``max_connections``."""
        return self._reserved

    @property
    def idle_count(self) -> int:
        """Open connections that nobody uses."""
        return len(self._idle)

    def usable_in(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Return whether the pool belongs to this loop and this process."""
        return loop is self.loop and os.getpid() == self._pid

    def take_idle(self, now: float) -> AsyncConnection | None:
        """Return an idle connection that is fit for use, or ``None``."""
        while self._idle:
            connection = self._idle.pop()
            if (
                not connection.lost
                and now - connection.idle_since < self._max_idle_s
                and now - connection.opened_at < self._max_age_s
            ):
                if self._on_event is not None:
                    self._on_event(self.endpoint, PoolEvent.REUSED)
                return connection
            self._expire(connection)
        return None

    async def lease(self, timeout: Timeout, deadline: Deadline, now: float) -> AsyncConnection:
        """Return a connection, waiting for or opening one if none is idle.

        Raises:
            PoolTimeout: All connections stayed busy.
            TotalTimeout: The deadline came first.
            TransportClosed: The pool is closed.
            ConnectError: As :func:`transport_utils.sockets.dial`, like ConnectTimeout, DnsError and TlsError.
        """
        if self.closed:
            raise self._closed_error()
        while self._reserved >= self.endpoint.max_connections:
            waited = await self._wait(timeout, deadline, now)
            if waited is None:
                break
            if not waited.lost:
                return waited
            self.discard(waited)
        else:
            self._reserved += 1
        return await self._dial(timeout, deadline)

    async def _wait(
        self, timeout: Timeout, deadline: Deadline, now: float
    ) -> AsyncConnection | None:
        """Wait for a connection, or for the right to open one (``None``)."""
        if self._on_event is not None:
            self._on_event(self.endpoint, PoolEvent.EXHAUSTED)
        waiter: asyncio.Future[AsyncConnection | None] = self.loop.create_future()
        self._waiters.append(waiter)
        limit_s = deadline.bound(timeout.pool, now)
        timer = None if limit_s is None else self.loop.call_later(limit_s, _expire, waiter)
        try:
            return await waiter
        except TimeoutError as error:
            spent = time.monotonic() - now
            kind = TotalTimeout if deadline.expired(time.monotonic()) else PoolTimeout
            raise kind(
                f"all {self.endpoint.max_connections} connections to {self.base_url} stayed busy for {spent:.1f} s; "
                "raise max_connections, or send less at once",
                node=self.base_url,
            ) from error
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                # Served and cancelled in the same turn: pass the place on.
                self._pass_on(waiter.result())
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _pass_on(self, connection: AsyncConnection | None) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        if connection is None:
            self._reserved -= 1
        else:
            self._idle.append(connection)

    async def _dial(self, timeout: Timeout, deadline: Deadline) -> AsyncConnection:
        until = Deadline.after(timeout.connect, time.monotonic())
        if deadline.at < until.at:
            until = deadline
        try:
            connection = await dial(self.endpoint, until)
        except BaseException as cause:
            self._pass_on(None)
            if isinstance(cause, ConnectTimeout) and deadline.expired(time.monotonic()):
                raise TotalTimeout(
                    f"no time left while connecting to {self.base_url}", node=self.base_url
                ) from cause
            raise
        if self.closed:
            connection.abort()
            self._reserved -= 1
            raise self._closed_error()
        self._open.add(connection)
        if self._on_event is not None:
            self._on_event(self.endpoint, PoolEvent.OPENED)
        return connection

    def release(self, connection: AsyncConnection) -> None:
        """Give back a connection that is ready for another request."""
        if self.closed or connection.lost:
            self.discard(connection)
            return
        connection.idle_since = now = time.monotonic()
        if self._on_event is not None:
            self._on_event(self.endpoint, PoolEvent.RETURNED)
        if self._waiters:
            self._pass_on(connection)
            return
        idle = self._idle
        idle.append(connection)
        if len(idle) > 1 and now - idle[0].idle_since > self._max_idle_s:
            self._expire(idle.popleft())

    def discard(self, connection: AsyncConnection) -> None:
        """Close a leased connection and make room for another."""
        if self._on_event is not None:
            self._on_event(self.endpoint, PoolEvent.CLOSED)
        self._drop(connection)

    def _expire(self, connection: AsyncConnection) -> None:
        if self._on_event is not None:
            self._on_event(self.endpoint, PoolEvent.EXPIRED)
        self._drop(connection)

    def _drop(self, connection: AsyncConnection) -> None:
        connection.abort()
        if connection in self._open:
            self._open.remove(connection)
            self._pass_on(None)
            if not self._open and self._drained is not None:
                self._drained.set()

    async def close(self, drain_s: float = 0.0) -> None:
        """Close all connections; idempotent. Whoever waits or is in the middle of an exchange gets an error.

        Args:
            drain_s: How long exchanges in progress may go on, seconds.
        """
        self._stop()
        if self._open and drain_s > 0:
            self._drained = asyncio.Event()
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self._drained.wait(), drain_s)
        self.close_now()
        # Transports close in the next turn of the loop.
        await asyncio.sleep(0)

    def close_now(self) -> None:
        """Close all connections without waiting; exchanges in progress get an error."""
        self._stop()
        for connection in list(self._open):
            connection.abort(self._closed_error())

    def _stop(self) -> None:
        self.closed = True
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(self._closed_error())
        while self._idle:
            self._expire(self._idle.pop())

    def abandon(self) -> None:
        """Drop the connections of a loop that is gone, or of a parent process, without a word on the wire."""
        self.closed = True
        for connection in (*self._open, *self._idle):
            connection.drop()
        self._open.clear()
        self._idle.clear()

    def _closed_error(self) -> TransportClosed:
        return TransportClosed(
            f"the connections to {self.base_url} have been closed", node=self.base_url
        )


def _expire(waiter: asyncio.Future[AsyncConnection | None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())
