"""A load balancer that keeps each provider at a target load: up fast, down slowly, within a budget.

A size for ``Session.set_cluster_size``. Pure: it reads figures of the cluster and a clock, and can be driven with
others.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Load", "TargetLoad"]


class Load(Protocol):
    """What a balancer reads: a :class:`ya_httpx_client.cluster.Cluster`, or anything like it."""

    @property
    def in_flight(self) -> int:
        """Requests being served."""

    def waiting(self) -> int:
        """Requests that wait for a slot."""

    def queue_delay_s(self) -> float:
        """How long requests waited lately, seconds."""

    def price_per_hour(self) -> float | None:
        """Mean price of a provider's hour, GLM; ``None`` when unknown."""


class TargetLoad:
    """As many providers as keep each at ``in_flight`` requests and the wait below ``queue_delay_s``.

    The demand is ``(requests in flight + waiting) / in_flight``, rounded up; while the wait exceeds
    ``queue_delay_s`` it is at least one more than now. More than now is granted at once, at most a doubling each
    ``up_s``. Fewer are granted only when the demand has been lower for ``down_s``, and then only down to the highest
    demand of that time.

    Give an instance's maker as size: ``session.set_cluster_size(url, TargetLoad.of(in_flight=8, maximum=20))``.

    Args:
        cluster: The cluster.
        in_flight: Requests per provider aimed at, > 0.
        queue_delay_s: Wait in the queue that calls for another provider, seconds, > 0.
        minimum: Never fewer, >= 0; 0 lets the service sleep, the first request then waits for a start.
        maximum: Never more, >= ``minimum``.
        cost_per_hour: Never more providers than this many GLM an hour pay for, going by the present mean price;
            ``None`` for no ceiling. At least one is kept if there is work.
        up_s: Time between doublings, seconds.
        down_s: How long the demand must have been lower, seconds.
        clock: Returns monotonic seconds.

    Raises:
        ValueError: A figure is out of its range.
    """

    def __init__(
        self,
        cluster: Load,
        *,
        in_flight: float = 4.0,
        queue_delay_s: float = 0.5,
        minimum: int = 1,
        maximum: int = 10,
        cost_per_hour: float | None = None,
        up_s: float = 2.0,
        down_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, good in (
            ("in_flight must be above 0", in_flight > 0),
            ("queue_delay_s must be above 0", queue_delay_s > 0),
            ("minimum must be 0 or more", minimum >= 0),
            ("maximum must not be below minimum", maximum >= minimum),
            ("cost_per_hour must be above 0", cost_per_hour is None or cost_per_hour > 0),
            ("up_s and down_s must be 0 or more", up_s >= 0 and down_s >= 0),
        ):
            if not good:
                raise ValueError(name)
        self._cluster = cluster
        self._in_flight = in_flight
        self._queue_delay_s = queue_delay_s
        self._minimum, self._maximum = minimum, maximum
        self._cost_per_hour = cost_per_hour
        self._up_s, self._down_s = up_s, down_s
        self._clock = clock
        self._size = minimum
        self._raised_at = -math.inf
        self._lower_since: float | None = None
        self._highest_lower = 0

    @classmethod
    def of(
        cls,
        *,
        in_flight: float = 4.0,
        queue_delay_s: float = 0.5,
        minimum: int = 1,
        maximum: int = 10,
        cost_per_hour: float | None = None,
        up_s: float = 2.0,
        down_s: float = 60.0,
    ) -> Callable[[Load], TargetLoad]:
        """Return a maker of balancers with these figures, to be given as a cluster's size."""
        return functools.partial(
            cls,
            in_flight=in_flight,
            queue_delay_s=queue_delay_s,
            minimum=minimum,
            maximum=maximum,
            cost_per_hour=cost_per_hour,
            up_s=up_s,
            down_s=down_s,
        )

    def __int__(self) -> int:
        now = self._clock()
        wanted = self._clamp(self._demand())
        if wanted > self._size:
            self._lower_since = None
            if now - self._raised_at >= self._up_s:
                self._size = min(wanted, max(1, 2 * self._size))
                self._raised_at = now
        elif wanted < self._size:
            if self._lower_since is None:
                self._lower_since, self._highest_lower = now, wanted
            self._highest_lower = max(self._highest_lower, wanted)
            if now - self._lower_since >= self._down_s:
                self._size = self._highest_lower
                self._lower_since = None
        else:
            self._lower_since = None
        return self._size

    def _demand(self) -> int:
        work = self._cluster.in_flight + self._cluster.waiting()
        demand = math.ceil(work / self._in_flight)
        if self._cluster.waiting() and self._cluster.queue_delay_s() > self._queue_delay_s:
            demand = max(demand, self._size + 1)
        return demand

    def _clamp(self, demand: int) -> int:
        wanted = max(self._minimum, min(demand, self._maximum))
        price = self._cluster.price_per_hour()
        if self._cost_per_hour is not None and price:
            affordable = int(self._cost_per_hour / price)
            wanted = min(wanted, max(affordable, 1 if demand else 0))
        return wanted
