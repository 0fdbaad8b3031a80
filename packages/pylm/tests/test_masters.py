"""Master, Hub and workers in one process: dispatch, failures, heartbeats, both channels."""

import contextlib
import itertools
import logging
import threading
import time

import pytest
import zmq
from pylm import _wire, errors
from pylm._proto.palm_new_pb2 import WorkerReady
from pylm.config import ConfigurationError, ServerOptions
from pylm.servers import Hub, Master, MuxWorker, Server, Worker


class MyWorker(Worker):
    def foo(self, message):
        return self.name.encode() + b" " + message

    def fails(self, message):
        raise KeyError("missing")

    def nothing(self, message):
        return None

    def number(self, message):
        return 7

    def slow(self, message):
        time.sleep(0.05)
        return self.name.encode()

    def fast(self, message):
        return self.name.encode()


QUIET = {"log_level": logging.CRITICAL}
FAST = ServerOptions(heartbeat_s=0.1)


@pytest.fixture
def addresses(address):
    return [address() for _ in range(5)]


@pytest.fixture
def master(addresses, running):
    return running(Master("server", *addresses, **QUIET, options=FAST))


@pytest.fixture
def worker(master, running):
    def make(name, kind=MyWorker, channel="auto", **options):
        chosen = ServerOptions(channel=channel, **{"heartbeat_s": 0.1, **options})
        return running(kind(name, master.db_address, **QUIET, options=chosen))

    return make


@pytest.fixture
def talk(master, client):
    return client("server", master.db_address, logging_level=logging.CRITICAL)


def rebind(make):
    """Make a server on addresses that sockets just closed may hold for a moment longer."""
    deadline = time.monotonic() + 5
    while True:
        try:
            return make()
        except zmq.ZMQError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def swallow(call):
    """Run a job that is expected to time out."""
    with contextlib.suppress(errors.TimedOut):
        list(call)


class GhostWorker:
    """Speaks the acknowledged channel, takes jobs and answers only when told to."""

    def __init__(self, master, credit=1, beat_ms=100):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.identity = _wire.new_uuid().encode()
        self.socket.identity = self.identity
        self.socket.rcvtimeo = 5000
        self.socket.connect(master.cache.get("worker_router_address").decode())
        ready = WorkerReady(
            name="ghost", credit=credit, identity=self.identity, heartbeat_ms=beat_ms
        )
        self.socket.send(b"W" + ready.SerializeToString())

    def take(self):
        head, frame = self.socket.recv_multipart()
        assert head[:1] == b"J"
        return head[1:], frame

    def send(self, kind, subject, *frames):
        self.socket.send_multipart([kind + subject, *frames])

    def close(self):
        self.socket.close(0)


@pytest.fixture
def ghost(master):
    made = []

    def make(**kwargs):
        made.append(GhostWorker(master, **kwargs))
        deadline = time.monotonic() + 5
        while made[-1].identity not in master._dispatcher.workers:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("channel", ["router", "push"])
def test_jobs_come_back_from_several_workers(worker, talk, channel):
    worker("w1", channel=channel)
    worker("w2", channel=channel)
    got = list(talk.job("server.foo", itertools.repeat(b"x", 500), messages=500))
    assert set(got) <= {b"w1 x", b"w2 x"}
    assert len(got) == 500


@pytest.mark.parametrize("channel", ["router", "push"])
@pytest.mark.parametrize(
    ("function", "kind"),
    [
        ("fails", errors.RemoteError),
        ("nothing", errors.WrongType),
        ("number", errors.WrongType),
        ("unknown", errors.UnknownFunction),
        ("start", errors.UnknownFunction),
    ],
)
def test_each_failure_of_a_worker_comes_back_as_its_own_error(
    worker, talk, channel, function, kind
):
    worker("w1", channel=channel)
    with pytest.raises(kind):
        talk.eval(f"server.{function}", b"x")
    assert talk.eval("server.foo", b"x") == b"w1 x"


def test_a_worker_that_comes_late_gets_what_is_queued(worker, talk):
    call = talk.job("server.foo", [b"x"] * 200, messages=200)
    results = []
    thread = threading.Thread(target=lambda: results.extend(call))
    thread.start()
    worker("late")
    thread.join(10)
    assert results == [b"late x"] * 200


