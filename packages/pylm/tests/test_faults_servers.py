"""Faults of the originals in servers, their clients and their caches, numbered E-1 to E-38."""

import json
import logging
import signal
import subprocess
import sys
import threading
import time

import pytest
import zmq
from pylm import _wire, errors
from pylm._cacheclient import CacheClient
from pylm.clients import Client
from pylm.config import ConfigurationError, ServerOptions
from pylm.parts.servers import ServerTemplate
from pylm.servers import Pipeline, Server, Sink

QUIET = {"log_level": logging.CRITICAL}
CALM = {"debug_level": logging.CRITICAL}


class Echo(Server):
    def foo(self, message):
        return b"s" + message

    def fails(self, message):
        raise KeyError("missing")

    def none(self, message):
        return None

    def text(self, message):
        return "text"

    def number(self, message):
        return 1


@pytest.fixture
def server(kit):
    return kit.run(Echo("s", *kit.addresses(3), **QUIET, options=kit.options()))


@pytest.fixture
def talk(kit, server):
    return kit.client("s", server.db_address, logging_level=logging.CRITICAL)


def rebind(make):
    """Make a server on an address that a socket just closed may hold for a moment longer."""
    deadline = time.monotonic() + 5
    while True:
        try:
            return make()
        except zmq.ZMQError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_e01_a_fast_server_does_not_lose_evaluations(talk):
    assert [talk.eval("s.foo", b"%d" % each) for each in range(300)] == [
        b"s%d" % each for each in range(300)
    ]


def test_e02_an_unknown_function_is_an_error_and_the_server_lives(talk):
    with pytest.raises(errors.UnknownFunction):
        talk.eval("s.unknown", b"x")
    assert talk.eval("s.foo", b"x") == b"sx"


def test_e03_a_route_without_or_with_two_dots_is_an_error(talk):
    for route in ("nodot", "s.foo.bar", "s."):
        with pytest.raises(errors.UnknownFunction):
            talk.eval(route, b"x")
    assert talk.eval("s.foo", b"x") == b"sx"


def test_e04_fewer_stages_than_servers_is_an_error_of_the_stage_that_has_none(kit):
    first = kit.run(Echo("s", *kit.addresses(3), pipelined=True, **QUIET, options=kit.options()))
    more = {**QUIET, "options": kit.options()}
    second = kit.run(
        Pipeline("p", kit.address(), first.pub_address, kit.address(), "s", to_client=False, **more)
    )
    third = kit.run(Pipeline("q", kit.address(), second.pub_address, kit.address(), "p", **more))
    talk = kit.client("s", first.db_address, sub_address=third.pub_address)
    with pytest.raises(errors.UnknownFunction, match="no stage 2"):
        talk.eval(["s.foo", "p.echo"], b"x")
    with pytest.raises(errors.WrongServer):
        talk.eval("s.foo", b"x")
    assert talk.eval(["s.foo", "p.echo", "q.echo"], b"x") == b"sx"


def test_e05_a_result_of_a_wrong_type_is_an_error_that_names_it(talk):
    for function, name in (("none", "None"), ("text", "str"), ("number", "int")):
        with pytest.raises(errors.WrongType, match=name):
            talk.eval(f"s.{function}", b"x")
    assert talk.eval("s.foo", b"x") == b"sx"


def test_e06_exceptions_reach_who_asked_and_others_get_the_originals_payload(kit, server, talk):
    with pytest.raises(errors.RemoteError, match="KeyError"):
        talk.eval("s.fails", b"x")
    push, sub = kit.manage(kit.context.socket(zmq.PUSH)), kit.manage(kit.context.socket(zmq.SUB))
    sub.rcvtimeo = 5000
    sub.subscribe(b"original")
    sub.connect(server.pub_address)
    push.connect(server.pull_address)
    plain = {"pipeline": "p", "client": "original", "function": "s.fails"}
    push.send(_wire.PalmMessage(**plain, payload=b"x").SerializeToString())
    answer = _wire.PalmMessage(**plain, payload=b"0").SerializeToString()
    assert sub.recv_multipart() == [b"original", answer]


