"""Ring one: dates, aggregation, schedules, the seasonal fit and the scores, without a server."""

import datetime
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mock_servers.loudml import seasonal
from mock_servers.loudml.dates import format_date, parse_date, parse_duration
from mock_servers.loudml.errors import Invalid, Unsupported
from mock_servers.loudml.metrics import METRICS, aggregate, bucket_range
from mock_servers.loudml.schedule import next_run
from mock_servers.loudml.scoring import anomalies, score

DAY = 86400.0
MONDAY_NOON = datetime.datetime(2024, 1, 1, 12, tzinfo=datetime.timezone.utc).timestamp()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (5, 5.0),
        ("5.5", 5.5),
        ("now", 1000.0),
        ("now-1m", 940.0),
        ("now + 2h", 8200.0),
        ("1970-01-01", 0.0),
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01 01:00:00+01:00", 0.0),
    ],
)
def test_dates_are_read_as_the_api_writes_them(text, expected):
    assert parse_date(text, 1000.0, "from") == expected


@pytest.mark.parametrize("text", ["", "soon", "now-", "now-1q", True])
def test_other_dates_are_refused_by_the_parameter_name(text):
    with pytest.raises(Invalid, match="from is invalid: expected absolute or relative date"):
        parse_date(text, 1000.0, "from")


@given(st.floats(0, 4e9))
def test_formatted_dates_read_back_to_the_millisecond(seconds):
    assert parse_date(format_date(seconds), 0, "t") == pytest.approx(seconds, abs=0.0011)


@pytest.mark.parametrize(("text", "expected"), [("5", 5), ("5m", 300), (60, 60), ("1w", 604800)])
def test_durations_have_units(text, expected):
    assert parse_duration(text) == expected


@given(st.floats(0, 1e6), st.floats(0, 1e5), st.floats(0.1, 1e4))
def test_bucket_range_covers_the_range_in_multiples(start, length, interval):
    first, count = bucket_range(start, start + length, interval)
    assert first <= start
    assert first + count * interval >= start + length - 1e-6
    assert first / interval == pytest.approx(round(first / interval), abs=1e-6)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("count", 4),
        ("min", 1),
        ("max", 9),
        ("sum", 16),
        ("avg", 4),
        ("stddev", 3),
        ("variance", 9),
        ("sum_of_squares", 100),
        ("derivative", 8),
        ("spread", 8),
        ("mode", 3),
        ("median", 3),
        ("90percentile", 7.2),
    ],
)
def test_metric_of_a_bucket(metric, expected):
    times, values = np.array([0.0, 1, 2, 3]), np.array([1.0, 3, 3, 9])
    [first, second] = aggregate(times, values, metric, 0, 2, 10)
    assert first == pytest.approx(expected)
    assert math.isnan(second)


def test_every_metric_gives_a_number_and_unknown_ones_are_refused():
    times, values = np.array([0.0]), np.array([2.0])
    for metric in METRICS:
        assert math.isfinite(aggregate(times, values, metric, 0, 1, 10)[0])
    with pytest.raises(Unsupported, match="Unsupported metric"):
        aggregate(times, values, "nope", 0, 1, 10)


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        ({"count": 30, "unit": "seconds"}, MONDAY_NOON + 30),
        ({"count": 2, "unit": "hour"}, MONDAY_NOON + 7200),
        ({"unit": "week"}, MONDAY_NOON + 7 * DAY),
        ({"count": 1, "unit": "day", "at": "06:30"}, MONDAY_NOON + 18.5 * 3600),
        ({"count": 1, "unit": "day", "at": "99:99"}, MONDAY_NOON + DAY),
        ({"unit": "monday", "at": "13"}, MONDAY_NOON + 3600),
        ({"unit": "monday", "at": "11:00"}, MONDAY_NOON + 7 * DAY - 3600),
        ({"unit": "tuesday"}, MONDAY_NOON + DAY),
        ({"unit": "monday"}, MONDAY_NOON + 7 * DAY),
    ],
)
def test_next_run_of_a_schedule(every, expected):
    assert next_run(every, MONDAY_NOON) == expected


@pytest.mark.parametrize(
    ("observed", "kind", "expected"),
    [
        (10.0, "low_high", 0.0),
        (13.0, "low_high", 99.73),
        (13.0, "high", 99.73),
        (13.0, "low", 0.0),
        (9.0, "low", 68.27),
        (9.0, "high", 0.0),
        (math.nan, "low_high", 0.0),
    ],
)
def test_score_of_a_value_under_a_band_of_three_deviations(observed, kind, expected):
    assert score(observed, 10.0, 7.0, 13.0, kind) == pytest.approx(expected, abs=0.01)


