"""What a member of a consumer group does, as steps without I/O, so that threads and tasks drive the same code.

Each method is a generator that yields a :class:`Call` (a request to send; the driver sends back the response, or
throws the error) or a :class:`Pause` (seconds to wait), and returns its result. Drivers: :mod:`v3io.streams.consumer`
and :mod:`v3io.aio.streams.consumer`. Wire-compatible with the platform's own consumer groups: state item, committed
sequence numbers on the shards, and timings.
"""

from __future__ import annotations

import dataclasses
import datetime
import random
from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeAlias, TypeVar

from v3io.dataplane import output, request
from v3io.dataplane.response import Response
from v3io.errors import (
    ConditionFailed,
    HttpResponseError,
    IllegalLocation,
    NotFound,
)
from v3io.paths import item_path, shard_path
from v3io.streams.group_state import GroupFull, GroupState, committed_attribute, state_path

__all__ = ["Call", "GroupSettings", "Membership", "Pause", "Record", "Steps"]

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Call:
    """A request that the driver sends to the group's container."""

    encoder: Callable[..., Any]
    arguments: Mapping[str, Any]
    output: Callable[[Any], Any] | None = None


@dataclasses.dataclass(frozen=True)
class Pause:
    """A wait of so many seconds, cut short when the consumer is closed."""

    seconds: float


Steps: TypeAlias = Generator[Call | Pause, Response, T]


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """One record of a stream.

    Args:
        shard_id: Its shard.
        sequence_number: Its number within the shard, from 1.
        data: Payload.
        client_info: Bytes given by the producer; ``None`` without.
        partition_key: As given by the producer; ``None`` without.
        arrived_at: Seconds since 1970 when the platform took it.
    """

    shard_id: int
    sequence_number: int
    data: bytes
    client_info: bytes | None
    partition_key: str | None
    arrived_at: float


@dataclasses.dataclass(frozen=True)
class GroupSettings:
    """Timings and limits of a member; the defaults are the platform's.

    Args:
        max_members: Ranges into which the shards are split; the same for all members.
        start: Where a shard without a committed number begins: ``"earliest"`` or ``"latest"``.
        session_timeout_s: Silence after which a member counts as gone, seconds.
        heartbeat_s: Time between signs of life, seconds, below ``session_timeout_s``.
        commit_s: Time between commits of what was processed, seconds.
        poll_s: Pause when no shard had records, seconds.
        fetch_records: Most records of one fetch.
        state_attempts: Attempts to write the shared state while others write it too.

    Raises:
        ValueError: A figure is out of range.
    """

    max_members: int
    start: str = "earliest"
    session_timeout_s: float = 10.0
    heartbeat_s: float = 3.0
    commit_s: float = 10.0
    poll_s: float = 0.25
    fetch_records: int = 10
    state_attempts: int = 100

    def __post_init__(self) -> None:
        if self.start not in ("earliest", "latest"):
            raise ValueError(f"start={self.start!r}: expected 'earliest' or 'latest'")
        if self.max_members < 1:
            raise ValueError(f"max_members={self.max_members}: expected 1 or more")
        if not 0 < self.heartbeat_s < self.session_timeout_s:
            raise ValueError(
                f"heartbeat_s={self.heartbeat_s:g}: expected above 0 and below "
                f"session_timeout_s={self.session_timeout_s:g}"
            )


_MIN_PAUSE_S = 0.05
_MAX_PAUSE_S = 1.0
_PAUSE_FACTOR = 4.0


