"""The state that the members of a consumer group share, as the platform's own consumers write it; no I/O.

One JSON text in the item ``<stream>/<group>-state.json``, attribute ``state``::

    {"schema_version": "0.0.1", "session_states": [
        {"member_id": "...", "last_heartbeat_time": "2026-01-31T12:00:00.5Z", "shards": [0, 1]}]}

Members claim one of ``max_members`` fixed ranges of shards. A member whose heartbeat is older than the session timeout
is gone and its range is free. Used by :mod:`v3io.streams.group`.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import re

__all__ = [
    "GroupFull",
    "GroupState",
    "Session",
    "StateError",
    "committed_attribute",
    "shard_range",
    "state_path",
]

SCHEMA_VERSION = "0.0.1"
_FRACTION = re.compile(r"(\.\d+)?(Z|[+-]\d\d:\d\d)$")


class StateError(ValueError):
    """The stored state is not what a consumer group writes."""


class GroupFull(RuntimeError):
    """All ranges of shards are claimed by living members."""


def state_path(stream_path: str, group: str) -> str:
    """Return the path of the state item."""
    return f"{stream_path.rstrip('/')}/{group}-state.json"


def committed_attribute(group: str) -> str:
    """Return the name of a shard's attribute that holds the group's last committed sequence number."""
    return f"__{group}_committed_sequence_number"


def shard_range(index: int, max_members: int, shard_count: int) -> range:
    """Return the shards of one member: ``[floor(i*S/n + 0.5), floor((i+1)*S/n + 0.5))``.

    Args:
        index: 0 to ``max_members`` - 1.
        max_members: Number of ranges; the same for all members of a group.
        shard_count: Shards of the stream; ranges may be empty when there are fewer than members.
    """
    width = shard_count / max_members
    return range(math.floor(index * width + 0.5), math.floor((index + 1) * width + 0.5))


@dataclasses.dataclass(frozen=True)
class Session:
    """One member's claim.

    Args:
        member_id: Unique within the group.
        last_heartbeat: When it was last alive, aware.
        shards: The shards it reads.
    """

    member_id: str
    last_heartbeat: datetime.datetime
    shards: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class GroupState:
    """All claims of a group, immutable."""

    sessions: tuple[Session, ...] = ()

    @classmethod
    def parse(cls, text: str) -> GroupState:
        """Read the JSON text of the state item.

        Raises:
            StateError: It has another schema.
        """
        try:
            document = json.loads(text)
            version = document["schema_version"]
            if version != SCHEMA_VERSION:
                raise StateError(f"schema version {version!r}: expected {SCHEMA_VERSION!r}")
            return cls(
                tuple(
                    Session(
                        str(one["member_id"]),
                        _parse_time(one["last_heartbeat_time"]),
                        tuple(int(shard) for shard in one["shards"] or ()),
                    )
                    for one in document["session_states"] or ()
                )
            )
        except StateError:
            raise
        except (ValueError, TypeError, KeyError) as cause:
            raise StateError(f"consumer group state {text[:200]!r}: {cause!r}") from cause

    def dumps(self) -> str:
        """Return the JSON text."""
        sessions = [
            {
                "member_id": one.member_id,
                "last_heartbeat_time": one.last_heartbeat.astimezone(datetime.timezone.utc)
                .isoformat()
                .replace("+00:00", "Z"),
                "shards": list(one.shards),
            }
            for one in self.sessions
        ]
        return json.dumps({"schema_version": SCHEMA_VERSION, "session_states": sessions})

    def session(self, member_id: str) -> Session | None:
        """Return a member's claim, or ``None``."""
        return next((one for one in self.sessions if one.member_id == member_id), None)

    def claim(
        self,
        member_id: str,
        now: datetime.datetime,
        *,
        max_members: int,
        shard_count: int,
        session_timeout_s: float,
    ) -> GroupState:
        """Return the state in which the member is alive and has a range of shards, dead members removed.

        A member that still has a claim keeps its shards.

        Raises:
            GroupFull: Every range is held by a living member.
        """
        oldest = now - datetime.timedelta(seconds=session_timeout_s)
        others = tuple(
            one
            for one in self.sessions
            if one.member_id != member_id and one.last_heartbeat >= oldest
        )
        mine = self.session(member_id)
        if mine is not None:
            return GroupState((*others, dataclasses.replace(mine, last_heartbeat=now)))
        taken = {one.shards for one in others}
        for index in range(max_members):
            shards = tuple(shard_range(index, max_members, shard_count))
            if shards and shards not in taken:
                return GroupState((*others, Session(member_id, now, shards)))
        raise GroupFull(
            f"member {member_id!r} finds all {max_members} places of the group taken by "
            f"{', '.join(one.member_id for one in others)}; a place is free when its member leaves or "
            f"has been silent for {session_timeout_s:g} s"
        )

    def leave(self, member_id: str) -> GroupState:
        """Return the state without the member."""
        return GroupState(tuple(one for one in self.sessions if one.member_id != member_id))


def _parse_time(text: str) -> datetime.datetime:
    """Read RFC 3339 with up to nine digits of fraction; Python 3.10 reads neither ``Z`` nor nine digits."""
    match = _FRACTION.search(text)
    if match is None:
        raise ValueError(f"time {text!r}: expected RFC 3339 with a zone")
    microseconds = ((match[1] or ".0") + "000000")[:7]
    zone = "+00:00" if match[2] == "Z" else match[2]
    return datetime.datetime.fromisoformat(text[: match.start()] + microseconds + zone)
