"""Re-exports ``pylm.standalone.clients`` under the name of the earliest releases."""

from pylm.standalone.clients import Client, ParallelClient, SubscribedClient

__all__ = ["Client", "ParallelClient", "SubscribedClient"]
