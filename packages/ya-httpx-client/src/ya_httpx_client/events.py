"""What happens in a session, as typed values handed to ``Session(on_event=...)``.

Callbacks run on the session's event loop and must not block; one that raises is logged and ignored.
"""

from __future__ import annotations

import dataclasses

__all__ = [
    "Event",
    "ExecutionRepeated",
    "InstanceLost",
    "InstanceReady",
    "InstanceStarting",
    "InstanceStopped",
    "MarketTrouble",
    "NetworkRebuilt",
    "SizeChanged",
]


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """Base of all events. ``url`` is the service they are about, empty for the whole session."""

    url: str


@dataclasses.dataclass(frozen=True, slots=True)
class InstanceStarting(Event):
    """A provider signed an agreement and starts the service."""

    provider: str


@dataclasses.dataclass(frozen=True, slots=True)
class InstanceReady(Event):
    """An instance answered its readiness probe and takes requests, ``after_s`` seconds after it was asked for."""

    provider: str
    after_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class InstanceLost(Event):
    """An instance ended without having been asked to; another takes its place."""

    provider: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class InstanceStopped(Event):
    """An instance was stopped because fewer are wanted."""

    provider: str


@dataclasses.dataclass(frozen=True, slots=True)
class SizeChanged(Event):
    """Another number of instances is wanted."""

    before: int
    after: int


@dataclasses.dataclass(frozen=True, slots=True)
class ExecutionRepeated(Event):
    """A request is executed again because the provider failed it."""

    method: str
    path: str
    provider: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class MarketTrouble(Event):
    """Something keeps instances from starting: a refused agreement, a failed payment, a missing image ..."""

    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class NetworkRebuilt(Event):
    """The daemon had lost the session's state and everything was set up again."""

    reason: str
