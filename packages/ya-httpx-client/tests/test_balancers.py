from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ya_httpx_client import provider_auto_balance
from ya_httpx_client.provider_auto_balance import SimpleLoadBalancer
from ya_httpx_client.target_load import TargetLoad


class Cluster:
    """Figures a balancer reads."""

    def __init__(self):
        self.in_flight = 0
        self.queued = 0
        self.delay = 0.0
        self.price = None
        self.request_queue = self

    def waiting(self):
        return self.queued

    def queue_delay_s(self):
        return self.delay

    def price_per_hour(self):
        return self.price

    def qsize(self):
        return self.queued


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def cluster():
    return Cluster()


@pytest.fixture
def clock():
    return Clock()


def test_size_follows_the_load_upwards_at_most_doubling(cluster, clock):
    balancer = TargetLoad(cluster, in_flight=4, maximum=20, up_s=2, clock=clock)
    assert int(balancer) == 1
    cluster.queued = 64
    sizes = []
    for _ in range(6):
        sizes.append(int(balancer))
        clock.now += 2
    assert sizes == [2, 4, 8, 16, 16, 16]


def test_no_second_raise_before_its_time(cluster, clock):
    balancer = TargetLoad(cluster, in_flight=1, up_s=2, clock=clock)
    cluster.queued = 8
    assert int(balancer) == 2
    clock.now += 1.9
    assert int(balancer) == 2
    clock.now += 0.2
    assert int(balancer) == 4


def test_size_falls_only_after_the_load_was_low_for_long_enough(cluster, clock):
    balancer = TargetLoad(cluster, in_flight=1, maximum=8, up_s=0, down_s=60, clock=clock)
    cluster.in_flight = 8
    for _ in range(4):
        size = int(balancer)
    assert size == 8
    cluster.in_flight = 1
    assert int(balancer) == 8
    clock.now += 30
    cluster.in_flight = 3
    assert int(balancer) == 8
    cluster.in_flight = 1
    clock.now += 31
    assert int(balancer) == 3


def test_load_that_comes_back_restarts_the_wait(cluster, clock):
    balancer = TargetLoad(cluster, in_flight=1, maximum=2, up_s=0, down_s=10, clock=clock)
    cluster.in_flight = 2
    int(balancer)
    cluster.in_flight = 0
    assert int(balancer) == 2
    clock.now += 9
    cluster.in_flight = 2
    assert int(balancer) == 2
    cluster.in_flight = 0
    clock.now += 9
    assert int(balancer) == 2


def test_long_waits_call_for_one_more(cluster, clock):
    balancer = TargetLoad(cluster, in_flight=100, queue_delay_s=0.5, up_s=0, clock=clock)
    cluster.queued, cluster.delay = 1, 0.6
    assert int(balancer) == 2
    cluster.delay = 0.4
    assert int(balancer) == 2


def test_cost_ceiling_limits_but_keeps_one_for_work(cluster, clock):
    balancer = TargetLoad(cluster, in_flight=1, cost_per_hour=1.0, up_s=0, clock=clock)
    cluster.price, cluster.in_flight = 0.4, 10
    assert int(balancer) == 2
    cluster.price = 5.0
    clock.now += 1000
    int(balancer)
    clock.now += 1000
    assert int(balancer) == 1


def test_service_may_sleep(cluster, clock):
    balancer = TargetLoad(cluster, minimum=0, up_s=0, down_s=0, clock=clock)
    assert int(balancer) == 0
    cluster.queued = 1
    assert int(balancer) == 1
    cluster.queued = 0
    int(balancer)
    clock.now += 1
    assert int(balancer) == 0


@given(
    st.lists(st.tuples(st.integers(0, 200), st.floats(0, 100)), max_size=40),
    st.integers(0, 3),
    st.integers(3, 12),
)
def test_size_never_leaves_its_bounds(steps, minimum, maximum):
    cluster, clock = Cluster(), Clock()
    balancer = TargetLoad(cluster, minimum=minimum, maximum=maximum, clock=clock)
    for load, pause in steps:
        cluster.in_flight = load
        clock.now += pause
        assert minimum <= int(balancer) <= maximum


@pytest.mark.parametrize(
    "figures",
    [
        {"in_flight": 0},
        {"queue_delay_s": 0},
        {"minimum": -1},
        {"minimum": 3, "maximum": 2},
        {"cost_per_hour": 0},
        {"up_s": -1},
    ],
)
def test_figures_out_of_range_are_refused(cluster, figures):
    with pytest.raises(ValueError, match="must"):
        TargetLoad(cluster, **figures)


def test_maker_hands_its_figures_on(cluster):
    balancer = TargetLoad.of(minimum=2, maximum=3)(cluster)
    assert int(balancer) == 2


def test_simple_balancer_keeps_its_rule(cluster, monkeypatch):
    present = datetime(2026, 1, 1)

    class Now(datetime):
        @classmethod
        def now(cls, tz=None):
            return present

    monkeypatch.setattr(provider_auto_balance, "datetime", Now)
    balancer = SimpleLoadBalancer(cluster)
    assert (balancer.cnt, balancer.prev_queue_size, balancer.prev_queue_check_at) == (
        None,
        None,
        None,
    )
    sizes = []
    for queued in (0, 5, 9, 9, 20, 30, 0, 0):
        cluster.queued = queued
        sizes.append(int(balancer))
        present += timedelta(seconds=11)
    # first: 3; grew twice; constant keeps; grows to the maximum and stays; empty once keeps; empty twice: 1
    assert sizes == [3, 4, 5, 5, 5, 5, 5, 1]
    cluster.queued = 50
    present -= timedelta(seconds=5)
    assert int(balancer) == 1
