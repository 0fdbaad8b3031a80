"""Re-exports the chained clients of the first API."""

from pylm._oldclients import LoopClient
from pylm._oldclients import OneWayClient as Client

__all__ = ["Client", "LoopClient"]
