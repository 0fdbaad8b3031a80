"""Timeouts of one call and the deadline they add up to.

Used by every driver and backend, and by pylm for its own waits. Policy floor: no clock of its own, ``now`` is given.
All figures are seconds on the monotonic clock.
"""

from __future__ import annotations

import dataclasses
import math

from transport_utils.errors import ConfigurationError

__all__ = ["DEFAULT_TIMEOUT", "Deadline", "Timeout"]


@dataclasses.dataclass(frozen=True, slots=True)
class Timeout:
    """The limits of one call, each in seconds; ``None`` means no limit, 0 is refused.

    Args:
        connect: Name look-up, TCP connect and TLS handshake together, per attempt.
        read: Longest silence between two receives, per receive.
        write: Longest time the peer may take nothing, per send.
        pool: Longest wait for a free connection, per attempt.
        total: The whole call: pool waits, all attempts, and the pauses between them.

    Raises:
        ConfigurationError: A limit is not a finite number above 0 (or ``None``).
    """

    connect: float | None = 5.0
    read: float | None = 30.0
    write: float | None = 30.0
    pool: float | None = 5.0
    total: float | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ConfigurationError(
                    f"timeout {field.name}={value!r}: expected seconds as a number, or None for no limit"
                )
            if not math.isfinite(value) or value <= 0:
                raise ConfigurationError(
                    f"timeout {field.name}={value!r}: expected a finite number of seconds above 0"
                )

    @classmethod
    def coerce(cls, value: Timeout | float | tuple[float | None, float | None] | None) -> Timeout:
        """Return ``value`` as a :class:`Timeout`.

        Args:
            value: A ``Timeout`` (returned as it is), a number (the *total*, the rest at their defaults), a pair
                ``(connect, read)`` as in requests, or ``None`` for no limit at all.

        Raises:
            ConfigurationError: Anything else.
        """
        if isinstance(value, Timeout):
            return value
        if value is None:
            return cls(None, None, None, None, None)
        if isinstance(value, tuple):
            if len(value) != 2:
                raise ConfigurationError(f"timeout {value!r}: expected a pair (connect, read)")
            return cls(connect=value[0], read=value[1])
        return cls(total=value)


DEFAULT_TIMEOUT = Timeout()
"""connect 5 s, read 30 s, write 30 s, pool 5 s, no total."""


class Deadline:
    """A point on the monotonic clock at which a call must have ended; immutable, shareable between threads.

    Args:
        at: Monotonic time in seconds; ``math.inf`` means never.
    """

    __slots__ = ("at",)

    def __init__(self, at: float = math.inf) -> None:
        self.at = at

    @classmethod
    def after(cls, seconds: float | None, now: float) -> Deadline:
        """Return the deadline ``seconds`` after ``now``; ``None`` means never."""
        return cls(math.inf if seconds is None else now + seconds)

    def remaining(self, now: float) -> float:
        """Return the seconds left, never below 0; ``math.inf`` without a limit."""
        return max(0.0, self.at - now)

    def expired(self, now: float) -> bool:
        """Return whether the deadline has been reached."""
        return now >= self.at

    def bound(self, seconds: float | None, now: float) -> float | None:
        """Return the shorter of ``seconds`` and what is left; ``None`` when neither limits."""
        left = self.at - now
        if seconds is None:
            return None if left == math.inf else max(0.0, left)
        return max(0.0, min(seconds, left))

    def __repr__(self) -> str:
        return f"Deadline(at={self.at!r})"
