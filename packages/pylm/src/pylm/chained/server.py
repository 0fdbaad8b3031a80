"""Re-exports ``pylm.chained.servers`` under the name of the earliest releases."""

from pylm.chained.servers import LastServer, Master, Server, Worker

__all__ = ["LastServer", "Master", "Server", "Worker"]
