"""A client's link, driven by an event loop: no thread waits for an answer.

ZeroMQ signals a change of its receiving socket on a descriptor; the event loop watches it, takes in what has arrived
and wakes the calls concerned. Sending never waits inside ZeroMQ. Only an iterator that is neither a list nor the like
runs in a thread, one of a few, for as long as it has messages to give, since it may wait for something.

Called by :mod:`pylm.aio`. Source: wire reference, section G9.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import zmq

from pylm._jobs import BURST, READY_ITERABLES, JobRun
from pylm._link import Answer, Call, Link
from pylm.config import ConfigurationError, Overflow
from pylm.errors import Closed, Overloaded

__all__ = ["AsyncCall", "AsyncLink"]

_ROOM_S: Final = 0.002
"""Between two looks at a full queue."""
_SLICE: Final = 256
"""Messages a thread takes from an iterator before the event loop has a look."""
_FEEDERS: Final = 8


class _Inbox(collections.deque[Answer]):
    """Answers of a call; a new one wakes who waits for it."""

    def __init__(self, call: AsyncCall) -> None:
        super().__init__()
        self._call = call

    def append(self, answer: Answer) -> None:
        super().append(answer)
        self._call.wake()


class AsyncCall(Call):
    """A call whose answers a task waits for."""

    __slots__ = ("waiter",)

    def __init__(self, *, uses_ids: bool, keep: bool) -> None:
        super().__init__(uses_ids=uses_ids, keep=keep)
        self.waiter: asyncio.Future[None] | None = None
        self.answers = _Inbox(self)

    def wake(self) -> None:
        """Let the waiting task look again; in the event loop's thread."""
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class AsyncLink:
    """Waits for a :class:`~pylm._link.Link` in the running event loop.

    Args:
        link: Connected; nobody else may wait for its answers.

    Belongs to the event loop it was made in.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self._loop = asyncio.get_running_loop()
        self._receiver = receiver = link.receiver
        self._descriptor = int(receiver.getsockopt(zmq.FD))
        self._calls: set[AsyncCall] = set()
        self._room = asyncio.Lock()
        self._feeders: ThreadPoolExecutor | None = None
        self._loop.add_reader(self._descriptor, self._take_in)
        self._take_in()

    def check_loop(self) -> None:
        """Refuse to work for another event loop.

        Raises:
            ConfigurationError: This is another one; the client would wait for ever.
        """
        if asyncio.get_running_loop() is not self._loop:
            raise ConfigurationError(
                "this client belongs to the event loop of its first call; make one per event loop"
            )

    def _take_in(self) -> None:
        """Hand out what has arrived; the descriptor speaks once per change, so nothing may be left unseen."""
        if self.link.is_closed:
            return
        self.link.poll()
        if int(self._receiver.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            self._loop.call_soon(self._take_in)

    async def send(self, frame: bytes, deadline: float, overflow: Overflow) -> bool:
        """Do what :meth:`Link.send` does, without holding the thread."""
        link = self.link
        if link.try_send(frame):
            return True
        if overflow == "block":
            async with self._room:
                while time.monotonic() < deadline:
                    await asyncio.sleep(_ROOM_S)
                    if link.try_send(frame):
                        return True
        return link.send(frame, 0.0, overflow, feeding=True)

    async def wait(self, call: AsyncCall, deadline: float) -> bool:
        """Wait until the call has an answer, failed or the deadline passed; return whether it has one.

        Raises:
            Closed: The client was closed meanwhile.
        """
        while not call.answers:
            if self.link.is_closed:
                raise Closed("the client was closed while a call waited")
            left = deadline - time.monotonic()
            if left <= 0 or call.error is not None:
                return False
            call.waiter = self._loop.create_future()
            self._calls.add(call)
            timer = self._loop.call_later(left, call.wake) if left < float("inf") else None
            try:
                await call.waiter
            finally:
                if timer is not None:
                    timer.cancel()
                self._calls.discard(call)
                call.waiter = None
        return True

    async def ask(self, job: JobRun, payload: Any) -> Answer:
        """Send one message that may not be sent twice; return its answer.

        Raises:
            Overloaded: There was no room.
            TimedOut: No answer in time.
            Closed: The client was closed meanwhile.
        """
        call = job.call
        assert isinstance(call, AsyncCall)
        deadline = job.deadline()
        if not await self.send(job.frame(payload), deadline, job.runner.overflow):
            raise Overloaded(f"{job.describe}: the queue to the server is full; nothing was sent")
        if not await self.wait(call, deadline):
            raise job.silence()
        return call.answers.popleft()

    async def run(
        self, job: JobRun, payloads: Iterable[Any] | AsyncIterable[Any], messages: int
    ) -> AsyncGenerator[Answer, None]:
        """Send and receive: :meth:`JobRun.run` for an event loop; the job's call is an :class:`AsyncCall`."""
        call = job.call
        assert isinstance(call, AsyncCall)
        if messages <= 0 and isinstance(payloads, itertools.repeat):
            return
        feeding = self._loop.create_task(self._feed(job, call, payloads))
        try:
            if messages <= 0:
                await feeding
            job.answered()
            while job.received < messages:
                job.send_again()
                if call.answers:
                    job.received += 1
                    yield call.answers.popleft()
                    if not call.answers:
                        job.answered()
                    continue
                if call.error is not None:
                    break
                if await self.wait(call, job.wake_at()) or call.error is not None:
                    continue
                if job.is_over():
                    break
            if call.error is not None and job.received < messages:
                raise call.error
        finally:
            call.stopped = True
            feeding.cancel()

    async def _feed(
        self, job: JobRun, call: AsyncCall, payloads: Iterable[Any] | AsyncIterable[Any]
    ) -> None:
        try:
            if isinstance(payloads, AsyncIterable):
                async for payload in payloads:
                    await self._feed_one(job, payload)
            elif isinstance(payloads, READY_ITERABLES):
                for number, payload in enumerate(payloads):
                    await self._feed_one(job, payload)
                    if not number % BURST:
                        await asyncio.sleep(0)
            else:
                await self._feed_from_thread(job, call, iter(payloads))
        except Exception as error:
            call.error = error
        finally:
            call.exhausted = True
            call.wake()

    async def _feed_one(self, job: JobRun, payload: Any) -> None:
        while job.is_ahead():
            await asyncio.sleep(_ROOM_S)
        await self.send(job.frame(payload), job.deadline(), job.runner.overflow)

    async def _feed_from_thread(
        self, job: JobRun, call: AsyncCall, payloads: Iterator[Any]
    ) -> None:
        if self._feeders is None:
            self._feeders = ThreadPoolExecutor(_FEEDERS, thread_name_prefix="pylm-aio-feeder")

        ended = False

        def some() -> bytes | None:
            """Send a few messages; return one for which there was no room."""
            nonlocal ended
            taken = 0
            try:
                while not job.is_ahead() and not call.stopped and taken < _SLICE:
                    taken += 1
                    frame = job.frame(next(payloads))
                    if not self.link.try_send(frame):
                        return frame
            except StopIteration:
                ended = True
            finally:
                if call.stopped:  # meanwhile, so what was sent since then is not expected any more
                    self.link.finish(call)
            return None

        while not ended:
            left = await self._loop.run_in_executor(self._feeders, some)
            if left is not None:
                await self.send(left, job.deadline(), job.runner.overflow)
            while job.is_ahead():
                await asyncio.sleep(_ROOM_S)

    def close(self) -> None:
        """Stop watching, close the sockets, and end every call with :class:`~pylm.errors.Closed`."""
        if not self.link.is_closed:
            self._loop.remove_reader(self._descriptor)
        self.link.close()
        for call in self._calls:
            call.wake()
        if self._feeders is not None:
            self._feeders.shutdown(wait=False)
