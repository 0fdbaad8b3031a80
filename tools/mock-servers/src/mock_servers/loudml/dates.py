"""Times as the Loud ML API writes them: ``now-1d``, ISO 8601, seconds; durations such as ``5m``."""

from __future__ import annotations

import datetime
import re
from typing import Any

from dateutil import parser

from mock_servers.loudml.errors import Invalid

__all__ = ["UNIT_SECONDS", "format_date", "parse_date", "parse_duration"]

UNIT_SECONDS = {
    "s": 1,
    "m": 60,
    "h": 3600,
    "d": 86400,
    "w": 604800,
    "M": 30 * 86400,
    "y": 365 * 86400,
}
RELATIVE = re.compile(r"now(?:\s*([+-])\s*(\d+(?:\.\d+)?)([smhdwMy]))?")
DURATION = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")


def parse_date(value: Any, now: float, name: str) -> float:
    """Return seconds since the epoch.

    Args:
        value: Number of seconds (also as text), ISO 8601 text (UTC when it names no zone), ``now`` or ``now-1d``.
        now: The time ``now`` stands for.
        name: Parameter to blame.

    Raises:
        Invalid: ``<name> is invalid: expected absolute or relative date``.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    text = str(value).strip()
    if match := RELATIVE.fullmatch(text):
        sign, count, unit = match.groups()
        if sign is None:
            return now
        return now + float(sign + count) * UNIT_SECONDS[unit]
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = parser.isoparse(text.replace(" ", "T", 1))
    except (ValueError, OverflowError):
        raise Invalid("expected absolute or relative date", name) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return float(moment.timestamp())


def parse_duration(
    value: Any, *, minimum: float | None = None, above: float | None = None
) -> float:
    """Return a duration in seconds from a number of seconds or text with a unit (``s m h d w M y``).

    Args:
        value: As sent.
        minimum: Smallest value accepted, seconds; ``None`` for no bound.
        above: Value it must exceed, seconds; ``None`` for no bound.

    Raises:
        Invalid: ``data is invalid: invalid time delta value`` or ``unit``, or the bound it breaks.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise Invalid("invalid time delta value")
    match = DURATION.fullmatch(str(value))
    if match is None:
        raise Invalid("invalid time delta value")
    count, unit = match.groups()
    if unit and unit not in UNIT_SECONDS:
        raise Invalid("invalid time delta unit")
    seconds = float(count) * UNIT_SECONDS[unit or "s"]
    if above is not None and not seconds > above:
        raise Invalid(f"time delta must be > {above:g} seconds")
    if minimum is not None and seconds < minimum:
        raise Invalid(f"time delta must be >= {minimum:g} seconds")
    return seconds


def format_date(seconds: float) -> str:
    """Return ``2026-11-24T14:39:00.000Z``: UTC, milliseconds cut off."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