def test_e07_no_request_ends_the_cache_service(kit, server, talk):
    with kit.context.socket(zmq.REQ) as req:
        req.linger = 0
        req.rcvtimeo = 5000
        req.connect(server.db_address)
        for frame in (
            b"\xff\xff garbage",
            _wire.PalmMessage(function="nodot").SerializeToString(),
            _wire.PalmMessage(function="s.delete", payload=b"absent").SerializeToString(),
            _wire.PalmMessage(function="s.get", payload=b"absent").SerializeToString(),
            _wire.PalmMessage(function="s.get", payload=b"\xff").SerializeToString(),
            b"",
        ):
            req.send(frame)
            req.recv()
    assert talk.get("name") == b"s"


def test_e13_a_paused_reader_loses_nothing_at_the_high_water_mark(address, running):
    options = ServerOptions(high_water_mark=10, backlog=20)
    server = running(Echo("s", address(), address(), address(), **QUIET, options=options))
    with Client("s", server.db_address, timeout=20, logging_level=logging.CRITICAL) as talk:
        job = talk.job("s.foo", [b"x" * 20_000] * 1500, messages=1500)
        next(job)
        time.sleep(0.5)
        assert sum(1 for _ in job) == 1499
    assert server.stats.dropped == 0


def test_e15_a_request_whose_server_died_is_asked_again_on_a_fresh_socket(address, running):
    where = address()
    deaf = zmq.Context.instance().socket(zmq.REP)
    deaf.linger = 0
    deaf.bind(where)
    asking = CacheClient(where, "s", "c", _wire.PalmMessage, ServerOptions())
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(asking.ask("get", b"name", timeout_s=20))
    )
    thread.start()
    assert deaf.poll(5000)
    deaf.recv()
    deaf.close(0)
    running(rebind(lambda: Echo("s", where, address(), address(), **QUIET)))
    thread.join(30)
    assert answers == [b"s"]
    assert asking.ask("get", b"name", timeout_s=5) == b"s"
    asking.close()


def test_e17_a_wrong_payload_or_a_failing_generator_raises_in_the_caller(talk):
    def failing():
        yield b"x"
        raise OSError("disk")

    with pytest.raises(TypeError):
        list(talk.job("s.foo", iter([1]), messages=1))
    with pytest.raises(OSError, match="disk"):
        list(talk.job("s.foo", failing(), messages=5))


