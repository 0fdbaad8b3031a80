import collections
import random
import threading
import types

import pytest
from transport_utils.errors import ConfigurationError
from transport_utils.selectors import (
    LeastOutstandingSelector,
    RandomSelector,
    RoundRobinSelector,
    StickySelector,
    WeightedSelector,
    ZoneAwareSelector,
    make_selector,
)

NODES = ("a", "b", "c", "d")


def node(name, **attributes):
    return types.SimpleNamespace(name=name, **attributes)


def test_round_robin_is_exact_over_short_lived_threads():
    selector = RoundRobinSelector()
    picked = []
    threads = [
        threading.Thread(target=lambda: picked.append(selector.select(NODES))) for _ in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert collections.Counter(picked) == dict.fromkeys(NODES, 10)


def test_round_robin_is_exact_without_the_interpreter_lock(monkeypatch):
    monkeypatch.setattr("sys._is_gil_enabled", lambda: False, raising=False)
    selector = RoundRobinSelector()
    assert [selector.select(NODES) for _ in range(5)] == ["a", "b", "c", "d", "a"]


def test_random_reaches_every_node():
    selector = RandomSelector(random.Random(1))
    assert {selector.select(NODES) for _ in range(200)} == set(NODES)


def test_the_less_busy_of_two_is_chosen():
    busy, idle = node("busy", outstanding=5), node("idle", outstanding=0)
    selector = LeastOutstandingSelector(random.Random(1))
    assert {selector.select((busy, idle)).name for _ in range(50)} == {"idle"}
    assert selector.select((busy,)) is busy


def test_least_outstanding_never_compares_a_node_with_itself():
    nodes = tuple(node(n, outstanding=int(n)) for n in "0123")
    selector = LeastOutstandingSelector(random.Random(1))
    picked = collections.Counter(selector.select(nodes).name for _ in range(2000))
    assert picked["3"] == 0
    assert picked["0"] > picked["1"] > picked["2"] > 0


def test_weights_share_the_calls():
    nodes = (node("light", weight=1), node("heavy", weight=3), node("off", weight=0))
    selector = WeightedSelector(rng=random.Random(1))
    picked = collections.Counter(selector.select(nodes).name for _ in range(4000))
    assert picked["off"] == 0
    assert 2.5 < picked["heavy"] / picked["light"] < 3.5


def test_weights_that_are_all_zero_share_evenly():
    selector = WeightedSelector(weight=lambda _: 0, rng=random.Random(1))
    assert {selector.select(NODES) for _ in range(200)} == set(NODES)


def test_a_negative_weight_is_refused():
    with pytest.raises(ConfigurationError, match="weights"):
        WeightedSelector(weight=lambda _: -1).select(NODES)


def test_weights_follow_a_changed_set():
    selector = WeightedSelector(weight={"a": 1, "b": 0}.get, rng=random.Random(1))
    assert selector.select(("a", "b")) == "a"
    assert selector.select(("b",)) == "b"


def test_the_own_zone_goes_first_and_any_other_after_it():
    nodes = (node("a", zone="east"), node("b", zone="west"), node("c", zone="west"))
    selector = ZoneAwareSelector("west")
    assert [selector.select(nodes).name for _ in range(4)] == ["b", "c", "b", "c"]
    assert selector.select(nodes, {"zone": "east"}).name == "a"
    assert {selector.select(nodes, {"zone": "north"}).name for _ in range(6)} == {"a", "b", "c"}


def test_a_key_stays_on_its_node_and_only_keys_of_a_lost_node_move():
    selector = StickySelector()
    keys = range(200)
    before = {key: selector.select(NODES, {"key": key}) for key in keys}
    assert len(set(before.values())) == 4
    assert before == {key: selector.select(NODES[::-1], {"key": key}) for key in keys}
    after = {key: selector.select(("a", "b", "c"), {"key": key}) for key in keys}
    assert all(after[key] == before[key] for key in keys if before[key] != "d")


def test_calls_without_a_key_go_round():
    assert [StickySelector().select(NODES) for _ in range(2)] == ["a", "a"]
    selector = StickySelector()
    assert [selector.select(NODES) for _ in range(2)] == ["a", "b"]


def test_selectors_are_found_by_name():
    assert isinstance(make_selector(None), RoundRobinSelector)
    assert isinstance(make_selector("random"), RandomSelector)
    own = RandomSelector()
    assert make_selector(own) is own
    with pytest.raises(ConfigurationError, match="round_robin"):
        make_selector("robin")
    with pytest.raises(ConfigurationError, match="select"):
        make_selector(object())
