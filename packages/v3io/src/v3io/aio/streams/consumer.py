"""The asyncio consumer; see :mod:`v3io.streams.consumer`.

::

    async with Consumer(client, "bigdata", "/clicks", group="reports", max_members=4) as consumer:
        async for record in consumer:
            await handle(record)
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TypeVar

from v3io.streams.group import Call, Record, Steps
from v3io.streams.member import GroupMember, utc_now
from v3io.streams.positions import Positions, ShardLag

__all__ = ["Consumer"]

T = TypeVar("T")


class Consumer(GroupMember):
    """Reads the shards that the group gives to this member.

    Arguments and promises are those of :class:`v3io.streams.consumer.Consumer`.

    Belongs to one task; the heartbeat runs as another task of the same loop, so that a handler that blocks the loop for
    longer than ``settings.session_timeout_s`` loses its place.
    """

    def _begin(self) -> None:
        self._closing = asyncio.Event()
        self._stopping = asyncio.Event()
        self._heartbeat: asyncio.Task[None] | None = None

    async def open(self) -> Consumer:
        """Join the group; return the consumer.

        Raises:
            NotFound: The stream does not exist.
            GroupFull: All places are taken.
        """
        if self._positions is None and not self._closing.is_set():
            self._shard_count = await self._run(self._member.shard_count())
            shards = await self._run(self._member.claim(self._shard_count, utc_now))
            self._positions = Positions(shards, self.settings.start)
            self._heartbeat = asyncio.create_task(self._beat(), name=f"v3io-{self.member_id}")
        return self

    def __aiter__(self) -> AsyncIterator[Record]:
        return self

    async def __anext__(self) -> Record:
        """Return the next record; the one before counts as processed.

        Raises:
            StopAsyncIteration: The consumer was stopped or closed, or is idle and told to stop then.
            HttpResponseError, TransportError: As for the blocking consumer.
        """
        await self.open()
        if self._handed_out is not None and self._positions is not None:
            self._positions.processed(self._handed_out)
        self._handed_out = None
        while True:
            await self._commit_when_due()
            if self._ready and not self._stopping.is_set():
                self._handed_out = self._ready.popleft()
                return self._handed_out
            if not await self._fill():
                raise StopAsyncIteration

    async def _fill(self) -> bool:
        while not self._stopping.is_set():
            error, self._heartbeat_error = self._heartbeat_error, None
            if error is not None:
                raise error
            positions = self._positions
            if positions is None:
                return False
            for shard in positions.turn():
                if await self._fetch(positions, shard):
                    return True
            if self._stop_when_idle:
                return False
            await self._commit_when_due()
            await self._pause(self.settings.poll_s, self._stopping)
        return False

    async def _fetch(self, positions: Positions, shard: int) -> bool:
        location = positions.location(shard)
        if location is None:
            location = await self._run(self._member.locate(shard, positions.start(shard)))
            if location is None:
                positions.missing(shard)
                return False
        records, following, behind = await self._run(self._member.fetch(shard, location))
        positions.move(shard, following, behind)
        if positions is self._positions:  # else another member reads this shard by now
            self._ready.extend(records)
        return bool(records)

    @staticmethod
    async def _pause(seconds: float, unless: asyncio.Event) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(unless.wait(), seconds)

    async def _commit_when_due(self) -> None:
        if time.monotonic() - self._committed_at >= self.settings.commit_s:
            await self.commit()

    async def commit(self) -> None:
        """Store how far this member has processed.

        Raises:
            HttpResponseError: The platform refused; what was not stored is tried again with the next commit.
        """
        if self._positions is not None:
            for shard, number in self._positions.uncommitted():
                await self._run(self._member.commit(shard, number))
                self._positions.committed(shard, number)
        self._committed_at = time.monotonic()

    def lag(self) -> list[ShardLag]:
        """Return, per shard of this member, how far it has read and how much lies behind."""
        return [] if self._positions is None else self._positions.lag()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.settings.heartbeat_s)
            try:
                shards = await self._run(self._member.claim(self._shard_count, utc_now))
                if self._positions is not None and shards != self._positions.shards:
                    self._positions = Positions(shards, self.settings.start)
                    self._ready.clear()
            except Exception as error:
                self._heartbeat_error = error

    async def _run(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                if isinstance(step, Call):
                    try:
                        response = await self._client._send(
                            self._container,
                            self._access_key,
                            None,
                            None,
                            step.encoder,
                            step.arguments,
                            step.output,
                        )
                    except Exception as error:
                        step = steps.throw(error)
                    else:
                        step = steps.send(response)
                else:
                    await self._pause(step.seconds, self._closing)
                    step = next(steps)
        except StopIteration as finished:
            result: T = finished.value
            return result

    def stop(self) -> None:
        """End the iteration from another task; as for the blocking consumer."""
        self._stopping.set()

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` or :meth:`close` has been called."""
        return self._stopping.is_set()

    async def close(self) -> None:
        """Commit what was processed, leave the group and end the heartbeat; may be called more than once."""
        self._stopping.set()
        self._closing.set()
        heartbeat, self._heartbeat = self._heartbeat, None
        if heartbeat is not None:
            heartbeat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await heartbeat
            try:
                await self.commit()
            finally:
                await self._run(self._member.leave())

    async def __aenter__(self) -> Consumer:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
