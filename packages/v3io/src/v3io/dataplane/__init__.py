"""The blocking data-plane client."""

from __future__ import annotations

from v3io.dataplane import kv_array, output, response
from v3io.dataplane.client import Client
from v3io.dataplane.transport import RaiseForStatus, httpclient, verifier

__all__ = [
    "Client",
    "RaiseForStatus",
    "httpclient",
    "kv_array",
    "output",
    "response",
    "verifier",
]
