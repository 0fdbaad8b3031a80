"""Processes killed and started again, or stopped for longer than three heartbeats: every role of every topology.

Invariant: each message ends in exactly one of answer, typed error, counted drop, within its deadline.
"""

import logging
import signal
import threading
import time

import pytest
from pylm import errors, standalone
from pylm.chained import LoopClient
from pylm.clients import Client
from pylm.standalone import ParallelClient

pytestmark = pytest.mark.timeout(120)

QUIET = {"timeout": 30, "logging_level": logging.CRITICAL}

TOPOLOGIES = {
    # name: roles (their name, what they are, the ports they are given), then the client's view.
    "server": (
        [("server", "server", "db pull pub")],
        lambda at: Client("server", at("db"), **QUIET),
        "server.foo",
    ),
    "stream": (
        [
            ("first", "first", "db pull pub"),
            ("pipeline", "pipeline", "db2 pub pub2"),
            ("sink", "sink", "db3 pub3 pub2"),
        ],
        lambda at: Client("first", at("db"), sub_address=at("pub3"), **QUIET),
        ["first.foo", "pipeline.foo", "sink.foo"],
    ),
    "two streams": (
        [
            ("first", "first", "db pull pub"),
            ("pipeline", "pipeline", "db2 pub pub2"),
            ("pipeline2", "pipeline", "db4 pub pub4"),
            ("sink", "sink", "db3 pub3 pub2 pub4"),
        ],
        lambda at: Client("first", at("db"), sub_address=at("pub3"), **QUIET),
        ["first.foo", "pipeline.foo", "sink.foo"],
    ),
    "master": (
        [
            ("master", "master", "pull pub wpull wpush db"),
            ("worker", "worker", "db"),
            ("worker2", "worker", "db"),
        ],
        lambda at: Client("master", at("db"), **QUIET),
        "master.foo",
    ),
    "master as the original knows it": (
        [
            ("master", "master", "pull pub wpull wpush db"),
            ("worker", "push_worker", "db"),
            ("worker2", "push_worker", "db"),
        ],
        lambda at: Client("master", at("db"), **QUIET),
        "master.foo",
    ),
    "master and pipeline": (
        [
            ("master", "first_master", "pull pub wpull wpush db"),
            ("worker", "worker", "db"),
            ("pipeline", "leaf", "db2 pub pub2"),
        ],
        lambda at: Client("first", at("db"), sub_address=at("pub2"), **QUIET),
        ["first.foo", "pipeline.foo"],
    ),
    "hub": (
        [
            ("first", "first", "db pull pub"),
            ("hub", "hub", "pub pub2 wpull wpush db2"),
            ("worker", "worker", "db2"),
        ],
        lambda at: Client("first", at("db"), sub_address=at("pub2"), **QUIET),
        ["first.foo", "hub.foo"],
    ),
    "template": (
        [
            ("template", "template", "db pull pub wpull wpush"),
            ("worker", "worker", "db"),
        ],
        lambda at: Client("template", at("db"), **QUIET),
        "template.foo",
    ),
    "first api: master": (
        [
            ("master", "old_master", "pull push wpull wpush db"),
            ("worker", "old_worker", "wpush wpull db"),
        ],
        lambda at: ParallelClient(at("push"), at("pull"), at("db"), "old", timeout=30),
        "foo",
    ),
    "first api: chain": (
        [
            ("step", "step", "=step pull pull2 =middle.foo db"),
            ("middle", "step", "=middle pull2 pull3 =last.foo db2"),
            ("last", "last", "pull3 push db3"),
        ],
        lambda at: LoopClient(at("push"), at("pull"), at("db"), "step", timeout=30),
        "foo",
    ),
    "first api: master in a chain": (
        [
            ("chained", "chained_master", "pull pull2 wpull wpush db"),
            ("worker", "old_worker", "wpush wpull db"),
            ("last", "last", "pull2 push db2"),
        ],
        lambda at: LoopClient(at("push"), at("pull"), at("db"), "chained", timeout=30),
        "foo",
    ),
}


