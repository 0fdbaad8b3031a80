"""Figures of a running session, as plain values: what ``Session.stats()`` returns and ``ya-httpx status`` shows."""

from __future__ import annotations

import dataclasses
from collections import deque

__all__ = ["Latency", "ProviderStats", "UrlStats"]


class Latency:
    """The last durations of requests and quantiles of them."""

    def __init__(self, size: int = 512) -> None:
        self._seconds: deque[float] = deque(maxlen=size)

    def add(self, seconds: float) -> None:
        """Record one duration."""
        self._seconds.append(seconds)

    def quantile(self, share: float) -> float | None:
        """Return the seconds that ``share`` (0..1) of the durations do not exceed; ``None`` without any."""
        if not self._seconds:
            return None
        ordered = sorted(self._seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclasses.dataclass(frozen=True, slots=True)
class ProviderStats:
    """One instance.

    Attributes:
        provider: Name of the provider, ``None`` before there is one.
        state: ``pending``, ``starting``, ``ready``, ``suspect``, ``draining`` or ``dead``.
        in_flight: Requests it is serving.
        served: Requests it has answered.
        failed: Requests that failed on it.
        connections: Open connections to it.
        price_per_hour: GLM for an hour of its time, ``None`` when unknown.
    """

    provider: str | None
    state: str
    in_flight: int
    served: int
    failed: int
    connections: int
    price_per_hour: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class UrlStats:
    """One URL.

    Attributes:
        url: As given to ``startup`` or ``add_url``.
        wanted: Instances it should have.
        providers: Its instances, dead ones left out.
        queued: Requests that wait for a slot.
        in_flight: Requests being served.
        served: Requests answered since the start.
        failed: Requests whose caller got an error.
        reexecuted: Executions that were repeats on another provider.
        queue_delay_s: Moving average of the wait in the queue, seconds.
        latency_p50_s, latency_p99_s: Of the last requests, from slot to head of the answer, seconds; ``None``
        without any.
        cost_per_hour: Sum over its providers, GLM.
        trouble: Why instances do not come up, ``None`` when they do.
    """

    url: str
    wanted: int
    providers: tuple[ProviderStats, ...]
    queued: int
    in_flight: int
    served: int
    failed: int
    reexecuted: int
    queue_delay_s: float
    latency_p50_s: float | None
    latency_p99_s: float | None
    cost_per_hour: float
    trouble: str | None
