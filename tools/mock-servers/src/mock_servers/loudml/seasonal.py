"""A seasonal model of one evenly spaced series: fit, predict with a band, forecast.

The value of a time bucket is explained as level + trend + seasons (harmonics of the day, the week, or the period the
data itself shows) + what the previous ``span - 1`` buckets were off by (an autoregression of the residuals):

    y[t] = a + b t + sum_k (c_k cos w_k t + d_k sin w_k t) + sum_j phi_j r[t - j] + noise(t)

A working day differs in shape from a Sunday: where there is a day and a week, side bands ``k/day +- j/week`` let the
week change the day's harmonics. The noise may be small at night and large at noon: its size has a season of its own.
Coefficients come from ridge regression re-weighted by Huber's rule, so that the anomalies in a training range do not
bend the fit. How many harmonics, whether a trend, and how long the memory is chosen by hold-out error: one evaluation
per candidate, which is what a training job reports as its progress.

This stands in for the neural network of the original server, which real answers do not need.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Candidate", "Fit", "candidates", "fit", "hold_out_loss", "seasons"]

Floats = npt.NDArray[np.floating[Any]]
DAY_S = 86400.0
WEEK_S = 7 * DAY_S
HUBER = 1.345
ROUNDS = 6
WEEK_HARMONICS = 3
NOISE_HARMONICS = 3
NOISE_FLOOR = 0.2
ROWS_PER_COLUMN = 4
RIDGE = 1e-6
CLIP_SD = 3.0
HOLD_OUT = 0.2


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one training evaluation tries.

    Attributes:
        harmonics: Harmonics of every season, >= 1; of the week at most three.
        side_bands: Weekly side bands on each side of the day's harmonics, >= 0.
        trend: Whether a linear trend is fitted.
        memory: Residuals of earlier buckets that are used, >= 0.
    """

    harmonics: int
    side_bands: int
    trend: bool
    memory: int


def candidates(count: int, span: int | None, periods: tuple[float, ...]) -> Iterator[Candidate]:
    """Yield ``count`` candidates, most promising first; a longer list repeats none.

    Args:
        count: Evaluations wanted, >= 1. The list ends early when there is nothing left to try.
        span: Buckets the model looks at, itself included; ``None`` lets the search choose among 1, 2, 3, 5.
        periods: Seasons, from :func:`seasons`.
    """
    spans = (2, 1, 5, 3) if span is None else (span,)
    bands = (3, 0) if {DAY_S, WEEK_S} <= set(periods) else (0,)
    grid = itertools.product(spans, (False, True), bands, (6, 3, 10, 1, 8, 2, 4))
    for chosen, trend, side_bands, harmonics in itertools.islice(grid, count):
        yield Candidate(harmonics, side_bands, trend, chosen - 1)


def seasons(
    values: Floats, interval_s: float, daytime: bool = False, weekday: bool = False
) -> tuple[float, ...]:
    """Return the periods, in seconds, that a series is explained by.

    A day and a week count when the data covers two of them or when asked for; besides them the strongest period in the
    data's own spectrum counts, unless it is one of those or an overtone of one.

    Args:
        values: Evenly spaced, ``nan`` where missing.
        interval_s: Spacing, seconds.
        daytime: A day counts in any case.
        weekday: A week counts in any case.
    """
    covered = len(values) * interval_s
    periods = []
    if interval_s * 2 < DAY_S and (daytime or covered >= 2 * DAY_S):
        periods.append(DAY_S)
    if interval_s * 2 < WEEK_S and (weekday or covered >= 2 * WEEK_S):
        periods.append(WEEK_S)
    own = _strongest_period(values) * interval_s
    if own and not any(_is_overtone(own, period) for period in periods):
        periods.append(own)
    return tuple(periods)


def _is_overtone(period: float, base: float) -> bool:
    ratio = base / period
    return ratio > 0.9 and abs(ratio - round(ratio)) < 0.1


