"""The asyncio producer; see :mod:`v3io.streams.producer`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from v3io.streams.producer import BaseProducer

__all__ = ["Producer"]


class Producer(BaseProducer[asyncio.Lock, asyncio.Event]):
    """Sends records in batches; arguments and promises as :class:`v3io.streams.producer.Producer`.

    Task-safe: a task that finds a call in progress waits for it.
    """

    _lock_type = asyncio.Lock
    _event_type = asyncio.Event

    async def put(
        self,
        data: str | bytes,
        *,
        partition_key: str | None = None,
        shard_id: int | None = None,
        client_info: str | bytes | None = None,
    ) -> None:
        """Add a record; see :meth:`v3io.streams.producer.Producer.put`.

        Raises:
            RuntimeError, ValueError, RecordsFailed, HttpResponseError, TransportError: As there.
        """
        if self._closing.is_set():
            raise RuntimeError("put on a closed producer; nothing was sent")
        async with self._lock:
            for records in self._buffer.add(
                time.monotonic(), data, partition_key, shard_id, client_info
            ):
                await self._send(records)

    async def flush(self) -> None:
        """Send what is waiting."""
        async with self._lock:
            records = self._buffer.take()
            if records:
                await self._send(records)

    async def _send(self, records: list[Mapping[str, Any]]) -> None:
        steps = self._buffer.delivery(records)
        step = next(steps)
        try:
            while True:
                if isinstance(step, float):
                    await asyncio.sleep(step)
                    step = next(steps)
                    continue
                records = step
                response = await self._client.put_records(
                    self._container, self._stream_path, records, self._access_key
                )
                step = steps.send(response.output)
        except StopIteration:
            return
        except Exception as error:
            error.records = records  # type: ignore[attr-defined]
            raise

    async def close(self) -> None:
        """Send what is waiting; later ``put`` calls are refused."""
        await self.flush()
        self._closing.set()

    async def __aenter__(self) -> Producer:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
