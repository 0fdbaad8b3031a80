import math
import threading

import pytest
from transport_utils.budget import RateLimiter, RetryBudget
from transport_utils.errors import ConfigurationError


def test_a_burst_of_failures_uses_the_budget_up_and_successes_fill_it_again():
    budget = RetryBudget()
    retries = 0
    while budget.acquire(budget.cost(throttled=False)):
        retries += 1
    assert retries == 35
    for _ in range(4):
        budget.credit()
    assert budget.acquire(14)
    budget.credit(spent=14)
    assert budget.tokens == 500 - 35 * 14 + 4


def test_a_retry_after_throttling_costs_less():
    budget = RetryBudget()
    assert budget.cost(throttled=True) < budget.cost(throttled=False)


def test_no_credit_goes_beyond_the_capacity():
    budget = RetryBudget(10)
    budget.credit()
    budget.credit(100)
    assert budget.tokens == 10


def test_no_token_is_given_twice_to_threads():
    budget = RetryBudget(capacity=1000)
    taken = []

    def take():
        while budget.acquire(1):
            taken.append(1)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1000
    assert budget.tokens == 0


@pytest.mark.parametrize("options", [{"capacity": 0}, {"retry_cost": -1}, {"throttled_cost": True}])
def test_bad_budgets_are_refused(options):
    with pytest.raises(ConfigurationError, match="budget"):
        RetryBudget(**options)


def test_the_limiter_is_off_until_the_first_throttle():
    limiter = RateLimiter()
    assert limiter.rate == math.inf
    assert [limiter.reserve(0.0) for _ in range(1000)] == [0.0] * 1000


def simulate(limiter, capacity, seconds, now=0.0):
    """Send as fast as the limiter lets us to a server of this capacity; return accepted and refused."""
    tokens, accepted, refused, end = 1.0, 0, 0, now + seconds
    while now < end:
        before = now
        now += limiter.reserve(now) + 0.005
        tokens = min(capacity, tokens + (now - before) * capacity)
        if tokens >= 1:
            tokens -= 1
            accepted += 1
            limiter.on_success(now)
        else:
            refused += 1
            limiter.on_throttle(now)
    return accepted, refused


def test_the_rate_settles_near_what_the_server_takes():
    accepted, refused = simulate(RateLimiter(), capacity=20, seconds=60)
    assert accepted > 0.6 * 20 * 60
    assert refused < 0.1 * accepted


def test_the_rate_grows_again_when_the_server_recovers():
    limiter = RateLimiter()
    simulate(limiter, capacity=5, seconds=30)
    slow = limiter.rate
    simulate(limiter, capacity=100, seconds=60, now=30.0)
    assert limiter.rate > 3 * slow


def test_the_rate_never_falls_below_its_floor():
    limiter = RateLimiter(min_rate=2.0)
    for second in range(50):
        limiter.on_throttle(float(second))
    assert limiter.rate == 2.0
    limiter.reserve(50.0)
    assert limiter.reserve(50.0) == pytest.approx(0.5)


def test_a_place_given_back_is_free_for_the_next():
    limiter = RateLimiter(min_rate=1.0)
    limiter.on_throttle(0.0)
    assert limiter.reserve(1.0) == 0.0
    assert limiter.reserve(1.0) == 1.0
    limiter.cancel()
    assert limiter.reserve(1.0) == 1.0


def test_waiting_requests_queue_one_behind_the_other():
    limiter = RateLimiter(min_rate=2.0)
    limiter.on_throttle(0.0)
    assert [limiter.reserve(0.0) for _ in range(3)] == [0.5, 1.0, 1.5]


@pytest.mark.parametrize(
    "options",
    [{"min_rate": 0}, {"burst": 0.5}, {"beta": 1.0}, {"growth": 0}, {"min_rate": math.inf}],
)
def test_bad_limits_are_refused(options):
    with pytest.raises(ConfigurationError, match="rate limiter"):
        RateLimiter(**options)
