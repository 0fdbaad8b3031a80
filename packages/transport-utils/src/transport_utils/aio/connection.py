"""One asyncio connection as a protocol: sends a request, parses its response, keeps its time limits.

Used by :mod:`transport_utils.aio.pool` and the asynchronous native backend. The usual response, with a
``Content-Length`` and whole in one read, completes the exchange's future at once; everything else goes through
:class:`transport_utils.h1.ResponseParser`. Belongs to the loop that made it.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import time
from collections.abc import Callable, Generator
from typing import cast

from transport_utils import errors
from transport_utils.deadline import Timeout
from transport_utils.h1 import LIMITS, Head, ResponseParser, parse_head

__all__ = ["Answer", "AsyncConnection"]

_HIGH_BYTES = 1024 * 1024
_RECEIVE_BYTES = 64 * 1024
_HEAD_BYTES = LIMITS.head_bytes
_INF = math.inf


class Answer:
    """What an exchange awaits: a future for one task, which a result continues at once instead of in the next turn.

    A turn of the loop costs a call of the selector, a tenth of a small request. Errors and cancellation take the
    usual way through the loop. Each connection has one, for one exchange after the other.

    Args:
        loop: The running loop.
    """

    __slots__ = ("_asyncio_future_blocking", "_callback", "_context", "_error", "_loop", "_value")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        self._callback: Callable[[Answer], object] | None = None
        self._context: contextvars.Context | None = None
        self._value: tuple[Head, bytes | None] | None = None
        self._error: BaseException | None = None

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop, for the task that waits."""
        return self._loop

    def add_done_callback(
        self, callback: Callable[[Answer], object], *, context: contextvars.Context | None = None
    ) -> None:
        """Keep how the one task that waits is continued; called by the task."""
        self._callback = callback
        self._context = context

    def __await__(self) -> Generator[Answer, None, tuple[Head, bytes | None]]:
        if self._value is None and self._error is None:
            self._asyncio_future_blocking = True
            yield self
        value = self._value
        if value is None:
            return self.result()
        self._value = self._callback = self._context = None  # for the next exchange
        return value

    def done(self) -> bool:
        """Return whether there is a result or an error."""
        return self._value is not None or self._error is not None

    def result(self) -> tuple[Head, bytes | None]:
        """Return head and body, or raise the error."""
        if self._value is None:
            raise self._error or asyncio.InvalidStateError("the exchange has not ended")
        return self._value

    def set_result(self, value: tuple[Head, bytes | None]) -> None:
        """Continue the task with this result; it has run on when this returns."""
        self._value = value
        if self._callback is not None:
            assert self._context is not None
            self._context.run(self._callback, self)

    def set_exception(self, error: BaseException) -> None:
        """Continue the task with this error, in the next turn of the loop."""
        self._error = error
        if self._callback is not None:
            self._loop.call_soon(self._callback, self, context=self._context)

    def cancel(self, msg: object = None) -> bool:
        """Continue the task with ``CancelledError``; called when it is cancelled."""
        if self.done():
            return False
        self.set_exception(asyncio.CancelledError(*([] if msg is None else [msg])))
        return True


