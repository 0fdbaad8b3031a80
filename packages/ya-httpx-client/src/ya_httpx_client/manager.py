"""The yapapi side of a session: one Golem engine, the VPN, one yapapi cluster per URL, starting over.

The only module, with ``service``, that knows yapapi; imported when the first service starts. Everything that reaches
into yapapi beyond its public surface is in :class:`_Reach`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import aiohttp
from yapapi import Golem
from yapapi.config import ApiConfig
from yapapi.network import Network, NetworkError, Node
from yapapi.payload import Payload
from yapapi.props import com
from yapapi.services import Cluster, Service
from yapapi.strategy import (
    SCORE_REJECTED,
    DecreaseScoreForUnconfirmedAgreement,
    LeastExpensiveLinearPayuMS,
    WrappingMarketStrategy,
)

__all__ = ["ServiceManager", "SetupError"]

logger = logging.getLogger("ya_httpx_client")

STOP_S = 60.0
ABANDON_S = 15.0
BAD_PROVIDER_S = 120.0
BAD_PROVIDER_FACTOR = 0.1
MAX_FIXED_PRICE = Decimal("1.0")
MAX_CPU_PRICE = Decimal("0.2")
MAX_TIME_PRICE = Decimal("0.1")


class SetupError(Exception):
    """Services cannot be started, and trying again will not help: key, funds, gftp or image are missing."""


class _Strategy(WrappingMarketStrategy):  # type: ignore[misc]
    """Adds to a market strategy what this session knows: who works for it already, and who failed it lately."""

    def __init__(self, base: Any, is_busy: Callable[[str], bool]) -> None:
        super().__init__(base)
        self._is_busy = is_busy
        self._bad: dict[str, float] = {}

    def avoid(self, provider_id: str) -> None:
        """Prefer other providers to this one for two minutes."""
        self._bad[provider_id] = asyncio.get_running_loop().time() + BAD_PROVIDER_S

    async def score_offer(self, offer: Any) -> float:
        if self._is_busy(offer.issuer):
            return float(SCORE_REJECTED)
        score = float(await super().score_offer(offer))
        if score > 0 and self._bad.get(offer.issuer, 0.0) > asyncio.get_running_loop().time():
            score *= BAD_PROVIDER_FACTOR
        return score


class _SharedNetwork(Network):  # type: ignore[misc]
    """yapapi's network, which maps a node to one address: a second instance on a provider is refused, not mixed up."""

    @classmethod
    def adopt(cls, network: Network) -> _SharedNetwork:
        """Return ``network`` as one of these."""
        adopted = cls.__new__(cls)
        adopted.__dict__.update(network.__dict__)
        return adopted

    async def add_node(self, node_id: str, ip: str | None = None) -> Node:
        if node_id in self._nodes:
            raise NetworkError(f"provider {node_id} runs an instance of this session already")
        return await super().add_node(node_id, ip)

    def has(self, node_id: str) -> bool:
        """Return whether a node is in the network."""
        return node_id in self._nodes


class _Reach:
    """What yapapi 0.13 keeps to itself and this package cannot do without."""

    @staticmethod
    def ended(cluster: Cluster[Any], service: Service) -> bool:
        """Return whether yapapi has stopped looking after a service."""
        runner = cluster.service_runner
        for known, task in zip(runner._instances, runner._instance_tasks, strict=True):
            if known is service:
                return bool(task.done())
        return True

    @staticmethod
    def forget(cluster: Cluster[Any], service: Service) -> None:
        """Drop an ended service, which yapapi would keep until the cluster stops."""
        runner = cluster.service_runner
        for index, known in enumerate(runner._instances):
            if known is service and runner._instance_tasks[index].done():
                del runner._instances[index], runner._instance_tasks[index]
                return


