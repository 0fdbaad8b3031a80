"""Schedules of pauses between attempts: constant, exponential with jitter, or a list.

Used by :mod:`transport_utils.retry`, and by pylm and infi.ramen_client for their own reconnects. Policy floor: the
random number generator is given, nothing sleeps here.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

from transport_utils.errors import ConfigurationError

__all__ = ["Backoff", "Constant", "Exponential", "Jitter", "Schedule", "exponential"]

Jitter: TypeAlias = Literal["full", "equal", "decorrelated"]


class Backoff(Protocol):
    """What a schedule must offer; implementations are immutable and shared between threads."""

    def delay(self, attempt: int, previous_s: float, rng: random.Random) -> float:
        """Return the pause before a retry, in seconds, >= 0.

        Args:
            attempt: Number of the retry, 1 for the first.
            previous_s: The pause this method gave before the previous retry; 0.0 before the first.
            rng: Source of the jitter.
        """
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Constant:
    """The same pause before every retry.

    Args:
        seconds: The pause; 0 retries at once.

    Raises:
        ConfigurationError: ``seconds`` is not a finite number >= 0.
    """

    seconds: float

    def __post_init__(self) -> None:
        _require("seconds", self.seconds, lowest=0.0)

    def delay(self, attempt: int, previous_s: float, rng: random.Random) -> float:
        """Return ``seconds``."""
        return self.seconds


@dataclasses.dataclass(frozen=True, slots=True)
class Schedule:
    """The pauses of a list, in order; the last one repeats.

    Args:
        seconds: At least one pause.

    Raises:
        ConfigurationError: The list is empty or holds something that is not a finite number >= 0.
    """

    seconds: Sequence[float]

    def __post_init__(self) -> None:
        if not self.seconds:
            raise ConfigurationError("schedule: expected at least one pause in seconds")
        for value in self.seconds:
            _require("seconds", value, lowest=0.0)
        object.__setattr__(self, "seconds", tuple(self.seconds))

    def delay(self, attempt: int, previous_s: float, rng: random.Random) -> float:
        """Return the pause of this retry."""
        return self.seconds[min(attempt, len(self.seconds)) - 1]


@dataclasses.dataclass(frozen=True, slots=True)
class Exponential:
    """Pauses that grow by a factor up to a cap, spread by jitter.

    With ``t = min(cap_s, base_s * factor ** (attempt - 1))`` the pause is

    * ``"full"``: uniform in ``[0, t]`` (best against many clients that start together),
    * ``"equal"``: uniform in ``[t / 2, t]``,
    * ``"decorrelated"``: uniform in ``[base_s, 3 * previous]``, at most ``cap_s``,
    * ``None``: ``t`` exactly.

    The defaults give up to 0.1, 0.2, 0.4 ... 10 s.

    Args:
        base_s: ``t`` of the first retry, seconds, > 0.
        factor: Growth per retry, >= 1.
        cap_s: Largest pause, seconds, >= ``base_s``.
        jitter: See above.

    Raises:
        ConfigurationError: A figure is out of its range, or the jitter is unknown.
    """

    base_s: float = 0.1
    factor: float = 2.0
    cap_s: float = 10.0
    jitter: Jitter | None = "full"

    def __post_init__(self) -> None:
        _require("base_s", self.base_s, lowest=0.0)
        _require("factor", self.factor, lowest=1.0)
        _require("cap_s", self.cap_s, lowest=self.base_s)
        if self.base_s == 0:
            raise ConfigurationError(
                "backoff base_s=0: expected seconds above 0; use Constant(0) for no pause"
            )
        if self.jitter not in (None, "full", "equal", "decorrelated"):
            raise ConfigurationError(
                f"backoff jitter={self.jitter!r}: expected 'full', 'equal', 'decorrelated' or None"
            )

    def ceiling(self, attempt: int) -> float:
        """Return ``t`` of a retry, in seconds, without jitter; ``attempt`` counts from 1."""
        if self.factor == 1.0 or attempt <= 1:
            return self.base_s
        # Compared as logarithms, since the power itself overflows after about a thousand attempts.
        if (attempt - 1) * math.log(self.factor) >= math.log(self.cap_s / self.base_s):
            return self.cap_s
        return min(self.cap_s, self.base_s * self.factor ** (attempt - 1))

    def delay(self, attempt: int, previous_s: float, rng: random.Random) -> float:
        """Return the pause before this retry; see the class."""
        if self.jitter == "decorrelated":
            return min(self.cap_s, rng.uniform(self.base_s, max(self.base_s, 3 * previous_s)))
        ceiling = self.ceiling(attempt)
        if self.jitter == "full":
            return rng.uniform(0.0, ceiling)
        if self.jitter == "equal":
            return rng.uniform(ceiling / 2, ceiling)
        return ceiling


def exponential(
    base_s: float = 0.1,
    factor: float = 2.0,
    cap_s: float = 10.0,
    jitter: Jitter | None = "full",
) -> Backoff:
    """Return :class:`Exponential` with these figures."""
    return Exponential(base_s, factor, cap_s, jitter)


def _require(name: str, value: object, *, lowest: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigurationError(f"backoff {name}={value!r}: expected a number")
    if not math.isfinite(value) or value < lowest:
        raise ConfigurationError(
            f"backoff {name}={value!r}: expected a finite number >= {lowest:g}"
        )
