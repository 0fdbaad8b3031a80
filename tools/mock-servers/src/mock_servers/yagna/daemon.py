"""One local Golem: who takes part in it, how they come and go, and what is left behind.

Built by ``server``; a restart of the daemon is a new one of these. Lives on one event loop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

from mock_servers.yagna.config import ProviderConfig, YagnaConfig
from mock_servers.yagna.grid import Grid
from mock_servers.yagna.provider import Provider, Unit

__all__ = ["Connection", "Daemon", "Identity"]


class Identity:
    """Who an application key stands for."""

    def __init__(self, node_id: str, name: str, role: str) -> None:
        self.node_id, self.name, self.role = node_id, name, role


class Connection(Protocol):
    """An open connection to a provider; :class:`mock_servers.yagna.vpn.Tunnel`."""

    unit: Unit
    cut: asyncio.Event


class Daemon(Grid):
    """Everything the API shows."""

    def __init__(self, config: YagnaConfig, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(config, environment)
        self._random = random.Random(config.seed)
        self.requestor = Identity(self._node_id(), "local", "manager")
        self.identities = {config.app_key: self.requestor}
        self.providers: list[Provider] = []
        self.providers_by_id: dict[str, Provider] = {}
        self.tunnels: set[Connection] = set()
        self._background: set[asyncio.Task[None]] = set()
        self.unreachable_delay_s = 0.2

    def _node_id(self) -> str:
        return f"0x{self._random.getrandbits(160):040x}"

    def start(self) -> None:
        """Bring the configured providers up; needs a running loop."""
        for config in self.config.providers:
            self.add_provider(config)

    def add_provider(self, config: ProviderConfig) -> Provider:
        """Bring one more provider up."""
        provider = Provider(self, config, self._node_id())
        self.providers.append(provider)
        self.providers_by_id[provider.node_id] = provider
        provider.start()
        return provider

    def add_identity(self, app_key: str, name: str) -> Identity:
        """Register another identity, for a provider or requestor outside this process."""
        identity = self.identities[app_key] = Identity(self._node_id(), name, "manager")
        return identity

    def provider(self, name: str) -> Provider:
        """Return a provider by its name.

        Raises:
            KeyError: No provider has it.
        """
        for provider in self.providers:
            if provider.config.name == name:
                return provider
        raise KeyError(name)

    def left_behind(self) -> dict[str, list[str]]:
        """Return what a requestor has not cleaned up: ids by kind, empty lists when there is nothing."""
        me = self.requestor.node_id
        return {
            "demands": [s.id for s in self.market.subscriptions.values() if s.kind == "demand"],
            "agreements": [
                a.id for a in self.market.agreements.values() if a.state in ("Pending", "Approved")
            ],
            "activities": [a.id for a in self.activities.all.values() if not a.terminated],
            "allocations": [a.id for a in self.payments.allocations.values() if not a.released],
            "networks": [n.id for n in self.networks.all.values() if n.owner == me],
            "units": [unit for provider in self.providers for unit in provider.units],
            "websockets": [tunnel.unit.activity.id for tunnel in self.tunnels],
        }

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Carry out a fault that must not end with whoever caused it."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def kill_provider(self, provider: Provider, *, state_visible: bool = True) -> None:
        """Take a provider off the network, its connections included."""
        await provider.kill(state_visible=state_visible)
        for tunnel in list(self.tunnels):
            if tunnel.unit.provider is provider:
                tunnel.cut.set()

    async def close(self) -> None:
        """End all providers, their processes, all connections and long polls."""
        for tunnel in list(self.tunnels):
            tunnel.cut.set()
        await asyncio.gather(*self._background, return_exceptions=True)
        await asyncio.gather(*(provider.close() for provider in self.providers))
        for bell in (self.market.bell, self.activities.bell, self.payments.bell):
            bell.close()

    def status(self) -> list[dict[str, Any]]:
        """Return one row per provider: name, id, whether it is up, and what it has to do."""
        return [
            {
                "name": provider.config.name,
                "online": provider.online,
                "slots": provider.config.slots,
                "agreements": len(provider.agreements),
                "activities": len(provider.units),
                "connections": sum(tunnel.unit.provider is provider for tunnel in self.tunnels),
                "carried_bytes": provider.carried_bytes,
                "isolated": all(unit.exe.isolated for unit in provider.units.values()),
                "node_id": provider.node_id,
            }
            for provider in self.providers
        ]
