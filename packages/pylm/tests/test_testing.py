"""The test kit, and with it the pure machines under a fake clock."""

import logging

import pytest
import zmq
from pylm import errors, standalone
from pylm._dispatch import Job
from pylm._loop import Loop
from pylm.chained import LastServer, LoopClient
from pylm.chained import Server as ChainServer
from pylm.servers import Hub, Master, Pipeline, Server, Sink, Worker
from pylm.testing import FakeClock, Kit

QUIET = {"log_level": logging.CRITICAL}


class Echo(Server):
    def foo(self, message):
        return b"s" + message


class Stage(Pipeline):
    def foo(self, message):
        return b"p" + message


class Gather(Sink):
    def foo(self, message):
        return b"k" + message


class Hand(Worker):
    def foo(self, message):
        return b"w" + message


def test_any_topology_runs_on_inproc_sockets():
    with Kit() as kit:
        more = {**QUIET, "options": kit.options()}
        server = kit.run(Echo("s", *kit.addresses(3), pipelined=True, **more))
        stage = kit.run(
            Stage(
                "p", kit.address(), server.pub_address, kit.address(), "s", to_client=False, **more
            )
        )
        hub = kit.run(Hub("h", stage.pub_address, *kit.addresses(4), "p", pipelined=True, **more))
        kit.run(Hand("w", hub.db_address, **more))
        sink = kit.run(Gather("k", kit.address(), [hub.pub_address], kit.address(), ["h"], **more))
        client = kit.client("s", server.db_address, sub_address=sink.pub_address)
        assert client.eval(["s.foo", "p.foo", "h.foo", "k.foo"], b"x") == b"kwpsx"


def test_a_master_with_workers_on_inproc_sockets():
    with Kit() as kit:
        more = {**QUIET, "options": kit.options()}
        master = kit.run(Master("m", *kit.addresses(5), **more))
        kit.run(Hand("w", master.db_address, **more))
        client = kit.client("m", master.db_address)
        assert list(client.map("m.foo", [b"1", b"2"])) == [b"w1", b"w2"]


def test_the_first_api_on_inproc_sockets(capsys):
    class Old(standalone.Server):
        def foo(self, message):
            return b"o" + message

    class Step(ChainServer):
        def foo(self, message):
            return b"1" + message

    class Last(LastServer):
        def bar(self, message):
            return b"2" + message

    with Kit() as kit:
        quiet = {"debug_level": logging.CRITICAL, "options": kit.options()}
        address = kit.address()
        kit.run(Old("o", address, **QUIET, options=kit.options()))
        client = kit.manage(standalone.Client(address, "o", context=kit.context))
        assert client.job("foo", b"x") == b"ox"
        with pytest.raises(errors.UnknownFunction):
            client.job("bar", b"x")
        last = kit.run(Last("last", *kit.addresses(3), **quiet))
        step = kit.run(
            Step("step", kit.address(), last.pull_address, "last.bar", kit.address(), **quiet)
        )
        loop = kit.manage(
            LoopClient(
                last.push_address, step.pull_address, step.db_address, "step", context=kit.context
            )
        )
        assert list(loop.job("foo", [b"x", b"y"])) == [b"21x", b"21y"]


def test_a_socket_left_open_fails_the_test():
    kit = Kit()
    forgotten = kit.context.socket(zmq.PULL)
    with pytest.raises(AssertionError, match="left open"):
        kit.__exit__(None, None, None)
    assert forgotten.closed


def test_a_failure_inside_is_not_hidden_by_what_it_left_open():
    kit = Kit()
    forgotten = kit.context.socket(zmq.PULL)
    kit.__exit__(KeyError, KeyError(), None)
    assert forgotten.closed


def test_the_clock_does_not_go_back():
    with pytest.raises(ValueError, match="monotonic"):
        FakeClock().advance(-1)


