"""Functions of a server in threads: side by side, bounded, and everything else as in one thread."""

import logging
import threading

import pytest
from pylm import aio, errors
from pylm.clients import Client
from pylm.config import ConfigurationError, ServerOptions
from pylm.servers import Master, Pipeline, Server

THREADS = 3


class Pooled(Server):
    def __init__(self, *args, **more):
        self.together = threading.Barrier(THREADS)
        self.gate = threading.Event()
        super().__init__(*args, **more)

    def meet(self, payload):
        self.together.wait(10)
        return payload + self.message.payload + self.message.client.encode()

    def boom(self, payload):
        raise ValueError("no")

    def number(self, payload):
        return 5

    def wait(self, payload):
        assert self.gate.wait(10)
        return payload

    def double(self, numbers: list[int]) -> list[int]:
        return numbers * 2


@pytest.fixture
def pooled(address):
    options = ServerOptions(threads=THREADS)
    server = Pooled(
        "s", address(), address(), address(), log_level=logging.CRITICAL, options=options
    )
    with server.running():
        yield server


@pytest.fixture
def client(pooled):
    with Client("s", pooled.db_address, logging_level=logging.CRITICAL, timeout=10) as client:
        yield client


def test_functions_run_side_by_side_each_with_its_own_message(client):
    payloads = [b"%d" % number for number in range(10 * THREADS)]
    expected = [payload * 2 + client.uuid.encode() for payload in payloads]
    assert list(client.map("s.meet", payloads)) == expected


def test_failures_wrong_results_and_serializers_are_as_in_one_thread(pooled, client):
    with pytest.raises(errors.RemoteError, match="no"):
        client.eval("s.boom", b"")
    with pytest.raises(errors.WrongType, match="int"):
        client.eval("s.number", b"")
    with pytest.raises(errors.UnknownFunction):
        client.eval("s.none", b"")
    assert client.eval("s.double", [1], serializer="json") == [1, 1]
    figures = pooled.stats.snapshot()
    assert (figures["answered"], figures["failed"], figures["received"]) == (1, 3, 4)


def test_no_more_is_taken_in_than_the_threads_can_hold(pooled, client):
    seen = []
    submit = pooled._pool.submit

    def watched(work, finish):
        submit(work, finish)
        seen.append(pooled._pool.in_work)
        if len(seen) == 4 * THREADS:
            pooled.gate.set()

    pooled._pool.submit = watched
    payloads = [b"%d" % number for number in range(200)]
    assert list(client.map("s.wait", payloads)) == payloads
    assert max(seen) == 4 * THREADS


def test_a_drained_server_finishes_what_its_threads_do(pooled, client):
    entered = threading.Event()
    pooled.gate.wait = lambda timeout: entered.set() or threading.Event().wait(0.3) or True
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(client.eval("s.wait", b"x")))
    thread.start()
    assert entered.wait(10)
    pooled.stop(drain=True)
    thread.join(10)
    assert outcome == [b"x"]


def test_a_pipeline_runs_in_threads_and_passes_failures_on(address):
    class Stage(Pipeline):
        def bar(self, payload):
            return None if payload == b"end" else payload + b"!"

    options = ServerOptions(threads=2)
    db, pull, pub, db2, pub2 = (address() for _ in range(5))
    first = Pooled("s", db, pull, pub, pipelined=True, log_level=50, options=options)
    second = Stage("p", db2, pub, pub2, "s", log_level=50, options=options)
    first.gate.set()
    with (
        first.running(),
        second.running(),
        Client("s", db, sub_address=pub2, logging_level=50, timeout=10) as client,
    ):
        assert client.eval(["s.wait", "p.bar"], b"x") == b"x!"
        with pytest.raises(errors.RemoteError, match="no"):
            client.eval(["s.boom", "p.bar"], b"x")
        with pytest.raises(errors.TimedOut):
            client.eval(["s.wait", "p.bar"], b"end", timeout=0.3)
    assert second.stats.ended == 1


def test_roles_without_functions_or_with_coroutines_refuse_threads(address):
    options = ServerOptions(threads=2)
    with pytest.raises(ConfigurationError, match="threads=2"):
        Master("m", *(address() for _ in range(5)), options=options)
    with pytest.raises(ConfigurationError, match="threads=2"):
        aio.Server("s", address(), address(), address(), options=options)
    for wrong in (-1, 1.5, True):
        with pytest.raises(ConfigurationError, match="threads"):
            ServerOptions(threads=wrong)
