"""Servers, workers and clients of the first API that form chains."""

from pylm.chained.clients import Client, LoopClient
from pylm.chained.endpoints import EndPoint
from pylm.chained.servers import LastServer, Master, Server, Worker

__all__ = ["Client", "EndPoint", "LastServer", "LoopClient", "Master", "Server", "Worker"]
