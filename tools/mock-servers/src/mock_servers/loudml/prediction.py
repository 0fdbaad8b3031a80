"""What a model does with a bucket: train on it, evaluate it, forecast from it.

Sits between the settings of a model (feature, intervals, thresholds), the points in the store and the numbers of
:mod:`mock_servers.loudml.seasonal`. Called by the work of jobs; knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from mock_servers.loudml.dates import format_date, parse_duration
from mock_servers.loudml.errors import Invalid, NoData
from mock_servers.loudml.metrics import aggregate, bucket_range
from mock_servers.loudml.scoring import anomalies
from mock_servers.loudml.seasonal import Fit, candidates, fit, hold_out_loss, seasons
from mock_servers.loudml.store import Store

__all__ = ["FORECAST_BAND_SD", "PREDICTION_BAND_SD", "Constraint", "Model", "output_points"]

Floats = npt.NDArray[np.floating[Any]]
PREDICTION_BAND_SD = 3.0
FORECAST_BAND_SD = 0.99
DEFAULT_EVALUATIONS = 10


@dataclass(frozen=True, slots=True)
class Constraint:
    """A limit that a forecast is tested against, from ``feature:low|high:threshold``."""

    feature: str
    type: str
    threshold: float

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Return the constraint a request names.

        Raises:
            Invalid: The format, the type or the number is wrong.
        """
        parts = text.split(":")
        if len(parts) != 3:
            raise Invalid("invalid format for 'constraint' parameter")
        feature, kind, number = parts
        if kind not in ("low", "high"):
            raise Invalid("invalid threshold type for 'constraint' parameter")
        try:
            return cls(feature, kind, float(number))
        except ValueError:
            raise Invalid("invalid threshold for 'constraint' parameter") from None


