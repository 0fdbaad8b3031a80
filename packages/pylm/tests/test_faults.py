"""The faults of the originals, one test each, numbered as in the project's reference (E-1 to E-38)."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest
import zmq
from pylm import _wire, errors, standalone
from pylm._cacheclient import CacheClient
from pylm._services import Pinger
from pylm.chained import LastServer, LoopClient
from pylm.chained import Server as ChainServer
from pylm.clients import Client
from pylm.components.utils import PerformanceCounter
from pylm.config import ConfigurationError, ServerOptions
from pylm.parts.connections import HttpConnection
from pylm.parts.gateways import GatewayDealer, GatewayRouter, HttpGateway
from pylm.parts.servers import ServerTemplate
from pylm.parts.services import (
    CacheService,
    PubService,
    PullService,
    PushPullService,
    WorkerPullService,
    WorkerPushService,
)
from pylm.servers import Master, MuxWorker, Pipeline, Server, Sink, Worker
from pylm.testing import Kit

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


class Hand(Worker):
    def foo(self, message):
        return b"w" + message

    def slow(self, message):
        time.sleep(0.02)
        return self.name.encode()


@pytest.fixture
def kit():
    with Kit() as one:
        yield one


@pytest.fixture
def server(kit):
    return kit.run(Echo("s", *kit.addresses(3), **QUIET, options=kit.options()))


@pytest.fixture
def talk(kit, server):
    return kit.client("s", server.db_address, logging_level=logging.CRITICAL)


@pytest.fixture
def master(kit):
    return kit.run(Master("m", *kit.addresses(5), **QUIET, options=kit.options()))


@pytest.fixture
def boss(kit, master):
    return kit.client("m", master.db_address, logging_level=logging.CRITICAL)


def rebind(make):
    """Make a server on an address that a socket just closed may hold for a moment longer."""
    deadline = time.monotonic() + 5
    while True:
        try:
            return make()
        except zmq.ZMQError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def hire(kit, master, name="w", kind=Hand, **options):
    return kit.run(kind(name, master.db_address, **QUIET, options=kit.options(**options)))


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


def test_e08_an_exception_in_gather_or_scatter_is_answered(kit):
    class Failing(Master):
        def scatter(self, message):
            if message.payload == b"scatter":
                raise RuntimeError("in scatter")
            yield message

        def gather(self, message):
            if message.payload == b"wgather":
                raise RuntimeError("in gather")
            yield message

    master = kit.run(Failing("m", *kit.addresses(5), **QUIET, options=kit.options()))
    hire(kit, master)
    boss = kit.client("m", master.db_address)
    for where in ("scatter", "gather"):
        with pytest.raises(errors.RemoteError, match=f"in {where}"):
            boss.eval("m.foo", where.encode())
    assert boss.eval("m.foo", b"x") == b"wx"


def test_e09_an_exception_in_a_mux_worker_is_one_answer_and_the_worker_lives(kit, master, boss):
    class Mux(MuxWorker):
        def fails(self, message):
            raise KeyError("missing")

        def foo(self, message):
            return [message]

    hire(kit, master, kind=Mux)
    with pytest.raises(errors.RemoteError):
        boss.eval("m.fails", b"x")
    assert boss.eval("m.foo", b"x") == b"x"


DIES = """
import os, sys, logging
from pylm.config import ServerOptions
from pylm.servers import Worker

class Dies(Worker):
    def foo(self, message):
        os.kill(os.getpid(), 9)

