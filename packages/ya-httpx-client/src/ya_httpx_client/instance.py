r"""One instance of a service on one provider: whether it takes requests, how many, and how it executes them.

Owned by a :class:`ya_httpx_client.cluster.Cluster`; driven by the yapapi service in ``service``. A pure state
machine but for the executor it is given. States::

    pending -> starting -> ready <-> suspect -> dead
                             \-> draining -> dead
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Callable
from typing import Any, Protocol

from transport_utils import errors
from transport_utils.errors import SentState
from transport_utils.health import Outcome, outcome_of_error

from ya_httpx_client.exchange import Timeouts
from ya_httpx_client.stats import Latency, ProviderStats

__all__ = ["Executor", "Instance", "State"]

SUSPECT_AFTER = 3
"""Failed answers in a row after which an instance takes no requests until a probe succeeds."""


class State(enum.Enum):
    """Where an instance is in its life."""

    PENDING = "pending"
    STARTING = "starting"
    READY = "ready"
    SUSPECT = "suspect"
    DRAINING = "draining"
    DEAD = "dead"


class Executor(Protocol):
    """How requests get to the provider: through the VPN, or as files."""

    @property
    def connections(self) -> int:
        """Open connections to the provider."""

    async def execute(
        self,
        request: Any,
        timeouts: Timeouts,
        finished: Callable[[errors.TransportError | None], None],
        *,
        settle: bool,
    ) -> Any:
        """Execute a request; see :func:`ya_httpx_client.exchange.exchange`."""

    def abort(self) -> None:
        """End everything in progress."""


class Instance:
    """One instance.

    Args:
        slots: Requests it serves at the same time.
        changed: Called when it may have become able, or unable, to serve.
        latency: Record of durations, shared by the instances of a URL.

    Attributes:
        in_flight: Requests being served.
        address: Its address in the VPN, reserved for it.
        surplus: Whether it is to be stopped as soon as it has a provider.
        outgoing: Whether it serves only until the one that takes its place is ready.
        lost_because: Why it died, ``None`` if it was asked to stop.
    """

    def __init__(self, slots: int, changed: Callable[[Instance], None], latency: Latency) -> None:
        self.slots = slots
        self.state = State.PENDING
        self.provider_id: str | None = None
        self.provider_name: str | None = None
        self.price_per_hour: float | None = None
        self.address: str | None = None
        self.executor: Executor | None = None
        self.surplus = False
        self.outgoing = False
        self.lost_because: str | None = None
        self.in_flight = 0
        self.served = 0
        self.failed = 0
        self.created_at = time.monotonic()
        self.ready_at: float | None = None
        self._failures = 0
        self._latency = latency
        self._changed = changed
        self.attention = asyncio.Event()
        """Set when its keeper should look at it now."""

    def __repr__(self) -> str:
        return f"<Instance {self.state.value} on {self.provider_name} in_flight={self.in_flight}>"

    @property
    def label(self) -> str:
        """Name of the provider for people."""
        return self.provider_name or self.provider_id or "no provider yet"

    @property
    def free(self) -> bool:
        """Whether it would take a request now."""
        return self.state is State.READY and self.in_flight < self.slots

    def stats(self) -> ProviderStats:
        """Return its figures."""
        return ProviderStats(
            self.provider_name,
            self.state.value,
            self.in_flight,
            self.served,
            self.failed,
            self.executor.connections if self.executor else 0,
            self.price_per_hour,
        )

    # life --------------------------------------------------------------------------------------------------------

    def starting(
        self, provider_id: str, provider_name: str | None, price_per_hour: float | None
    ) -> None:
        """A provider was found."""
        self.provider_id, self.provider_name = provider_id, provider_name
        self.price_per_hour = price_per_hour
        if self.state is State.PENDING:
            self.state = State.STARTING

    def ready(self, executor: Executor | None = None) -> None:
        """It answered a probe: requests may come."""
        if executor is not None:
            self.executor = executor
        if self.state in (State.STARTING, State.SUSPECT):
            self.state = State.READY
            self.ready_at = self.ready_at or time.monotonic()
            self._failures = 0
            self._changed(self)

    def drain(self) -> None:
        """Take no more requests; it is dead when the last one has ended, at once if it serves none."""
        if self.state is not State.DEAD:
            self.state = State.DRAINING
            self._drained()

    def _drained(self) -> None:
        if self.state is State.DRAINING and self.in_flight == 0:
            self.die(None)

    def die(self, reason: str | None) -> None:
        """It is gone: requests in progress see their connections end.

        Args:
            reason: Why it was lost; ``None`` when it was asked to stop.
        """
        if self.state is State.DEAD:
            return
        self.state = State.DEAD
        self.lost_because = reason
        if self.executor is not None:
            self.executor.abort()
        self.attention.set()
        self._changed(self)

    # requests ----------------------------------------------------------------------------------------------------

    def reserve(self) -> None:
        """Count one more request."""
        self.in_flight += 1

    def give_back(self) -> None:
        """Count one request less."""
        self.in_flight -= 1
        self._drained()
        if self.state is State.READY:
            self._changed(self)

    async def execute(self, request: Any, timeouts: Timeouts, *, settle: bool) -> Any:
        """Execute a request in a reserved slot; the slot is free again when the answer's body has ended.

        Raises:
            TransportError: See :func:`ya_httpx_client.exchange.exchange`.
        """
        if self.executor is None or self.state is State.DEAD:
            self.give_back()
            raise errors.ConnectError(
                f"{self.label} was lost: {self.lost_because}", sent=SentState.NOT_SENT
            )
        started = time.monotonic()
        try:
            response = await self.executor.execute(request, timeouts, self._ended, settle=settle)
        except errors.TransportError as error:
            self._note(error)
            self.give_back()
            raise
        except BaseException:
            self.give_back()
            raise
        self._latency.add(time.monotonic() - started)
        return response

    def _ended(self, error: errors.TransportError | None) -> None:
        if error is None:
            self.served += 1
            self._failures = 0
        else:
            self._note(error)
        self.give_back()

    def _note(self, error: errors.TransportError) -> None:
        """Take a failed request into account: the instance may be in trouble."""
        self.failed += 1
        outcome = outcome_of_error(error)
        if outcome is Outcome.LOCAL:
            return
        self._failures += 1
        unreachable = outcome is Outcome.NETWORK or isinstance(error, errors.ConnectionReset)
        if self.state is State.READY and (unreachable or self._failures >= SUSPECT_AFTER):
            self.state = State.SUSPECT
            self.attention.set()