class Membership:
    """One member's steps.

    Args:
        stream_path: Directory of the stream.
        group: Name of the group: letters, digits, ``_`` (it becomes part of an attribute name).
        member_id: Unique within the group.
        settings: See :class:`GroupSettings`.
        rng: Source of the jitter of retries.

    Raises:
        ValueError: The group's name cannot be part of an attribute name.
    """

    def __init__(
        self,
        stream_path: str,
        group: str,
        member_id: str,
        settings: GroupSettings,
        rng: random.Random | None = None,
    ) -> None:
        if not group.isascii() or not group.replace("_", "a").isalnum():
            raise ValueError(f"group {group!r}: expected letters, digits and _")
        self.stream_path = stream_path
        self.group = group
        self.member_id = member_id
        self.settings = settings
        self._rng = rng or random.Random()

    def shard_count(self) -> Steps[int]:
        """Return the number of shards of the stream.

        Raises:
            NotFound: The stream does not exist.
        """
        response = yield Call(
            request.encode_describe_stream,
            {"path": self.stream_path},
            output.DescribeStreamOutput,
        )
        return int(response.output.shard_count)

    def claim(
        self, shard_count: int, clock: Callable[[], datetime.datetime]
    ) -> Steps[tuple[int, ...]]:
        """Join the group, or renew the claim, and return the shards to read.

        Raises:
            GroupFull: All places are taken, also after ``state_attempts`` attempts.
            ConditionFailed: Others wrote the state at each attempt.
        """
        settings = self.settings
        state = yield from self._update_state(
            lambda old: old.claim(
                self.member_id,
                clock(),
                max_members=settings.max_members,
                shard_count=shard_count,
                session_timeout_s=settings.session_timeout_s,
            )
        )
        session = state.session(self.member_id)
        assert session is not None
        return session.shards

    def leave(self) -> Steps[None]:
        """Give up the claim, so that another member can take it at once."""
        yield from self._update_state(lambda old: old.leave(self.member_id))

    def _update_state(self, change: Callable[[GroupState], GroupState]) -> Steps[GroupState]:
        """Read the state, change it, and write it under the condition that nobody else did meanwhile."""
        path = state_path(self.stream_path, self.group)
        pause_s = _MIN_PAUSE_S
        attempt = 1
        while True:
            old, condition = yield from self._read_state(path)
            try:
                new = change(old)
                if new != old:
                    yield Call(
                        request.encode_update_item,
                        {
                            "path": path,
                            "attributes": {"state": new.dumps()},
                            "expression": None,
                            "condition": condition,
                            "update_mode": None,
                            "alternate_expression": None,
                        },
                    )
                return new
            except (ConditionFailed, GroupFull):
                if attempt >= self.settings.state_attempts:
                    raise
            attempt += 1
            yield Pause(pause_s * self._rng.uniform(0.5, 1.0))
            pause_s = min(pause_s * _PAUSE_FACTOR, _MAX_PAUSE_S)

    def _read_state(self, path: str) -> Steps[tuple[GroupState, str]]:
        names = ["__mtime_secs", "__mtime_nsecs", "state"]
        try:
            response = yield Call(
                request.encode_get_item,
                {"path": path, "attribute_names": names},
                output.GetItemOutput,
            )
        except NotFound:
            return GroupState(), "not(exists(state))"
        item = response.output.item
        if "state" not in item:
            return GroupState(), "not(exists(state))"
        condition = (
            f"__mtime_secs == {item['__mtime_secs']} AND __mtime_nsecs == {item['__mtime_nsecs']}"
        )
        return GroupState.parse(item["state"]), condition

    def locate(self, shard_id: int, start: str) -> Steps[str | None]:
        """Return where to go on in a shard: after the last committed record, else at ``start``.

        Args:
            shard_id: The shard.
            start: ``"earliest"`` or ``"latest"``; a shard that appeared after the consumer did is read from its
                first record, whatever the settings say.

        Returns:
            A location, or ``None`` when the shard has no records yet.
        """
        attribute = committed_attribute(self.group)
        try:
            response = yield Call(
                request.encode_get_item,
                {
                    "path": item_path(self.stream_path, str(shard_id)),
                    "attribute_names": [attribute],
                },
                output.GetItemOutput,
            )
            committed = response.output.item.get(attribute)
            if committed is not None:
                try:
                    return (yield from self._seek(shard_id, "SEQUENCE", int(committed) + 1))
                except NotFound:
                    raise
                except HttpResponseError as error:
                    if error.status_code != 400:
                        raise
                    # The record after the last one has expired: nothing older is left to lose.
                    return (yield from self._seek(shard_id, "EARLIEST"))
            return (yield from self._seek(shard_id, start.upper()))
        except NotFound:
            return None

    def _seek(self, shard_id: int, seek_type: str, number: int | None = None) -> Steps[str]:
        response = yield Call(
            request.encode_seek_shard,
            {
                "path": shard_path(self.stream_path, shard_id),
                "seek_type": seek_type,
                "starting_sequence_number": number,
                "timestamp_sec": None,
                "timestamp_nsec": None,
            },
            output.SeekShardOutput,
        )
        return str(response.output.location)

    def fetch(self, shard_id: int, location: str) -> Steps[tuple[list[Record], str, int]]:
        """Return records from a location on, where to go on, and how many records lie behind that.

        A location that has expired goes on at the oldest record.
        """
        try:
            response = yield self._get_records(shard_id, location)
        except IllegalLocation:
            location = yield from self._seek(shard_id, "EARLIEST")
            response = yield self._get_records(shard_id, location)
        page = response.output
        records = [
            Record(
                shard_id,
                record.sequence_number,
                record.data,
                record.client_info,
                record.partition_key,
                record.arrival_time_sec + record.arrival_time_nsec / 1e9,
            )
            for record in page.records
        ]
        return records, page.next_location, page.records_behind_latest or 0

    def _get_records(self, shard_id: int, location: str) -> Call:
        return Call(
            request.encode_get_records,
            {
                "path": shard_path(self.stream_path, shard_id),
                "location": location,
                "limit": self.settings.fetch_records,
            },
            output.GetRecordsOutput,
        )

    def commit(self, shard_id: int, sequence_number: int) -> Steps[None]:
        """Store the number of the last processed record with the shard."""
        yield Call(
            request.encode_update_item,
            {
                "path": item_path(self.stream_path, str(shard_id)),
                "attributes": {committed_attribute(self.group): sequence_number},
                "expression": None,
                "condition": "__obj_type == 3",
                "update_mode": None,
                "alternate_expression": None,
            },
        )
