"""What the blocking and the asyncio consumer keep: who they are, what they have read, how far they have come.

Base of :class:`v3io.streams.consumer.Consumer` and :class:`v3io.aio.streams.consumer.Consumer`, which add the I/O.
"""

from __future__ import annotations

import datetime
import time
import uuid
from collections import deque
from typing import Any

from v3io.streams.group import GroupSettings, Membership, Record
from v3io.streams.positions import Positions

__all__ = ["GroupMember", "utc_now"]


class GroupMember:
    """The state of one member of a consumer group; no I/O.

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
        ValueError: A name or figure is wrong.
    """

    def __init__(
        self,
        client: Any,
        container: str,
        stream_path: str,
        *,
        group: str,
        max_members: int = 1,
        member_id: str | None = None,
        settings: GroupSettings | None = None,
        stop_when_idle: bool = False,
        access_key: str | None = None,
    ) -> None:
        self.settings = settings or GroupSettings(max_members)
        self._client = client
        self._container = container
        self._access_key = access_key
        self._member = Membership(
            stream_path, group, member_id or f"member-{uuid.uuid4().hex}", self.settings
        )
        self._stop_when_idle = stop_when_idle
        self._positions: Positions | None = None
        self._ready: deque[Record] = deque()
        self._handed_out: Record | None = None
        self._heartbeat_error: Exception | None = None
        self._committed_at = time.monotonic()
        self._shard_count = 0
        self._begin()

    def _begin(self) -> None:
        """Make what the I/O needs: events, and no heartbeat yet."""
        raise NotImplementedError

    @property
    def member_id(self) -> str:
        """This member's name in the group."""
        return self._member.member_id

    @property
    def shards(self) -> tuple[int, ...]:
        """The shards this member reads; empty before it has joined."""
        return self._positions.shards if self._positions is not None else ()


def utc_now() -> datetime.datetime:
    """Return the present moment, aware."""
    return datetime.datetime.now(datetime.timezone.utc)
