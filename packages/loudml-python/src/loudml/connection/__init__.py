"""The connection classes: ways to talk to one node."""

from loudml.connection.base import Connection
from loudml.connection.http_native import NativeHttpConnection
from loudml.connection.http_requests import RequestsHttpConnection
from loudml.connection.http_urllib3 import Urllib3HttpConnection, create_ssl_context

__all__ = [
    "Connection",
    "NativeHttpConnection",
    "RequestsHttpConnection",
    "Urllib3HttpConnection",
    "create_ssl_context",
]