def test_timers_fire_in_their_order_under_a_fake_clock():
    clock = FakeClock()
    loop = Loop(clock)
    fired = []
    loop.call_later(2.0, lambda: fired.append("second"))
    loop.call_later(1.0, lambda: fired.append("first"))
    loop.call_later(1.5, lambda: fired.append("never")).cancel()
    assert 990 <= loop.timeout_ms() <= 1001
    clock.advance(1.0)
    loop.run_due()
    assert fired == ["first"]
    clock.advance(5.0)
    loop.run_due()
    assert fired == ["first", "second"]
    assert loop.timeout_ms() is None
    loop.close()


def test_a_worker_is_buried_after_three_missed_heartbeats_not_before():
    clock = FakeClock()
    table = Kit.dispatcher()
    table.ready(b"w", "w", 2, 1.0, clock())
    may, may_not = Job(b"a", idempotent=True), Job(b"b")
    for job in (may, may_not):
        table.assign(job, table.free_worker())
    assert table.free_worker() is None
    assert table.expire(clock.advance(3.0)) == ([], [])
    lost, _ = table.expire(clock.advance(0.1))
    assert lost == [may_not]
    assert list(table.queue) == [may]
    assert not table.workers


def test_a_worker_that_could_not_be_reached_gets_jobs_once_it_introduces_itself_again():
    clock, table = FakeClock(), Kit.dispatcher()
    table.ready(b"w", "w", 1, 1.0, clock())
    worker = table.free_worker()
    job = Job(b"job")
    table.assign(job, worker, clock())
    table.unassign(job, worker)
    assert (job.attempt, worker.jobs, table.free_worker()) == (0, {}, None)
    assert not table.seen(b"w", clock.advance(1.0))  # so the master asks who it is
    assert table.expire(clock.advance(2.9)) == ([], [])
    table.ready(b"w", "w", 1, 1.0, clock())
    assert table.seen(b"w", clock())
    assert table.free_worker() is worker


def test_a_job_lost_on_the_way_to_a_living_worker_is_noticed():
    clock, table = FakeClock(), Kit.dispatcher()
    table.ready(b"w", "w", 3, 1.0, clock())
    worker = table.workers[b"w"]
    lost, once, later = Job(b"lost", idempotent=True), Job(b"once"), Job(b"later")
    table.assign(lost, worker, clock())
    table.assign(once, worker, clock())
    assert table.to_ask(clock.advance(2.9)) == []
    assert table.to_ask(clock.advance(0.2)) == [worker]
    asked_at = clock()
    table.seen(b"w", clock.advance(0.1))
    table.assign(later, worker, clock())
    assert (
        table.to_ask(clock()) == []
    )  # it may be busy: the next question comes after twice the time
    table.answered(b"w", asked_at + 100)  # of a question that was never asked
    table.answered(b"stranger", asked_at)
    assert table.expire(clock()) == ([], [])
    table.answered(b"w", asked_at)
    assert table.expire(clock()) == ([once], [])
    assert list(table.queue) == [lost]
    assert list(worker.jobs.values()) == [later]
    assert table.to_ask(clock.advance(2.9)) == []
    assert table.to_ask(clock.advance(0.2)) == [worker]
    assert table.to_ask(clock.advance(5.9)) == []
    assert table.to_ask(clock.advance(0.2)) == [worker]


def test_an_idempotent_job_is_given_up_after_its_attempts():
    clock = FakeClock()
    table = Kit.dispatcher(max_attempts=2)
    job = Job(b"a", idempotent=True)
    table.enqueue(job)
    lost = []
    for number in range(2):
        table.ready(b"%d" % number, "w", 1, 1.0, clock())
        table.assign(table.queue.popleft(), table.free_worker())
        lost += table.expire(clock.advance(4.0))[0]
    assert lost == [job]
    assert table.in_work() == 0


