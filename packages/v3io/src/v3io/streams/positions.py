"""How far a consumer has come in each of its shards: fetched, processed, committed; no I/O.

Used by the blocking and the asyncio consumer, which hold a lock or run in one task.
"""

from __future__ import annotations

import dataclasses

from v3io.streams.group import Record

__all__ = ["Positions", "ShardLag"]


@dataclasses.dataclass(frozen=True)
class ShardLag:
    """Progress in one shard.

    Args:
        shard_id: The shard.
        processed: Last processed sequence number; 0 before the first.
        committed: Last committed sequence number by this member; 0 before the first.
        behind: Records that lie behind what was fetched; ``None`` before the first fetch.
    """

    shard_id: int
    processed: int
    committed: int
    behind: int | None


class Positions:
    """Progress in a set of shards; not thread-safe.

    Args:
        shards: The shards, read in turn.
        start: Where a shard that exists already begins without a commit: ``"earliest"`` or ``"latest"``.
    """

    def __init__(self, shards: tuple[int, ...], start: str) -> None:
        self.shards = shards
        self._start = dict.fromkeys(shards, start)
        self._locations: dict[int, str | None] = dict.fromkeys(shards)
        self._processed = dict.fromkeys(shards, 0)
        self._committed = dict.fromkeys(shards, 0)
        self._behind: dict[int, int | None] = dict.fromkeys(shards)
        self._first = 0

    def turn(self) -> tuple[int, ...]:
        """Return all shards, beginning with another one each time, so that a busy shard starves no other."""
        if not self.shards:
            return ()
        first = self._first % len(self.shards)
        self._first = first + 1
        return self.shards[first:] + self.shards[:first]

    def location(self, shard: int) -> str | None:
        """Return where to fetch next; ``None`` when that is not known yet."""
        return self._locations[shard]

    def start(self, shard: int) -> str:
        """Return where to begin in a shard without a commit."""
        return self._start[shard]

    def missing(self, shard: int) -> None:
        """Take note that a shard has no records yet: all that will come is new."""
        self._start[shard] = "earliest"

    def move(self, shard: int, location: str, behind: int | None = None) -> None:
        """Take note of where to go on and of how much lies behind that."""
        if shard in self._locations:
            self._locations[shard] = location
            self._behind[shard] = behind

    def processed(self, record: Record) -> None:
        """Take note that a record was processed."""
        if record.shard_id in self._processed:
            self._processed[record.shard_id] = record.sequence_number

    def uncommitted(self) -> list[tuple[int, int]]:
        """Return shards and numbers that were processed and not yet committed."""
        return [
            (shard, number)
            for shard, number in self._processed.items()
            if number > self._committed[shard]
        ]

    def committed(self, shard: int, number: int) -> None:
        """Take note of a commit."""
        self._committed[shard] = number

    def lag(self) -> list[ShardLag]:
        """Return the progress of every shard."""
        return [
            ShardLag(shard, self._processed[shard], self._committed[shard], self._behind[shard])
            for shard in self.shards
        ]
