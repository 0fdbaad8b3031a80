"""The nodes of one service: picks one for each attempt and takes note of how it went.

Used by the sync and async drivers and by clients with a pool class of their own. Thread-safe and free of I/O. A pick
reads one immutable tuple, without a lock and in the same time for any number of nodes; the tuple is replaced under a
lock when a node is ejected, restored, added or removed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from transport_utils.endpoint import Endpoint
from transport_utils.errors import ConfigurationError, NoNodeAvailable
from transport_utils.forks import renew_lock_after_fork
from transport_utils.health import HealthPolicy, NodeChange, NodeHealth, Outcome
from transport_utils.selectors import Selector, make_selector

__all__ = ["Node", "NodePool"]

_OK = Outcome.OK
"""Looked up once: reading a member from its class takes longer than all else a success costs here."""


class Node:
    """One endpoint in a pool.

    Attributes:
        endpoint: Where it is.
        health: Its state; changed by the pool only.
        outstanding: Requests in flight; kept only for selectors that ask for it.
        weight: ``endpoint.extras["weight"]``, 1.0 without one.
        zone: ``endpoint.extras["zone"]``, ``None`` without one.
        connections: Free for the driver: the node's connection pool.
    """

    __slots__ = ("connections", "endpoint", "health", "outstanding", "weight", "zone")

    def __init__(self, endpoint: Endpoint, health: NodeHealth) -> None:
        self.endpoint = endpoint
        self.health = health
        self.outstanding = 0
        self.weight = float(endpoint.extras.get("weight", 1.0))
        self.zone: str | None = endpoint.extras.get("zone")
        self.connections: Any = None

    def __str__(self) -> str:
        return self.endpoint.base_url

    def __repr__(self) -> str:
        state = "ejected" if self.health.ejected else "available"
        return f"<Node {self} {state}>"


class NodePool:
    """A changing set of nodes.

    Args:
        endpoints: The first nodes, at least one, all different.
        selector: A :class:`~transport_utils.selectors.Selector`, its name, or ``None`` for round robin.
        health: When nodes are ejected; ``None`` for the defaults.
        randomize: Whether the nodes are shuffled once, so that many clients that start together do not all begin with
            the same node.
        rng: Source of the shuffle and of jitter; ``None`` for one of its own.

    Raises:
        ConfigurationError: No endpoint, or one twice.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        *,
        selector: str | Selector | None = None,
        health: HealthPolicy | None = None,
        randomize: bool = True,
        rng: random.Random | None = None,
    ) -> None:
        self._health = health or HealthPolicy()
        self._rng = rng or random.Random()
        self._selector = make_selector(selector, self._rng)
        self._select = self._selector.select
        self._counts = bool(getattr(self._selector, "counts_outstanding", False))
        self._lock = renew_lock_after_fork(self)
        nodes = [self._node(endpoint) for endpoint in endpoints]
        if not nodes:
            raise ConfigurationError("node pool: expected at least one endpoint")
        if len({node.endpoint for node in nodes}) != len(nodes):
            raise ConfigurationError(
                f"node pool: an endpoint is given twice: {', '.join(map(str, nodes))}"
            )
        if randomize:
            self._rng.shuffle(nodes)
        self._nodes: tuple[Node, ...] = tuple(nodes)
        self._available: tuple[Node, ...] = self._nodes
        self._next_due = math.inf

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, ejected ones too."""
        return self._nodes

    @property
    def available(self) -> tuple[Node, ...]:
        """The nodes that are not ejected."""
        return self._available

    def pick(
        self,
        now: float,
        *,
        context: Mapping[str, Any] | None = None,
        tried: Collection[Node] = (),
    ) -> Node:
        """Return the node for one attempt.

        An ejected node whose time is up goes first, to one caller at a time; when all nodes are ejected the one that is
        due soonest is used all the same. A node that asked for less is passed over if another is there.

        Args:
            now: Monotonic seconds; give the same figure as ``started`` to :meth:`record`.
            context: What selectors want to know about the call (``key``, ``zone``); ``None`` for nothing.
            tried: Nodes this call has already tried; avoided while there is another.

        Raises:
            NoNodeAvailable: All nodes have been removed.
        """
        node: Node | None = None
        if now >= self._next_due:
            node = self._probe(now, tried)
        if node is None:
            nodes = self._available
            if not nodes:
                node = self._panic(tried)
            elif len(nodes) == 1:
                node = nodes[0]
            else:
                node = self._select(nodes, context)
                if node.health.slow_until > now or (tried and node in tried):
                    node = self._choose(node, nodes, now, context, tried)
        if self._counts:
            with self._lock:
                node.outstanding += 1
        return node

    def other_than(self, tried: Collection[Node]) -> bool:
        """Return whether a node that is not ejected and not in ``tried`` is there."""
        return any(node not in tried for node in self._available)

    def record(
        self,
        node: Node,
        outcome: Outcome,
        started: float,
        now: float,
        *,
        slow_s: float | None = None,
    ) -> NodeChange | None:
        """Take note of how an attempt went; call it once for every :meth:`pick`.

        Args:
            node: The node picked.
            outcome: See :mod:`transport_utils.health`.
            started: The ``now`` of the pick.
            now: Monotonic seconds.
            slow_s: The ``Retry-After`` of an overloaded node, seconds; ``None`` without one.

        Returns:
            What changed for the node, if anything.
        """
        if outcome is _OK and not node.health.troubled and not self._counts:
            return None
        with self._lock:
            if self._counts:
                node.outstanding -= 1
            health = node.health
            was_ejected = health.ejected
            change = health.record(
                outcome,
                started,
                now,
                may_eject=was_ejected or self._can_spare_one(),
                slow_s=slow_s,
            )
            if was_ejected or health.ejected:
                self._refresh()
            return change

    def add(self, endpoint: Endpoint) -> Node:
        """Add a node, healthy at once, and return it; the one already there if the endpoint is known."""
        with self._lock:
            for node in self._nodes:
                if node.endpoint == endpoint:
                    return node
            node = self._node(endpoint)
            self._nodes = (*self._nodes, node)
            self._refresh()
            return node

    def remove(self, endpoint: Endpoint) -> Node | None:
        """Remove a node and return it, so that the driver can close its connections; ``None`` if it is not there.

        Requests in flight on it may still be reported.
        """
        with self._lock:
            gone = next((node for node in self._nodes if node.endpoint == endpoint), None)
            if gone is not None:
                self._nodes = tuple(node for node in self._nodes if node is not gone)
                self._refresh()
            return gone

    def replace_all(self, endpoints: Iterable[Endpoint]) -> tuple[Node, ...]:
        """Make these endpoints the nodes, and return those removed; nodes that stay keep their health.

        Raises:
            ConfigurationError: There is no endpoint; the pool is left as it is.
        """
        wanted = list(dict.fromkeys(endpoints))
        if not wanted:
            raise ConfigurationError("node pool: expected at least one endpoint")
        with self._lock:
            known = {node.endpoint: node for node in self._nodes}
            gone = tuple(node for node in self._nodes if node.endpoint not in set(wanted))
            self._nodes = tuple(known.get(endpoint) or self._node(endpoint) for endpoint in wanted)
            self._refresh()
            return gone

    def _node(self, endpoint: Endpoint) -> Node:
        return Node(endpoint, NodeHealth(self._health, self._rng))

    def _can_spare_one(self) -> bool:
        ejected = len(self._nodes) - len(self._available)
        return ejected + 1 <= int(self._health.max_ejection_ratio * len(self._nodes))

    def _refresh(self) -> None:
        self._available = tuple(node for node in self._nodes if not node.health.ejected)
        ejected = [node.health.due() for node in self._nodes if node.health.ejected]
        self._next_due = min(ejected, default=math.inf)

    def _probe(self, now: float, tried: Collection[Node]) -> Node | None:
        with self._lock:
            for node in self._nodes:
                if node not in tried and node.health.acquire_probe(now):
                    self._refresh()
                    return node
        return None

    def _panic(self, tried: Collection[Node]) -> Node:
        nodes = self._nodes
        if not nodes:
            raise NoNodeAvailable(
                "every node has been removed; add one, or check what discovery returned"
            )
        fresh = [node for node in nodes if node not in tried]
        return min(fresh or nodes, key=lambda node: node.health.until)

    def _choose(
        self,
        node: Node,
        nodes: tuple[Node, ...],
        now: float,
        context: Mapping[str, Any] | None,
        tried: Collection[Node],
    ) -> Node:
        """Let the selector choose again, among nodes not tried if there are any, and of those the ones not slowed.

        ``node``, chosen already, stays if that leaves all of them.
        """
        fresh = tuple(node for node in nodes if node not in tried) or nodes
        fast = tuple(node for node in fresh if node.health.slow_until <= now) or fresh
        return node if len(fast) == len(nodes) else self._select(fast, context)
