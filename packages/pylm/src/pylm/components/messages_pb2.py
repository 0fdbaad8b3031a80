"""Re-exports the envelope classes of the first API."""

from pylm._proto.palm_old_pb2 import BrokerMessage, PalmMessage

__all__ = ["BrokerMessage", "PalmMessage"]