class Model:
    """The settings of one model, ready to compute with.

    Args:
        settings: As checked by :func:`~mock_servers.loudml.settings.check_model`.
        store: Where the points are.
    """

    def __init__(self, settings: Mapping[str, Any], store: Store) -> None:
        self._settings = settings
        self._store = store
        self.feature: Mapping[str, Any] = settings["features"][0]
        self.interval_s = parse_duration(settings["bucket_interval"])

    def _series(self, bucket: str, start: float, count: int) -> tuple[Floats, bool]:
        """Return the value per time bucket with the feature's default applied, and whether any point was found."""
        feature = self.feature
        times, values = self._store.read_points(
            bucket,
            feature["field"],
            start,
            start + count * self.interval_s,
            feature.get("measurement"),
            feature.get("match_all") or (),
        )
        series = aggregate(times, values, feature["metric"], start, count, self.interval_s)
        default = feature.get("default")
        if default == "previous":
            present = np.maximum.accumulate(np.where(np.isnan(series), -1, np.arange(count)))
            series = np.where(present >= 0, series[present], np.nan)
        elif default is not None:
            series = np.where(np.isnan(series), float(default), series)
        return series, len(times) > 0

    def _transformed(self, series: Floats) -> Floats:
        if self.feature.get("transform") != "diff":
            return series
        return np.concatenate([[np.nan], np.diff(series)])

    def train(
        self, bucket: str, start: float, end: float, evaluations: int | None
    ) -> Generator[tuple[int, int], None, Fit]:
        """Yield ``(evaluation, evaluations)`` after each evaluation and return the best fit.

        Raises:
            NoData: No point of the range carries the field.
        """
        first, count = bucket_range(start, end, self.interval_s)
        series, found = self._series(bucket, first, count)
        series = self._transformed(series)
        if not found or not np.isfinite(series).any():
            raise NoData(f"no data found for time range {format_date(start)}-{format_date(end)}")
        settings = self._settings
        wanted = evaluations or settings.get("max_evals") or DEFAULT_EVALUATIONS
        span = settings["span"] if isinstance(settings["span"], int) else None
        flags = settings.get("seasonality", {})
        periods = seasons(
            series, self.interval_s, flags.get("daytime", False), flags.get("weekday", False)
        )
        tries = list(candidates(wanted, span, periods))
        losses = []
        # One thread: on systems this small more threads of the algebra library wait for each other, and on a busy
        # machine they turn 0.2 s into 10.
        algebra = ThreadpoolController()
        for done in range(1, wanted + 1):
            if done <= len(tries):
                tried = tries[done - 1]
                with algebra.limit(limits=1):
                    loss = hold_out_loss(first, self.interval_s, series, tried, periods)
                losses.append(loss)
            yield done, wanted
        best = int(np.argmin(losses))
        with algebra.limit(limits=1):
            return fit(first, self.interval_s, series, tries[best], periods, losses[best])

    def evaluate(
        self, fitted: Fit, bucket: str, start: float, end: float, flag_abnormal: bool
    ) -> dict[str, Any]:
        """Return the prediction of a range, what was observed beside what was expected; with stats when flagged."""
        first, count = bucket_range(start, end, self.interval_s)
        history = len(fitted.memory) + (1 if self.feature.get("transform") == "diff" else 0)
        begin = first - history * self.interval_s
        observed, _ = self._series(bucket, begin, history + count)
        times = begin + self.interval_s * np.arange(history + count)
        expected, sd = fitted.predict(times, self._transformed(observed))
        if self.feature.get("transform") == "diff":
            expected = np.concatenate([[np.nan], observed[:-1]]) + expected
        expected, sd = expected[history:], sd[history:]
        times, observed = times[history:], observed[history:]
        lower, upper = self._band(expected, sd, PREDICTION_BAND_SD)
        result = self._result(times, observed, expected, lower, upper)
        if flag_abnormal:
            grace_s = parse_duration(self._settings.get("grace_period", 0))
            result["stats"] = anomalies(
                times, observed, expected, lower, upper, self.feature, self._settings, grace_s
            )
        return result

    def forecast(
        self, fitted: Fit, bucket: str, start: float, end: float, constraint: Constraint | None
    ) -> dict[str, Any]:
        """Return the forecast of a range from the buckets before it; with ``constraint`` when one is to be tested."""
        first, count = bucket_range(start, end, self.interval_s)
        is_diff = self.feature.get("transform") == "diff"
        history = len(fitted.memory) + (1 if is_diff else 0)
        begin = first - history * self.interval_s
        before, _ = self._series(bucket, begin, history)
        times = first + self.interval_s * np.arange(count)
        expected, sd = fitted.forecast(times, self._transformed(before) if history else before)
        if is_diff:
            expected = before[-1] + np.cumsum(expected)
            sd = np.sqrt(np.cumsum(sd**2))
        lower, upper = self._band(expected, sd, FORECAST_BAND_SD)
        observed, _ = self._series(bucket, first, count)
        result = self._result(times, observed, expected, lower, upper)
        if constraint is not None:
            result["constraint"] = self._test(constraint, times, expected)
        return result

    def _band(self, expected: Floats, sd: Floats, width_sd: float) -> tuple[Floats, Floats]:
        lower, upper = expected - width_sd * sd, expected + width_sd * sd
        return lower, upper

    def _result(
        self, times: Floats, observed: Floats, expected: Floats, lower: Floats, upper: Floats
    ) -> dict[str, Any]:
        name = self.feature["name"]
        return {
            "timestamps": times.tolist(),
            "observed": {name: _nullable(observed)},
            "predicted": {
                name: _nullable(expected),
                f"lower_{name}": _nullable(lower),
                f"upper_{name}": _nullable(upper),
            },
        }

    def _test(self, constraint: Constraint, times: Floats, expected: Floats) -> dict[str, Any]:
        if constraint.feature != self.feature["name"]:
            raise Invalid(f"unknown feature {constraint.feature!r} in 'constraint' parameter")
        if constraint.type == "low":
            broken = np.flatnonzero(expected < constraint.threshold)
        else:
            broken = np.flatnonzero(expected > constraint.threshold)
        return {
            "feature": constraint.feature,
            "type": constraint.type,
            "threshold": constraint.threshold,
            "date": format_date(float(times[broken[0]])) if len(broken) else None,
        }


def _nullable(values: Floats) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values.tolist()]


def output_points(
    model: str, settings: Mapping[str, Any], result: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the points that a prediction or forecast is saved as.

    Shape: per bucket ``f``, ``lower_f``, ``upper_f``, ``@f`` (observed) and, when flagged, ``score``; tags ``model``,
    every ``match_all`` tag of the feature and, when flagged, ``is_anomaly``. Missing values are left out.
    """
    feature = settings["features"][0]
    tags = {match["tag"]: match["value"] for match in feature.get("match_all") or ()}
    stats = result.get("stats")
    points = []
    for index, at in enumerate(result["timestamps"]):
        values = {name: column[index] for name, column in result["predicted"].items()}
        values[f"@{feature['name']}"] = result["observed"][feature["name"]][index]
        own_tags: dict[str, Any] = {"model": model, **tags}
        if stats is not None:
            values["score"] = stats[index]["score"]
            own_tags["is_anomaly"] = stats[index]["anomaly"]
        present = {name: value for name, value in values.items() if value is not None}
        points.append({"timestamp": at, **present, "tags": own_tags})
    return points