def test_a_slow_worker_gets_fewer_jobs_than_a_fast_one(master, worker, talk):
    class Slow(MyWorker):
        fast = MyWorker.slow

    worker("slow", kind=Slow, credit=1)
    worker("quick", credit=1)
    got = list(talk.job("server.fast", [b"x"] * 100, messages=100))
    assert got.count(b"quick") > 4 * got.count(b"slow")


def test_an_original_workers_channel_is_used_when_no_credit_is_free(worker, ghost, talk):
    busy = ghost(beat_ms=10_000)
    first = talk.job("server.foo", [b"first"], messages=1, timeout=0.2)
    thread = threading.Thread(target=swallow, args=(first,))
    thread.start()
    busy.take()
    worker("old", channel="push")
    assert [talk.eval("server.foo", b"%d" % each) for each in range(3)] == [
        b"old 0",
        b"old 1",
        b"old 2",
    ]
    thread.join(5)


def test_an_idempotent_job_of_a_dead_worker_runs_elsewhere(worker, ghost, talk):
    dead = ghost()
    results = []
    thread = threading.Thread(
        target=lambda: results.append(talk.eval("server.foo", b"x", idempotent=True, timeout=10))
    )
    thread.start()
    dead.take()
    worker("alive")
    thread.join(10)
    assert results == [b"alive x"]


def test_a_job_that_may_not_run_twice_is_reported_lost(ghost, talk):
    dead = ghost()
    caught = []

    def call():
        with pytest.raises(errors.WorkerLost) as error:
            talk.eval("server.foo", b"x")
        caught.append(error.value)

    thread = threading.Thread(target=call)
    thread.start()
    dead.take()
    thread.join(10)
    assert "idempotent" in str(caught[0])


def test_a_late_result_of_a_buried_worker_is_not_delivered_twice(master, worker, ghost, talk):
    zombie = ghost()
    results = []
    thread = threading.Thread(
        target=lambda: results.extend(talk.job("server.foo", [b"x"], idempotent=True))
    )
    thread.start()
    job, frame = zombie.take()
    worker("alive")
    while master.stats.answered < 1:
        time.sleep(0.005)
    zombie.send(b"R", job, frame)
    thread.join(10)
    assert results == [b"alive x"]
    assert master._dispatcher.duplicates == 1


def test_a_silent_worker_is_asked_who_it_is_when_it_wakes_up(master, ghost, worker, talk):
    sleeper = ghost()
    while master._dispatcher.workers:
        time.sleep(0.01)
    sleeper.send(b"H", sleeper.identity)
    assert sleeper.socket.recv_multipart() == [b"?"]


def test_jobs_not_begun_go_back_to_the_master_when_a_worker_leaves(master, ghost, worker, talk):
    leaver = ghost(credit=3, beat_ms=10_000)
    results = []
    thread = threading.Thread(
        target=lambda: results.extend(talk.job("server.foo", [b"x"] * 3, messages=3))
    )
    thread.start()
    jobs = [leaver.take()[0] for _ in range(3)]
    leaver.send(b"B", leaver.identity)
    for job in jobs:
        leaver.send(b"X", job)
    worker("alive")
    thread.join(10)
    assert results == [b"alive x"] * 3


def test_a_stopped_worker_finishes_the_job_in_work_and_returns_the_rest(worker, talk):
    first = worker("first", credit=4)
    results = []
    thread = threading.Thread(
        target=lambda: results.extend(talk.job("server.slow", [b"x"] * 8, messages=8))
    )
    thread.start()
    while first.stats.received < 1:
        time.sleep(0.002)
    first.stop(drain=True)
    worker("second")
    thread.join(10)
    assert len(results) == 8
    assert results.count(b"second") >= 4


