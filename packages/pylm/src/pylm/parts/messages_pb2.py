"""Re-exports the envelope class under the path of the originals."""

from pylm._proto.palm_new_pb2 import PalmMessage

__all__ = ["PalmMessage"]
