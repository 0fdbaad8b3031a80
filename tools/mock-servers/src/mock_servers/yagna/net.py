"""Virtual private networks (``/net-api/v1`` and its ``v2`` mirror): who has which address.

Called by ``app`` and, for the websocket, by ``vpn``. Source: Golem net API.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import uuid
from typing import Any

from mock_servers.yagna.errors import ApiError

__all__ = ["Network", "Networks"]

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclasses.dataclass(slots=True)
class Network:
    """One VPN: the owner's addresses and the other nodes' (address -> node id)."""

    id: str
    owner: str
    range: IpNetwork
    gateway: str
    addresses: list[str] = dataclasses.field(default_factory=list)
    nodes: dict[str, str] = dataclasses.field(default_factory=dict)

    def view(self) -> dict[str, Any]:
        """Return the network as the API shows it."""
        return {
            "id": self.id,
            "ip": str(self.range),
            "mask": str(self.range.netmask),
            "gateway": self.gateway,
        }

    def check(self, ip: str) -> str:
        """Return an address of this network in canonical form.

        Raises:
            ApiError: 400, not an address, or outside the network.
        """
        try:
            address = ipaddress.ip_address(ip)
        except ValueError as error:
            raise ApiError(400, f"Invalid IP address: {ip}") from error
        if address not in self.range:
            raise ApiError(400, f"Network address mismatch: {ip} is not in {self.range}")
        return str(address)


class Networks:
    """All networks of one local Golem."""

    def __init__(self) -> None:
        self.all: dict[str, Network] = {}

    def create(self, owner: str, body: dict[str, Any]) -> Network:
        """Make a network from ``{"ip", "mask"?, "gateway"?}``.

        Raises:
            ApiError: 400, address or mask invalid.
        """
        text = str(body.get("ip"))
        if "/" not in text and body.get("mask"):
            text = f"{text}/{body['mask']}"
        try:
            addresses = ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            raise ApiError(400, f"Invalid network: {error}") from error
        gateway = body.get("gateway") or str(next(iter(addresses.hosts())))
        network = Network(uuid.uuid4().hex, owner, addresses, gateway)
        self.all[network.id] = network
        return network

    def get(self, identifier: str, owner: str) -> Network:
        """Return a network of ``owner``.

        Raises:
            ApiError: 404 unknown; 403 of somebody else.
        """
        found = self.all.get(identifier)
        if found is None:
            raise ApiError(404, f"Network not found: {identifier}")
        if found.owner != owner:
            raise ApiError(403, "Forbidden")
        return found

    def remove(self, identifier: str, owner: str) -> Network:
        """Take a network away and return it.

        Raises:
            ApiError: as :meth:`get`.
        """
        found = self.get(identifier, owner)
        del self.all[identifier]
        return found