def test_a_deadline_is_kept_by_the_master(ghost, talk, master):
    ghost(beat_ms=10_000)
    with pytest.raises(errors.TimedOut):
        talk.eval("server.foo", b"x", timeout=0.4)
    deadline = time.monotonic() + 5
    while master._dispatcher.in_work():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_queue_overflow_is_an_error_when_asked_for(addresses, running, client):
    options = ServerOptions(overflow="raise", queue_limit=2)
    master = running(Master("server", *addresses, **QUIET, options=options))
    talk = client("server", master.db_address, logging_level=logging.CRITICAL)
    with pytest.raises(errors.Overloaded, match="waiting for workers"):
        list(talk.job("server.foo", [b"x"] * 5))


def test_the_oldest_waiting_job_is_dropped_when_asked_for(addresses, running, client):
    options = ServerOptions(overflow="drop-oldest", queue_limit=2)
    master = running(Master("server", *addresses, **QUIET, options=options))
    talk = client("server", master.db_address, logging_level=logging.CRITICAL)
    with pytest.raises(errors.Overloaded, match="dropped the oldest"):
        list(talk.job("server.foo", [b"x"] * 5))


def test_jobs_beyond_the_queue_wait_at_the_sender_by_default(addresses, running, client):
    master = running(Master("server", *addresses, **QUIET, options=ServerOptions(queue_limit=10)))
    talk = client("server", master.db_address, logging_level=logging.CRITICAL)
    results = []
    thread = threading.Thread(
        target=lambda: results.extend(talk.job("server.foo", [b"x"] * 500, messages=500))
    )
    thread.start()
    while not master._paused:
        time.sleep(0.005)
    assert len(master._dispatcher.queue) <= 10
    running(MyWorker("w", master.db_address, **QUIET))
    thread.join(20)
    assert len(results) == 500


class Scattering(Master):
    def scatter(self, message):
        if message.payload == b"fail":
            raise RuntimeError("scatter failed")
        for _ in range(3):
            yield message

    def gather(self, message):
        if message.payload.endswith(b"bad"):
            raise RuntimeError("gather failed")
        yield message


def test_a_scattered_job_ends_by_itself(addresses, running, client):
    master = running(Scattering("server", *addresses, **QUIET))
    running(MyWorker("w", master.db_address, **QUIET))
    talk = client("server", master.db_address, logging_level=logging.CRITICAL)
    assert list(talk.job("server.foo", [b"a", b"b"])).count(b"w a") == 3


def test_exceptions_in_scatter_and_gather_reach_the_client(addresses, running, client):
    master = running(Scattering("server", *addresses, **QUIET))
    running(MyWorker("w", master.db_address, **QUIET))
    talk = client("server", master.db_address, logging_level=logging.CRITICAL)
    with pytest.raises(errors.RemoteError, match="scatter failed"):
        talk.eval("server.foo", b"fail")
    with pytest.raises(errors.RemoteError, match="gather failed"):
        talk.eval("server.foo", b"bad")
    assert talk.eval("server.foo", b"good", messages=3) == [b"w good"] * 3


class Mux(MuxWorker):
    def foo(self, message):
        yield from (b"1", b"2")

    def fails(self, message):
        yield b"1"
        raise KeyError("late")

    def single(self, message):
        return b"bytes"

    def none(self, message):
        return []


@pytest.mark.parametrize("channel", ["router", "push"])
def test_a_mux_worker_sends_one_answer_per_item(worker, talk, channel):
    worker("m", kind=Mux, channel=channel)
    assert talk.eval("server.foo", b"x", messages=2) == [b"1", b"2"]
    with pytest.raises(errors.WrongType, match="iterable"):
        talk.eval("server.single", b"x")
    with pytest.raises(errors.RemoteError, match="late"):
        list(talk.job("server.fails", [b"x"], messages=2))
    assert talk.eval("server.foo", b"x", messages=2) == [b"1", b"2"]


def test_a_mux_worker_without_items_ends_the_job(master, worker, talk):
    worker("m", kind=Mux)
    with pytest.raises(errors.TimedOut):
        talk.eval("server.none", b"x", timeout=0.2)
    assert master._dispatcher.in_work() == 0


def test_every_entering_message_gets_a_tag(worker, talk):
    class Tagged(MyWorker):
        def tag(self, message):
            return self.message.cache.encode()

    worker("w", kind=Tagged)
    assert len(talk.eval("server.tag", b"x")) == 36
    assert talk.eval("server.tag", b"x", cache="mine") == b"mine"


