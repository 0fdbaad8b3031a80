"""Random data of a chosen shape, and how it gets into a bucket.

Used by the command ``loudml-wave`` and, under their old address :mod:`loudml.wave`, by scripts. Source: loudml-python
1.6.3, ``wave``.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from typing import Any

from loudml.dates import make_ts, ts_to_str
from loudml.randevents import (
    CamelEventGenerator,
    EventGenerator,
    FlatEventGenerator,
    LoudMLEventGenerator,
    SawEventGenerator,
    SinEventGenerator,
    TriangleEventGenerator,
)

__all__ = ["SHAPES", "build_tag_dict", "dump_to_bucket", "generate_data"]

SHAPES: dict[str, type[EventGenerator]] = {
    "flat": FlatEventGenerator,
    "saw": SawEventGenerator,
    "sin": SinEventGenerator,
    "triangle": TriangleEventGenerator,
    "camel": CamelEventGenerator,
    "loudml": LoudMLEventGenerator,
}


def generate_data(
    ts_generator: EventGenerator,
    from_date: str | float,
    to_date: str | float,
    step_ms: float,
    errors: float,
    burst_ms: float,
    field: str,
) -> Iterator[tuple[float, dict[str, float]]]:
    """Yield ``(seconds since the epoch, {field: random value})`` for each event.

    Args:
        ts_generator: Gives the times.
        from_date: Start, see :func:`loudml.dates.make_ts`.
        to_date: End, not included.
        step_ms: Length of a step, milliseconds.
        errors: Chance of an event to open a gap, 0..1.
        burst_ms: Length of a gap, milliseconds.
        field: Name of the value.
    """
    gap_until = 0.0
    for ts in ts_generator.generate_ts(make_ts(from_date), make_ts(to_date), step_ms):
        if errors > 0 and ts >= gap_until and random.random() < errors:
            gap_until = ts + burst_ms / 1000
        if ts >= gap_until:
            yield ts, {field: random.lognormvariate(10, 1)}


def build_tag_dict(tags: str | None = None) -> dict[str, str]:
    """Return ``{"a": "b", "c": "d"}`` of ``"a:b,c:d"``; empty for none.

    Raises:
        ValueError: A part is not ``key:value``.
    """
    pairs = {}
    for part in (tags or "").split(","):
        if part:
            key, colon, value = part.partition(":")
            if not colon:
                raise ValueError(f"tags {tags!r}: expected key:value[,key:value...]")
            pairs[key] = value
    return pairs


def dump_to_bucket(
    loud: Any,
    generator: Iterable[tuple[float, dict[str, Any]]],
    bucket_name: str,
    tags: dict[str, str] | None = None,
    verbose: bool = False,
    batch_size: int = 10000,
) -> int:
    """Write events into a bucket; those in the future are written when their time has come.

    Args:
        loud: A :class:`~loudml.client.Loud`.
        generator: Gives ``(seconds since the epoch, fields)``, ascending.
        bucket_name: The bucket.
        tags: Of every point; ``None`` for none.
        verbose: Print the points.
        batch_size: Points per request.

    Returns:
        The number of points written.

    Raises:
        JobFailed: The server could not store them.
    """
    points: list[dict[str, Any]] = []
    written = 0

    def flush() -> None:
        nonlocal written
        loud.write_points(bucket_name, points, verbose=verbose, interval=0.2)
        written += len(points)
        points.clear()

    for ts, fields in generator:
        wait_s = ts - time.time()
        if wait_s > 0:
            flush()
            time.sleep(wait_s)
        points.append({"timestamp": ts_to_str(ts), **fields, **({"tags": tags} if tags else {})})
        if len(points) >= batch_size:
            flush()
    flush()
    return written
