import random

import pytest
from transport_utils import errors
from transport_utils.health import (
    HealthPolicy,
    NodeChange,
    NodeHealth,
    Outcome,
    outcome_of_error,
    outcome_of_status,
)

EXACT = HealthPolicy(jitter=0.0)


@pytest.fixture
def health():
    return NodeHealth(EXACT, random.Random(1))


def eject(health, at=0.0):
    assert health.record(Outcome.NETWORK, at, at) is NodeChange.EJECTED


def test_one_connection_failure_ejects(health):
    eject(health)
    assert not health.available(0.5)
    assert health.until == 1.0


def test_three_failed_answers_in_a_row_eject(health):
    assert health.record(Outcome.SERVER, 0, 1) is None
    assert health.record(Outcome.SERVER, 1, 2) is None
    assert health.available(2)
    assert health.record(Outcome.SERVER, 2, 3) is NodeChange.EJECTED


@pytest.mark.parametrize("good", [Outcome.OK, Outcome.CLIENT])
def test_a_good_answer_between_them_starts_the_count_again(health, good):
    for started in range(10):
        assert health.record(Outcome.SERVER, started, started) is None
        assert health.record(Outcome.SERVER, started, started) is None
        assert health.record(good, started, started) is None
    assert health.failures == 0


def test_ejections_in_a_row_last_longer_up_to_the_cap(health):
    now = 0.0
    eject(health, now)
    lengths = [health.until - now]
    for _ in range(7):
        now = health.until
        assert health.acquire_probe(now)
        health.record(Outcome.NETWORK, now, now)
        lengths.append(health.until - now)
    assert lengths == [1, 2, 4, 8, 16, 30, 30, 30]


def test_jitter_spreads_ejections_by_a_tenth():
    lengths = [HealthPolicy().ejection_s(1, random.Random(seed)) for seed in range(200)]
    assert 0.9 <= min(lengths) < 0.95
    assert 1.05 < max(lengths) <= 1.1


def test_an_outage_seen_by_eight_threads_counts_once(health):
    for thread in range(8):
        health.record(Outcome.NETWORK, 0.1 * thread, 1.0)
    assert (health.ejections, health.until) == (1, 2.0)


def test_a_report_from_before_the_outage_changes_nothing(health):
    eject(health, at=5.0)
    health.record(Outcome.OK, 4.0, 5.5)
    assert health.ejected
    assert health.acquire_probe(6.0)
    assert health.record(Outcome.OK, 6.0, 6.1) is NodeChange.RESTORED
    assert health.record(Outcome.NETWORK, 4.9, 7.0) is None
    assert not health.ejected


def test_after_its_time_one_probe_at_a_time_is_let_through(health):
    eject(health)
    assert not health.acquire_probe(0.99)
    assert health.acquire_probe(1.0)
    assert not health.acquire_probe(1.0)
    assert not health.acquire_probe(1.5)


def test_a_probe_that_ends_on_our_side_leaves_the_place_to_another(health):
    eject(health)
    assert health.acquire_probe(1.0)
    assert health.record(Outcome.LOCAL, 1.0, 1.2) is None
    assert health.acquire_probe(1.3)


def test_a_probe_that_is_never_reported_is_given_up(health):
    eject(health)
    assert health.acquire_probe(1.0)
    assert not health.acquire_probe(30.9)
    assert health.acquire_probe(31.0)


def test_failures_of_forced_requests_do_not_lengthen_an_ejection(health):
    eject(health)
    for started in (0.2, 0.4, 0.6):
        health.record(Outcome.NETWORK, started, started)
    assert (health.ejections, health.until) == (1, 1.0)


def test_a_success_of_a_forced_request_ends_the_ejection(health):
    eject(health)
    assert health.record(Outcome.OK, 0.2, 0.3) is NodeChange.RESTORED
    assert health.available(0.3)


def test_after_a_recovery_ejections_start_short_again(health):
    eject(health)
    health.acquire_probe(1.0)
    health.record(Outcome.NETWORK, 1.0, 1.0)
    health.acquire_probe(3.0)
    health.record(Outcome.OK, 3.0, 3.1)
    health.record(Outcome.NETWORK, 4.0, 4.0)
    assert health.until == 5.0


