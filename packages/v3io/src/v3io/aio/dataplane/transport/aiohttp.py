"""The module path of 0.7.2; the transport no longer needs aiohttp."""

from __future__ import annotations

from v3io.aio.dataplane.transport.native import Transport

__all__ = ["Transport"]