class ServiceManager:
    """Runs services on Golem. Bound to the event loop it is first used in.

    Args:
        executor_cfg: Keyword arguments of ``yapapi.Golem``, unchanged.
        on_market_event: Called with the id of a yapapi job and each of its events.
    """

    def __init__(
        self,
        executor_cfg: Mapping[str, Any],
        on_market_event: Callable[[str | None, Any], None] | None = None,
    ) -> None:
        self.executor_cfg = dict(executor_cfg)
        self._on_market_event = on_market_event
        self._golem: Golem | None = None
        self._lock = asyncio.Lock()
        self._strategy: _Strategy | None = None
        self._networks: list[_SharedNetwork] = []
        self._http: aiohttp.ClientSession | None = None
        self._abandoned: set[asyncio.Task[None]] = set()
        self._api: ApiConfig | None = None

    # engine ------------------------------------------------------------------------------------------------------

    @property
    def api(self) -> ApiConfig:
        """Addresses and key of the daemon.

        Raises:
            SetupError: No application key is configured.
        """
        if self._api is None:
            given = self.executor_cfg.get("api_config")
            try:
                self._api = given or ApiConfig(
                    **{
                        name: self.executor_cfg[name]
                        for name in ("app_key",)
                        if name in self.executor_cfg
                    }
                )
            except Exception as cause:  # yapapi's MissingConfiguration
                raise SetupError(f"the daemon cannot be used: {cause}") from cause
        return self._api

    @property
    def http(self) -> aiohttp.ClientSession:
        """Session for websockets to providers and looks at the daemon."""
        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None, connect=10.0),
                headers=self.authorization,
            )
        return self._http

    @property
    def authorization(self) -> dict[str, str]:
        """Header that identifies this requestor to the daemon."""
        return {"Authorization": f"Bearer {self.api.app_key}"}

    async def golem(self) -> Golem:
        """Return the started engine, starting it on first use.

        Raises:
            SetupError: Key, ``gftp`` or funds are missing.
            aiohttp.ClientError: The daemon cannot be reached.
        """
        async with self._lock:
            if self._golem is None:
                self._golem = await self._start()
            return self._golem

    async def _start(self) -> Golem:
        if shutil.which("gftp") is None:
            raise SetupError(
                "no gftp executable on PATH; it comes with yagna (and with mock-servers)"
            )
        await self._check_key()
        settings = {name: value for name, value in self.executor_cfg.items() if name != "app_key"}
        settings["api_config"] = self.api
        base = settings.pop("strategy", None)
        default = base is None
        if default:
            prices = {com.Counter.CPU: MAX_CPU_PRICE, com.Counter.TIME: MAX_TIME_PRICE}
            cheapest = LeastExpensiveLinearPayuMS(
                max_fixed_price=MAX_FIXED_PRICE, max_price_for=prices
            )
            base = DecreaseScoreForUnconfirmedAgreement(cheapest, 0.5)
        self._strategy = _Strategy(base, self._is_busy)
        golem = Golem(strategy=self._strategy, **settings)
        if default:
            golem.add_event_consumer(base.on_event)
        golem.add_event_consumer(self._market_event)
        try:
            await golem.start()
        except Exception as cause:  # each of yapapi's API packages has an ApiException of its own
            status = getattr(cause, "status", None)
            if status in (400, 401, 403):
                raise SetupError(
                    f"the daemon refused: {status} {getattr(cause, 'body', None) or cause}"
                ) from cause
            raise
        return golem

    async def _check_key(self) -> None:
        """Ask who we are: yapapi would not understand a refusal.

        Raises:
            SetupError: The daemon does not know the application key.
            OSError: There is no daemon.
        """
        try:
            async with self.http.get(f"{self.api.api_url}/me") as answer:
                if answer.status == 401:
                    text = (await answer.text()).strip()
                    raise SetupError(
                        f"the daemon at {self.api.api_url} refused: {text} (YAGNA_APPKEY)"
                    )
        except aiohttp.ClientError as cause:
            raise ConnectionError(f"no daemon at {self.api.api_url}: {cause}") from cause

    def _market_event(self, event: Any) -> None:
        if self._on_market_event is not None:
            self._on_market_event(getattr(getattr(event, "job", None), "id", None), event)

    def _is_busy(self, provider_id: str) -> bool:
        return any(network.has(provider_id) for network in self._networks)

    def avoid(self, provider_id: str | None) -> None:
        """Prefer other providers to one that failed."""
        if self._strategy is not None and provider_id is not None:
            self._strategy.avoid(provider_id)

    # services ----------------------------------------------------------------------------------------------------

    async def create_network(self, ip: str) -> Network:
        """Make a VPN.

        Args:
            ip: Address and mask, ``"192.168.0.1/24"``.
        """
        golem = await self.golem()
        network = _SharedNetwork.adopt(await golem.create_network(ip))
        self._networks.append(network)
        return network

    async def run_service(
        self,
        service_class: type[Service],
        payload: Payload,
        *,
        network: Network | None,
        lifetime: timedelta | None,
    ) -> Cluster[Any]:
        """Put a demand on the market; no instance is started yet."""
        golem = await self.golem()
        expiration = None if lifetime is None else datetime.now(timezone.utc) + lifetime
        return await golem.run_service(
            service_class, num_instances=0, payload=payload, network=network, expiration=expiration
        )

    def ended(self, cluster: Cluster[Any], service: Service) -> bool:
        """Return whether yapapi has stopped looking after a service; if so, it is forgotten there."""
        if _Reach.ended(cluster, service):
            _Reach.forget(cluster, service)
            return True
        return False

    # daemon ------------------------------------------------------------------------------------------------------

    async def has_network(self, network_id: str) -> bool:
        """Ask the daemon whether it knows a network.

        Raises:
            OSError: It does not answer.
        """
        base = self.api.net_url or f"{self.api.api_url}/net-api/v1"
        url = f"{base}/net/{network_id}"
        try:
            async with self.http.get(url, timeout=aiohttp.ClientTimeout(total=5.0)) as answer:
                return bool(answer.status != 404)
        except (aiohttp.ClientError, asyncio.TimeoutError) as cause:
            raise ConnectionError(f"no answer from {url}: {cause!r}") from cause

    def abandon(self) -> None:
        """Let go of an engine whose daemon lost its state; it is stopped in the background."""
        golem, self._golem = self._golem, None
        self._networks.clear()
        if golem is not None:
            task = asyncio.get_running_loop().create_task(
                self._stop(golem, ABANDON_S, payments=False)
            )
            self._abandoned.add(task)
            task.add_done_callback(self._abandoned.discard)

    @staticmethod
    async def _stop(golem: Golem, timeout_s: float, *, payments: bool) -> None:
        try:
            await asyncio.wait_for(golem.stop(wait_for_payments=payments), timeout_s)
        except asyncio.TimeoutError:
            logger.warning("yapapi did not stop within %s s", timeout_s)
        except Exception:  # an engine whose daemon is gone fails in many ways
            logger.info("yapapi did not stop cleanly", exc_info=True)

    async def close(self) -> None:
        """Stop everything: agreements end, invoices are paid, the demand leaves the market."""
        golem, self._golem = self._golem, None
        self._networks.clear()
        if golem is not None:
            await self._stop(golem, STOP_S, payments=True)
        if self._abandoned:
            await asyncio.wait(self._abandoned)
        if self._http is not None:
            http, self._http = self._http, None
            with contextlib.suppress(OSError):
                await http.close()