def flagged(values, settings, grace_s=0.0):
    count = len(values)
    flat = np.zeros(count)
    stats = anomalies(
        np.arange(count) * 60.0,
        np.array(values),
        flat,
        flat - 3,
        flat + 3,
        {"name": "f"},
        settings,
        grace_s,
    )
    return [entry["anomaly"] for entry in stats]


def test_anomaly_begins_above_one_threshold_and_ends_below_the_other():
    assert flagged([0, 3.1, 1.5, 0.5, 1.5], {}) == [False, True, True, False, False]


def test_own_thresholds_replace_the_automatic_ones():
    settings = {"min_threshold": 50, "max_threshold": 90}
    assert flagged([1.7, 0.8, 0.5], settings) == [True, True, False]


def test_no_anomaly_begins_within_the_grace_period_of_the_last():
    values = [4.0, 0.0, 4.0, 0.0, 4.0]
    assert flagged(values, {}, grace_s=180) == [True, False, False, False, True]


def wave(days, interval_s, noise, seed=3):
    rng = np.random.default_rng(seed)
    times = np.arange(int(days * DAY / interval_s)) * interval_s
    return times, 50 + 20 * np.sin(2 * np.pi * times / DAY) + rng.normal(0, noise, len(times))


def best_fit(values, interval_s, tries=6, span=None):
    periods = seasonal.seasons(values, interval_s)
    options = list(seasonal.candidates(tries, span, periods))
    losses = [seasonal.hold_out_loss(0.0, interval_s, values, it, periods) for it in options]
    best = int(np.argmin(losses))
    return seasonal.fit(0.0, interval_s, values, options[best], periods, losses[best])


def test_fit_recovers_wave_and_noise_in_spite_of_anomalies_and_gaps():
    times, values = wave(10, 900, 2.0)
    values[100:110] += 200
    values[300:340] = np.nan
    fitted = best_fit(values, 900)
    truth = 50 + 20 * np.sin(2 * np.pi * times / DAY)
    assert np.abs(fitted.baseline(times) - truth).max() < 2.0
    assert fitted.sd == pytest.approx(2.0, rel=0.2)
    assert fitted.loss < 0.1


def test_period_that_is_no_day_is_found_in_the_spectrum():
    times = np.arange(600) * 60.0
    values = np.sin(2 * np.pi * times / 3600)
    [period] = seasonal.seasons(values, 60.0)
    assert period == pytest.approx(3600, rel=0.02)


def test_noise_alone_has_no_season():
    assert seasonal.seasons(np.random.default_rng(1).normal(size=500), 60.0) == ()
    assert seasonal.seasons(np.ones(4), 60.0) == ()


def test_memory_follows_slow_drift_better_than_none():
    rng = np.random.default_rng(5)
    drift = np.zeros(800)
    for index in range(1, 800):
        drift[index] = 0.9 * drift[index - 1] + rng.normal()
    with_memory = seasonal.hold_out_loss(0, 60, drift, seasonal.Candidate(1, 0, False, 1), ())
    without = seasonal.hold_out_loss(0, 60, drift, seasonal.Candidate(1, 0, False, 0), ())
    assert with_memory < 0.5 * without


def test_forecast_uncertainty_grows_up_to_that_of_the_season_alone():
    rng = np.random.default_rng(5)
    drift = np.zeros(800)
    for index in range(1, 800):
        drift[index] = 0.9 * drift[index - 1] + rng.normal()
    fitted = seasonal.fit(0, 60, drift, seasonal.Candidate(1, 0, False, 2), (), 1.0)
    _, sd = fitted.forecast(800 * 60 + np.arange(50) * 60.0, drift[-2:])
    assert np.all(np.diff(sd) >= 0)
    assert sd[0] == pytest.approx(fitted.step_sd)
    assert sd[-1] <= fitted.sd * 1.0001


@pytest.mark.parametrize("values", [[5.0], [5.0, 5.0, 5.0], [1.0, np.nan, np.nan, 2.0]])
def test_few_or_constant_values_still_fit(values):
    fitted = best_fit(np.array(values), 60.0, tries=2)
    expected, sd = fitted.predict(np.arange(3) * 60.0, np.array([np.nan] * 3))
    assert np.all(np.isfinite(expected))
    assert np.all(sd > 0)


def test_stored_fit_predicts_the_same():
    times, values = wave(4, 900, 1.0)
    fitted = best_fit(values, 900, span=3)
    again = seasonal.Fit.from_json(fitted.to_json())
    assert again == fitted
    assert np.array_equal(again.predict(times, values)[0], fitted.predict(times, values)[0])
