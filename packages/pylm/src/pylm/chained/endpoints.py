"""Re-exports the collector of logs, ticks and pings of the first API."""

from pylm._services import EndPoint

__all__ = ["EndPoint"]
