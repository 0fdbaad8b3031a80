"""The servers and workers of the present API.

Source: ``pylm.servers`` of 0.14.4.
"""

from pylm._calls import remote
from pylm._palmmaster import Hub, Master
from pylm._stages import Pipeline, Server, Sink
from pylm._worker import MuxWorker, Worker

__all__ = ["Hub", "Master", "MuxWorker", "Pipeline", "Server", "Sink", "Worker", "remote"]
