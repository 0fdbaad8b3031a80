"""The yapapi services that run a user's HTTP server: reached through the VPN, or by files."""

from ya_httpx_client.requirement import require_yapapi

require_yapapi()

from ya_httpx_client.service.file_serialization import FileSerializationService  # noqa: E402
from ya_httpx_client.service.vpn import VPNService  # noqa: E402

__all__ = ["FileSerializationService", "VPNService"]
