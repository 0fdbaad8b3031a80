"""Faults of the originals in the first API, numbered E-1 to E-38."""

import logging
import threading

import pytest
import zmq
from pylm import standalone
from pylm._services import Pinger
from pylm.chained import LastServer, LoopClient
from pylm.chained import Server as ChainServer
from pylm.components.utils import PerformanceCounter

QUIET = {"log_level": logging.CRITICAL}
CALM = {"debug_level": logging.CRITICAL}


def test_e29_two_clients_of_the_first_api_get_their_own_answers(address, running):
    class OldHand(standalone.Worker):
        def foo(self, message):
            return message

    pull, push, wpull, wpush, db = (address() for _ in range(5))
    running(standalone.Master("m", pull, push, wpull, wpush, db, **CALM))
    running(OldHand("w", wpush, wpull, db, **CALM))
    results = {}

    def work(name):
        with standalone.ParallelClient(push, pull, db, "m", timeout=10) as one:
            results[name] = list(one.job("foo", [name] * 50, messages=50))

    threads = [threading.Thread(target=work, args=(name,)) for name in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)
    assert results == {b"a": [b"a"] * 50, b"b": [b"b"] * 50}


def test_e29_two_loop_clients_get_their_own_answers(address, running, capsys):
    class Last(LastServer):
        def foo(self, message):
            return message

    pull, push, db = address(), address(), address()
    running(Last("last", pull, push, db, **CALM))
    results = {}

    def work(name):
        with LoopClient(push, pull, db, "last", timeout=10) as one:
            results[name] = list(one.job("foo", [name] * 50, messages=50))

    threads = [threading.Thread(target=work, args=(name,)) for name in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)
    assert results == {b"a": [b"a"] * 50, b"b": [b"b"] * 50}


@pytest.fixture
def old_master(address, running):
    class OldHand(standalone.Worker):
        def foo(self, message):
            return b"w" + message

        def cached(self, message):
            return self.get("cached") + message

    pull, push, wpull, wpush, db = (address() for _ in range(5))
    running(standalone.Master("m", pull, push, wpull, wpush, db, **CALM))
    running(OldHand("w", wpush, wpull, db, **CALM))
    with standalone.ParallelClient(push, pull, db, "m", timeout=10) as one:
        yield one


def test_e30_a_key_set_by_the_first_api_is_found_under_that_key(old_master):
    assert old_master.set(b"value ", "cached") == b"cached"
    assert old_master.get("cached") == b"value "
    assert old_master.get("absent") == b""
    assert list(old_master.job("cached", [b"x"], messages=1)) == [b"value x"]


def test_e31_a_master_of_the_first_api_calls_functions_by_default(old_master):
    assert list(old_master.job("foo", [b"x"], messages=1)) == [b"wx"]


def test_e32_set_of_the_first_api_takes_a_key_or_invents_one(old_master):
    assert len(old_master.set(b"v")) == 36
    assert old_master.set(b"v", "k") == b"k"


def test_e33_a_job_without_a_count_ends(old_master):
    assert list(old_master.job("foo", [b"x", b"y"])) == [b"wx", b"wy"]


def test_e34_a_tag_does_not_break_functions_with_one_parameter(address, running):
    class Old(standalone.Server):
        def one(self, message):
            return message

        def two(self, message, tag):
            return message + tag.encode()

    where = address()
    running(Old("o", where, **QUIET))
    with standalone.Client(where, "o", timeout=10) as one:
        assert one.job("one", b"x", cache="tag") == b"x"
        assert one.job("two", b"x", cache="tag") == b"xtag"
        assert one.job("two", b"x", cache=b"tag") == b"xtag"
        with pytest.raises(TypeError, match="Cache must be"):
            one.job("two", b"x", cache=1)


def test_e35_the_first_ping_comes_at_once(address):
    where = address()
    with zmq.Context.instance().socket(zmq.PULL) as collector:
        collector.bind(where)
        pinger = Pinger(where, every=30.0)
        pinger.start()
        assert collector.poll(5000)
        assert collector.recv() == b"ping"
        pinger.close()


def test_collectors_of_the_first_api_print_what_servers_send(address, running, capsys):
    from pylm.components.utils import LogCollector, PerformanceCollector

    class Old(standalone.Server):
        def foo(self, message):
            self.perfcounter.tick("in foo")
            self.logger.warning("Got a message")
            return message

    class Step(ChainServer):
        def foo(self, message):
            return message

    where, log, perf, ping = address(), address(), address(), address()
    collectors = [LogCollector(log, messages=1), PerformanceCollector(perf, messages=1)]
    threads = [threading.Thread(target=each.start) for each in collectors]
    for thread in threads:
        thread.start()
    running(Old("o", where, log, perf, ping))
    with standalone.Client(where, "o", timeout=10) as one:
        assert one.job("foo", b"x") == b"x"
    for thread in threads:
        thread.join(5)
    said = capsys.readouterr().out
    assert "LOG ENTRY #1       : " in said
    assert "TICK #1       : in foo: #1: " in said
    counter = PerformanceCounter(address())
    counter("label")
    counter.close()
