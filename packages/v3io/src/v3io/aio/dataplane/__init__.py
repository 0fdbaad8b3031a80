"""The asyncio data-plane client."""

from __future__ import annotations

from v3io.aio.dataplane.client import Client
from v3io.dataplane.transport import RaiseForStatus

__all__ = ["Client", "RaiseForStatus"]
