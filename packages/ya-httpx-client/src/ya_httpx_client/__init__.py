"""Talk to HTTP servers on Golem providers with httpx, as to any other HTTP server.

On the requestor: :class:`Session`. On a provider: ``python -m ya_httpx_client`` and
:mod:`ya_httpx_client.serializable_request`, which need the standard library only. Names are imported on first use,
so that neither side pays for the other.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ya_httpx_client._version import __version__

if TYPE_CHECKING:
    from ya_httpx_client.cluster import Cluster
    from ya_httpx_client.network_wrapper import NetworkWrapper
    from ya_httpx_client.provider_auto_balance import SimpleLoadBalancer
    from ya_httpx_client.serializable_request import Request, Response
    from ya_httpx_client.service import FileSerializationService, VPNService
    from ya_httpx_client.session import Session, YagnaTransport
    from ya_httpx_client.target_load import TargetLoad

__all__ = [
    "Cluster",
    "FileSerializationService",
    "NetworkWrapper",
    "Request",
    "Response",
    "Session",
    "SimpleLoadBalancer",
    "TargetLoad",
    "VPNService",
    "YagnaTransport",
    "__version__",
]

_MODULES = {
    "Cluster": "cluster",
    "FileSerializationService": "service",
    "NetworkWrapper": "network_wrapper",
    "Request": "serializable_request",
    "Response": "serializable_request",
    "Session": "session",
    "SimpleLoadBalancer": "provider_auto_balance",
    "TargetLoad": "target_load",
    "VPNService": "service",
    "YagnaTransport": "session",
}


def __getattr__(name: str) -> Any:
    """Import an exported name's module when the name is first used (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
