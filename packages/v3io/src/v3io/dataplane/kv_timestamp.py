"""Timestamps as the platform stores them: ``"<seconds>:<nanoseconds>"`` since 1970, UTC.

Called by :mod:`v3io.attributes`. Integer arithmetic throughout, so that microseconds are exact (0.7.2 went through a
float and wrote 789000034 ns for 789 ms).
"""

from __future__ import annotations

import datetime

__all__ = ["BASE_DATETIME", "decode", "encode"]

BASE_DATETIME = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
"""The epoch, aware."""

_MICROSECOND = datetime.timedelta(microseconds=1)


def encode(timestamp: datetime.datetime) -> str:
    """Return a datetime as ``"<seconds>:<nanoseconds>"``.

    Args:
        timestamp: Aware, or naive in local time. Seconds are floored: half a second before 1970 is ``-1:500000000``.
    """
    since = timestamp.astimezone(datetime.timezone.utc) - BASE_DATETIME
    seconds, microseconds = divmod(since // _MICROSECOND, 1_000_000)
    return f"{seconds}:{microseconds * 1000}"


def decode(encoded_timestamp: str) -> datetime.datetime:
    """Return the aware UTC datetime of ``"<seconds>:<nanoseconds>"``, rounded to the nearest microsecond.

    Raises:
        ValueError: The text is not two integers, or the nanoseconds are outside 0..999999999.
    """
    seconds, separator, nanoseconds = encoded_timestamp.partition(":")
    fraction = int(nanoseconds) if separator else -1
    if not 0 <= fraction <= 999_999_999:
        raise ValueError(f"timestamp {encoded_timestamp!r}: expected '<seconds>:<nanoseconds>'")
    return BASE_DATETIME + datetime.timedelta(
        seconds=int(seconds), microseconds=(fraction + 500) // 1000
    )
