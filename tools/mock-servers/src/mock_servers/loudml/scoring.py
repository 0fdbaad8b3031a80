"""Anomaly scores: how unlikely a value is under the predicted band, and where anomalies begin and end.

Source: the scoring rule of Loud ML server 1.6.0, reproduced to the letter (see each formula).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["AUTO_MAX_THRESHOLD", "AUTO_MIN_THRESHOLD", "anomalies", "score"]

Floats = npt.NDArray[np.floating[Any]]
AUTO_MIN_THRESHOLD = 68.0
AUTO_MAX_THRESHOLD = 99.7


def score(
    observed: float, predicted: float, lower: float, upper: float, anomaly_type: str
) -> float:
    """Return how unlikely a value is, 0..100.

    With mu = (lower + upper) / 2 and sd = (upper - mu) / 3, s = 2 Phi(|y - mu| / sd) - 1, negative when the value is
    below the prediction. ``low`` scores -min(s, 0), ``high`` max(s, 0), ``low_high`` |s|, times 100.

    Args:
        observed: The value; ``nan`` scores 0.
        predicted: Expected value; ``nan`` (nothing could be expected) scores 0 too.
        lower: Lower edge of the band.
        upper: Upper edge, above ``lower``.
        anomaly_type: ``low``, ``high`` or ``low_high``.
    """
    if math.isnan(observed) or math.isnan(predicted):
        return 0.0
    middle = (lower + upper) / 2
    sd = (upper - middle) / 3
    signed = math.erf(abs(observed - middle) / sd / math.sqrt(2))
    if observed < predicted:
        signed = -signed
    one_sided = {"low": -min(signed, 0.0), "high": max(signed, 0.0)}
    return 100 * min(1.0, one_sided.get(anomaly_type, abs(signed)))


def anomalies(
    times: Floats,
    observed: Floats,
    predicted: Floats,
    lower: Floats,
    upper: Floats,
    feature: Mapping[str, Any],
    settings: Mapping[str, Any],
    grace_period_s: float,
) -> list[dict[str, Any]]:
    """Return the ``stats`` of a prediction: one ``{"mse", "score", "anomaly", "anomalies"}`` per bucket.

    An anomaly begins when the score reaches ``max_threshold``, unless the last one ended within the grace period, and
    ends when it falls below ``min_threshold``; both 0 stand for 99.7 and 68. ``mse`` is ``None`` for a missing value.
    """
    minimum = settings.get("min_threshold") or 0.0
    maximum = settings.get("max_threshold") or 0.0
    if not minimum and not maximum:
        minimum, maximum = AUTO_MIN_THRESHOLD, AUTO_MAX_THRESHOLD
    kind = feature.get("anomaly_type", "low_high")
    stats: list[dict[str, Any]] = []
    active, ended_at = False, -math.inf
    for index in range(len(times)):
        value = float(observed[index])
        points = score(value, predicted[index], lower[index], upper[index], kind)
        if active and points < minimum:
            active, ended_at = False, float(times[index])
        elif not active and points >= maximum and times[index] - ended_at >= grace_period_s:
            active = True
        found = {}
        if active:
            side = "low" if value < predicted[index] else "high"
            found[str(feature["name"])] = {"type": side, "score": points}
        squared = float((value - predicted[index]) ** 2)
        error = None if math.isnan(squared) else squared
        stats.append({"mse": error, "score": points, "anomaly": active, "anomalies": found})
    return stats