def test_a_worker_uses_the_masters_cache(worker, talk):
    one = worker("w")
    assert one.set(b"v", "k") == "k"
    assert one.get("k") == talk.get("k") == b"v"
    assert one.delete("k") == "k"


def test_a_hub_distributes_what_a_server_publishes(address, running, client):
    first = running(Server("first", address(), address(), address(), pipelined=True, **QUIET))
    hub = running(
        Hub("hub", first.pub_address, address(), address(), address(), address(), "first", **QUIET)
    )
    running(MyWorker("w", hub.db_address, **QUIET))
    talk = client("first", first.db_address, sub_address=hub.pub_address)
    assert talk.eval(["first.echo", "hub.foo"], b"x") == b"w x"


def test_a_worker_without_a_master_is_an_error_in_time(address):
    with pytest.raises(errors.TimedOut, match="is a server running there"):
        MyWorker("w", address(), options=ServerOptions(connect_s=0.3))
    with pytest.raises(ValueError, match="db_address argument is mandatory"):
        MyWorker("w")


def test_the_router_channel_and_given_addresses_contradict(address):
    with pytest.raises(ConfigurationError):
        MyWorker("w", address(), address(), address(), options=ServerOptions(channel="router"))


def test_a_restarted_master_finds_its_workers_and_clients_again(addresses, running, client):
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(Master("server", *addresses, **QUIET, options=FAST).running())
        running(
            MyWorker(
                "w",
                first.db_address,
                **QUIET,
                options=ServerOptions(heartbeat_s=0.1, channel="push"),
            )
        )
        talk = client("server", first.db_address, logging_level=logging.CRITICAL)
        assert talk.eval("server.foo", b"1") == b"w 1"
    running(rebind(lambda: Master("server", *addresses, **QUIET, options=FAST)))
    assert talk.eval("server.foo", b"2", idempotent=True) == b"w 2"


def test_a_master_reports_its_figures(master, worker, talk):
    import json

    worker("w")
    talk.eval("server.foo", b"x")
    figures = json.loads(talk._cache.ask("_stats", b"", timeout_s=5))
    assert (figures["received"], figures["answered"], figures["queue"]) == (1, 1, 0)
    assert figures["workers"][0]["name"] == "w"


def test_the_acknowledged_channel_may_have_a_settled_address(address, running, client):
    class Hand(Worker):
        def foo(self, message):
            return message

    settled, options = address(), {"log_level": logging.CRITICAL}
    master = running(
        Master(
            "m",
            *(address() for _ in range(5)),
            **options,
            options=ServerOptions(router_address=settled.replace("127.0.0.1", "0.0.0.0")),
        )
    )
    told = master.cache.get("worker_router_address").decode()
    assert told == settled.replace("127.0.0.1", "_")
    for router_address in (None, settled):
        options_of_worker = ServerOptions(router_address=router_address, channel="router")
        hand = running(Hand("w", master.db_address, **options, options=options_of_worker))
        assert hand._router_address == settled
    assert client("m", master.db_address, logging_level=50).eval("m.foo", b"x") == b"x"


def test_strange_frames_on_every_socket_leave_the_master_alive(master, worker, talk):
    worker("w")
    context = zmq.Context.instance()
    for kind, where in (
        (zmq.PUSH, master.pull_address),
        (zmq.PUSH, master.worker_pull_address),
        (zmq.DEALER, master.db_address),
        (zmq.DEALER, master.cache.get("worker_router_address").decode()),
        (zmq.SUB, master.pub_address),
    ):
        with context.socket(kind) as socket:
            socket.linger = 200
            socket.connect(where)
            if kind == zmq.SUB:
                socket.subscribe(b"\x00" * 300)
                continue
            for frames in (
                [b""],
                [b"\xff" * 50],
                [b"", b"x"],
                [b"R", b"1", b"2"],
                [b"W"],
                [b"W", b"\xff"],
                [b"W\xff"],
                [b"J"] * 9,
            ):
                socket.send_multipart(frames)
    assert talk.eval("server.foo", b"x") == b"w x"
    assert master.stats.malformed >= 1
    assert [each.name for each in master._dispatcher.workers.values()] == ["w"]
