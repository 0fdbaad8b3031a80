"""Servers, workers and clients of the first API that talk to their clients directly."""

from pylm.standalone.clients import Client, ParallelClient
from pylm.standalone.endpoints import EndPoint
from pylm.standalone.servers import Master, Server, Worker

__all__ = ["Client", "EndPoint", "Master", "ParallelClient", "Server", "Worker"]
