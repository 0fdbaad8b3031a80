"""Re-exports the standalone clients of the first API."""

from pylm._oldclients import Client, ParallelClient, SubscribedClient

__all__ = ["Client", "ParallelClient", "SubscribedClient"]
