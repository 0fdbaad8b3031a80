"""The asyncio forms of :mod:`v3io.streams`."""

from __future__ import annotations

from v3io.aio.streams.consumer import Consumer
from v3io.aio.streams.producer import Producer

__all__ = ["Consumer", "Producer"]
