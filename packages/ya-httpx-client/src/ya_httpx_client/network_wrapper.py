"""The VPN a session's providers share, made on first use.

One network serves all clusters of a session. Addresses are given out by this package and used again when an instance
is gone, so that a session can replace providers for ever (yapapi itself never gives an address twice).
"""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yapapi.network import Network

__all__ = ["NETWORK", "NetworkWrapper"]

NETWORK = "192.168.0.1/24"


class NetworkWrapper:
    """Makes the network when first asked for it, once.

    Args:
        service_manager: Makes networks: ``await create_network(ip)``.
    """

    def __init__(self, service_manager: Any) -> None:
        self.service_manager = service_manager
        self._network: Network | None = None
        self._lock = asyncio.Lock()
        self._given: set[str] = set()

    async def network(self) -> Network:
        """Return the network, creating it if there is none.

        Raises:
            ya_net.exceptions.ApiException: The daemon refused.
        """
        async with self._lock:
            if self._network is None:
                self._network = await self.service_manager.create_network(NETWORK)
                self._given.clear()
            return self._network

    async def remove_network(self) -> None:
        """Remove the network; nothing happens when there is none."""
        async with self._lock:
            network, self._network = self._network, None
            if network is not None:
                await network.remove()

    def forget(self) -> None:
        """Drop a network the daemon does not know any more."""
        self._network = None

    @property
    def network_id(self) -> str | None:
        """Id of the network at the daemon, ``None`` while there is none."""
        return None if self._network is None else self._network.network_id

    def take_address(self) -> str:
        """Reserve the lowest free address; the owner has the first one.

        Raises:
            RuntimeError: All are taken: 253 instances run.
        """
        hosts = ipaddress.ip_network(NETWORK, strict=False).hosts()
        next(hosts)
        for host in hosts:
            if (address := str(host)) not in self._given:
                self._given.add(address)
                return address
        raise RuntimeError(f"no free address in {NETWORK}: 253 instances have one")

    def return_address(self, address: str) -> None:
        """Make an address free again."""
        self._given.discard(address)
