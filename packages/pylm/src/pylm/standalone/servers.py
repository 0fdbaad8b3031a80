"""Re-exports the standalone servers of the first API."""

from pylm._oldmaster import OldWorker as Worker
from pylm._oldmaster import StandaloneMaster as Master
from pylm._oldstages import RequestServer as Server

__all__ = ["Master", "Server", "Worker"]
