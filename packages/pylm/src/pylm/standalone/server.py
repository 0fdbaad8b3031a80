"""Re-exports ``pylm.standalone.servers`` under the name of the earliest releases."""

from pylm.standalone.servers import Master, Server, Worker

__all__ = ["Master", "Server", "Worker"]
