"""Random events whose rate follows a shape: test data for models.

Used by ``loudml-wave`` and by users' scripts. Source: loudml-python 1.6.3, ``randevents``.
"""

from __future__ import annotations

import abc
import math
import random
from collections.abc import Iterator
from datetime import datetime

__all__ = [
    "CamelEventGenerator",
    "EventGenerator",
    "FlatEventGenerator",
    "LoudMLEventGenerator",
    "PatternGenerator",
    "SawEventGenerator",
    "SinEventGenerator",
    "TriangleEventGenerator",
    "example",
    "periodic_saw_variate",
    "periodic_sin_variate",
    "periodic_triangle_variate",
    "randfloat",
]


def randfloat(lo: float, hi: float) -> float:
    """Return a random number, uniform from ``lo`` to ``hi``."""
    return random.uniform(lo, hi)


def _position(ts: float, period: float) -> float:
    """Return where in its period a time is, 0 up to below 1; periods count from local midnight.

    Args:
        ts: Seconds since the epoch.
        period: Length of the period, seconds, > 0.
    """
    date = datetime.fromtimestamp(ts)
    midnight = date.replace(hour=0, minute=0, second=0, microsecond=0)
    return (date - midnight).total_seconds() % period / period


def periodic_saw_variate(ts: float, period: float) -> float:
    """Return a value that rises from 0 to 1 in each period; arguments as for the other variates, in seconds."""
    return _position(ts, period)


def periodic_sin_variate(ts: float, period: float) -> float:
    """Return a sine wave from -1 to 1 of this period."""
    return math.sin(2 * math.pi * _position(ts, period))


def periodic_triangle_variate(ts: float, period: float) -> float:
    """Return a value that rises from 0 to 1 and falls back in each period."""
    position = _position(ts, period)
    return 2 * position if position < 0.5 else 2 * (1 - position)


class EventGenerator(abc.ABC):
    """Events at a rate that follows a shape.

    Args:
        base: Events per step at the shape's zero.
        amplitude: Factor of the shape.
        sigma: Standard deviation of the number of events per step; 0 for none.
        trend: Growth of ``base``, events per step and hour.
        period: Length of the shape, seconds, > 0.
    """

    def __init__(
        self,
        base: float = 1,
        amplitude: float = 1,
        sigma: float = 1,
        trend: float = 0,
        period: float = 86400,
    ) -> None:
        self.base = base
        self.amplitude = amplitude
        self.sigma = sigma
        self.trend = trend
        self.period = period

    @abc.abstractmethod
    def variate(self, ts: float) -> float:
        """Return the mean number of events of the step at ``ts``, seconds since the epoch."""

    def generate_ts(self, from_ts: float, to_ts: float, step_ms: float = 1000) -> Iterator[float]:
        """Yield the times of events, ascending, seconds since the epoch.

        Args:
            from_ts: Start, seconds since the epoch.
            to_ts: End, not included.
            step_ms: Length of a step, milliseconds, > 0.
        """
        step_s = step_ms / 1000
        ts = from_ts
        while ts < to_ts:
            self.base += step_s * self.trend / 3600
            mean = self.variate(ts)
            events = random.normalvariate(mean, self.sigma) if self.sigma > 0 else mean
            if events > 0:
                count = int(events)
                if self.sigma > 0 and random.random() < events - count:
                    count += 1
                for index in range(count):
                    yield ts + step_s * index / count
            ts += step_s


class FlatEventGenerator(EventGenerator):
    """The same rate at all times: ``base``."""

    def variate(self, ts: float) -> float:
        """Return ``base``."""
        return self.base


class SinEventGenerator(EventGenerator):
    """A sine wave around ``base``."""

    def variate(self, ts: float) -> float:
        """Return ``base + amplitude * sin(...)``."""
        return self.base + self.amplitude * periodic_sin_variate(ts, self.period)


class SawEventGenerator(EventGenerator):
    """A saw tooth from ``base`` up."""

    def variate(self, ts: float) -> float:
        """Return ``base + amplitude * t / period``."""
        return self.base + self.amplitude * periodic_saw_variate(ts, self.period)


