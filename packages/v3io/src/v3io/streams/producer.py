"""A producer that collects records into full calls and sends failed ones again, and only those.

::

    with Producer(client, "bigdata", "/clicks") as producer:
        for click in clicks:
            producer.put(click, partition_key=user)

The batching decisions are in :class:`RecordBuffer`, which the asyncio producer shares.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, TypeVar

from v3io.dataplane import output, request
from v3io.errors import HttpResponseError

__all__ = [
    "MAX_CALL_BYTES",
    "MAX_RECORD_BYTES",
    "BaseProducer",
    "Producer",
    "RecordBuffer",
    "RecordsFailed",
]

LockT = TypeVar("LockT")
EventT = TypeVar("EventT")

MAX_CALL_BYTES = 7_000_000
"""Data bytes of one call; base64 makes them a third longer and the platform takes 10 MB of JSON."""
MAX_RECORD_BYTES = 2 * 1024 * 1024
"""Longest record, data bytes."""


class RecordsFailed(HttpResponseError):
    """Records were refused for good.

    Args:
        message: What happened.
        failed: ``(record, error code, error text)`` of each, in order.
    """

    def __init__(self, message: str, failed: Sequence[tuple[Mapping[str, Any], int, str]]) -> None:
        super().__init__(message, 200)
        self.failed = list(failed)

    @classmethod
    def of(
        cls, failed: Sequence[tuple[Mapping[str, Any], int, str]], attempts: int
    ) -> RecordsFailed:
        """Return the error for records that were refused so many times."""
        _, code, text = failed[0]
        return cls(
            f"{len(failed)} records were refused {attempts} times; the first with: {text} (code {code})",
            failed,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the failed records."""
        return type(self), (self.message, self.failed), self.__dict__


class RecordBuffer:
    """Collects records up to the limits of one call, and sorts out an answer; no I/O, not thread-safe.

    Args:
        max_records: Most records of one call, 1..1000.
        linger_s: Longest time a record waits for company, seconds.
        attempts: How often a refused record is sent, >= 1.

    Raises:
        ValueError: A figure is out of range.
    """

    def __init__(self, max_records: int, linger_s: float, attempts: int) -> None:
        if not 1 <= max_records <= request.MAX_RECORDS:
            raise ValueError(f"max_records={max_records}: expected 1..{request.MAX_RECORDS}")
        if attempts < 1:
            raise ValueError(f"attempts={attempts}: expected 1 or more")
        self._max_records = max_records
        self._linger_s = linger_s
        self._attempts = attempts
        self._oldest_at = 0.0
        self._rng = random.Random()
        self._records: list[Mapping[str, Any]] = []
        self._size = 0

    def add(
        self,
        now: float,
        data: str | bytes,
        partition_key: str | None,
        shard_id: int | None,
        client_info: str | bytes | None,
    ) -> list[list[Mapping[str, Any]]]:
        """Add a record; return the calls that must be sent now, usually none.

        Raises:
            ValueError: The record's data is longer than 2 MiB.
        """
        options = {"client_info": client_info, "shard_id": shard_id, "partition_key": partition_key}
        record: dict[str, Any] = {"data": data}
        record.update((name, value) for name, value in options.items() if value is not None)
        size = len(data.encode() if isinstance(data, str) else data)
        if size > MAX_RECORD_BYTES:
            raise ValueError(
                f"a record of {size} bytes: the platform takes at most {MAX_RECORD_BYTES} bytes of data"
            )
        ready = []
        if self._size + size > MAX_CALL_BYTES and self._records:
            ready.append(self.take())
        if not self._records:
            self._oldest_at = now
        self._records.append(record)
        self._size += size
        if len(self._records) >= self._max_records or now - self._oldest_at >= self._linger_s:
            ready.append(self.take())
        return ready

    def take(self) -> list[Mapping[str, Any]]:
        """Return and forget all records."""
        records, self._records, self._size = self._records, [], 0
        return records

    def delivery(
        self, records: list[Mapping[str, Any]]
    ) -> Generator[list[Mapping[str, Any]] | float, output.PutRecordsOutput | None, None]:
        """Yield what a driver does to deliver records: those of a call (it sends back the output), or a pause.

        Raises:
            RecordsFailed: Some were refused at each attempt.
        """
        for attempt in range(1, self._attempts + 1):
            answer = yield records
            failed = _refused(records, answer)
            if not failed:
                return
            if attempt == self._attempts:
                raise RecordsFailed.of(failed, attempt)
            records = [record for record, _, _ in failed]
            yield self._rng.uniform(0, 0.1 * 2**attempt)