Dies("dies", sys.argv[1], log_level=logging.CRITICAL, options=ServerOptions(heartbeat_s=0.1)).start()
"""


def test_e10_jobs_of_a_killed_worker_run_elsewhere(address, running, client):
    master = running(
        Master("m", *(address() for _ in range(5)), **QUIET, options=ServerOptions(heartbeat_s=0.1))
    )
    boss = client("m", master.db_address, logging_level=logging.CRITICAL)
    victim = subprocess.Popen([sys.executable, "-c", DIES, master.db_address])
    results = []
    thread = threading.Thread(
        target=lambda: results.extend(
            boss.job("m.foo", [b"x"] * 40, messages=40, idempotent=True, timeout=20)
        )
    )
    thread.start()
    assert victim.wait(20) == -signal.SIGKILL
    running(Hand("w", master.db_address, **QUIET))
    thread.join(25)
    assert results == [b"wx"] * 40


def test_e11_a_busy_worker_gets_fewer_jobs(kit, master, boss):
    class Quick(Hand):
        def slow(self, message):
            return self.name.encode()

    hire(kit, master, "slow", credit=1)
    hire(kit, master, "quick", kind=Quick, credit=1)
    got = list(boss.job("m.slow", [b"x"] * 60, messages=60))
    assert got.count(b"quick") > 3 * got.count(b"slow")


def test_e12_a_late_worker_takes_its_share_of_what_waits(kit, master, boss):
    first = hire(kit, master, "first")
    results = []
    thread = threading.Thread(
        target=lambda: results.extend(boss.job("m.slow", [b"x"] * 60, messages=60))
    )
    thread.start()
    while first.stats.received < 2:
        time.sleep(0.002)
    hire(kit, master, "late")
    thread.join(20)
    assert results.count(b"late") >= 15


def test_e13_a_paused_reader_loses_nothing_at_the_high_water_mark(address, running):
    options = ServerOptions(high_water_mark=10, backlog=20)
    server = running(Echo("s", address(), address(), address(), **QUIET, options=options))
    with Client("s", server.db_address, timeout=20, logging_level=logging.CRITICAL) as talk:
        job = talk.job("s.foo", [b"x" * 20_000] * 1500, messages=1500)
        next(job)
        time.sleep(0.5)
        assert sum(1 for _ in job) == 1499
    assert server.stats.dropped == 0


def test_e14_more_workers_do_more_work(kit, master, boss):
    def duration():
        began = time.monotonic()
        assert len(list(boss.job("m.slow", [b"x"] * 40, messages=40))) == 40
        return time.monotonic() - began

    hire(kit, master, "w0", credit=1)
    alone = duration()
    for number in range(3):
        hire(kit, master, f"w{number + 1}", credit=1)
    assert duration() < alone / 2


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


def test_e16_constructors_without_a_server_end_in_time(address):
    with pytest.raises(errors.TimedOut):
        Client("s", address(), timeout=0.2)
    with pytest.raises(errors.TimedOut):
        Hand("w", address(), options=ServerOptions(connect_s=0.2))


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


def test_e19_two_masters_and_two_templates_live_in_one_process(kit):
    for name in ("a", "b"):
        master = kit.run(Master(name, *kit.addresses(5), **QUIET, options=kit.options()))
        hire(kit, master)
        assert kit.client(name, master.db_address).eval(f"{name}.foo", b"x") == b"wx"
    templates = [ServerTemplate(logging.CRITICAL) for _ in range(2)]
    for each in templates:
        each.close()


def test_e20_every_master_has_a_cache_of_its_own(kit):
    one, two = (Master(name, *kit.addresses(5), **QUIET, options=kit.options()) for name in "ab")
    one.cache.set("key", b"value")
    assert two.cache.get("key") is None
    one.close()
    two.close()


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


def http_template(address, url):
    template = ServerTemplate(logging.CRITICAL)
    pull, pub, db = address(), address(), address()
    template.register_inbound(PullService, "Pull", pull, route="Http")
    template.register_outbound(HttpConnection, "Http", url, route="Pub")
    template.register_outbound(PubService, "Pub", pub, server="server")
    template.register_bypass(CacheService, "Cache", db)
    template.preset_cache(name="server", pull_address=pull, pub_address=pub)
    return template, db


def test_e22_a_web_server_that_is_down_is_a_failure_not_the_payload(
    address, running, client, monkeypatch
):
    monkeypatch.setattr("pylm.parts.connections.STARTING_S", (0.01,))
    template, db = http_template(address, "http://127.0.0.1:1/")
    running(template)
    talk = client("server", db, logging_level=logging.CRITICAL)
    with pytest.raises(errors.RemoteError, match="URLError"):
        talk.eval("server.foo", b"mine")
    talk.errors = "payload"
    assert talk.eval("server.foo", b"mine") == b"0"


def test_e23_the_gateway_tells_failures_by_status(address, running):
    template = ServerTemplate(logging.CRITICAL)
    db, pull, push = address(), address(), address()
    gateway = f"inproc://gateway-{os.getpid()}"
    template.register_inbound(GatewayRouter, "gateway_router", gateway, route="WorkerPush")
    template.register_inbound(WorkerPullService, "WorkerPull", pull, route="gateway_dealer")
    template.register_outbound(WorkerPushService, "WorkerPush", push)
    template.register_outbound(GatewayDealer, "gateway_dealer", gateway)
    template.register_bypass(HttpGateway, "web", gateway, hostname="127.0.0.1", port=0)
    template.register_bypass(CacheService, "Cache", db)
    template.preset_cache(name="server", worker_pull_address=pull, worker_push_address=push)
    running(template)

    class Web(Worker):
        def function(self, message):
            return b"got " + message

        def fails(self, message):
            raise KeyError("missing")

    running(Web("w", db, **QUIET))
    base = f"http://127.0.0.1:{template.bypass_components['web'].port}"

    def fetch(path, data=None):
        try:
            with urllib.request.urlopen(base + path, data, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    assert fetch("/function") == (200, b"got No Payload")
    assert fetch("/function", b"body") == (200, b"got body")
    assert fetch("/")[0] == 404
    assert fetch("/unknown")[0] == 404
    status, text = fetch("/fails")
    assert status == 500
    assert b"KeyError" in text


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


def test_e25_the_push_pull_part_brings_an_answer_back(address):
    context = zmq.Context.instance()
    broker = context.socket(zmq.ROUTER)
    broker.router_mandatory = 1
    where = f"inproc://e25-{os.getpid()}"
    broker.bind(where)
    push, pull = address(), address()
    part = PushPullService("part", push, pull, broker_address=where, messages=1)
    thread = threading.Thread(target=part.start)
    thread.start()
    frame = _wire.PalmMessage(function="s.foo", payload=b"x").SerializeToString()
    answer = _wire.PalmMessage(function="s.foo", payload=b"done").SerializeToString()
    with context.socket(zmq.PULL) as peer_in, context.socket(zmq.PUSH) as peer_out:
        peer_in.connect(push)
        peer_out.connect(pull)
        for _ in range(500):
            try:
                broker.send_multipart([b"part", b"", frame])
                break
            except zmq.ZMQError:
                time.sleep(0.01)
        assert peer_in.poll(5000)
        assert peer_in.recv() == frame
        peer_out.send(answer)
        assert broker.poll(5000)
        assert broker.recv_multipart() == [b"part", b"", answer]
    thread.join(5)
    broker.close(0)


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


def test_e32_set_takes_a_key_or_invents_one(talk):
    assert len(talk.set(b"v")) == 36
    assert talk.set(b"v", "k") == "k"


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


def test_stats_are_json_that_adds_up(server, talk):
    for function in ("foo", "foo", "fails"):
        talk.errors = "payload"
        talk.eval(f"s.{function}", b"x")
    figures = json.loads(talk._cache.ask("_stats", b"", timeout_s=5))
    assert figures["received"] == figures["answered"] + figures["failed"] == 3
