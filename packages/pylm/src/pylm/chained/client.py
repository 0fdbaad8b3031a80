"""Re-exports ``pylm.chained.clients`` under the name of the earliest releases."""

from pylm.chained.clients import Client, LoopClient

__all__ = ["Client", "LoopClient"]
