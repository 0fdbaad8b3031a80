"""Re-exports ``pylm.standalone.endpoints`` under the name of the earliest releases."""

from pylm.standalone.endpoints import EndPoint

__all__ = ["EndPoint"]
