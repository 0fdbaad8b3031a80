"""Reader and writer for asyncio, with the rules of the synchronous ones.

The queue on disk is used in a thread of its own, the network in the event loop. Not in 1.40.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import time
import uuid
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from infi.ramen_client._wire import Wire
from infi.ramen_client.blacklist import Blacklist
from infi.ramen_client.config import QueueReaderConfig, QueueWriterConfig
from infi.ramen_client.delivery import (
    ACCEPTED,
    DROPPED,
    EMPTY,
    RETRY,
    Delivery,
    Stats,
    reqid_of,
    status_of,
)
from infi.ramen_client.diskqueue import DeadLetters, FileLock, Sleeper
from infi.ramen_client.errors import QueueError
from infi.ramen_client.exchange import AsyncExchange, Failure
from infi.ramen_client.queue import DefaultQueue
from infi.ramen_client.queue_reader import ERROR_PAUSE_S, PLACE_CHECK_S, STANDBY_S, refusal
from infi.ramen_client.queue_writer import QueueWriter
from infi.ramen_client.replies import Reply, Verdict, Verdicts, judge
from infi.ramen_client.status import StatusFile
from infi.ramen_client.telemetry import guarded, with_telemetry

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["AsyncQueueReader", "AsyncQueueWriter"]

logger = logging.getLogger("ramen_client")

T = TypeVar("T")


class AsyncQueueWriter:
    """:class:`~infi.ramen_client.queue_writer.QueueWriter` whose methods are awaited.

    Safe for any number of tasks; their pushes share commits. Use from one event loop.

    Args:
        config: A valid configuration.
        options: Options of :class:`~infi.ramen_client.queue_writer.QueueWriter`.

    Raises:
        AssertionError: ``config`` is no :class:`QueueWriterConfig`.
        DataError: ``config`` is not valid.
    """

    def __init__(self, config: QueueWriterConfig, **options: Any) -> None:
        self._writer = QueueWriter(config, **options)

    async def push(
        self, category: Any, data_type: Any, data_version: Any, data: Any, reqid: Any = None
    ) -> None:
        """Store one message and return when it is durable; see :meth:`QueueWriter.push`.

        A push that is cancelled may still be stored.

        Raises:
            AssertionError: As for :meth:`QueueWriter.push`.
            EncodingError: As for :meth:`QueueWriter.push`.
            QueueError: As for :meth:`QueueWriter.push`.
        """
        future = self._writer.push_nowait(category, data_type, data_version, data, reqid)
        await asyncio.wrap_future(future)

    async def push_many(self, messages: Iterable[tuple[Any, ...]]) -> int:
        """Store messages in one transaction; see :meth:`QueueWriter.push_many`.

        Raises:
            AssertionError: As for :meth:`QueueWriter.push`.
            QueueError: As for :meth:`QueueWriter.push`.
        """
        return await asyncio.to_thread(self._writer.push_many, list(messages))

    async def queue_size(self) -> int:
        """Return the number of messages in the queue.

        Raises:
            QueueError: The queue cannot be read.
        """
        return await asyncio.to_thread(self._writer.queue_size)

    async def aclose(self) -> None:
        """Finish what was pushed and close all files."""
        await asyncio.to_thread(self._writer.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class AsyncQueueReader:
    """:class:`~infi.ramen_client.queue_reader.QueueReader` for asyncio: the same rules, awaited.

    Belongs to one event loop; one task sends at a time. Cancelling :meth:`run` ends a request in progress at once; its
    message is sent again by the next run.

    Args:
        config: A valid configuration.
        encoding: As for :class:`QueueReader`.
        trust_env: As for :class:`QueueReader`.
        max_retry_delay: As for :class:`QueueReader`.
        dead_after: As for :class:`QueueReader`.
        on_event: As for :class:`QueueReader`; called in a thread or in the event loop.

    Raises:
        AssertionError: ``config`` is no :class:`QueueReaderConfig`.
        DataError: ``config`` is not valid.
        OSError: The queue's folder cannot be created.
    """

    EMPTY = EMPTY
    ACCEPTED = ACCEPTED
    DROPPED = DROPPED
    RETRY = RETRY

    def __init__(
        self,
        config: QueueReaderConfig,
        *,
        encoding: str = "zlib",
        trust_env: bool = False,
        max_retry_delay: float = 600.0,
        dead_after: int | None = None,
        on_event: Callable[..., None] | None = None,
    ) -> None:
        if not isinstance(config, QueueReaderConfig):
            raise AssertionError("QueueReaderConfig instance is required")
        config.validate()
        self._on_event = guarded(on_event) or (lambda *_args, **_facts: None)
        self._queue = DefaultQueue(config, on_event=on_event)
        files = self._queue.disk.files
        self._blacklist = Blacklist(config, files.blacklist)
        self._wire = Wire(config, encoding=encoding, trust_env=trust_env)
        self._exchange = AsyncExchange(self._wire)
        self._lock = FileLock(files, files.reader)
        self._delivery = Delivery(
            config,
            self._queue.disk,
            self._blacklist,
            DeadLetters(files),
            on_batch=self._mark,
            is_stopped=lambda: self._stopping,
            max_retry_delay_s=max_retry_delay,
            dead_after=dead_after,
            on_event=with_telemetry(on_event, config),
        )
        self._status = StatusFile(files)
        self._disk: concurrent.futures.ThreadPoolExecutor | None = None
        self._sleeper: Sleeper | None = None
        self._stopping = False
        self._ever_ran = False
        self._task: asyncio.Future[Any] | None = None

    @property
    def stats(self) -> Stats:
        """What this reader has done so far."""
        return self._delivery.stats

    def get_blacklist(self) -> list[Any]:
        """Return the live list of the rules in force."""
        return self._blacklist.get_list()

    async def _on_disk(self, call: Callable[..., T], *arguments: Any) -> T:
        """Call something that uses files, in this reader's thread, to its end even when cancelled."""
        if self._disk is None:
            self._disk = concurrent.futures.ThreadPoolExecutor(1, "ramen-reader-disk")
        future = asyncio.get_running_loop().run_in_executor(self._disk, call, *arguments)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    async def consume_one(self) -> int:
        """Send the next message, if there is one; see :meth:`QueueReader.consume_one`.

        Raises:
            AutheticationError: The server refuses the token; the message is still in the queue.
            QueueError: The queue cannot be used.
        """
        if not await self._on_disk(self._lock.try_acquire_current):
            return self.RETRY if await self._on_disk(self._queue.disk.size) else self.EMPTY
        try:
            row = await self._on_disk(lambda: self._delivery.next(time.monotonic(), at_once=True))
            if row is None:
                return self.EMPTY
            status, verdict = await self._deliver(row)
            await self._on_disk(self._delivery.flush)
        finally:
            self._mark(0, 0)
            self._lock.release()
        if verdict is not None and verdict.kind is Verdicts.REFUSED:
            raise refusal(verdict)
        return status

    async def run(self, blocking: bool = True) -> int:
        """Send messages until stopped or cancelled, or until there is nothing left; see :meth:`QueueReader.run`.

        Raises:
            AutheticationError: The server refuses the token; the messages are still in the queue.
            QueueError: The queue cannot be used (only with ``blocking=False``; else it is logged and tried again).
        """
        return await self._run(blocking, raise_refusal=True)

    async def run_forever(self) -> int:
        """Send messages until stopped or cancelled, whatever happens; see :meth:`QueueReader.run_forever`."""
        return await self._run(True, raise_refusal=False)

    async def _run(self, blocking: bool, *, raise_refusal: bool) -> int:
        if not blocking or self._ever_ran:
            self._stopping = False
        self._ever_ran = True
        self._sleeper = Sleeper(self._queue.disk.files)
        try:
            self._sleeper.listen()
            if not await self._stand_by(blocking):
                return 0
            self._on_event("active")
            await self._on_disk(self._queue.disk.reserve)
            self._delivery.forget_holds()
            return await self._loop(blocking, raise_refusal)
        finally:
            self._sleeper.close()
            self._sleeper = None
            self._stopping = False
            self._mark(0, 0)
            self._lock.release()

    async def _stand_by(self, blocking: bool) -> bool:
        told = False
        while not self._stopping:
            try:
                if await self._on_disk(self._lock.try_acquire_current):
                    return True
            except QueueError as error:
                if not blocking:
                    raise
                await self._bear(error)
                continue
            if not blocking:
                return False
            if not told:
                self._on_event("standby")
                told = True
            await self._sleep(STANDBY_S, for_pushes=False)
        return False

    async def _bear(self, error: QueueError) -> None:
        """Report a failure of the queue, and wait before it is used again."""
        logger.error("%s; trying again", error)
        self._delivery.stats.note(str(error))
        self._on_event("queue-error", error=str(error))
        await self._sleep(ERROR_PAUSE_S, for_pushes=False)

    async def _keep_place(self, blocking: bool) -> bool:
        """Become the active reader anew when the folder was removed or replaced; return whether this one is active."""
        if self._lock.is_current():
            return True
        if self._sleeper is not None:
            self._sleeper.reopen()
        return await self._stand_by(blocking)

    async def _sleep(self, seconds: float, *, for_pushes: bool) -> None:
        """Sleep until the time is over, or a push or :meth:`stop` ends it."""
        sleeper = self._sleeper
        if sleeper is None or self._stopping:
            return
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        descriptors = sleeper.descriptors(for_pushes=for_pushes)
        for fd in descriptors:
            loop.add_reader(fd, lambda: None if woken.done() else woken.set_result(None))
        try:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(woken, seconds)
        finally:
            for fd in descriptors:
                loop.remove_reader(fd)
        sleeper.drain(descriptors)

    async def _loop(self, blocking: bool, raise_refusal: bool) -> int:
        delivery = self._delivery
        count = 0
        untidied = False
        look_at = 0.0
        try:
            while not self._stopping:
                try:
                    now = time.monotonic()
                    if now >= look_at:
                        look_at = now + PLACE_CHECK_S
                        if not await self._keep_place(blocking):
                            break
                    row = await self._on_disk(delivery.next, now)
                    if row is not None:
                        status, verdict = await self._deliver(row)
                        if status in (self.ACCEPTED, self.DROPPED):
                            count += 1
                            untidied = True
                        elif raise_refusal and verdict and verdict.kind is Verdicts.REFUSED:
                            raise refusal(verdict)
                        continue
                    await self._on_disk(delivery.flush)
                    if untidied:
                        await self._on_disk(self._queue.disk.tidy)
                        untidied = False
                except QueueError as error:
                    if not blocking:
                        raise
                    await self._bear(error)
                    continue
                if not blocking:
                    break
                self._mark(0, 0)
                await self._on_disk(self._report)
                delivery.reread()
                wait_s, for_pushes = delivery.due_in_s(time.monotonic())
                await self._sleep(wait_s, for_pushes=for_pushes)
            return count
        finally:
            try:
                await self._on_disk(delivery.flush)
            except QueueError as error:
                logger.error("%s; what was sent last may be sent again", error)
            await self._on_disk(self._report)

    def _report(self) -> None:
        """Leave what others may ask for beside the queue."""
        self._status.note(self._delivery, idle=True)
        self._blacklist.save()

    async def _deliver(self, row: Any) -> tuple[int, Verdict | None]:
        delivery = self._delivery
        if await self._on_disk(delivery.blacklisted, row):
            return self.DROPPED, None
        try:
            body = self._wire.body(row["data"])
        except (ValueError, TypeError) as error:
            buried = await self._on_disk(delivery.bury, row, f"damaged on disk, {error}", None)
            return self.DROPPED if buried else self.RETRY, None
        self._task = asyncio.ensure_future(self._exchange.send(row, reqid_of(row), body))
        try:
            reply = await self._task
        except Failure as failure:
            failed = functools.partial(delivery.fail, row, failure, sent=failure.sent)
            return self.DROPPED if await self._on_disk(failed) else self.RETRY, None
        except asyncio.CancelledError:
            delivery.put_back(row)
            if not self._stopping:
                self._task.cancel()
                raise
            return self.RETRY, None
        finally:
            self._task = None
        verdict = await self._on_disk(self._settle, row, reply)
        return status_of(verdict), verdict

    def _settle(self, row: Any, reply: Reply) -> Verdict:
        verdict = self._delivery.settle(row, reply)
        self._status.note(self._delivery)
        return verdict

    def _mark(self, first: int, last: int) -> None:
        self._lock.write(b"%-19d %-19d\n" % (first, last))

    def stop(self) -> None:
        """End :meth:`run` at once, also in the middle of a request; call it in the event loop's thread."""
        self._stopping = True
        if self._sleeper is not None:
            self._sleeper.wake()
        if self._task is not None:
            self._task.cancel()

    async def test_connection(self) -> bool:
        """Send one test message; see :meth:`QueueReader.test_connection`."""
        row = {"category": "metrics", "data_type": "test", "data_version": "v1"}
        try:
            reply = await self._exchange.send(row, uuid.uuid4().hex, self._wire.test_body())
        except Failure as failure:
            logger.warning("The connection test failed: %s", failure)
            return False
        verdict = judge(reply)
        if verdict.kind is Verdicts.DROPPED and isinstance(verdict.rule, dict):
            self._delivery.take_rule(verdict.rule)
        return verdict.kind is Verdicts.ACCEPTED

    async def aclose(self) -> None:
        """Stop and close everything; a later use opens it again. Idempotent."""
        self.stop()
        await self._exchange.close()
        await self._on_disk(self._queue.close)
        disk, self._disk = self._disk, None
        if disk is not None:
            disk.shutdown(wait=True)
        self._lock.forget()
        self._stopping = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
