"""Dates, durations, addresses and constraints as people write them on the command line.

Used by the command line tools and by users' scripts, historically through ``loudml.misc``.
Source: loudml-python 1.6.3, ``misc``.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

from loudml.errors import ImproperlyConfigured

__all__ = [
    "datetime_to_str",
    "make_datetime",
    "make_ts",
    "parse_addr",
    "parse_constraint",
    "parse_timedelta",
    "str_to_datetime",
    "str_to_ts",
    "ts_to_datetime",
    "ts_to_str",
]

_UNIT_S = {
    "": 1,
    "s": 1,
    "m": 60,
    "h": 3600,
    "d": 86400,
    "w": 7 * 86400,
    "M": 30 * 86400,
    "y": 365 * 86400,
}
_DELTA = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*([A-Za-z]*)\s*", re.ASCII)


def parse_addr(addr: str, default_port: int | None = None) -> dict[str, Any]:
    """Return ``{"host", "port"}`` of ``"host:port"``; an empty host is localhost, IPv6 stands in brackets.

    Raises:
        ValueError: The port is not a number.
    """
    host, colon, port = addr.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = addr, ""
    host = host.removeprefix("[").removesuffix("]")
    if port and not port.isdecimal():
        raise ValueError(f"address {addr!r}: expected host:port with a number as port")
    return {"host": host or "localhost", "port": int(port) if port else default_port}


def parse_constraint(constraint: str) -> dict[str, Any]:
    """Return ``{"feature", "type", "threshold"}`` of ``"feature:low|high:number"``.

    Raises:
        ImproperlyConfigured: It is not of that form.
    """
    parts = constraint.split(":")
    if len(parts) != 3:
        raise ImproperlyConfigured("invalid format for 'constraint' parameter")
    feature, kind, number = parts
    if kind not in ("low", "high"):
        raise ImproperlyConfigured("invalid threshold type for 'constraint' parameter")
    try:
        threshold = float(number)
    except ValueError:
        raise ImproperlyConfigured("invalid threshold for 'constraint' parameter") from None
    return {"feature": feature, "type": kind, "threshold": threshold}


def parse_timedelta(
    delta: str | float,
    min: float | None = None,
    max: float | None = None,
    min_included: bool = True,
    max_included: bool = True,
) -> timedelta:
    """Return a duration.

    Args:
        delta: Seconds, or a number with a unit: ``s m h d w``, ``M`` (30 days), ``y`` (365 days); may be negative.
        min: Shortest allowed, seconds; ``None`` for any.
        max: Longest allowed, seconds; ``None`` for any.
        min_included: Whether ``min`` itself is allowed.
        max_included: Whether ``max`` itself is allowed.

    Raises:
        ImproperlyConfigured: It is no duration, or outside the limits.
    """
    match = _DELTA.fullmatch(str(delta))
    if match is None:
        raise ImproperlyConfigured("invalid time delta value")
    number, unit = match.groups()
    if unit not in _UNIT_S:
        raise ImproperlyConfigured("invalid time delta unit")
    seconds = float(number) * _UNIT_S[unit]
    if min is not None and (seconds < min or (seconds == min and not min_included)):
        raise ImproperlyConfigured(
            f"time delta must be {'>=' if min_included else '>'} {min} seconds"
        )
    if max is not None and (seconds > max or (seconds == max and not max_included)):
        raise ImproperlyConfigured(
            f"time delta must be {'<=' if max_included else '<'} {max} seconds"
        )
    return timedelta(seconds=seconds)


def ts_to_datetime(ts: float) -> datetime:
    """Return the date of seconds since the epoch, in UTC."""
    return datetime.fromtimestamp(ts, tz=timezone.utc)


def datetime_to_str(dt: datetime) -> str:
    """Return ``2020-01-31T12:00:00.250Z``: milliseconds, cut off, with a ``Z`` whatever the zone."""
    return f"{dt:%Y-%m-%dT%H:%M:%S}.{dt.microsecond // 1000:03d}Z"


def ts_to_str(ts: float) -> str:
    """Return the ISO form, in UTC, of seconds since the epoch."""
    return datetime_to_str(ts_to_datetime(ts))


def str_to_datetime(string: str) -> datetime:
    """Return the date of ``"now"``, ``"now-1d"`` (local, naive) or of any form of date dateutil understands.

    Raises:
        ImproperlyConfigured: The duration after ``now`` is none.
        ValueError: It is no date.
    """
    if string.startswith("now"):
        rest = string.removeprefix("now")
        return datetime.now() + parse_timedelta(rest) if rest else datetime.now()
    import dateutil.parser  # takes a while to load

    return dateutil.parser.parse(string)


def str_to_ts(string: str) -> float:
    """Return seconds since the epoch of a date, see :func:`str_to_datetime`; without a zone it is local."""
    return str_to_datetime(string).timestamp()


def make_ts(mixed: str | float) -> float:
    """Return seconds since the epoch of a number, a number as text, or a date, see :func:`str_to_datetime`."""
    try:
        return float(mixed)
    except ValueError:
        return str_to_ts(str(mixed))


def make_datetime(mixed: str | float) -> datetime:
    """Return the date of a number of seconds, a number as text, or a date, see :func:`str_to_datetime`."""
    try:
        return ts_to_datetime(float(mixed))
    except ValueError:
        return str_to_datetime(str(mixed))
