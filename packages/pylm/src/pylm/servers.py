"""The servers and workers of the present API.

Source: ``pylm.servers`` of 0.14.4.
"""

from pylm._calls import remote
from pylm._stages import Pipeline, Server, Sink

__all__ = ["Pipeline", "Server", "Sink", "remote"]
