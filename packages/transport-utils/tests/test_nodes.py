import collections
import random
import threading

import pytest
from transport_utils.endpoint import Endpoint
from transport_utils.errors import ConfigurationError, NoNodeAvailable
from transport_utils.health import HealthPolicy, NodeChange, Outcome
from transport_utils.nodes import NodePool

EXACT = HealthPolicy(jitter=0.0)


def endpoints(count):
    return [Endpoint("http", f"n{number}", 80) for number in range(count)]


def pool_of(count, **options):
    options.setdefault("health", EXACT)
    return NodePool(endpoints(count), randomize=False, **options)


def fail(pool, node, now=0.0):
    return pool.record(node, Outcome.NETWORK, now, now)


def test_nodes_take_turns():
    pool = pool_of(3)
    assert [pool.pick(0.0).endpoint.host for _ in range(4)] == ["n0", "n1", "n2", "n0"]


def test_the_first_node_differs_between_clients_that_start_together():
    first = {
        NodePool(endpoints(5), rng=random.Random(seed)).pick(0.0).endpoint.host
        for seed in range(50)
    }
    assert len(first) == 5


def test_an_ejected_node_is_not_picked_until_its_probe():
    pool = pool_of(2)
    bad = pool.nodes[0]
    assert fail(pool, bad) is NodeChange.EJECTED
    assert {pool.pick(0.9) for _ in range(10)} == {pool.nodes[1]}
    assert pool.pick(1.0) is bad
    assert {pool.pick(1.0) for _ in range(10)} == {pool.nodes[1]}
    assert pool.record(bad, Outcome.OK, 1.0, 1.1) is NodeChange.RESTORED
    assert {pool.pick(1.2) for _ in range(10)} == set(pool.nodes)


def test_a_failed_probe_keeps_the_node_away_for_longer():
    pool = pool_of(2)
    bad = pool.nodes[0]
    fail(pool, bad)
    assert pool.pick(1.0) is bad
    fail(pool, bad, 1.0)
    assert bad not in {pool.pick(2.9) for _ in range(10)}
    assert pool.pick(3.0) is bad


def test_the_only_node_is_never_ejected():
    pool = pool_of(1)
    for _ in range(10):
        fail(pool, pool.pick(0.0))
    assert pool.available == pool.nodes


def test_at_most_half_of_the_nodes_are_ejected_and_the_rest_of_the_bad_ones_avoided():
    pool = pool_of(3)
    first, second, good = pool.nodes
    fail(pool, first)
    assert fail(pool, second) is NodeChange.SLOWED
    assert pool.available == (second, good)
    assert {pool.pick(0.5) for _ in range(10)} == {good}
    assert second in {pool.pick(1.1, tried=[first]) for _ in range(10)}


def test_when_all_are_ejected_the_one_due_soonest_is_used():
    pool = pool_of(2, health=HealthPolicy(jitter=0.0, max_ejection_ratio=1.0))
    early, late = pool.nodes
    fail(pool, early, 0.0)
    fail(pool, late, 0.5)
    assert pool.available == ()
    assert pool.pick(0.6) is early
    assert pool.pick(0.6, tried=[early]) is late


def test_a_retry_goes_to_a_node_not_tried_yet():
    pool = pool_of(3)
    a, b, c = pool.nodes
    assert pool.pick(0.0) is a
    assert pool.pick(0.0, tried=[a, b]) is c
    assert pool.pick(0.0, tried=[a, b, c]) in pool.nodes
    assert pool.other_than([a, b])
    assert not pool.other_than([a, b, c])


def test_a_call_does_not_probe_a_node_it_has_tried():
    pool = pool_of(2)
    bad, good = pool.nodes
    fail(pool, bad)
    assert pool.pick(5.0, tried=[bad]) is good


def test_an_overloaded_node_rests_while_another_is_there():
    pool = pool_of(2)
    slow, fast = pool.nodes
    pool.record(slow, Outcome.OVERLOAD, 0.0, 0.0, slow_s=5.0)
    assert {pool.pick(4.9) for _ in range(6)} == {fast}
    assert {pool.pick(5.0) for _ in range(6)} == {slow, fast}
    pool.record(slow, Outcome.OVERLOAD, 5.0, 5.0, slow_s=5.0)
    pool.record(fast, Outcome.OVERLOAD, 5.0, 5.0, slow_s=5.0)
    assert {pool.pick(6.0) for _ in range(6)} == {slow, fast}


def test_requests_in_flight_are_counted_for_selectors_that_ask():
    pool = pool_of(2, selector="least_outstanding", rng=random.Random(1))
    picked = [pool.pick(0.0) for _ in range(10)]
    assert [node.outstanding for node in pool.nodes] == [5, 5]
    for node in picked:
        pool.record(node, Outcome.OK, 0.0, 0.1)
    assert [node.outstanding for node in pool.nodes] == [0, 0]


def test_nodes_carry_weight_and_zone_of_their_endpoint():
    pool = NodePool([Endpoint("http", "a", 80, extras={"weight": 3, "zone": "west"})])
    assert (pool.nodes[0].weight, pool.nodes[0].zone) == (3.0, "west")


def test_nodes_come_and_go():
    pool = pool_of(2)
    added = pool.add(Endpoint("http", "n2", 80))
    assert pool.add(Endpoint("http", "n2", 80)) is added
    assert added in {pool.pick(0.0) for _ in range(3)}
    assert pool.remove(added.endpoint) is added
    assert pool.remove(added.endpoint) is None
    assert pool.record(added, Outcome.NETWORK, 0.0, 0.0) is not None
    assert len(pool) == 2


def test_replacing_keeps_the_health_of_nodes_that_stay_and_returns_those_that_go():
    pool = pool_of(4)
    kept = pool.nodes[0]
    fail(pool, kept)
    gone = pool.replace_all([*endpoints(1), Endpoint("http", "new", 80)])
    assert [node.endpoint.host for node in gone] == ["n1", "n2", "n3"]
    assert [node.endpoint.host for node in pool.nodes] == ["n0", "new"]
    assert pool.nodes[0] is kept
    assert pool.available == (pool.nodes[1],)
    with pytest.raises(ConfigurationError):
        pool.replace_all([])
    assert len(pool) == 2


def test_an_empty_pool_says_so():
    pool = pool_of(1)
    pool.remove(pool.nodes[0].endpoint)
    with pytest.raises(NoNodeAvailable):
        pool.pick(0.0)


def test_bad_sets_of_endpoints_are_refused():
    with pytest.raises(ConfigurationError, match="at least one"):
        NodePool([])
    with pytest.raises(ConfigurationError, match="twice"):
        NodePool(endpoints(1) * 2)


def test_one_probe_even_when_many_threads_ask_at_once():
    pool = pool_of(2)
    bad = pool.nodes[0]
    fail(pool, bad)
    picked = []
    gate = threading.Barrier(8)

    def ask():
        gate.wait()
        picked.extend(pool.pick(1.0) for _ in range(50))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert collections.Counter(picked)[bad] == 1


def test_nodes_show_address_and_state():
    pool = pool_of(2)
    fail(pool, pool.nodes[0])
    assert repr(pool.nodes[0]) == "<Node http://n0:80 ejected>"
    assert repr(pool.nodes[1]) == "<Node http://n1:80 available>"