class AsyncConnection(asyncio.Protocol):
    """A connection that serves one exchange at a time.

    Attributes:
        lost: Whether it can no longer be used.
        method: Method of the exchange in progress; ``None`` between two.
        served: Requests it has served.
        opened_at: Monotonic seconds.
        idle_since: Monotonic seconds of the last return to the pool.
        started: Whether any byte of the current response has arrived.
        reusable: Whether the exchange that just ended left it fit for another.
        answer: What an exchange awaits.
        write: Sends bytes, never blocking; there once the connection is made.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self.write: Callable[[bytes], object]
        self.answer = Answer(loop)
        self.method: str | None = None
        self._parser: ResponseParser | None = None
        self._stream = False
        self._done: Answer | None = None
        self._more: asyncio.Future[None] | None = None
        self._drain: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self._held = 0
        self._unfit = False
        self._paused_reading = False
        self._paused_writing = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = _INF
        self._timeout: Timeout | None = None
        self._read_s = _INF
        self._write_s = _INF
        self._deadline_at = _INF
        self._moved_at = 0.0
        self.lost = False
        self.served = 0
        self.opened_at = self.idle_since = time.monotonic()
        self.started = False
        self.reusable = False

    # -- the exchange, called by the backend

    def begin(
        self,
        method: str,
        now: float,
        timeout: Timeout,
        deadline_at: float,
        stream: bool,
    ) -> Answer:
        """Prepare for one response, and return what will hold its head and body (``None`` for a streamed one).

        Args:
            method: Method of the request.
            now: Monotonic seconds.
            timeout: Its ``read`` and ``write`` limits apply.
            deadline_at: Monotonic end of the exchange.
            stream: Whether to complete as soon as the head is there.
        """
        self.method = method
        self._stream = stream
        self.started = self.reusable = False
        self._moved_at = now
        if timeout is not self._timeout:
            self._timeout = timeout
            self._read_s = _INF if timeout.read is None else timeout.read
            self._write_s = _INF if timeout.write is None else timeout.write
        self._deadline_at = deadline_at
        due = now + self._read_s
        if deadline_at < due:
            due = deadline_at
        if due < self._timer_at:
            self._set_timer(due, now)
        self._done = done = self.answer
        return done

    async def drain(self) -> None:
        """Wait until the peer has taken enough of what was written.

        Raises:
            OSError: The connection broke.
            TimedOut: A limit was reached.
        """
        if self._error is not None:
            raise self._error
        self._moved_at = now = time.monotonic()
        if self._paused_writing:
            due = min(now + self._write_s, self._deadline_at)
            if due < self._timer_at:
                self._set_timer(due, now)
            self._drain = self._loop.create_future()
            try:
                await self._drain
            finally:
                self._drain = None
            self._moved_at = time.monotonic()

    async def read(self, limit: int) -> bytes:
        """Return up to ``limit`` bytes of a streamed body; empty at its end.

        Raises:
            OSError: The connection broke.
            TransportError: The body is malformed or cut short, or a limit was reached.
        """
        parser = self._parser
        assert parser is not None
        while not parser.pending and not parser.complete:
            if self._error is not None:
                raise self._error
            if self._paused_reading:
                self._resume()
            self._moved_at = now = time.monotonic()
            due = min(now + self._read_s, self._deadline_at)
            if due < self._timer_at:
                self._set_timer(due, now)
            self._more = self._loop.create_future()
            try:
                await self._more
            finally:
                self._more = None
        data = parser.take(limit)
        self._held = 0
        if not data and self._error is not None:
            raise self._error
        return data

    @property
    def unsent_bytes(self) -> int:
        """Bytes written that the peer has not taken yet, as far as the loop knows."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    @property
    def finished(self) -> bool:
        """Whether a streamed body has been read to its end."""
        parser = self._parser
        return parser is not None and parser.complete and not parser.pending

    def end(self) -> None:
        """Note that the exchange is over."""
        self.method = None
        self._done = None
        if self._parser is not None:
            self.reusable = self._parser.reusable and not self._unfit
            self._parser = None
            self._held = 0
            if self._paused_reading:
                self._resume()
        elif self._unfit:
            self.reusable = False

    def keep_from_reuse(self) -> None:
        """Note that the request was not sent to its end, so that the connection cannot serve another."""
        self._unfit = True

    def abort(self, error: BaseException | None = None) -> None:
        """Close at once; whoever waits gets ``error``."""
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._timer_at = _INF
        if error is not None:
            self._give_up(error)
        if self._transport is not None:
            self._transport.abort()

    def drop(self) -> None:
        """Forget the transport without a word on the wire: its loop is gone, or it is a parent process's."""
        self.lost = True
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    # -- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; called by the loop."""
        self._transport = stream = cast("asyncio.Transport", transport)
        self.write = stream.write
        if hasattr(transport, "max_size"):
            # asyncio asks for 256 KiB at a time, which the C library maps and unmaps for every receive.
            transport.max_size = _RECEIVE_BYTES
        stream.set_write_buffer_limits(high=_HIGH_BYTES)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the response; called by the loop."""
        done = self._done
        parser = self._parser
        method = self.method
        if method is None or (done is None and parser is None):
            # Nobody asked: the connection is poisoned.
            self.abort()
            return
        self.started = True
        try:
            if parser is None:
                if not self._stream and done is not None and self._drain is None:
                    end = data.find(b"\r\n\r\n") + 4
                    if 4 < end <= _HEAD_BYTES:
                        head = parse_head(data[:end], method)
                        if head.length == len(data) - end and head.status >= 200:
                            self.reusable = head.keep_alive
                            self.method = self._done = None
                            # Whoever waits may go on, even to the next exchange here, before this returns.
                            if done._error is None:
                                done.set_result((head, data[end:]))
                            return
                self._parser = parser = ResponseParser(method)
            self._moved_at = time.monotonic()
            parser.feed(data)
        except errors.TransportError as error:
            self._give_up(error)
            return
        if self._stream:
            self._held += len(data)
            if self._held > _HIGH_BYTES and not self._paused_reading and not self.lost:
                assert self._transport is not None
                self._transport.pause_reading()
                self._paused_reading = True
        self._report(parser)

    def _report(self, parser: ResponseParser) -> None:
        if self._more is not None and not self._more.done():
            self._more.set_result(None)
        done = self._done
        if done is not None and parser.head is not None and (self._stream or parser.complete):
            self._done = None
            if not done.done():
                done.set_result((parser.head, None if self._stream else parser.take()))

    def _resume(self) -> None:
        self._paused_reading = False
        if not self.lost and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def eof_received(self) -> None:
        """Note that the peer sends no more; called by the loop."""
        self._ended(None)

    def connection_lost(self, error: Exception | None) -> None:
        """Note the end of the connection; called by the loop."""
        self._ended(error)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ended(self, error: Exception | None) -> None:
        self.lost = True
        parser = self._parser
        if self.method is None or self._error is not None:
            return
        if parser is not None and parser.complete:
            return
        if error is None and parser is not None and parser.started:
            try:
                parser.feed_eof()
            except errors.TransportError as broken:
                self._give_up(broken)
            else:
                self._report(parser)
        else:
            self._give_up(error or ConnectionResetError("closed without an answer"))

    def pause_writing(self) -> None:
        """Make :meth:`drain` wait; called by the loop."""
        self._paused_writing = True

    def resume_writing(self) -> None:
        """Let :meth:`drain` go on; called by the loop."""
        self._paused_writing = False
        if self._drain is not None and not self._drain.done():
            self._drain.set_result(None)

    # -- limits

    def _set_timer(self, at: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_later(at - now, self._look)

    def _look(self) -> None:
        """Compare the clock with the limits of the exchange in progress, and come back when the next may be reached."""
        self._timer = None
        self._timer_at = _INF
        if self.method is None:
            return
        now = time.monotonic()
        writing = self._drain is not None
        idle = self._paused_reading or (self._done is None and self._more is None and not writing)
        silence_at = self._moved_at + (self._write_s if writing else self._read_s)
        if now >= self._deadline_at:
            self._give_up(errors.TotalTimeout("no time left while waiting for the response"))
        elif not idle and now >= silence_at - 0.001:
            if writing:
                self._give_up(errors.WriteTimeout(f"the peer took no data for {self._write_s:g} s"))
            else:
                self._give_up(errors.ReadTimeout(f"the peer sent nothing for {self._read_s:g} s"))
        else:
            due = min(self._deadline_at, now + 1.0 if idle else silence_at)
            if due != _INF:
                self._set_timer(due, now)

    def _give_up(self, error: BaseException) -> None:
        self._error = error
        self.lost = True
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)
        for waiter in (self._more, self._drain):
            if waiter is not None and not waiter.done():
                waiter.set_exception(error)
                # The exchange may have been cancelled meanwhile; nobody need ask for it then.
                waiter.exception()
