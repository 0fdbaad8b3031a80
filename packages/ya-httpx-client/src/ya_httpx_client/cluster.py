"""All instances of the service behind one URL: how many there should be, starting, stopping and replacing them.

Made by :class:`ya_httpx_client.session.Session`; size functions and balancers receive it. One yapapi cluster, hence
one demand on the market, serves the URL for its whole life and is resized in place. Bound to one event loop; not
thread-safe.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, SupportsInt

from transport_utils.backoff import Exponential
from transport_utils.errors import TransportClosed

from ya_httpx_client import events
from ya_httpx_client.delivery import Rules
from ya_httpx_client.instance import Instance, State
from ya_httpx_client.market import MarketRecord
from ya_httpx_client.options import ServiceOptions
from ya_httpx_client.request_queue import RequestQueue
from ya_httpx_client.stats import Latency, UrlStats

if TYPE_CHECKING:
    from ya_httpx_client.network_wrapper import NetworkWrapper

__all__ = ["Cluster"]

logger = logging.getLogger("ya_httpx_client")

TICK_S = 1.0
RENEW_BEFORE_S = 300.0
LET_GO_BEFORE_S = 60.0
YAPAPI_LIFETIME = timedelta(minutes=180)
_FAILED_START = Exponential(base_s=0.5, cap_s=30.0, jitter="equal")


class Cluster:
    """The service behind one URL.

    Args:
        manager: Runs yapapi services (``ya_httpx_client.manager.ServiceManager``).
        image_hash: Image of the provider's virtual machine.
        entrypoint: Program and arguments that start the server; or a function of a start context and an address that
            does (the decorator form); ``None`` if the image starts it by itself.
        network_wrapper: The session's VPN.
        url: URL the service answers for.
        options: Further settings.
        repository_url: Image registry, ``None`` for yapapi's.
        emit: Receives the cluster's events.

    Attributes:
        request_queue: Requests that wait for a provider.
        expected_cnt: Number of instances wanted, or an object whose ``int()`` is that number.
        trouble: Why instances do not come up, ``None`` when they do.
    """

    USE_VPN = True
    """Reach providers through the VPN; ``False`` exchanges files instead. Read when services start."""

    def __init__(
        self,
        manager: Any,
        image_hash: str,
        entrypoint: tuple[str, ...] | Callable[..., Any] | None = None,
        network_wrapper: NetworkWrapper | None = None,
        *,
        url: str = "",
        options: ServiceOptions | None = None,
        repository_url: str | None = None,
        emit: Callable[[events.Event], None] = lambda event: None,
    ) -> None:
        self.manager = manager
        self.image_hash = image_hash
        self.start_steps = entrypoint if callable(entrypoint) else None
        self.entrypoint = None if callable(entrypoint) else entrypoint
        self.network_wrapper = network_wrapper
        self.url = url
        self.options = options or ServiceOptions()
        self.repository_url = repository_url
        self.expected_cnt: SupportsInt = 1
        self.instances: list[Instance] = []
        self.trouble: str | None = None
        self.market = MarketRecord()
        self.served = 0
        self.failed = 0
        self.reexecuted = 0
        self.closing = False
        self.latency = Latency()
        self.request_queue = RequestQueue(self._reserve, self.options.max_queue, self.explain, self)
        self._emit = emit
        self._size_function: Callable[[Cluster], Any] | None = None
        self._wanted = 0
        self._turn = 0
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._services: dict[Instance, tuple[Any, Any]] = {}
        self._announced: set[Instance] = set()
        self._golem_cluster: Any = None
        self._renew_at = float("inf")
        self._ends_at = float("inf")
        self._let_go_at = float("inf")
        self._failed_starts = 0
        self._start_not_before = 0.0
        self._rng = random.Random()

    def __repr__(self) -> str:
        return (
            f"<Cluster {self.url} wanted={self._wanted} {[i.state.value for i in self.instances]}>"
        )

    # size --------------------------------------------------------------------------------------------------------

    @property
    def cnt(self) -> int:
        """Instances that are wanted or running, those without a provider yet included."""
        return len(self._kept())

    @property
    def in_flight(self) -> int:
        """Requests being served."""
        return sum(instance.in_flight for instance in self.instances)

    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return self.request_queue.qsize()

    def queue_delay_s(self) -> float:
        """How long requests waited lately, seconds."""
        return self.request_queue.delay_s

    def price_per_hour(self) -> float | None:
        """Mean price of a provider's hour, GLM; ``None`` when no price is known."""
        prices = [i.price_per_hour for i in self.instances if i.price_per_hour is not None]
        return sum(prices) / len(prices) if prices else None

    @property
    def slots(self) -> int:
        """Requests the ready instances can serve at the same time."""
        return sum(i.slots for i in self.instances if i.state is State.READY)

    def set_size(self, size: Any) -> None:
        """Say how many instances there should be; takes effect at once.

        Args:
            size: A number; a function of this cluster that returns one, asked again every second; or a class or
                factory that is called with this cluster and makes an object whose ``int()`` is asked every second.

        Raises:
            TypeError: None of these.
            Exception: Whatever a function or factory raises when it is first called. Later exceptions are logged, and
                the last good number stays.
        """
        function = None
        if callable(size) and not isinstance(size, int):
            made = size(self)
            if not isinstance(size, type) and isinstance(made, int):
                function = size
            size = made
        if not hasattr(size, "__int__"):
            raise TypeError(
                f"size {size!r}: expected a number, a function of the cluster, or something with __int__"
            )
        self._size_function = function
        self.expected_cnt = size
        self._wake.set()

    def _evaluate(self) -> int:
        try:
            if self._size_function is not None:
                self.expected_cnt = self._size_function(self)
            wanted = int(self.expected_cnt)
        except Exception:
            logger.exception(
                "the size of %s cannot be evaluated; it stays %s", self.url, self._wanted
            )
            return self._wanted
        return max(0, min(wanted, self.options.max_size))

    # serving -----------------------------------------------------------------------------------------------------

    @property
    def rules(self) -> Rules:
        """When requests are executed again."""
        return self.options.rules

    def _reserve(self) -> Instance | None:
        """Reserve a slot on the instance with the fewest requests; equals take turns."""
        best: Instance | None = None
        count = len(self.instances)
        for offset in range(count):
            instance = self.instances[(self._turn + offset) % count]
            if instance.free and (best is None or instance.in_flight < best.in_flight):
                best = instance
                if not instance.in_flight:
                    break
        if best is not None:
            self._turn = self.instances.index(best) + 1
            best.reserve()
        return best

    @property
    def job_id(self) -> str | None:
        """Id of the yapapi job that serves the URL now."""
        return None if self._golem_cluster is None else str(self._golem_cluster.id)

    def has_free(self) -> bool:
        """Return whether an instance would take a request now."""
        return any(instance.free for instance in self.instances)

    async def acquire(self, timeout_s: float | None, *, first: bool) -> Instance:
        """Return an instance with a slot reserved.

        Raises:
            TransportError: See :meth:`ya_httpx_client.request_queue.RequestQueue.acquire`.
        """
        slot = await self.request_queue.acquire(timeout_s=timeout_s, first=first)
        assert isinstance(slot, Instance)
        return slot

    def repeated(self, event: events.ExecutionRepeated) -> None:
        """Count and announce a repeated execution."""
        self.reexecuted += 1
        logger.info(
            "%s %s%s is executed again: %s", event.method, self.url, event.path, event.reason
        )
        self._emit(event)

    def explain(self) -> str:
        """Return why no provider is at hand, in words."""
        states = [
            instance.state.value for instance in self.instances if instance.state is not State.DEAD
        ]
        if any(state in ("ready", "suspect", "draining") for state in states):
            busy = f"{self.in_flight} requests in flight, {self.request_queue.qsize()} waiting"
            return f"all providers of {self.url} are busy or suspect ({busy})"
        if self._wanted == 0:
            return f"the size of {self.url} is 0"
        reason = self.trouble or self.market.explain() or "providers are starting"
        return f"no provider runs {self.url} yet: {reason}"

    def stats(self) -> UrlStats:
        """Return the cluster's figures."""
        living = [instance for instance in self.instances if instance.state is not State.DEAD]
        return UrlStats(
            self.url,
            self._wanted,
            tuple(instance.stats() for instance in living),
            self.request_queue.qsize(),
            self.in_flight,
            self.served,
            self.failed,
            self.reexecuted,
            self.request_queue.delay_s,
            self.latency.quantile(0.5),
            self.latency.quantile(0.99),
            sum(instance.price_per_hour or 0.0 for instance in living),
            self.trouble or (None if self.has_free() else self.market.explain()),
        )

    # life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the service; calling it again changes nothing. Needs a running event loop."""
        if self._task is None:
            self.closing = False
            self.request_queue.open()
            self._task = asyncio.get_running_loop().create_task(
                self._manage(), name=f"cluster {self.url}"
            )

    def stop(self) -> None:
        """Stop at once: waiting requests fail, requests in progress lose their connection."""
        self.closing = True
        self.request_queue.close(
            TransportClosed(f"the session closed before {self.url} took the request")
        )
        for instance in self.instances:
            if instance.executor is not None and instance.in_flight:
                logger.warning("%s: %d requests broken off", self.url, instance.in_flight)
            instance.die(None)
        if self._task is not None:
            self._task.cancel()

    async def close(self, drain_s: float) -> None:
        """Let waiting and running requests finish for ``drain_s`` seconds, then :meth:`stop`."""
        deadline = time.monotonic() + drain_s
        while (self.in_flight or not self.request_queue.empty()) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        self.stop()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._golem_cluster is not None:
            self._golem_cluster.stop()
            self._golem_cluster = None
        self._services.clear()
        self._announced.clear()
        self.instances.clear()

    def forget_daemon(self) -> None:
        """Give up every instance, since the daemon lost its state; the next tick starts new ones."""
        for instance in self.instances:
            instance.die("the daemon lost its state")
        self._services.clear()
        self._golem_cluster = None
        self._wake.set()

    async def _manage(self) -> None:
        while (
            not self.closing
        ):  # a cancellation can get lost when the wake-up comes at the same moment
            try:
                await self._tick()
            except Exception as error:
                self._setup_failed(error)
            try:
                await asyncio.wait_for(self._wake.wait(), TICK_S)
            except asyncio.TimeoutError:
                continue
            self._wake.clear()

    def _setup_failed(self, error: Exception) -> None:
        """Services cannot be started now: tell whoever waits if waiting is no use, and try again later."""
        from ya_httpx_client.manager import SetupError

        self._failed_starts += 1
        delay_s = _FAILED_START.delay(self._failed_starts, 0.0, self._rng)
        self._start_not_before = time.monotonic() + delay_s
        self.trouble = str(error) or type(error).__name__
        logger.warning(
            "%s cannot be started: %s; next try in %.1f s", self.url, self.trouble, delay_s
        )
        self._emit(events.MarketTrouble(self.url, self.trouble))
        if isinstance(error, SetupError):
            self.request_queue.fail(f"{self.url} cannot be served: {self.trouble}")

    def _kept(self) -> list[Instance]:
        return [
            i
            for i in self.instances
            if i.state not in (State.DRAINING, State.DEAD) and not (i.surplus or i.outgoing)
        ]

    async def _tick(self) -> None:
        self._bury()
        wanted = self._evaluate()
        if wanted != self._wanted:
            self._emit(events.SizeChanged(self.url, self._wanted, wanted))
            self._wanted = wanted
        now = time.monotonic()
        if now > self._renew_at:
            self._renew()
        kept = self._kept()
        if len(kept) < wanted:
            await self._grow(wanted - len(kept), now)
        elif len(kept) > wanted:
            self._shrink(kept, len(kept) - wanted)
        self._relieve(wanted, now)
        for instance in kept:
            late = (
                instance.state is State.STARTING
                and now - instance.created_at > self.options.start_timeout_s
            )
            if late:
                instance.die(f"not ready within {self.options.start_timeout_s} s")

    async def _grow(self, count: int, now: float) -> None:
        for instance in self.instances:
            if count and instance.surplus and instance.state is State.PENDING:
                instance.surplus = False
                count -= 1
        if not count or now < self._start_not_before:
            return
        if self._golem_cluster is None:
            self._golem_cluster = await self._run_service()
            lifetime_s = (self.options.lifetime or YAPAPI_LIFETIME).total_seconds()
            self._renew_at = time.monotonic() + max(60.0, lifetime_s - RENEW_BEFORE_S)
            self._ends_at = time.monotonic() + lifetime_s
        for _ in range(count):
            self._spawn()

    async def _run_service(self) -> Any:
        from yapapi.payload import vm

        from ya_httpx_client.manager import SetupError
        from ya_httpx_client.service import FileSerializationService, VPNService

        kind = VPNService if self.USE_VPN else FileSerializationService
        where = {} if self.repository_url is None else {"repository_url": self.repository_url}
        try:
            payload = await vm.repo(
                image_hash=self.image_hash,
                capabilities=list(kind.REQUIRED_CAPABILITIES),
                min_mem_gib=self.options.min_mem_gib,
                min_storage_gib=self.options.min_storage_gib,
                min_cpu_threads=self.options.min_cpu_threads,
                **where,
            )
        except Exception as cause:
            if "404" in str(cause):
                raise SetupError(
                    f"image {self.image_hash} is not in the registry: {cause}"
                ) from cause
            raise
        network = None
        if self.USE_VPN:
            assert self.network_wrapper is not None
            network = await self.network_wrapper.network()
        return await self.manager.run_service(
            kind, payload, network=network, lifetime=self.options.lifetime
        )

    def _spawn(self) -> None:
        instance = Instance(self.options.slots, self._changed, self.latency)
        if self.USE_VPN and self.network_wrapper is not None:
            instance.address = self.network_wrapper.take_address()
        self._golem_cluster.spawn_instances(
            instance_params=[
                {
                    "instance": instance,
                    "owner": self,
                    "entrypoint": self.entrypoint,
                    "start_steps": self.start_steps,
                }
            ],
            network_addresses=None if instance.address is None else [instance.address],
        )
        self._services[instance] = (self._golem_cluster, self._golem_cluster.instances[-1])
        self.instances.append(instance)

    def _shrink(self, kept: list[Instance], count: int) -> None:
        """Stop instances: those without a provider first, then those that start, then the least busy."""
        order = [State.PENDING, State.STARTING, State.SUSPECT, State.READY]
        kept.sort(key=lambda instance: (order.index(instance.state), instance.in_flight))
        for instance in kept[:count]:
            if instance.state is State.PENDING:
                instance.surplus = (
                    True  # yapapi cannot give up the search; it is used again or ends at its start
                )
            else:
                instance.drain()

    def _renew(self) -> None:
        """Ask for new instances by a new demand, before the market agreements of the present ones end."""
        self._renew_at = float("inf")
        self._let_go_at = self._ends_at - LET_GO_BEFORE_S
        self._golem_cluster = None
        for instance in self._kept():
            if instance.state is State.PENDING:
                instance.surplus = True
            elif instance.state is State.STARTING:
                instance.drain()
            else:
                instance.outgoing = True

    def _relieve(self, wanted: int, now: float) -> None:
        """Drain outgoing instances, one for each that is ready in its place, and all when their time is up."""
        outgoing = [
            i for i in self.instances if i.outgoing and i.state in (State.READY, State.SUSPECT)
        ]
        if not outgoing:
            return
        ready = sum(instance.state is State.READY for instance in self._kept())
        needed = 0 if now > self._let_go_at else max(0, wanted - ready)
        outgoing.sort(key=lambda instance: (instance.state is State.READY, instance.in_flight))
        for instance in outgoing[: max(0, len(outgoing) - needed)]:
            instance.drain()

    def _bury(self) -> None:
        """Part with instances that are dead and that yapapi has let go of; have yapapi let go of the others."""
        for instance in list(self.instances):
            cluster, service = self._services.get(instance, (None, None))
            ended = cluster is None or self.manager.ended(cluster, service)
            if ended and instance.state is not State.DEAD:
                instance.die("yapapi ended the service")
            if instance.state is not State.DEAD or not ended:
                continue
            self._services.pop(instance, None)
            self._announced.discard(instance)
            self.instances.remove(instance)
            if instance.address is not None and self.network_wrapper is not None:
                self.network_wrapper.return_address(instance.address)

    # news from instances -----------------------------------------------------------------------------------------

    def instance_starting(self, instance: Instance) -> None:
        """An instance got a provider."""
        self._emit(events.InstanceStarting(self.url, instance.label))

    def _changed(self, instance: Instance) -> None:
        if instance.state is State.READY:
            if instance not in self._announced:
                self._announced.add(instance)
                self._came_up(instance)
            self.request_queue.serve()
        elif instance.state is State.DEAD:
            self._went(instance)

    def _came_up(self, instance: Instance) -> None:
        self.trouble = None
        self._failed_starts = 0
        self.market.settle()
        assert instance.ready_at is not None
        after_s = instance.ready_at - instance.created_at
        logger.info("%s: %s is ready after %.1f s", self.url, instance.label, after_s)
        self._emit(events.InstanceReady(self.url, instance.label, after_s))
        self._wake.set()  # one that is outgoing may be relieved

    def _went(self, instance: Instance) -> None:
        cluster, service = self._services.get(instance, (None, None))
        if cluster is not None:
            cluster.stop_instance(service)
        if instance.lost_because is None:
            self._emit(events.InstanceStopped(self.url, instance.label))
        else:
            logger.warning("%s: %s was lost: %s", self.url, instance.label, instance.lost_because)
            self._emit(events.InstanceLost(self.url, instance.label, instance.lost_because))
            self.manager.avoid(instance.provider_id)
            if instance.ready_at is None:
                self._failed_starts += 1
                self.trouble = instance.lost_because
                delay_s = _FAILED_START.delay(self._failed_starts, 0.0, self._rng)
                self._start_not_before = time.monotonic() + delay_s
            if self.options.restart == "never" and not self.closing:
                self.set_size(max(0, self._wanted - 1))
        self._wake.set()