class TriangleEventGenerator(EventGenerator):
    """A triangle from ``base`` up and back."""

    def variate(self, ts: float) -> float:
        """Return ``base + amplitude * triangle``."""
        return self.base + self.amplitude * periodic_triangle_variate(ts, self.period)


def _drawing(*pairs: tuple[int, int]) -> str:
    """Return a drawing of columns from ``(height, count)`` pairs."""
    heights = [height for height, count in pairs for _ in range(count)]
    rows = range(max(heights), 0, -1)
    return "\n".join("".join(" X"[height >= row] for height in heights).rstrip() for row in rows)


class PatternGenerator(EventGenerator):
    """A drawn shape, repeated each period.

    Subclasses give ``PATTERN``, lines of blanks and ``X``: the height of a column is that of its topmost ``X``, and one
    more than the number of lines counts as 1. ``MARGIN`` columns of zero are added on both sides.

    Args:
        base: As for :class:`EventGenerator`.
        amplitude: Likewise; 8 makes the shapes easy to see.
        sigma: Likewise.
        trend: Likewise.
        period: Likewise.
    """

    PATTERN = ""
    MARGIN = 6

    def __init__(
        self,
        base: float = 1,
        amplitude: float = 8,
        sigma: float = 1,
        trend: float = 0,
        period: float = 86400,
    ) -> None:
        super().__init__(base, amplitude, sigma, trend, period)
        lines = self.PATTERN.strip("\n").split("\n")
        values = [0.0] * (self.MARGIN + max(map(len, lines)) + self.MARGIN)
        for height, line in enumerate(reversed(lines), 1):
            for column, mark in enumerate(line, self.MARGIN):
                if mark != " ":
                    values[column] = height / (len(lines) + 1)
        self._values = values

    def variate(self, ts: float) -> float:
        """Return ``base + amplitude * height``."""
        column = int(len(self._values) * _position(ts, self.period))
        return self.base + self.amplitude * self._values[column % len(self._values)]


class CamelEventGenerator(PatternGenerator):
    """Two humps."""

    MARGIN = 0
    PATTERN = _drawing(
        *((1, 3), (2, 3), (3, 2), (4, 2), (5, 1), (6, 1), (7, 1), (8, 1), (9, 1), (10, 2), (11, 2)),
        *((10, 2), (9, 1), (8, 2), (7, 2), (8, 1), (9, 1), (11, 1), (12, 3), (11, 1), (10, 1)),
        *((9, 1), (8, 2), (7, 1), (6, 1), (4, 1), (3, 1), (2, 3), (1, 3)),
    )


class LoudMLEventGenerator(PatternGenerator):
    """The letters of the name."""

    MARGIN = 6
    PATTERN = _drawing(
        *((15, 2), (0, 2)),
        *((8, 1), (9, 2), (10, 3), (11, 4), (10, 3), (9, 2), (8, 1), (0, 2)),
        *((11, 2), (4, 1), (3, 1), (2, 8), (3, 1), (4, 1), (11, 2), (0, 2)),
        *((8, 1), (9, 2), (10, 3), (11, 4), (10, 3), (9, 1), (15, 2), (0, 2)),
        *((2, 1), (4, 1), (6, 1), (8, 1), (10, 1), (12, 1), (14, 1), (15, 3)),
        *((14, 1), (12, 1), (10, 1), (8, 1), (6, 1), (4, 1), (2, 3)),
        *((4, 1), (6, 1), (8, 1), (10, 1), (12, 1), (14, 1), (15, 3)),
        *((14, 1), (12, 1), (10, 1), (8, 1), (6, 1), (4, 15), (3, 2), (2, 1)),
    )


def example() -> None:
    """Print an hour of events of a sine wave, one time a line."""
    for ts in SinEventGenerator(base=2, amplitude=1).generate_ts(0, 3600, step_ms=60000):
        print(ts)
