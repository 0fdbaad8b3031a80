"""Re-exports ``pylm.chained.endpoints`` under the name of the earliest releases."""

from pylm.chained.endpoints import EndPoint

__all__ = ["EndPoint"]
