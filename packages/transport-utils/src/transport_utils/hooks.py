"""Places where users and telemetry look into a transport: plain callables, called as things happen.

Called by the drivers and connection pools; a transport without hooks pays one ``is None`` test per event. Hooks run in
the thread or task of the request, so they must be quick and must not block; an exception in one is logged and does not
disturb the request.
"""

from __future__ import annotations

import dataclasses
import enum
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from transport_utils.endpoint import Endpoint
from transport_utils.messages import Request, ResponseMeta

if TYPE_CHECKING:
    from transport_utils.health import NodeChange

__all__ = ["Attempt", "Hooks", "PoolEvent", "combine_hooks"]

_log = logging.getLogger(__name__)
logging.getLogger("transport_utils").addHandler(logging.NullHandler())  # quiet unless asked for


class PoolEvent(enum.Enum):
    """What happened to a connection of a pool."""

    OPENED = "opened"
    REUSED = "reused"
    RETURNED = "returned"
    CLOSED = "closed"
    """One in use was closed instead of given back."""
    EXPIRED = "expired"
    """An idle one was closed."""
    EXHAUSTED = "exhausted"
    """All connections are in use; a request waits."""


@dataclasses.dataclass(slots=True, eq=False)
class Attempt:
    """One attempt of a call, as the hooks see it; the same object from ``on_attempt`` to its end.

    Args:
        request: The request as it is sent; hooks must not change it.
        endpoint: The node it goes to.
        number: 1 for the first attempt of the call.
        started: Monotonic seconds.
        headers: Headers that hooks add for this attempt only, such as ``traceparent``; lower-case names.
        state: Free for hooks to keep something from start to end, each under a key of its own.
    """

    request: Request
    endpoint: Endpoint
    number: int
    started: float
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    state: dict[Any, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Hooks:
    """Callables to call; ``None`` for the ones not wanted.

    Args:
        on_request_start: A call begins: ``(request)``.
        on_attempt: An attempt is about to be sent: ``(attempt)``; may add to ``attempt.headers``.
        on_response: An attempt brought a response of any status: ``(attempt, meta, now)``, ``now`` in monotonic
        seconds.
        on_error: An attempt brought none: ``(attempt, error, now)``.
        on_retry: Another attempt follows: ``(attempt, delay_s)``.
        on_node_state: A node was ejected, restored or slowed: ``(endpoint, change)``.
        on_pool: Something happened to a connection: ``(endpoint, event)``.
    """

    on_request_start: Callable[[Request], object] | None = None
    on_attempt: Callable[[Attempt], object] | None = None
    on_response: Callable[[Attempt, ResponseMeta, float], object] | None = None
    on_error: Callable[[Attempt, BaseException, float], object] | None = None
    on_retry: Callable[[Attempt, float], object] | None = None
    on_node_state: Callable[[Endpoint, NodeChange], object] | None = None
    on_pool: Callable[[Endpoint, PoolEvent], object] | None = None


def combine_hooks(many: Iterable[Hooks | None]) -> Hooks | None:
    """Return hooks that call all of the given ones in order; ``None`` if there are none.

    What a hook raises is logged and goes no further; drivers use this also for a single :class:`Hooks`.
    """
    given = [hooks for hooks in many if hooks is not None]
    if not given:
        return None
    combined: dict[str, Any] = {}
    for field in dataclasses.fields(Hooks):
        callables = [call for hooks in given if (call := getattr(hooks, field.name)) is not None]
        combined[field.name] = _Shield(field.name, callables) if callables else None
    return Hooks(**combined)


class _Shield:
    """Calls several hooks and logs what they raise."""

    def __init__(self, name: str, callables: list[Callable[..., object]]) -> None:
        self._name = name
        self._callables = callables

    def __call__(self, *arguments: Any) -> None:
        for call in self._callables:
            try:
                call(*arguments)
            except Exception:
                _log.exception("hook %s %r failed; the request goes on", self._name, call)