def test_jobs_past_their_deadline_leave_queue_and_hands():
    clock = FakeClock()
    table = Kit.dispatcher()
    table.ready(b"w", "w", 1, 100.0, clock())
    held, queued, later = (Job(b"%d" % each, deadline=clock() + each) for each in (1, 2, 50))
    table.assign(held, table.free_worker())
    table.enqueue(queued)
    table.enqueue(later)
    assert table.expire(clock.advance(2.5))[1] == [queued, held]
    assert table.in_work() == 1


def test_the_least_loaded_worker_is_chosen_and_a_leaving_one_never():
    table = Kit.dispatcher()
    for name in (b"a", b"b"):
        table.ready(name, name.decode(), 3, 1.0, 0.0)
    first = table.free_worker()
    table.assign(Job(b"x"), first)
    assert table.free_worker() is not first
    table.leaving(b"b")
    assert b"b" not in table.workers
    table.leaving(b"a")
    assert table.free_worker() is None
    (job,) = first.jobs
    table.finish(b"a", job)
    assert not table.workers


def test_an_answer_waits_for_its_subscription_and_then_leaves():
    clock = FakeClock()
    rules = Kit.publisher()
    assert not rules.offer(b"topic", b"1", clock(), per_call=False)
    assert rules.on_event(b"\x01topic") == [(b"topic", b"1")]
    assert rules.offer(b"topic", b"2", clock(), per_call=False)


def test_an_answer_nobody_subscribes_to_is_dropped_and_counted():
    clock = FakeClock()
    rules = Kit.publisher(hold_s=5.0)
    rules.offer(b"t", b"1", clock(), per_call=False)
    assert rules.on_time(clock.advance(4.9)) == []
    assert rules.held
    assert rules.on_time(clock.advance(0.2)) == []
    assert (rules.dropped, rules.held, rules.next_due()) == (1, {}, None)


def test_a_per_call_client_gets_its_answer_on_its_new_subscription():
    clock = FakeClock()
    rules = Kit.publisher()
    rules.on_event(b"\x01c")
    assert rules.offer(b"c", b"1", clock(), per_call=True)
    assert not rules.offer(b"c", b"2", clock(), per_call=True)
    assert rules.on_event(b"\x00c") == []
    assert rules.on_event(b"\x01c") == [(b"c", b"2")]


def test_a_per_call_client_that_keeps_its_subscription_waits_three_milliseconds():
    clock = FakeClock()
    rules = Kit.publisher()
    rules.on_event(b"\x01c")
    rules.offer(b"c", b"1", clock(), per_call=True)
    rules.offer(b"c", b"2", clock(), per_call=True)
    assert rules.next_due() == pytest.approx(clock() + 0.003)
    assert rules.on_time(clock.advance(0.004)) == [(b"c", b"2")]


def test_the_oldest_held_answer_makes_room():
    rules = Kit.publisher()
    for number in range(rules.hold_limit + 2):
        rules.offer(b"t", b"%d" % number, 0.0, per_call=False)
    assert rules.dropped == 2
    assert rules.on_event(b"\x01t")[0] == (b"t", b"2")


def test_prefix_subscriptions_match_and_strange_events_do_nothing():
    rules = Kit.publisher()
    rules.on_event(b"\x01ev")
    assert rules.is_subscribed(b"even")
    assert not rules.is_subscribed(b"e")
    assert rules.topics == [b"ev"]
    for event in (b"", b"\x02x", b"\x00unknown"):
        assert rules.on_event(event) == []
    rules.on_event(b"\x00ev")
    assert not rules.is_subscribed(b"even")


def test_a_quick_worker_may_hold_more_jobs_and_a_slow_one_its_credit():
    clock = FakeClock()
    table = Kit.dispatcher()
    table.ready(b"w", "w", 2, 1.0, clock())
    worker = table.free_worker()
    for _ in range(100):
        job = table.assign(Job(b"x"), worker, clock())
        table.finish(b"w", job, clock.advance(0.001))
    assert worker.window == 16
    for _ in range(10):
        job = table.assign(Job(b"x"), worker, clock())
        table.finish(b"w", job, clock.advance(0.5))
    assert worker.window == 2
