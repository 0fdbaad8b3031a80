"""Allowances that keep clients from making an outage worse: retry tokens, and an adaptive rate of requests.

:class:`RetryBudget` is asked by :mod:`transport_utils.retry`, :class:`RateLimiter` before every attempt by
:mod:`transport_utils.call`. Policy floor: ``now`` is given in monotonic seconds, nothing sleeps. Both are shared by all
threads of a transport and are thread-safe.

Source of the figures: the *standard* and *adaptive* retry modes of botocore 1.44.
"""

from __future__ import annotations

import math

from transport_utils.errors import ConfigurationError
from transport_utils.forks import renew_lock_after_fork

__all__ = ["RateLimiter", "RetryBudget"]


class RetryBudget:
    """A bucket of tokens that retries take from and successes give back to.

    With the defaults about 35 retries in a row empty it; then calls fail after their first attempt until successes have
    refilled it.

    Args:
        capacity: Tokens at the start and at most, > 0.
        retry_cost: Tokens for a retry, > 0.
        throttled_cost: Tokens for a retry after the server refused for load (429, 503), > 0.

    Raises:
        ConfigurationError: A figure is not above 0.
    """

    __slots__ = ("__weakref__", "_costs", "_lock", "_tokens", "capacity")

    def __init__(self, capacity: int = 500, retry_cost: int = 14, throttled_cost: int = 5) -> None:
        for name, value in (
            ("capacity", capacity),
            ("retry_cost", retry_cost),
            ("throttled_cost", throttled_cost),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
                raise ConfigurationError(
                    f"retry budget {name}={value!r}: expected a whole number above 0"
                )
        self.capacity = capacity
        self._costs = (retry_cost, throttled_cost)
        self._tokens = capacity
        self._lock = renew_lock_after_fork(self)

    @property
    def tokens(self) -> int:
        """Tokens left, 0..capacity."""
        return self._tokens

    def cost(self, *, throttled: bool) -> int:
        """Return the tokens that a retry takes."""
        return self._costs[throttled]

    def acquire(self, cost: int) -> bool:
        """Take ``cost`` tokens if there are as many; return whether they were taken."""
        with self._lock:
            if self._tokens < cost:
                return False
            self._tokens -= cost
            return True

    def credit(self, spent: int = 0) -> None:
        """Note a success: give back what its retries took, or one token when it needed none."""
        if self._tokens >= self.capacity:
            return
        with self._lock:
            self._tokens = min(self.capacity, self._tokens + (spent or 1))


class RateLimiter:
    """Limits requests per second once a server has throttled, and feels its way back up (CUBIC).

    Off until the first :meth:`on_throttle`; then a token bucket whose rate falls to ``beta`` times the measured rate
    and grows again along a cubic curve while calls succeed, never above twice the measured rate.

    Args:
        min_rate: Lowest rate, requests per second, > 0.
        burst: Largest number of requests let through at once after a quiet time, >= 1.
        beta: Share of the rate kept after a throttle, between 0 and 1.
        growth: Steepness of the cubic curve, > 0.

    Raises:
        ConfigurationError: A figure is out of its range.
    """

    def __init__(
        self, *, min_rate: float = 0.5, burst: float = 1.0, beta: float = 0.7, growth: float = 0.4
    ) -> None:
        if not (min_rate > 0 and math.isfinite(min_rate)):
            raise ConfigurationError(
                f"rate limiter min_rate={min_rate!r}: expected requests per second above 0"
            )
        if not (burst >= 1 and math.isfinite(burst)):
            raise ConfigurationError(f"rate limiter burst={burst!r}: expected a number >= 1")
        if not 0 < beta < 1:
            raise ConfigurationError(
                f"rate limiter beta={beta!r}: expected a number between 0 and 1"
            )
        if not (growth > 0 and math.isfinite(growth)):
            raise ConfigurationError(f"rate limiter growth={growth!r}: expected a number above 0")
        self._min_rate = min_rate
        self._burst = burst
        self._beta = beta
        self._growth = growth
        self._lock = renew_lock_after_fork(self)
        self._enabled = False
        self._rate = 0.0
        self._tokens = 0.0
        self._filled_at = 0.0
        self._measured = 0.0
        self._bucket_start: float | None = None
        self._bucket_count = 0
        self._last_max = 0.0
        self._throttled_at = 0.0

    @property
    def rate(self) -> float:
        """Requests per second now allowed; ``math.inf`` while off."""
        return self._rate if self._enabled else math.inf

    def reserve(self, now: float) -> float:
        """Take the place of one request and return how long to wait before sending it, in seconds >= 0.

        The place is taken whether the caller waits or not: it must send, or call :meth:`cancel`.
        """
        if not self._enabled:
            return 0.0
        with self._lock:
            self._fill(now)
            self._tokens -= 1.0
            return 0.0 if self._tokens >= 0 else -self._tokens / self._rate

    def cancel(self) -> None:
        """Give back a place taken by :meth:`reserve` whose request was not sent."""
        with self._lock:
            self._tokens = min(self._burst, self._tokens + 1.0)

    def on_success(self, now: float) -> None:
        """Note an answer that did not throttle."""
        with self._lock:
            self._measure(now)
            if self._enabled:
                self._set_rate(min(self._cubic(now), 2 * self._measured), now)

    def on_throttle(self, now: float) -> None:
        """Note an answer that throttled (429, or 503 with Retry-After)."""
        with self._lock:
            self._measure(now)
            rate = min(self._rate, self._measured) if self._enabled else self._measured
            self._last_max = rate
            self._throttled_at = now
            if not self._enabled:
                self._enabled = True
                self._filled_at = now
            self._set_rate(rate * self._beta, now)

    def _cubic(self, now: float) -> float:
        plateau_s = (self._last_max * (1 - self._beta) / self._growth) ** (1 / 3)
        elapsed_s = now - self._throttled_at
        return float(self._growth * (elapsed_s - plateau_s) ** 3 + self._last_max)

    def _measure(self, now: float) -> None:
        """Smooth the rate of answers over buckets of half a second."""
        bucket = math.floor(now * 2) / 2
        if self._bucket_start is None:
            self._bucket_start = bucket
        self._bucket_count += 1
        if bucket > self._bucket_start:
            current = self._bucket_count / (bucket - self._bucket_start)
            self._measured = 0.8 * current + 0.2 * self._measured
            self._bucket_count = 0
            self._bucket_start = bucket

    def _set_rate(self, rate: float, now: float) -> None:
        self._fill(now)
        self._rate = max(rate, self._min_rate)
        self._tokens = min(self._tokens, self._burst)

    def _fill(self, now: float) -> None:
        elapsed_s = max(0.0, now - self._filled_at)
        self._filled_at = max(now, self._filled_at)
        self._tokens = min(self._burst, self._tokens + elapsed_s * self._rate)
