import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transport_utils.deadline import DEFAULT_TIMEOUT, Deadline, Timeout
from transport_utils.errors import ConfigurationError

moments = st.floats(0, 1e6)
limits = st.none() | st.floats(1e-3, 1e6)


@given(limits, moments, moments)
def test_a_deadline_is_expired_when_nothing_remains(seconds, start, later):
    deadline = Deadline.after(seconds, start)
    now = start + later
    assert deadline.expired(now) is (deadline.remaining(now) == 0)
    assert deadline.remaining(now) >= 0
    if seconds is None:
        assert deadline.remaining(now) == math.inf


@given(limits, limits, moments, moments)
def test_a_bound_never_passes_the_deadline_nor_the_limit(total, limit, start, later):
    deadline = Deadline.after(total, start)
    now = start + later
    bound = deadline.bound(limit, now)
    if bound is None:
        assert total is None
        assert limit is None
    else:
        assert 0 <= bound <= deadline.remaining(now)
        assert limit is None or bound <= limit


@pytest.mark.parametrize(
    ("given", "timeout"),
    [
        (None, Timeout(None, None, None, None, None)),
        (2, Timeout(total=2)),
        (2.5, Timeout(total=2.5)),
        ((1, 10), Timeout(connect=1, read=10)),
        ((None, 10), Timeout(connect=None, read=10)),
        (DEFAULT_TIMEOUT, DEFAULT_TIMEOUT),
    ],
)
def test_what_users_write_becomes_a_timeout(given, timeout):
    assert Timeout.coerce(given) == timeout


@pytest.mark.parametrize(
    "given", [0, -1, math.inf, math.nan, "5", True, (1, 2, 3), (0, 1), [1, 2], object()]
)
def test_what_is_no_timeout_is_refused(given):
    with pytest.raises(ConfigurationError, match="timeout"):
        Timeout.coerce(given)


def test_a_deadline_shows_when_it_is():
    assert repr(Deadline(5.0)) == "Deadline(at=5.0)"
