"""The asyncio forms of :mod:`v3io.streams`."""

from v3io.aio.streams.consumer import Consumer
from v3io.aio.streams.producer import Producer

__all__ = ["Consumer", "Producer"]