def _strongest_period(values: Floats) -> float:
    """Return the period with the most spectral power in buckets, 0 when none stands out of the noise."""
    if len(values) < 8:
        return 0.0
    filled = np.nan_to_num(values - np.nanmean(values))
    steps = np.arange(len(filled))
    filled = filled - np.polyval(np.polyfit(steps, filled, 1), steps)
    power = np.abs(np.fft.rfft(filled * np.hanning(len(filled)))) ** 2
    power[:2] = 0.0
    peak = int(np.argmax(power))
    if peak < 2 or power[peak] < 0.1 * power.sum():
        return 0.0
    around = power[peak - 1 : peak + 2]
    centre = float(np.sum(around * np.arange(peak - 1, peak - 1 + len(around))) / np.sum(around))
    return len(filled) / centre


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted model; plain numbers, so that it is stored as JSON.

    Attributes:
        origin: Time from which trend and seasons count, seconds.
        interval_s: Spacing of the series.
        frequencies: Of the seasons, cycles per second.
        trend: Whether the second coefficient is a trend.
        coefficients: Level, trend if any, then cosine and sine of each frequency.
        noise_frequencies: Of the season of the noise.
        noise: Coefficients of the size of the noise relative to ``sd``, laid out like ``coefficients``.
        memory: Autoregression of the residuals, latest first.
        sd: Standard deviation of the season-only residuals.
        step_sd: Standard deviation of the one-step prediction error.
        loss: Mean squared hold-out error over the variance of the held-out values.
    """

    origin: float
    interval_s: float
    frequencies: tuple[float, ...]
    trend: bool
    coefficients: tuple[float, ...]
    noise_frequencies: tuple[float, ...]
    noise: tuple[float, ...]
    memory: tuple[float, ...]
    sd: float
    step_sd: float
    loss: float

    def to_json(self) -> dict[str, Any]:
        """Return the fit as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Fit:
        """Return the fit stored by :meth:`to_json`."""
        listed = ("frequencies", "coefficients", "noise_frequencies", "noise", "memory")
        return cls(**{**values, **{key: tuple(values[key]) for key in listed}})

    def baseline(self, times: Floats) -> Floats:
        """Return level, trend and seasons at these times (seconds)."""
        design = _design(times - self.origin, self.frequencies, self.trend)
        return np.asarray(design @ np.array(self.coefficients), dtype=np.float64)

    def noise_size(self, times: Floats) -> Floats:
        """Return how large the noise is at these times, 1 being its usual size."""
        design = _design(times - self.origin, self.noise_frequencies, trend=False)
        size = design @ np.array(self.noise)
        return np.asarray(np.maximum(size, NOISE_FLOOR), dtype=np.float64)

    def predict(self, times: Floats, observed: Floats) -> tuple[Floats, Floats]:
        """Return what each bucket was expected to be, knowing the buckets before it, and its standard deviation.

        Args:
            times: Bucket times, evenly spaced, the first ``len(memory)`` being history.
            observed: Values, ``nan`` where missing (a missing neighbour counts as expected).

        Returns:
            Two arrays of the length of ``times``.
        """
        base = self.baseline(times)
        residuals = np.nan_to_num(observed - base)
        limit = CLIP_SD * self.sd * self.noise_size(times)
        residuals = np.clip(residuals, -limit, limit)
        expected = base.copy()
        for lag, weight in enumerate(self.memory, start=1):
            expected[lag:] += weight * residuals[:-lag]
        return expected, self.step_sd * self.noise_size(times)

    def forecast(self, times: Floats, history: Floats) -> tuple[Floats, Floats]:
        """Return the expected values of future buckets and their standard deviations, which grow towards ``sd``.

        Args:
            times: Bucket times, evenly spaced.
            history: The values of the buckets just before, latest last, ``nan`` where missing; may be short.
        """
        base = self.baseline(times)
        order = len(self.memory)
        past = np.zeros(order)
        if order and len(history):
            recent = history[-order:]
            before = times[0] - self.interval_s * np.arange(len(recent), 0, -1)
            past[-len(recent) :] = np.nan_to_num(recent - self.baseline(before))
        weights = np.array(self.memory)
        impulse = np.zeros(order)
        variance, expected, sds = 0.0, base.copy(), np.empty(len(times))
        gain = 1.0
        for index in range(len(times)):
            offset = float(weights @ past[::-1]) if order else 0.0
            expected[index] += offset
            variance += (gain * self.step_sd) ** 2
            sds[index] = min(np.sqrt(variance), max(self.sd, self.step_sd))
            if order:
                past = np.append(past[1:], offset)
                impulse = np.append(impulse[1:], gain)
                gain = float(weights @ impulse[::-1])
            else:
                gain = 0.0
        return expected, sds * self.noise_size(times)


