"""A server reached through the VPN: HTTP over pooled websockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx
from transport_utils import errors

from ya_httpx_client.exchange import Timeouts, exchange
from ya_httpx_client.instance import State
from ya_httpx_client.service.service_base import NO_SCRIPTS, AbstractServiceBase, Scripts
from ya_httpx_client.tunnel import TunnelPool

__all__ = ["VPNService"]

PROBE_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
SUSPECT_PROBES = 4
IDLE_PROBE_ROUNDS = 5
"""An instance without work has its port tried every so many looks at it."""


class _Through(NamedTuple):
    """Executes requests through a pool of tunnels."""

    pool: TunnelPool

    @property
    def connections(self) -> int:
        return self.pool.open_count

    async def execute(
        self,
        request: Any,
        timeouts: Timeouts,
        finished: Callable[[errors.TransportError | None], None],
        *,
        settle: bool,
    ) -> Any:
        return await exchange(self.pool, request, timeouts, finished, settle=settle)

    def abort(self) -> None:
        self.pool.abort()


class VPNService(AbstractServiceBase):
    """The user's server listens on port 80 (see ``ServiceOptions.port``) of a virtual machine in the session's VPN."""

    REQUIRED_CAPABILITIES = ["vpn"]
    LISTEN_ON = "0.0.0.0:80"

    async def _get_ready(self) -> Scripts:
        options = self.owner.options
        uri = self.network_node.get_websocket_uri(options.port)
        manager = self.owner.manager
        self._pool = TunnelPool(manager.http, uri, manager.authorization)
        deadline = asyncio.get_running_loop().time() + options.start_timeout_s
        for attempt in range(1 << 30):
            failure = await self._probe()
            if failure is None:
                break
            if self.instance.state is State.DEAD or asyncio.get_running_loop().time() > deadline:
                raise RuntimeError(f"the server does not answer on port {options.port}: {failure}")
            await asyncio.sleep(PROBE_PAUSES_S[min(attempt, len(PROBE_PAUSES_S) - 1)])
            if attempt % 5 == 4 and not await self._alive():
                raise RuntimeError(str(self.instance.lost_because))
        self.instance.ready(_Through(self._pool))
        for script in NO_SCRIPTS:  # makes this an async generator, as yapapi wants it
            yield script

    async def _probe(self) -> str | None:
        """Try the port, and the readiness path if there is one; return what is wrong."""
        limit_s = self.owner.options.probe_timeout_s
        try:
            await self._pool.probe(limit_s)
            path = self.owner.options.ready_path
            if path is not None:
                limits = {"connect": limit_s, "read": limit_s, "write": limit_s, "pool": None}
                request = httpx.Request(
                    "GET",
                    f"{self.owner.url}{path}",
                    headers={"Connection": "close"},
                    extensions={"timeout": limits},
                )
                response = await exchange(
                    self._pool, request, Timeouts.of(request), lambda error: None, settle=True
                )
                await response.aclose()
                if response.status_code >= 500:
                    return f"{path} answered {response.status_code}"
        except errors.TransportError as error:
            return str(error)
        return None

    async def run(self) -> Scripts:
        """Watch the instance until it is dead; requests are executed by their callers' tasks."""
        rounds = 0
        while self.instance.state is not State.DEAD:
            await self._sleep(self.owner.options.liveness_s)
            if self.instance.state in (State.DEAD, State.DRAINING) or not await self._alive():
                continue
            rounds += 1
            idle_look = rounds % IDLE_PROBE_ROUNDS == 0 and self.instance.in_flight == 0
            if self.instance.state is State.SUSPECT or idle_look:
                await self._test()
        await self._pool.close()
        for script in NO_SCRIPTS:  # makes this an async generator, as yapapi wants it
            yield script

    async def _test(self) -> None:
        for pause_s in PROBE_PAUSES_S[-SUSPECT_PROBES:]:
            failure = await self._probe()
            if failure is None:
                self.instance.ready()
                return
            await asyncio.sleep(pause_s)
            if self.instance.state is State.DEAD or not await self._alive():
                return
        self.instance.die(f"the server does not answer: {failure}")
