"""Aggregation of samples into time buckets: the metrics a feature may name.

Used by training, prediction and bucket reads. Source: the metric names of Loud ML server 1.6.0, Influx ones included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mock_servers.loudml.errors import Unsupported

__all__ = ["METRICS", "aggregate", "bucket_range"]

Floats = npt.NDArray[np.floating[Any]]


def _mode(values: Floats) -> float:
    found, counts = np.unique(values, return_counts=True)
    return float(found[np.argmax(counts)])


def _percentile(rank: float) -> Callable[[Floats], Any]:
    return lambda values: np.percentile(values, rank)


METRICS: Mapping[str, Callable[[Floats], Any]] = {
    "count": len,
    "min": np.min,
    "max": np.max,
    "sum": np.sum,
    "avg": np.mean,
    "mean": np.mean,
    "average": np.mean,
    "stddev": np.std,
    "std_dev": np.std,
    "sum_of_squares": lambda values: np.sum(values * values),
    "variance": np.var,
    "derivative": lambda values: values[-1] - values[0],
    "integral": np.sum,
    "spread": np.ptp,
    "mode": _mode,
    "median": np.median,
    "5percentile": _percentile(5),
    "10percentile": _percentile(10),
    "90percentile": _percentile(90),
    "95percentile": _percentile(95),
}
"""Metric name -> function of the values of one time bucket, in order of time, at least one."""


def bucket_range(start: float, end: float, interval_s: float) -> tuple[float, int]:
    """Return the first time bucket and the number of buckets that cover a range.

    The range is widened to multiples of the interval: floor of ``start``, ceiling of ``end``; the end is excluded.

    Example:
        ``bucket_range(61, 179, 60)`` is ``(60.0, 2)``: 60 and 120.
    """
    first = math.floor(start / interval_s)
    last = math.ceil(end / interval_s)
    return first * interval_s, max(last - first, 0)


def aggregate(
    times: Floats, values: Floats, metric: str, start: float, count: int, interval_s: float
) -> Floats:
    """Return one value per time bucket, ``nan`` for a bucket without samples.

    Args:
        times: Seconds, ascending.
        values: As many.
        metric: Key of :data:`METRICS`.
        start: Start of the first bucket, seconds.
        count: Number of buckets.
        interval_s: Width of a bucket, seconds.

    Raises:
        Unsupported: The metric is none of these.
    """
    function = METRICS.get(metric)
    if function is None:
        raise Unsupported("metric", metric)
    edges = np.searchsorted(times, start + interval_s * np.arange(count + 1))
    result = np.full(count, np.nan)
    for index in np.flatnonzero(np.diff(edges)):
        result[index] = function(values[edges[index] : edges[index + 1]])
    return result
