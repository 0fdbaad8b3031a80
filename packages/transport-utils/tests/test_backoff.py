import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transport_utils.backoff import Constant, Exponential, Schedule, exponential
from transport_utils.errors import ConfigurationError

RNG = random.Random(7)


@given(
    base=st.floats(1e-3, 10),
    factor=st.floats(1, 5),
    growth=st.floats(1, 1000),
    jitter=st.sampled_from(["full", "equal", "decorrelated", None]),
    attempt=st.integers(1, 100_000),
    previous=st.floats(0, 1000),
)
def test_a_pause_is_never_negative_and_never_above_the_cap(
    base, factor, growth, jitter, attempt, previous
):
    schedule = Exponential(base, factor, base * growth, jitter)
    assert 0 <= schedule.delay(attempt, previous, RNG) <= base * growth * (1 + 1e-9)


def test_pauses_double_up_to_the_cap():
    schedule = exponential(0.1, 2.0, 1.0, jitter=None)
    assert [schedule.delay(n, 0, RNG) for n in range(1, 7)] == pytest.approx(
        [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    )


def test_equal_jitter_keeps_at_least_half_of_the_pause():
    schedule = exponential(1.0, jitter="equal")
    assert all(0.5 <= schedule.delay(1, 0, RNG) <= 1.0 for _ in range(200))


def test_full_jitter_spreads_over_the_whole_pause():
    pauses = [exponential(1.0).delay(1, 0, RNG) for _ in range(500)]
    assert min(pauses) < 0.1
    assert max(pauses) > 0.9


def test_decorrelated_jitter_grows_from_the_previous_pause():
    schedule = exponential(0.1, cap_s=10, jitter="decorrelated")
    pauses = [schedule.delay(5, 2.0, RNG) for _ in range(500)]
    assert min(pauses) >= 0.1
    assert 5 < max(pauses) <= 6.0


def test_a_schedule_repeats_its_last_pause():
    schedule = Schedule([1, 2, 5])
    assert [schedule.delay(n, 0, RNG) for n in (1, 2, 3, 4, 99)] == [1, 2, 5, 5, 5]


def test_a_constant_pause_stays():
    assert [Constant(0.5).delay(n, 0.5, RNG) for n in (1, 10)] == [0.5, 0.5]


@pytest.mark.parametrize(
    "build",
    [
        lambda: Constant(-1),
        lambda: Constant(float("nan")),
        lambda: Constant("1"),
        lambda: Schedule([]),
        lambda: Schedule([1, -1]),
        lambda: Exponential(0),
        lambda: Exponential(base_s=2, cap_s=1),
        lambda: Exponential(factor=0.5),
        lambda: Exponential(cap_s=float("inf")),
        lambda: Exponential(jitter="some"),
        lambda: Exponential(base_s=True),
    ],
)
def test_bad_figures_are_refused_at_construction(build):
    with pytest.raises(ConfigurationError, match="expected"):
        build()