def build(crew, address, name):
    """Start a topology; return its client and the route to call."""
    ports = {}

    def at(word):
        if word.startswith("="):
            return word[1:]
        if word not in ports:
            ports[word] = address()
        return ports[word]

    roles, client, route = TOPOLOGIES[name]
    for role, what, words in roles:
        crew.start(role, what, *(at(word) for word in words.split()))
    return client(at), route


CASES = [
    (name, role, action)
    for name, each in TOPOLOGIES.items()
    for role, _, _ in each[0]
    for action in ("kill", "stop")
]


@pytest.mark.parametrize(("name", "role", "action"), CASES)
def test_idempotent_jobs_survive_the_loss_of_any_role(crew, address, name, role, action):
    talk, route = build(crew, address, name)
    with talk:
        assert list(talk.job(route, [b"warm up"], messages=1, idempotent=True)) == [b"warm up"]
        payloads = [b"%d" % number for number in range(2000)]
        job = talk.job(route, payloads, messages=len(payloads), idempotent=True)
        outcome = crew.disturbed(job, role, action)
        answers = [each for each in outcome if not isinstance(each, errors.PylmError)]
        assert len(answers) == len(outcome), outcome[-1]
        assert sorted(answers) == sorted(payloads)
        assert list(talk.job(route, [b"after"], messages=1, idempotent=True)) == [b"after"]


@pytest.mark.parametrize("action", ["kill", "stop"])
def test_the_loss_of_a_client_is_none_to_the_others(crew, address, action):
    talk, route = build(crew, address, "master")
    with talk:
        assert talk.eval(route, b"warm up", idempotent=True) == b"warm up"
        crew.start("client", "client", "master", talk.db_address, route)
        payloads = [b"%d" % number for number in range(3000)]
        job = talk.job(route, payloads, messages=len(payloads), idempotent=True)
        assert sorted(crew.disturbed(job, "client", action)) == sorted(payloads)


def test_jobs_that_may_not_run_twice_end_in_an_answer_or_a_typed_error(crew, address):
    talk, route = build(crew, address, "master")
    with talk:
        talk.eval(route, b"warm up")
        job = talk.map(route, [b"x"] * 3000, return_exceptions=True, ordered=False, timeout=5)
        outcome = crew.disturbed(job, "worker", "kill")
        lost = [each for each in outcome if isinstance(each, errors.WorkerLost)]
        assert len(outcome) == 3000
        assert len(lost) <= 32
        assert len([each for each in outcome if each == b"x"]) == 3000 - len(lost)


@pytest.mark.parametrize("plain_socket", [False, True])
@pytest.mark.parametrize("action", ["kill", "stop"])
def test_requests_of_the_first_api_survive_the_loss_of_their_server(
    crew, address, action, plain_socket
):
    where = address()
    crew.start("request", "request", where)
    client = standalone.Client(where, "request", timeout=30, plain_socket=plain_socket)
    with client as talk:
        assert talk.job("foo", b"x", idempotent=True) == b"x"
        thread = threading.Timer(0.1, crew.disturb, ("request", action))
        thread.start()
        count = 0
        while thread.is_alive() or count < 100:
            assert talk.job("foo", b"%d" % count, idempotent=True, timeout=20) == b"%d" % count
            count += 1
        thread.join()


@pytest.mark.parametrize("role", ["server", "master", "worker"])
def test_calls_to_a_stopped_role_end_in_a_typed_error_in_time(crew, address, role):
    name = "server" if role == "server" else "master"
    talk, route = build(crew, address, name)
    with talk:
        assert talk.eval(route, b"x", idempotent=True) == b"x"
        stopped = ["worker", "worker2"] if role == "worker" else [role]
        for each in stopped:
            crew.signal(each, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises((errors.TimedOut, errors.WorkerLost)):
            talk.eval(route, b"x", timeout=1.5)
        assert time.monotonic() - began < 4
        for each in stopped:
            crew.signal(each, signal.SIGCONT)
        assert talk.eval(route, b"after", idempotent=True) == b"after"