def _refused(
    records: Sequence[Mapping[str, Any]], answer: output.PutRecordsOutput | None
) -> list[tuple[Mapping[str, Any], int, str]]:
    if answer is None or not answer.failed_record_count:
        return []
    return [
        (record, result.error_code, result.error_message or "")
        for record, result in zip(records, answer.records, strict=False)
        if result.error_code is not None
    ]


class BaseProducer(Generic[LockT, EventT]):
    """What the blocking and the asyncio producer share.

    Args:
        client: A :class:`v3io.dataplane.client.Client`; it may be shared.
        container: Container name or number.
        stream_path: Directory of the stream.
        max_records: Records of one call, 1..1000.
        linger_s: Longest time a record waits for company, seconds; checked by :meth:`put`, so that no thread runs.
        attempts: How often a refused record is sent, >= 1.
        access_key: Overrides the client's key.
    """

    _lock_type: Callable[[], LockT]
    _event_type: Callable[[], EventT]

    def __init__(
        self,
        client: Any,
        container: str,
        stream_path: str,
        *,
        max_records: int = request.MAX_RECORDS,
        linger_s: float = 0.5,
        attempts: int = 5,
        access_key: str | None = None,
    ) -> None:
        self._client = client
        self._container = container
        self._stream_path = stream_path
        self._access_key = access_key
        self._buffer = RecordBuffer(max_records, linger_s, attempts)
        self._lock = self._lock_type()
        self._closing = self._event_type()


class Producer(BaseProducer[threading.Lock, threading.Event]):
    """Sends records in batches; thread-safe.

    Order is kept within a call; records that are sent again come after later ones of the same shard.

    Arguments as of :class:`BaseProducer`.

    A call whose answer is lost is not repeated, since its records may have been written: the error reaches the caller
    with the records in ``error.records``.
    """

    _lock_type = threading.Lock
    _event_type = threading.Event

    def put(
        self,
        data: str | bytes,
        *,
        partition_key: str | None = None,
        shard_id: int | None = None,
        client_info: str | bytes | None = None,
    ) -> None:
        """Add a record; sends a batch when one is full or has waited for ``linger_s``.

        Args:
            data: Payload; str is sent as UTF-8.
            partition_key: Records of one key go to one shard.
            shard_id: The shard; wins over the key. Without both, shards take turns.
            client_info: Small free bytes that come back with the record.

        Raises:
            RuntimeError: The producer is closed.
            ValueError: The data is longer than 2 MiB.
            RecordsFailed: Records of this or an earlier ``put`` were refused for good.
            HttpResponseError, TransportError: A call failed; see the class.
        """
        if self._closing.is_set():
            raise RuntimeError("put on a closed producer; nothing was sent")
        with self._lock:
            for records in self._buffer.add(
                time.monotonic(), data, partition_key, shard_id, client_info
            ):
                self._send(records)

    def flush(self) -> None:
        """Send what is waiting.

        Raises:
            RecordsFailed, HttpResponseError, TransportError: As for :meth:`put`.
        """
        with self._lock:
            records = self._buffer.take()
            if records:
                self._send(records)

    def _send(self, records: list[Mapping[str, Any]]) -> None:
        steps = self._buffer.delivery(records)
        step = next(steps)
        try:
            while True:
                if isinstance(step, float):
                    self._closing.wait(step)
                    step = next(steps)
                    continue
                records = step
                response = self._client.put_records(
                    self._container, self._stream_path, records, self._access_key
                )
                step = steps.send(response.output)
        except StopIteration:
            return
        except Exception as error:
            error.records = records  # type: ignore[attr-defined]
            raise

    def close(self) -> None:
        """Send what is waiting; later ``put`` calls are refused. May be called more than once."""
        self.flush()
        self._closing.set()

    def __enter__(self) -> Producer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
