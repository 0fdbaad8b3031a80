"""Chooses one of the nodes that may be used.

Used by :class:`transport_utils.nodes.NodePool` and by pylm for its peers. Policy floor: a selector sees only the
sequence of available nodes and the context of the call. All are shared by the threads of a transport and
thread-safe; each is O(1) per call unless it says otherwise.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Protocol, TypeVar

from transport_utils.errors import ConfigurationError
from transport_utils.forks import renew_lock_after_fork

__all__ = [
    "LeastOutstandingSelector",
    "RandomSelector",
    "RoundRobinSelector",
    "Selector",
    "StickySelector",
    "WeightedSelector",
    "ZoneAwareSelector",
    "make_selector",
]

_Node = TypeVar("_Node")
Context = Mapping[str, Any]


class Selector(Protocol):
    """What a selector must offer.

    ``counts_outstanding`` asks the pool to keep ``node.outstanding``, the number of requests in flight; it costs a
    lock per request, so only selectors that need the figure set it.
    """

    counts_outstanding: bool

    def select(self, nodes: Sequence[_Node], context: Context | None = None) -> _Node:
        """Return one of ``nodes``, which holds at least one.

        Args:
            nodes: The available nodes. The pool passes the same tuple until the set changes.
            context: What the caller said about this call (``key``, ``zone`` ...); ``None`` for nothing.
        """
        ...


class RoundRobinSelector:
    """Each node in turn, over all threads together: n calls on k nodes give each of them n / k."""

    counts_outstanding = False

    def __init__(self) -> None:
        counter = itertools.count()
        self._next: Callable[[], int] = counter.__next__
        if not getattr(sys, "_is_gil_enabled", lambda: True)():
            self._next = _Locked(counter.__next__)

    def select(self, nodes: Sequence[_Node], context: Context | None = None) -> _Node:
        """Return the next node."""
        return nodes[self._next() % len(nodes)]


class _Locked:
    """Calls one function at a time: ``itertools.count`` is atomic only under the interpreter lock."""

    def __init__(self, function: Callable[[], int]) -> None:
        self._function = function
        self._lock = renew_lock_after_fork(self)

    def __call__(self) -> int:
        with self._lock:
            return self._function()


class RandomSelector:
    """Any node, all equally likely.

    Args:
        rng: Source of randomness; ``None`` for one of its own.
    """

    counts_outstanding = False

    def __init__(self, rng: random.Random | None = None) -> None:
        self._random = (rng or random.Random()).random

    def select(self, nodes: Sequence[_Node], context: Context | None = None) -> _Node:
        """Return a random node."""
        return nodes[int(self._random() * len(nodes))]


class LeastOutstandingSelector:
    """The less busy of two random nodes ("power of two choices"): near the best balance without looking at all nodes.

    Args:
        rng: Source of randomness; ``None`` for one of its own.
    """

    counts_outstanding = True

    def __init__(self, rng: random.Random | None = None) -> None:
        self._random = (rng or random.Random()).random

    def select(self, nodes: Sequence[_Node], context: Context | None = None) -> _Node:
        """Return the node of the two with fewer requests in flight."""
        count = len(nodes)
        first = int(self._random() * count)
        if count == 1:
            return nodes[0]
        second = int(self._random() * (count - 1))
        one, other = nodes[first], nodes[second + (second >= first)]
        return other if other.outstanding < one.outstanding else one  # type: ignore[attr-defined]


class WeightedSelector:
    """A random node, likelier the higher its weight. O(log n) per call, O(n) when the set of nodes changes.

    Args:
        weight: Returns a node's weight, a number >= 0; by default its attribute ``weight``. If all weights are 0 the
            nodes are equally likely.
        rng: Source of randomness; ``None`` for one of its own.
    """

    counts_outstanding = False

    def __init__(
        self,
        weight: Callable[[Any], float] = attrgetter("weight"),
        rng: random.Random | None = None,
    ) -> None:
        self._weight = weight
        self._random = (rng or random.Random()).random
        self._table: tuple[Sequence[Any], list[float]] = ((), [])

    def select(self, nodes: Sequence[_Node], context: Context | None = None) -> _Node:
        """Return a random node by weight.

        Raises:
            ConfigurationError: A weight is negative.
        """
        known, sums = self._table
        if known is not nodes:
            weights = [float(self._weight(node)) for node in nodes]
            if any(not weight >= 0 for weight in weights):
                raise ConfigurationError(f"node weights {weights}: expected numbers >= 0")
            sums = list(itertools.accumulate(weights if any(weights) else [1.0] * len(nodes)))
            self._table = (nodes, sums)
        return nodes[min(bisect.bisect_right(sums, self._random() * sums[-1]), len(nodes) - 1)]


class ZoneAwareSelector:
    """Nodes of the caller's own zone as long as there is one, else any. O(n) when the set of nodes changes.

    Args:
        zone: The zone of this process; ``context["zone"]`` of a call goes before it.
        inner: Chooses within the zone; ``None`` for round robin.
        zone_of: Returns a node's zone; by default its attribute ``zone``.
    """

    def __init__(
        self,
        zone: str,
        inner: Selector | None = None,
        zone_of: Callable[[Any], str | None] = attrgetter("zone"),
    ) -> None:
        self._zone = zone
        self._inner = RoundRobinSelector() if inner is None else inner
        self._zone_of = zone_of
        self._table: tuple[Sequence[Any], dict[str | None, tuple[Any, ...]]] = ((), {})
        self.counts_outstanding = self._inner.counts_outstanding

    def select(self, nodes: Sequence[_Node], context: Context | None = None) -> _Node:
        """Return a node of the zone if there is one."""
        known, zones = self._table
        if known is not nodes:
            zones = {}
            for node in nodes:
                zone = self._zone_of(node)
                zones[zone] = (*zones.get(zone, ()), node)
            self._table = (nodes, zones)
        wanted = (context or {}).get("zone", self._zone)
        chosen: _Node = self._inner.select(zones.get(wanted, nodes), context)
        return chosen


class StickySelector:
    """The same node for the same ``context["key"]`` while it is available (rendezvous hashing). O(n) per call.

    When a node leaves, only its own keys move.

    Args:
        inner: Chooses for calls without a key; ``None`` for round robin.
        identity: Returns what names a node across processes; by default ``str``.
    """

    def __init__(self, inner: Selector | None = None, identity: Callable[[Any], str] = str) -> None:
        self._inner = RoundRobinSelector() if inner is None else inner
        self._identity = identity
        self.counts_outstanding = self._inner.counts_outstanding

    def select(self, nodes: Sequence[_Node], context: Context | None = None) -> _Node:
        """Return the node of the call's key."""
        key = (context or {}).get("key")
        if key is None:
            return self._inner.select(nodes, context)
        prefix = str(key).encode("utf-8", "surrogatepass") + b"\0"

        def score(node: _Node) -> bytes:
            name = self._identity(node).encode("utf-8", "surrogatepass")
            return hashlib.blake2b(prefix + name, digest_size=8).digest()

        return max(nodes, key=score)


