"""Decides when a node is left alone after failures and when it may come back.

One :class:`NodeHealth` per node, driven by :mod:`transport_utils.nodes`; pylm drives it for its peers. Policy floor: a
pure state machine, ``now`` and ``started`` are monotonic seconds; not thread-safe by itself (the pool holds a lock).

::

    healthy --(1 connection failure, or 3 failed answers in a row)--> ejected until a time that doubles with each turn
    ejected --(time is up)--> one request at a time is let through as a probe
    probe succeeds --> healthy          probe fails --> ejected, for longer

Only what the *node* did counts: a mistake in a request (4xx), a full local pool or a cancelled call does not, and of an
outage seen by many threads the first report counts.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import random

from transport_utils import errors
from transport_utils.errors import ConfigurationError

__all__ = [
    "HealthPolicy",
    "NodeChange",
    "NodeHealth",
    "Outcome",
    "outcome_of_error",
    "outcome_of_status",
]


class Outcome(enum.Enum):
    """What one attempt says about the node that served it."""

    OK = "ok"
    """It answered, below 400."""
    CLIENT = "client"
    """It answered that the request is wrong: the node is well."""
    OVERLOAD = "overload"
    """It answered 429, or 503 with Retry-After: it is alive and wants less."""
    SERVER = "server"
    """It failed to serve: 500, 502, 503, 504, a read or write timeout, a broken answer."""
    NETWORK = "network"
    """It could not be reached."""
    LOCAL = "local"
    """The attempt ended for a reason on our side, which says nothing about the node."""


class NodeChange(enum.Enum):
    """What a report changed, for hooks and logs."""

    EJECTED = "ejected"
    RESTORED = "restored"
    SLOWED = "slowed"


_SERVER_STATUS = frozenset({500, 502, 503, 504})
_UNREACHABLE = (
    errors.ConnectError,
    errors.ConnectTimeout,
    errors.DnsError,
    errors.ProxyError,
    errors.TlsError,
)
_FAILED_TO_SERVE = (
    errors.BadResponse,
    errors.ConnectionReset,
    errors.HeaderTooLarge,
    errors.ReadTimeout,
    errors.TruncatedBody,
    errors.WriteTimeout,
)


def outcome_of_status(status: int, *, retry_after: bool = False) -> Outcome:
    """Return what a response status says about its node.

    Args:
        status: HTTP status.
        retry_after: Whether the response asked for a pause; it makes a 503 a sign of load instead of a failure.
    """
    if status < 400:
        return Outcome.OK
    if status == 429 or (status == 503 and retry_after):
        return Outcome.OVERLOAD
    return Outcome.SERVER if status in _SERVER_STATUS else Outcome.CLIENT


def outcome_of_error(error: BaseException) -> Outcome:
    """Return what an error says about the node that was tried."""
    if isinstance(error, errors.StaleConnection):
        return Outcome.LOCAL
    if isinstance(error, _UNREACHABLE):
        return Outcome.NETWORK
    if isinstance(error, _FAILED_TO_SERVE):
        return Outcome.SERVER
    return Outcome.LOCAL


@dataclasses.dataclass(frozen=True, slots=True)
class HealthPolicy:
    """When nodes are ejected and for how long; immutable and shared.

    The n-th ejection in a row lasts ``min(base_s * factor ** (n - 1), cap_s)`` seconds, spread by ``jitter``; the
    defaults give about 1, 2, 4, 8, 16, 30, 30 ... s.

    Args:
        base_s: Length of the first ejection, seconds, > 0.
        cap_s: Longest ejection, seconds, >= ``base_s``.
        factor: Growth per ejection in a row, >= 1.
        jitter: Largest share by which an ejection is made longer or shorter at random, 0 up to below 1.
        connect_failures: Connection failures in a row that eject a node, >= 1.
        server_failures: Failed answers in a row that eject a node, >= 1.
        max_ejection_ratio: Largest share of the nodes that may be ejected at once, 0 (never eject) to 1. Beyond it a
            failing node stays, but others are preferred for as long as its ejection would have lasted.
        slow_s: How long an overloaded node is passed over if it named no time, seconds, >= 0.

    Raises:
        ConfigurationError: A figure is out of its range.
    """

    base_s: float = 1.0
    cap_s: float = 30.0
    factor: float = 2.0
    jitter: float = 0.1
    connect_failures: int = 1
    server_failures: int = 3
    max_ejection_ratio: float = 0.5
    slow_s: float = 1.0

    def __post_init__(self) -> None:
        for name, good, expected in (
            ("base_s", 0 < self.base_s < math.inf, "seconds above 0"),
            ("cap_s", self.base_s <= self.cap_s < math.inf, "seconds >= base_s"),
            ("factor", 1 <= self.factor < math.inf, "a number >= 1"),
            ("jitter", 0 <= self.jitter < 1, "a share from 0 to below 1"),
            ("connect_failures", self.connect_failures >= 1, "a whole number >= 1"),
            ("server_failures", self.server_failures >= 1, "a whole number >= 1"),
            ("max_ejection_ratio", 0 <= self.max_ejection_ratio <= 1, "a share from 0 to 1"),
            ("slow_s", 0 <= self.slow_s < math.inf, "seconds >= 0"),
        ):
            if not good:
                raise ConfigurationError(
                    f"health {name}={getattr(self, name)!r}: expected {expected}"
                )

    @classmethod
    def elastic(cls, factor_s: float = 1.0, cap_s: float = 30.0) -> HealthPolicy:
        """Return the preset with the times of elastic-transport: 1, 2, 4, 8, 16, 30, 30 ... s."""
        return cls(base_s=factor_s, cap_s=cap_s)

    @classmethod
    def legacy(cls, dead_timeout_s: float = 60.0, timeout_cutoff: int = 5) -> HealthPolicy:
        """Return the preset of the elasticsearch-py 5/6 lineage, from which loudml-python's pool descends.

        One failure of any kind ejects for ``dead_timeout_s * 2 ** min(n - 1, timeout_cutoff)`` seconds without jitter
        (60, 120 ... 1920 s), and all nodes may be ejected at once.
        """
        return cls(
            base_s=dead_timeout_s,
            cap_s=dead_timeout_s * 2**timeout_cutoff,
            jitter=0.0,
            server_failures=1,
            max_ejection_ratio=1.0,
        )

    def ejection_s(self, turn: int, rng: random.Random) -> float:
        """Return how long the ``turn``-th ejection in a row lasts, in seconds; ``turn`` counts from 1."""
        if self.factor > 1 and (turn - 1) * math.log(self.factor) >= math.log(
            self.cap_s / self.base_s
        ):
            seconds = self.cap_s
        else:
            seconds = min(self.base_s * self.factor ** (turn - 1), self.cap_s)
        return seconds * (1 + rng.uniform(-self.jitter, self.jitter)) if self.jitter else seconds


class NodeHealth:
    """The health of one node.

    Attributes:
        failures: Failed answers in a row while healthy.
        ejections: Ejections in a row; 0 after a success.
        ejected: Whether the node is left alone now.
        until: When the current ejection is over, monotonic seconds; meaningless while not ejected.
        slow_until: Until when others are preferred to this node, monotonic seconds.
        troubled: Whether a success would change anything; while false, successes need not be reported.
    """

    __slots__ = (
        "_connect_failures",
        "_ejected_at",
        "_policy",
        "_probe_at",
        "_rng",
        "ejected",
        "ejections",
        "failures",
        "slow_until",
        "troubled",
        "until",
    )

    def __init__(self, policy: HealthPolicy, rng: random.Random) -> None:
        self._policy = policy
        self._rng = rng
        self._connect_failures = 0
        self._ejected_at = -math.inf
        self._probe_at: float | None = None
        self.failures = 0
        self.ejections = 0
        self.ejected = False
        self.until = -math.inf
        self.slow_until = -math.inf
        self.troubled = False

    def available(self, now: float) -> bool:
        """Return whether the node may serve ordinary requests."""
        return not self.ejected

    def due(self) -> float:
        """Return when the next probe may start, monotonic seconds; ``-math.inf`` while healthy.

        A probe that was never reported is given up after ``cap_s``.
        """
        if not self.ejected:
            return -math.inf
        return self.until if self._probe_at is None else self._probe_at + self._policy.cap_s

    def acquire_probe(self, now: float) -> bool:
        """Return whether the caller may send the one request that tests an ejected node.

        The caller must report the outcome with ``started=now``.
        """
        if not self.ejected or now < self.due():
            return False
        self._probe_at = now
        return True

    def record(
        self,
        outcome: Outcome,
        started: float,
        now: float,
        *,
        may_eject: bool = True,
        slow_s: float | None = None,
    ) -> NodeChange | None:
        """Take the outcome of one attempt.

        Args:
            outcome: What it says about the node.
            started: When the attempt began; for a probe, the ``now`` given to :meth:`acquire_probe`.
            now: When it ended.
            may_eject: Whether the pool can spare the node.
            slow_s: Pause an overloaded node asked for, seconds; ``None`` when it named none.

        Returns:
            What changed; ``None`` when nothing a person would want to know.
        """
        was_probe = self._probe_at is not None and started == self._probe_at
        if was_probe:
            self._probe_at = None
        if outcome is Outcome.LOCAL or started < self._ejected_at:
            # Nothing said about the node, or said about a time before the outage that is already counted.
            return None
        if outcome is Outcome.SERVER or outcome is Outcome.NETWORK:
            return self._failed(outcome, now, was_probe=was_probe, may_eject=may_eject)
        restored = self.ejected
        if outcome is not Outcome.OVERLOAD or restored:
            self._heal()
        if outcome is Outcome.OVERLOAD:
            pause = self._policy.slow_s if slow_s is None else min(slow_s, self._policy.cap_s)
            self._slow(now + pause)
            return NodeChange.RESTORED if restored else NodeChange.SLOWED
        return NodeChange.RESTORED if restored else None

    def _failed(
        self, outcome: Outcome, now: float, *, was_probe: bool, may_eject: bool
    ) -> NodeChange | None:
        if self.ejected:
            # Only the probe is a new test of the outage; forced picks while it lasts are not.
            if was_probe:
                self._eject(now)
            return None
        self.troubled = True
        self.failures += 1
        if outcome is Outcome.NETWORK:
            self._connect_failures += 1
        if (
            self.failures < self._policy.server_failures
            and self._connect_failures < self._policy.connect_failures
        ):
            return None
        if not may_eject:
            self._slow(now + self._policy.ejection_s(1, self._rng))
            return NodeChange.SLOWED
        self._eject(now)
        return NodeChange.EJECTED

    def _eject(self, now: float) -> None:
        self.ejections += 1
        self.ejected = True
        self.troubled = True
        self._ejected_at = now
        self.until = now + self._policy.ejection_s(self.ejections, self._rng)

    def _heal(self) -> None:
        self.failures = self._connect_failures = self.ejections = 0
        self.ejected = False
        self.troubled = False
        self._probe_at = None
        self.slow_until = -math.inf

    def _slow(self, until: float) -> None:
        self.slow_until = max(self.slow_until, until)
        self.troubled = True
