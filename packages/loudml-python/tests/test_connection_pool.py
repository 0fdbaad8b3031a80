"""Live and dead connections, and the choice among the live."""

import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from loudml import ConnectionPool, ConnectionSelector, ImproperlyConfigured, _clock
from loudml.connection_pool import DummyConnectionPool, RandomSelector, RoundRobinSelector


class Clock:
    now_s = 1_000_000.0

    def now(self):
        return self.now_s


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(_clock, "now", clock.now)
    return clock


def pool_of(*connections, **options):
    return ConnectionPool([(one, {"host": one}) for one in connections], **options)


@pytest.mark.parametrize(
    ("failures", "hold_s"),
    [(1, 60), (2, 120), (3, 240), (4, 480), (5, 960), (6, 1920), (7, 1920), (20, 1920)],
)
def test_holds_double_up_to_the_cutoff(failures, hold_s, clock):
    pool = pool_of("a", "b")
    for _ in range(failures):
        pool.mark_dead("a")
        revive_at, connection = pool.dead.queue[0]
        pool.resurrect(force=True)
    assert (revive_at - clock.now_s, connection) == (hold_s, "a")
    assert pool.dead_count == {"a": failures}


def test_dead_connection_returns_after_its_hold(clock):
    pool = pool_of("a", "b", dead_timeout=10)
    pool.mark_dead("a")
    clock.now_s += 9.9
    assert {pool.get_connection() for _ in range(4)} == {"b"}
    clock.now_s += 0.2
    assert {pool.get_connection() for _ in range(4)} == {"a", "b"}


def test_a_second_report_of_the_same_outage_counts_once(clock):
    pool = pool_of("a", "b")
    for _ in range(8):
        pool.mark_dead("a")
    assert pool.dead_count == {"a": 1}
    assert len(pool.dead.queue) == 1


def test_success_forgets_the_failures(clock):
    pool = pool_of("a", "b")
    pool.mark_dead("a")
    pool.mark_live("a")
    assert pool.dead_count == {}


def test_the_earliest_is_forced_back_when_all_are_dead(clock):
    pool = pool_of("a", "b")
    pool.mark_dead("b", now=clock.now_s - 5)
    pool.mark_dead("a")
    assert pool.get_connection() == "b"


def test_equal_revive_times_do_not_compare_connections(clock):
    first, second = object(), object()
    pool = ConnectionPool([(first, {}), (second, {})])
    pool.mark_dead(first, now=5.0)
    pool.mark_dead(second, now=5.0)
    assert pool.get_connection() in (first, second)


def test_resurrect_says_what_it_did(clock):
    pool = pool_of("a", "b")
    assert pool.resurrect() is None
    assert pool.resurrect(force=True) in ("a", "b")
    pool.mark_dead("a")
    assert pool.resurrect() is None
    assert pool.resurrect(force=True) == "a"


def test_round_robin_is_fair_over_threads_that_live_for_one_call():
    pool = pool_of("a", "b", "c", "d")
    chosen = []
    for _ in range(40):
        thread = threading.Thread(target=lambda: chosen.append(pool.get_connection()))
        thread.start()
        thread.join()
    assert set(Counter(chosen).values()) == {10}


def test_selectors_of_ones_own_get_the_options_and_the_live():
    class First(ConnectionSelector):
        def select(self, connections):
            return min(connections)

    pool = pool_of("a", "b", selector_class=First)
    assert pool.get_connection() == "a"
    assert pool.selector.connection_opts == {"a": {"host": "a"}, "b": {"host": "b"}}
    with pytest.raises(NotImplementedError):
        ConnectionSelector({}).select(["a"])


def test_selectors_that_come_with_the_package():
    assert [RoundRobinSelector({}).select("ab")] == ["a"]
    assert set(map(RandomSelector({}).select, ["ab"] * 50)) == {"a", "b"}


def test_order_is_kept_unless_it_is_shuffled():
    assert pool_of("a", "b", "c", randomize_hosts=False).connections == ["a", "b", "c"]
    assert sorted(pool_of("a", "b", "c").connections) == ["a", "b", "c"]


def test_pool_without_connections_is_refused():
    with pytest.raises(ImproperlyConfigured, match="at least one host"):
        ConnectionPool([])


def test_single_connection_is_never_dead():
    pool = DummyConnectionPool([("a", {})], dead_timeout=5)
    pool.mark_dead("a")
    pool.mark_live("a")
    assert pool.resurrect(force=True) is None
    assert pool.get_connection() == "a"
    with pytest.raises(ImproperlyConfigured, match="exactly one connection"):
        DummyConnectionPool([("a", {}), ("b", {})])


def test_close_closes_the_dead_too():
    class Closable:
        closed = False

        def close(self):
            self.closed = True

    connections = [Closable(), Closable()]
    pool = ConnectionPool([(one, {}) for one in connections])
    pool.mark_dead(connections[0])
    pool.close()
    assert all(one.closed for one in connections)


@given(st.integers(0, 8), st.floats(0.1, 1000))
def test_hold_follows_its_formula(cutoff, dead_timeout):
    pool = pool_of("a", "b", dead_timeout=dead_timeout, timeout_cutoff=cutoff)
    for failures in range(1, 12):
        pool.mark_dead("a", now=0.0)
        expected = dead_timeout * 2 ** min(failures - 1, cutoff)
        assert pool.dead.queue[0][0] == pytest.approx(expected)
        pool.resurrect(force=True)


class PoolMachine(RuleBasedStateMachine):
    """Whatever happens, there is a connection, and each one is live or dead, never both, never neither."""

    def __init__(self):
        super().__init__()
        self.pool = pool_of(*"abcd")

    @rule(connection=st.sampled_from("abcd"))
    def fail(self, connection):
        self.pool.mark_dead(connection)

    @rule(connection=st.sampled_from("abcd"))
    def answer(self, connection):
        self.pool.mark_live(connection)

    @rule(force=st.booleans())
    def resurrect(self, force):
        self.pool.resurrect(force)

    @rule()
    def pick(self):
        assert self.pool.get_connection() in self.pool.connections

    @rule()
    def sniff(self):
        successor = pool_of(*"abcd")
        successor.take_over(self.pool)
        assert set(successor.connections) == set(self.pool.connections)
        self.pool = successor

    @invariant()
    def each_is_live_or_dead(self):
        dead = [connection for _, connection in self.pool.dead.queue]
        assert sorted([*self.pool.connections, *dead]) == list("abcd")


TestPoolMachine = PoolMachine.TestCase