_BY_NAME: Mapping[str, Callable[[random.Random | None], Selector]] = {
    "least_outstanding": LeastOutstandingSelector,
    "random": RandomSelector,
    "round_robin": lambda rng: RoundRobinSelector(),
    "sticky": lambda rng: StickySelector(),
    "weighted": lambda rng: WeightedSelector(rng=rng),
}


def make_selector(selector: str | Selector | None, rng: random.Random | None = None) -> Selector:
    """Return a selector by name, the object given, or round robin for ``None``.

    Args:
        selector: ``"least_outstanding"``, ``"random"``, ``"round_robin"``, ``"sticky"``, ``"weighted"``, or an object.
        rng: Source of randomness of a selector found by name; ``None`` for one of its own.

    Raises:
        ConfigurationError: The name is unknown, or the object has no ``select``.
    """
    if selector is None:
        return RoundRobinSelector()
    if isinstance(selector, str):
        if selector not in _BY_NAME:
            raise ConfigurationError(
                f"selector {selector!r}: expected one of {', '.join(sorted(_BY_NAME))}"
            )
        return _BY_NAME[selector](rng)
    if not callable(getattr(selector, "select", None)):
        raise ConfigurationError(
            f"selector {selector!r}: expected an object with select(nodes, context)"
        )
    return selector