SERVES = """
import logging, sys
from pylm.servers import Server

class Slow(Server):
    def foo(self, message):
        return message

print("up", flush=True)
Slow("s", *sys.argv[1:], log_level=logging.CRITICAL).start()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_e18_a_signal_ends_a_server_cleanly(address, client, number):
    addresses = [address() for _ in range(3)]
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", SERVES, *addresses], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == b"up\n"
        talk = client("s", addresses[0], logging_level=logging.CRITICAL)
        assert talk.eval("s.foo", b"x") == b"x"
        process.send_signal(number)
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def test_e18_sigterm_works_off_what_has_arrived(address, client):
    addresses = [address() for _ in range(3)]
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", SERVES, *addresses], stdout=subprocess.PIPE
    )
    try:
        talk = client("s", addresses[0], logging_level=logging.CRITICAL)
        assert talk.eval("s.foo", b"x") == b"x"
        process.send_signal(signal.SIGSTOP)
        job = talk.job("s.foo", [b"y"] * 200, messages=200)
        results = []
        thread = threading.Thread(target=lambda: results.extend(job))
        thread.start()
        time.sleep(0.3)  # the messages must be in the server's queue before it wakes up
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        assert process.wait(15) == 0
        thread.join(10)
        assert results == [b"y"] * 200
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def test_e21_a_line_is_logged_once_and_the_root_logger_is_left_alone(kit, capsys):
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    servers = [Echo("twice", *kit.addresses(3), options=kit.options()) for _ in range(2)]
    servers[0].logger.warning("once")
    assert capsys.readouterr().out.count("once") == 1
    template = ServerTemplate(logging.CRITICAL)
    assert (root.level, list(root.handlers)) == before
    for each in (*servers, template):
        each.close()


def test_e24_a_subscription_does_not_match_longer_names(kit):
    class Steering(Echo):
        def handle_stream(self, message):
            message.stage += 1
            return "even2", message

    first = kit.run(
        Steering("s", *kit.addresses(3), pipelined=True, **QUIET, options=kit.options())
    )
    more = {**QUIET, "options": kit.options()}
    even = kit.run(
        Pipeline("even", kit.address(), first.pub_address, kit.address(), "even", **more)
    )
    even2 = kit.run(
        Pipeline("even2", kit.address(), first.pub_address, kit.address(), "even2", **more)
    )
    talk = kit.client("s", first.db_address, sub_address=even2.pub_address)
    assert talk.eval(["s.foo", "even2.echo"], b"x") == b"sx"
    assert even.stats.received == 0


def test_e26_a_sink_refuses_lists_of_different_length(kit):
    with pytest.raises(ConfigurationError):
        Sink("k", kit.address(), [kit.address()], kit.address(), ["a", "b"], options=kit.options())


def test_e27_nothing_is_unpickled_unless_allowed(server, talk):
    with pytest.raises(errors.WrongType, match="pickled payloads are refused"):
        talk.eval("s.foo", b"x", serializer="pickle")


def test_e28_attributes_of_the_framework_are_not_callable(talk):
    for name in (
        "start",
        "stop",
        "handle_stream",
        "__init__",
        "__repr__",
        "close",
        "message",
        "cache",
    ):
        with pytest.raises(errors.UnknownFunction):
            talk.eval(f"s.{name}", b"x")
    assert talk.eval("s.echo", b"x") == b"x"


def test_e32_set_takes_a_key_or_invents_one(talk):
    assert len(talk.set(b"v")) == 36
    assert talk.set(b"v", "k") == "k"


def test_e36_importing_the_client_loads_nothing_heavy():
    heavy = [
        "asyncio",
        "requests",
        "urllib.request",
        "rich",
        "click",
        "zmq.auth",
        "typeguard",
        "http.server",
    ]
    code = f"import sys, pylm.clients, pylm.servers; print([each for each in {heavy} if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_e37_a_subscriber_that_joins_late_gets_the_message(kit, server):
    push, sub = kit.manage(kit.context.socket(zmq.PUSH)), kit.manage(kit.context.socket(zmq.SUB))
    push.connect(server.pull_address)
    push.send(_wire.PalmMessage(client="late", function="s.foo", payload=b"x").SerializeToString())
    while server.stats.received < 1:
        time.sleep(0.005)
    sub.rcvtimeo = 5000
    sub.subscribe(b"late")
    sub.connect(server.pub_address)
    assert sub.recv_multipart()[0] == b"late"


def test_e38_limits_hold_and_nobody_redirects_clients(address, running, client):
    options = ServerOptions(max_message_bytes=10_000, max_cache_bytes=1000)
    server = running(Echo("s", address(), address(), address(), **QUIET, options=options))
    talk = client("s", server.db_address, logging_level=logging.CRITICAL)
    assert talk.set(b"tcp://127.0.0.1:1", "pull_address") == ""
    assert talk.delete("pub_address") == "" or talk.get("pub_address")
    assert talk.set(b"x" * 2000, "big") == ""
    with pytest.raises(errors.TooLarge, match="at most 10000 bytes"):
        talk.eval("s.foo", b"x" * 20_000)
    with pytest.raises(errors.TimedOut):
        talk.eval("s.foo", b"x" * 200_000, timeout=0.3)
    assert talk.eval("s.foo", b"x") == b"sx"


def test_stats_are_json_that_adds_up(server, talk):
    for function in ("foo", "foo", "fails"):
        talk.errors = "payload"
        talk.eval(f"s.{function}", b"x")
    figures = json.loads(talk._cache.ask("_stats", b"", timeout_s=5))
    assert figures["received"] == figures["answered"] + figures["failed"] == 3
