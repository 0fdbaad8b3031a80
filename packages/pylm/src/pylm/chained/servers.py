"""Re-exports the chained servers of the first API."""

from pylm._oldmaster import ChainedMaster as Master
from pylm._oldmaster import OldWorker as Worker
from pylm._oldstages import ChainServer as Server
from pylm._oldstages import LastServer

__all__ = ["LastServer", "Master", "Server", "Worker"]
