"""Producing to and consuming from streams: batches, consumer groups, checkpoints and lag.

The asyncio forms are in :mod:`v3io.aio.streams`.
"""

from __future__ import annotations

from v3io.streams.consumer import Consumer
from v3io.streams.group import GroupSettings, Record
from v3io.streams.group_state import GroupFull, StateError
from v3io.streams.positions import ShardLag
from v3io.streams.producer import Producer, RecordsFailed

__all__ = [
    "Consumer",
    "GroupFull",
    "GroupSettings",
    "Producer",
    "Record",
    "RecordsFailed",
    "ShardLag",
    "StateError",
]