def test_load_slows_a_node_and_does_not_eject_it(health):
    for started in range(10):
        assert health.record(Outcome.OVERLOAD, started, started, slow_s=7.0) is NodeChange.SLOWED
    assert health.available(10)
    assert health.slow_until == 16.0


def test_a_probe_answered_with_overload_proves_the_node_alive(health):
    eject(health)
    health.acquire_probe(1.0)
    assert health.record(Outcome.OVERLOAD, 1.0, 1.1) is NodeChange.RESTORED
    assert health.slow_until == 2.1


def test_a_node_that_cannot_be_spared_is_slowed(health):
    assert health.record(Outcome.NETWORK, 0, 0, may_eject=False) is NodeChange.SLOWED
    assert health.available(0)
    assert health.slow_until == 1.0


def test_a_success_need_be_reported_only_in_trouble(health):
    assert not health.troubled
    health.record(Outcome.SERVER, 0, 0)
    assert health.troubled
    health.record(Outcome.OK, 0, 0)
    assert not health.troubled


def test_the_legacy_preset_doubles_from_a_minute_five_times():
    policy = HealthPolicy.legacy()
    rng = random.Random(1)
    assert [policy.ejection_s(n, rng) for n in range(1, 9)] == [
        60,
        120,
        240,
        480,
        960,
        1920,
        1920,
        1920,
    ]
    assert policy.server_failures == 1


def test_the_elastic_preset_keeps_its_times():
    policy = HealthPolicy.elastic(2.0, 20.0)
    assert (policy.base_s, policy.cap_s) == (2.0, 20.0)


def test_a_long_outage_does_not_overflow():
    assert EXACT.ejection_s(10_000, random.Random(1)) == 30.0


@pytest.mark.parametrize("status", [200, 299, 301, 304])
def test_answers_below_400_are_good(status):
    assert outcome_of_status(status) is Outcome.OK


@pytest.mark.parametrize("status", [400, 404, 405, 406, 410, 412, 413, 415, 422, 501])
def test_mistakes_of_the_client_say_nothing_against_the_node(status):
    assert outcome_of_status(status) is Outcome.CLIENT


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_failures_of_the_server_count(status):
    assert outcome_of_status(status) is Outcome.SERVER


def test_load_is_its_own_outcome():
    assert outcome_of_status(429) is Outcome.OVERLOAD
    assert outcome_of_status(503, retry_after=True) is Outcome.OVERLOAD


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        (errors.ConnectError, Outcome.NETWORK),
        (errors.DnsError, Outcome.NETWORK),
        (errors.ConnectTimeout, Outcome.NETWORK),
        (errors.CertificateError, Outcome.NETWORK),
        (errors.ProxyError, Outcome.NETWORK),
        (errors.ConnectionReset, Outcome.SERVER),
        (errors.ReadTimeout, Outcome.SERVER),
        (errors.WriteTimeout, Outcome.SERVER),
        (errors.BadResponse, Outcome.SERVER),
        (errors.TruncatedBody, Outcome.SERVER),
        (errors.StaleConnection, Outcome.LOCAL),
        (errors.PoolTimeout, Outcome.LOCAL),
        (errors.TotalTimeout, Outcome.LOCAL),
        (errors.TransportClosed, Outcome.LOCAL),
        (errors.SerializationError, Outcome.LOCAL),
        (errors.LocalProtocolError, Outcome.LOCAL),
        (KeyboardInterrupt, Outcome.LOCAL),
    ],
)
def test_only_what_the_node_did_counts_against_it(kind, outcome):
    assert outcome_of_error(kind("x")) is outcome


@pytest.mark.parametrize(
    "options",
    [
        {"base_s": 0},
        {"cap_s": 0.5},
        {"factor": 0.9},
        {"jitter": 1.0},
        {"connect_failures": 0},
        {"server_failures": 0},
        {"max_ejection_ratio": 1.1},
        {"slow_s": -1},
    ],
)
def test_bad_figures_are_refused_at_construction(options):
    with pytest.raises(errors.ConfigurationError, match="expected"):
        HealthPolicy(**options)
