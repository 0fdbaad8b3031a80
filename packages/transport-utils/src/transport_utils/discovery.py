"""Keeps the list of nodes up to date ("sniffing"): when to ask, and what to do with the answer.

Used by the drivers; clients supply the asking. Discovery never gets in the way of a request: one thread or task asks,
the others go on with the nodes there are, and a failure is logged, except at the start.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import math
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, TypeAlias

from transport_utils.deadline import Deadline
from transport_utils.endpoint import Endpoint
from transport_utils.errors import ConfigurationError

__all__ = ["Discover", "Discovery", "DiscoverySchedule", "current_deadline", "within"]

_deadline: contextvars.ContextVar[Deadline | None] = contextvars.ContextVar(
    "transport_utils.discovery.deadline", default=None
)

Discover: TypeAlias = (
    "Callable[[Any, str], Iterable[Endpoint]] | Callable[[Any, str], Awaitable[Iterable[Endpoint]]]"
)
"""``discover(transport, reason) -> endpoints``; a coroutine function for the asynchronous transport."""


@dataclasses.dataclass(frozen=True, slots=True)
class Discovery:
    """How the current nodes are found out; immutable.

    Args:
        discover: Called with the transport and the reason (``"start"``, ``"interval"`` or ``"failure"``); asks a node
            through the transport and returns all nodes. Make them from the endpoint that answered
            (``endpoint.replace(host=..., port=...)``), so that scheme, credentials and TLS options stay.
        on_start: Ask before the first call.
        interval_s: Ask when a call begins and the last answer is older than this, seconds; ``None`` for never.
        on_failure: Ask when a node could not be reached.
        min_delay_s: Shortest time between two rounds because of failures, seconds.

    Raises:
        ConfigurationError: ``discover`` is not callable, nothing would ever call it, or a figure is out of range.
    """

    discover: Discover
    on_start: bool = False
    interval_s: float | None = None
    on_failure: bool = False
    min_delay_s: float = 10.0

    def __post_init__(self) -> None:
        if not callable(self.discover):
            raise ConfigurationError(f"discover={self.discover!r}: expected a callable")
        if not (self.on_start or self.on_failure or self.interval_s is not None):
            raise ConfigurationError(
                "discovery would never run: set on_start, interval_s or on_failure"
            )
        for name in ("interval_s", "min_delay_s"):
            value = getattr(self, name)
            if value is not None and not (0 <= value < math.inf):
                raise ConfigurationError(f"discovery {name}={value!r}: expected seconds >= 0")


class DiscoverySchedule:
    """Says when to ask; thread-safe. ``now`` is given in monotonic seconds."""

    def __init__(self, discovery: Discovery) -> None:
        self._discovery = discovery
        self._lock = threading.Lock()
        self._last = -math.inf
        self._started = not discovery.on_start
        self._failed = False

    def note_failure(self) -> None:
        """Note that a node could not be reached."""
        if self._discovery.on_failure:
            self._failed = True

    def begin(self, now: float) -> str | None:
        """Return the reason to ask now, after which :meth:`end` must be called; ``None`` for no reason.

        While one caller asks, the others get ``None``.
        """
        reason = self._reason(now)
        if reason is None or not self._lock.acquire(blocking=False):
            return None
        # Another caller may have finished between our look and the lock.
        reason = self._reason(now)
        if reason is None:
            self._lock.release()
        return reason

    def _reason(self, now: float) -> str | None:
        discovery = self._discovery
        if not self._started:
            return "start"
        age = now - self._last
        if self._failed and age >= discovery.min_delay_s:
            return "failure"
        if discovery.interval_s is not None and age >= discovery.interval_s:
            return "interval"
        return None

    def end(self, now: float, *, succeeded: bool) -> None:
        """Note that the round begun is over; a failed first one is tried again by the next call."""
        self._last = now
        self._failed = False
        if succeeded:
            self._started = True
        self._lock.release()


@contextlib.contextmanager
def within(deadline: Deadline | None) -> Iterator[None]:
    """Bind the requests that ``discover`` makes to the deadline of the call that waits for it; ``None`` for no call."""
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


def current_deadline(deadline: Deadline) -> Deadline:
    """Return the earlier of a request's own deadline and that of the call it is made for."""
    outer = _deadline.get()
    return deadline if outer is None or outer.at >= deadline.at else outer