def _frequencies(
    periods: tuple[float, ...], candidate: Candidate, interval_s: float, rows: int
) -> tuple[float, ...]:
    """Return the frequencies of a candidate below Nyquist's, the important first, as many as the data can bear."""
    found: list[float] = []
    for harmonic in range(1, candidate.harmonics + 1):
        found += [
            harmonic / period
            for period in periods
            if period != WEEK_S or harmonic <= WEEK_HARMONICS
        ]
        if {DAY_S, WEEK_S} <= set(periods):
            for band in range(1, candidate.side_bands + 1):
                found += [harmonic / DAY_S - band / WEEK_S, harmonic / DAY_S + band / WEEK_S]
    usable = [frequency for frequency in dict.fromkeys(found) if frequency < 0.499 / interval_s]
    return tuple(usable[: max(0, rows // ROWS_PER_COLUMN - 2) // 2])


def _design(elapsed: Floats, frequencies: tuple[float, ...], trend: bool) -> Floats:
    columns: list[Floats] = [np.ones(len(elapsed))]
    if trend:
        columns.append(elapsed / DAY_S)
    for frequency in frequencies:
        angle = 2 * np.pi * frequency * elapsed
        columns += [np.cos(angle), np.sin(angle)]
    return np.column_stack(columns)


def _ridge(design: Floats, values: Floats, weights: Floats) -> Floats:
    weighted = design * weights[:, None]
    gram = design.T @ weighted
    gram[np.diag_indices_from(gram)] += RIDGE * len(values)
    return np.asarray(np.linalg.solve(gram, weighted.T @ values), dtype=np.float64)


def _spread(residuals: Floats) -> float:
    """Return a standard deviation that outliers do not inflate."""
    return float(1.4826 * np.median(np.abs(residuals - np.median(residuals))))


def _robust(design: Floats, values: Floats) -> Floats:
    weights = np.ones(len(values))
    for _ in range(ROUNDS):
        coefficients = _ridge(design, values, weights)
        residuals = values - design @ coefficients
        scale = _spread(residuals)
        if scale <= 0:
            break
        weights = np.minimum(1.0, HUBER * scale / np.maximum(np.abs(residuals), 1e-300))
    return coefficients


def _autoregression(residuals: Floats, present: npt.NDArray[np.bool_], order: int) -> Floats:
    """Return stable weights of the previous residuals, latest first."""
    if order == 0 or len(residuals) <= 3 * order:
        return np.zeros(0)
    limit = CLIP_SD * max(_spread(residuals[present]), 1e-300)
    clipped = np.clip(np.where(present, residuals, 0.0), -limit, limit)
    lagged = np.column_stack([clipped[order - lag : -lag] for lag in range(1, order + 1)])
    rows = present[order:]
    weights = _ridge(lagged[rows], clipped[order:][rows], np.ones(int(rows.sum())))
    total = float(np.abs(weights).sum())
    return weights if total < 0.98 else weights * (0.98 / total)


def hold_out_loss(
    start: float,
    interval_s: float,
    values: Floats,
    candidate: Candidate,
    periods: tuple[float, ...],
) -> float:
    """Return how badly a candidate that saw the first four fifths predicts the last: squared error over variance.

    Errors count up to three standard deviations of the series. Without enough values to tell, the loss is 1.

    Args:
        start: Time of the first value, seconds.
        interval_s: Spacing, seconds.
        values: Evenly spaced, ``nan`` where missing; at least one is not.
        candidate: What to try.
        periods: Seasons, seconds, from :func:`seasons`.
    """
    cut = int(len(values) * (1 - HOLD_OUT))
    if np.isfinite(values[:cut]).sum() < 4 or not np.isfinite(values[cut:]).any():
        return 1.0
    trial = fit(start, interval_s, values[:cut], candidate, periods, 1.0)
    expected, _ = trial.predict(start + interval_s * np.arange(len(values)), values)
    held = np.isfinite(values[cut:])
    errors = (values[cut:] - expected[cut:])[held]
    variance = float(np.nanvar(values)) or 1.0
    return float(np.mean(np.minimum(errors**2, 9 * variance)) / variance)


def fit(
    start: float,
    interval_s: float,
    values: Floats,
    candidate: Candidate,
    periods: tuple[float, ...],
    loss: float,
) -> Fit:
    """Fit one candidate to a whole series.

    Args:
        start: Time of the first value, seconds.
        interval_s: Spacing, seconds.
        values: Evenly spaced, ``nan`` where missing; at least one is not.
        candidate: What to fit.
        periods: Seasons, seconds, from :func:`seasons`.
        loss: From :func:`hold_out_loss`, kept with the fit.
    """
    times = start + interval_s * np.arange(len(values))
    present = np.isfinite(values)
    origin = float(times[0])
    rows = int(present.sum())
    frequencies = _frequencies(periods, candidate, interval_s, rows)
    design = _design(times - origin, frequencies, candidate.trend)
    coefficients = _robust(design[present], values[present])
    residuals = np.where(present, values - design @ coefficients, 0.0)
    memory = _autoregression(residuals, present, candidate.memory)
    floor = 1e-6 * max(1.0, float(np.abs(values[present]).max()))
    sd = max(_spread(residuals[present]), floor)
    quiet = replace(candidate, harmonics=NOISE_HARMONICS, side_bands=0)
    noise_frequencies = _frequencies(periods, quiet, interval_s, rows // ROWS_PER_COLUMN)
    around = _design((times - origin)[present], noise_frequencies, trend=False)
    noise = _robust(around, np.abs(residuals[present]) / sd)
    noise /= max(float(np.median(around @ noise)), NOISE_FLOOR)
    fitted = Fit(
        origin=origin,
        interval_s=interval_s,
        frequencies=frequencies,
        trend=candidate.trend,
        coefficients=tuple(coefficients.tolist()),
        noise_frequencies=noise_frequencies,
        noise=tuple(noise.tolist()),
        memory=tuple(memory.tolist()),
        sd=sd,
        step_sd=sd,
        loss=loss,
    )
    expected, _ = fitted.predict(times, values)
    errors = (values - expected)[present] / fitted.noise_size(times[present])
    return replace(fitted, step_sd=max(_spread(errors), floor))
