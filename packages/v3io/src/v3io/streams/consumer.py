"""A consumer of a stream as a blocking iterator, alone or as a member of a consumer group.

::

    with Consumer(client, "bigdata", "/clicks", group="reports", max_members=4) as consumer:
        for record in consumer:
            handle(record)

The decisions are in :mod:`v3io.streams.group`; this module runs them on the caller's thread, with one more thread for
the heartbeat.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TypeVar

from v3io.streams.group import Call, Record, Steps
from v3io.streams.member import GroupMember, utc_now
from v3io.streams.positions import Positions, ShardLag

__all__ = ["Consumer"]

T = TypeVar("T")


class Consumer(GroupMember):
    """Reads the shards that the group gives to this member, in order within each shard, at least once.

    A record counts as processed when the loop asks for the next one. Processed records are committed every
    ``settings.commit_s`` seconds and on :meth:`close`; after a crash the group goes on behind the last commit, so that
    the records in between are delivered again.

    Args:
        client: A :class:`v3io.dataplane.client.Client`; it may be shared.
        container: Container name or number.
        stream_path: Directory of the stream.
        group: Name of the consumer group: letters, digits and ``_``.
        max_members: Places in the group; the shards are split into that many ranges. The same for all members.
        member_id: Unique in the group; ``None`` makes one.
        settings: Timings; ``None`` uses the platform's. Its ``max_members`` wins over the argument.
        stop_when_idle: End the iteration when all shards are read to their end, instead of waiting for more.
        access_key: Overrides the client's key.

    Raises:
        ValueError: A name or figure is wrong. Nothing is sent before the first ``next()`` or :meth:`open`.

    Iterate on one thread; :meth:`stop`, :meth:`close`, :meth:`commit` and :meth:`lag` may be called on others. Not
    fork-safe: open it in the process that reads.
    """

    def _begin(self) -> None:
        self._closing = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.RLock()
        self._heartbeat: threading.Thread | None = None

    def open(self) -> Consumer:
        """Join the group now instead of with the first ``next()``; return the consumer.

        Raises:
            NotFound: The stream does not exist.
            GroupFull: All places are taken.
        """
        with self._lock:
            if self._positions is None and not self._closing.is_set():
                self._shard_count = self._run(self._member.shard_count())
                self._positions = Positions(
                    self._run(self._member.claim(self._shard_count, utc_now)), self.settings.start
                )
                self._heartbeat = threading.Thread(
                    target=self._beat, name=f"v3io-{self.member_id}", daemon=True
                )
                self._heartbeat.start()
        return self

    def __iter__(self) -> Iterator[Record]:
        return self

    def __next__(self) -> Record:
        """Return the next record; the one before counts as processed.

        Raises:
            StopIteration: The consumer was stopped or closed, or is idle and told to stop then.
            HttpResponseError: A call failed for good; calling again tries again.
            TransportError: The platform could not be reached within the client's retries.
        """
        self.open()
        with self._lock:
            if self._handed_out is not None and self._positions is not None:
                self._positions.processed(self._handed_out)
            self._handed_out = None
        while True:
            self._commit_when_due()
            with self._lock:
                if self._ready and not self._stopping.is_set():
                    self._handed_out = self._ready.popleft()
                    return self._handed_out
            if not self._fill():
                raise StopIteration

    def _fill(self) -> bool:
        """Fetch from the shards in turn until one has records; return whether the iteration goes on."""
        while not self._stopping.is_set():
            error, self._heartbeat_error = self._heartbeat_error, None
            if error is not None:
                raise error
            positions = self._positions
            if positions is None:
                return False
            if any(self._fetch(positions, shard) for shard in positions.turn()):
                return True
            if self._stop_when_idle:
                return False
            self._commit_when_due()
            self._stopping.wait(self.settings.poll_s)
        return False

    def _fetch(self, positions: Positions, shard: int) -> bool:
        location = positions.location(shard)
        if location is None:
            location = self._run(self._member.locate(shard, positions.start(shard)))
            if location is None:
                positions.missing(shard)
                return False
        records, following, behind = self._run(self._member.fetch(shard, location))
        with self._lock:
            positions.move(shard, following, behind)
            if positions is self._positions:  # else another member reads this shard by now
                self._ready.extend(records)
        return bool(records)

    def _commit_when_due(self) -> None:
        if time.monotonic() - self._committed_at >= self.settings.commit_s:
            self.commit()

    def commit(self) -> None:
        """Store how far this member has processed; the other way is to wait for ``commit_s`` or :meth:`close`.

        Raises:
            HttpResponseError: The platform refused; what was not stored is tried again with the next commit.
        """
        with self._lock:
            if self._positions is not None:
                for shard, number in self._positions.uncommitted():
                    self._run(self._member.commit(shard, number))
                    self._positions.committed(shard, number)
            self._committed_at = time.monotonic()

    def lag(self) -> list[ShardLag]:
        """Return, per shard of this member, how far it has read and how much lies behind."""
        with self._lock:
            return [] if self._positions is None else self._positions.lag()

    def _beat(self) -> None:
        while not self._closing.wait(self.settings.heartbeat_s):
            try:
                shards = self._run(self._member.claim(self._shard_count, utc_now))
                positions = self._positions
                if positions is not None and shards != positions.shards:
                    # Our claim had lapsed and another range was free: go on there, from its last commit.
                    with self._lock:
                        self._positions = Positions(shards, self.settings.start)
                        self._ready.clear()
            except Exception as error:
                self._heartbeat_error = error

    def _run(self, steps: Steps[T]) -> T:
        """Send the steps' requests one after the other; return their result."""
        try:
            step = next(steps)
            while True:
                if isinstance(step, Call):
                    try:
                        response = self._client._send(
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
                    self._closing.wait(step.seconds)
                    step = next(steps)
        except StopIteration as finished:
            result: T = finished.value
            return result

    def stop(self) -> None:
        """End the iteration from another thread: the loop gets no further record, at the latest after a fetch.

        The member keeps its place until :meth:`close`, so that the record in hand can be finished. Records that were
        fetched and not handed out are delivered again. May be called more than once.
        """
        self._stopping.set()

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` or :meth:`close` has been called."""
        return self._stopping.is_set()

    def close(self) -> None:
        """Commit what was processed, leave the group and end the heartbeat; may be called more than once.

        The record last handed out counts as processed only when the loop has asked for the next one.

        Raises:
            HttpResponseError: The last commit was refused; the member has left all the same.
        """
        self._stopping.set()
        self._closing.set()
        heartbeat, self._heartbeat = self._heartbeat, None
        if heartbeat is not None:
            heartbeat.join()
            try:
                self.commit()
            finally:
                self._run(self._member.leave())

    def __enter__(self) -> Consumer:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
