"""Processes killed, stopped, restarted and cut off under load; random bytes on every socket.

Invariant: each message ends in exactly one of answer, typed error, counted drop, within its deadline.
"""

import contextlib
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import zmq
from pylm import errors, standalone
from pylm.chained import LoopClient
from pylm.clients import Client
from pylm.standalone import ParallelClient

pytestmark = pytest.mark.timeout(120)

ROLES = """
import logging, sys
from pylm import chained, standalone
from pylm.config import ServerOptions
from pylm.servers import Hub, Master, Pipeline, Server, Sink, Worker

role, *where = sys.argv[1:]
quiet = {"log_level": logging.CRITICAL, "options": ServerOptions(heartbeat_s=0.2)}
calm = {"debug_level": logging.CRITICAL, "options": ServerOptions(heartbeat_s=0.2)}
result = lambda self, message: message
kinds = {
    base: type(base.__name__, (base,), {"foo": result})
    for base in (Server, Pipeline, Sink, Worker, chained.LastServer, standalone.Worker)
}
make = {
    "server": lambda: kinds[Server]("server", *where, **quiet),
    "first": lambda: kinds[Server]("first", *where, pipelined=True, **quiet),
    "pipeline": lambda: kinds[Pipeline]("pipeline", *where, "first", to_client=False, **quiet),
    "sink": lambda: kinds[Sink]("sink", where[0], [where[1]], where[2], ["pipeline"], **quiet),
    "master": lambda: Master("master", *where, **quiet),
    "hub": lambda: Hub("hub", *where, "first", **quiet),
    "worker": lambda: kinds[Worker]("", *where, **quiet),
    "old_master": lambda: standalone.Master("old", *where, **calm),
    "old_worker": lambda: kinds[standalone.Worker]("w", *where, **calm),
    "step": lambda: type("Step", (chained.Server,), {"foo": result})(*where, **calm),
    "request": lambda: type("Request", (standalone.Server,), {"foo": result})(
        "request", *where, log_level=logging.CRITICAL
    ),
    "last": lambda: kinds[chained.LastServer]("last", *where, **calm),
}[role]
make().start()
"""


class Crew:
    """Roles as processes, restartable by name."""

    def __init__(self):
        self.commands = {}
        self.processes = {}

    def start(self, name, role, *where):
        self.commands[name] = [sys.executable, "-c", ROLES, role, *where]
        self.restart(name)

    def restart(self, name):
        self.processes[name] = subprocess.Popen(
            self.commands[name], env={**os.environ, "PYTHONWARNINGS": ""}
        )

    def kill(self, name):
        self.processes[name].kill()
        self.processes[name].wait()

    def disturb(self, name, action):
        """Kill and restart, or stop for longer than three heartbeats and let go on."""
        if action == "kill":
            self.kill(name)
            self.restart(name)
        else:
            self.signal(name, signal.SIGSTOP)
            time.sleep(1.0)
            self.signal(name, signal.SIGCONT)

    def signal(self, name, number):
        self.processes[name].send_signal(number)

    def stop(self):
        for process in self.processes.values():
            process.kill()
            process.wait()


@pytest.fixture
def crew():
    one = Crew()
    yield one
    one.stop()


def run_load(job, count, outcome):
    """Iterate over a job; note the answers, or the typed error that ended it."""
    try:
        for answer in job:
            outcome.append(answer)
    except errors.PylmError as error:
        outcome.append(error)


TOPOLOGIES = {
    "server": (["server"], "server.foo", "server", None),
    "stream": (
        ["first", "pipeline", "sink"],
        ["first.foo", "pipeline.foo", "sink.foo"],
        "first",
        "sink",
    ),
    "master": (["master", "worker", "worker2"], "master.foo", "master", None),
    "hub": (["first", "hub", "worker"], ["first.foo", "hub.foo"], "first", "hub"),
}


def build(crew, address, name):
    """Start a topology; return (db of the first, pub of the last)."""
    ports = {
        key: address()
        for key in ("db", "pull", "pub", "db2", "pub2", "db3", "pub3", "wpull", "wpush")
    }
    if name == "server":
        crew.start("server", "server", ports["db"], ports["pull"], ports["pub"])
    if name in ("stream", "hub"):
        crew.start("first", "first", ports["db"], ports["pull"], ports["pub"])
    if name == "stream":
        crew.start("pipeline", "pipeline", ports["db2"], ports["pub"], ports["pub2"])
        crew.start("sink", "sink", ports["db3"], ports["pub2"], ports["pub3"])
        return ports["db"], ports["pub3"]
    if name == "hub":
        crew.start(
            "hub", "hub", ports["pub"], ports["pub2"], ports["wpull"], ports["wpush"], ports["db2"]
        )
        crew.start("worker", "worker", ports["db2"])
        return ports["db"], ports["pub2"]
    if name == "master":
        crew.start(
            "master",
            "master",
            ports["pull"],
            ports["pub"],
            ports["wpull"],
            ports["wpush"],
            ports["db"],
        )
        for worker in ("worker", "worker2"):
            crew.start(worker, "worker", ports["db"])
    return ports["db"], None


CASES = [
    (name, role, action)
    for name, each in TOPOLOGIES.items()
    for role in each[0]
    for action in ("kill", "stop")
]


@pytest.mark.parametrize(("name", "role", "action"), CASES)
def test_idempotent_jobs_survive_the_loss_of_any_role(crew, address, name, role, action):
    db, last = build(crew, address, name)
    _, route, first, _ = TOPOLOGIES[name]
    with Client(first, db, sub_address=last, timeout=30, logging_level=logging.CRITICAL) as talk:
        assert talk.eval(route, b"warm up", idempotent=True) == b"warm up"
        payloads = [b"%d" % number for number in range(3000)]
        outcome = []
        job = talk.job(route, payloads, messages=len(payloads), idempotent=True)
        thread = threading.Thread(target=run_load, args=(job, len(payloads), outcome))
        thread.start()
        while len(outcome) < 100 and thread.is_alive():
            time.sleep(0.001)
        crew.disturb(role, action)
        thread.join(60)
        assert not thread.is_alive()
        failures = [each for each in outcome if isinstance(each, errors.PylmError)]
        assert not failures
        assert len(outcome) == len(payloads)
        assert talk.eval(route, b"after", idempotent=True) == b"after"


def test_jobs_that_may_not_run_twice_end_in_an_answer_or_a_typed_error(crew, address):
    db, _ = build(crew, address, "master")
    with Client("master", db, timeout=5, logging_level=logging.CRITICAL) as talk:
        talk.eval("master.foo", b"warm up")
        outcome = []
        job = talk.map(
            "master.foo", [b"x"] * 3000, return_exceptions=True, ordered=False, timeout=5
        )
        thread = threading.Thread(target=run_load, args=(job, 3000, outcome))
        thread.start()
        while len(outcome) < 100 and thread.is_alive():
            time.sleep(0.001)
        crew.kill("worker")
        thread.join(30)
        lost = [each for each in outcome if isinstance(each, errors.WorkerLost)]
        assert len(outcome) == 3000
        assert len(lost) <= 32
        assert len([each for each in outcome if each == b"x"]) == 3000 - len(lost)


@pytest.mark.parametrize("action", ["kill", "stop"])
def test_the_first_api_survives_the_loss_of_master_and_worker(crew, address, action):
    pull, push, wpull, wpush, db = (address() for _ in range(5))
    crew.start("master", "old_master", pull, push, wpull, wpush, db)
    crew.start("worker", "old_worker", wpush, wpull, db)
    with ParallelClient(push, pull, db, "old", timeout=30) as talk:
        assert list(talk.job("foo", [b"x"], messages=1, idempotent=True)) == [b"x"]
        for victim in ("worker", "master"):
            outcome = []
            job = talk.job(
                "foo", [b"%d" % each for each in range(2000)], messages=2000, idempotent=True
            )
            thread = threading.Thread(target=run_load, args=(job, 2000, outcome))
            thread.start()
            while len(outcome) < 100 and thread.is_alive():
                time.sleep(0.001)
            crew.disturb(victim, action)
            thread.join(60)
            assert not thread.is_alive()
            assert not [each for each in outcome if isinstance(each, errors.PylmError)]
            assert len(outcome) == 2000


@pytest.mark.parametrize("action", ["kill", "stop"])
@pytest.mark.parametrize("victim", ["step", "middle", "last"])
def test_a_chain_survives_the_loss_of_any_server(crew, address, victim, action):
    pull, middle, pull3, push, db, db2, db3 = (address() for _ in range(7))
    crew.start("step", "step", "step", pull, middle, "middle.foo", db)
    crew.start("middle", "step", "middle", middle, pull3, "last.foo", db2)
    crew.start("last", "last", pull3, push, db3)
    payloads = [b"%d" % number for number in range(2000)]
    with LoopClient(push, pull, db, "step", timeout=30) as talk:
        assert list(talk.job("foo", [b"x"], messages=1, idempotent=True)) == [b"x"]
        outcome = []
        job = talk.job("foo", payloads, messages=len(payloads), idempotent=True)
        thread = threading.Thread(target=run_load, args=(job, len(payloads), outcome))
        thread.start()
        while len(outcome) < 100 and thread.is_alive():
            time.sleep(0.001)
        crew.disturb(victim, action)
        thread.join(60)
        assert not thread.is_alive()
        assert sorted(outcome) == sorted(payloads)


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
    db, _ = build(crew, address, name)
    with Client(name, db, timeout=20, logging_level=logging.CRITICAL) as talk:
        assert talk.eval(f"{name}.foo", b"x", idempotent=True) == b"x"
        stopped = ["worker", "worker2"] if role == "worker" else [role]
        for each in stopped:
            crew.signal(each, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises((errors.TimedOut, errors.WorkerLost)):
            talk.eval(f"{name}.foo", b"x", timeout=1.5)
        assert time.monotonic() - began < 4
        for each in stopped:
            crew.signal(each, signal.SIGCONT)
        assert talk.eval(f"{name}.foo", b"after", idempotent=True) == b"after"


class Proxy:
    """Passes TCP connections on; ``cut`` ends them all, ``block`` refuses new ones."""

    def __init__(self, target):
        self.target = ("127.0.0.1", int(target.rpartition(":")[2]))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        self.pairs = []
        self.open = True
        self.thread = threading.Thread(target=self._accept)
        self.thread.start()
        self.threads = []

    def _accept(self):
        while True:
            try:
                one, _ = self.listener.accept()
            except OSError:
                return
            if not self.open:
                one.close()
                continue
            try:
                two = socket.create_connection(self.target, 5)
            except OSError:
                one.close()
                continue
            self.pairs += [one, two]
            for source, sink in ((one, two), (two, one)):
                self.threads.append(threading.Thread(target=self._pump, args=(source, sink)))
                self.threads[-1].start()

    @staticmethod
    def _pump(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def cut(self):
        pairs, self.pairs = self.pairs, []
        for each in pairs:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.open = False
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()
        self.thread.join(5)
        for thread in self.threads:
            thread.join(5)


def test_idempotent_jobs_survive_a_cut_network(crew, address):
    db, pull, pub = address(), address(), address()
    crew.start("server", "server", db, pull, pub)
    with Client("server", db, timeout=30, logging_level=logging.CRITICAL) as direct:
        assert direct.eval("server.foo", b"x") == b"x"
    proxies = [Proxy(each) for each in (pull, pub)]
    try:
        with Client(
            "server",
            db,
            *(each.address for each in proxies),
            timeout=30,
            logging_level=logging.CRITICAL,
        ) as talk:
            outcome = []
            job = talk.job(
                "server.foo", [b"%d" % each for each in range(5000)], messages=5000, idempotent=True
            )
            thread = threading.Thread(target=run_load, args=(job, 5000, outcome))
            thread.start()
            while len(outcome) < 200 and thread.is_alive():
                time.sleep(0.001)
            for proxy in proxies:
                proxy.open = False
                proxy.cut()
            time.sleep(0.3)  # the network is away
            for proxy in proxies:
                proxy.open = True
            thread.join(60)
            assert len(outcome) == 5000
            assert not [each for each in outcome if isinstance(each, errors.PylmError)]
    finally:
        for proxy in proxies:
            proxy.close()


def test_random_bytes_on_every_socket_change_nothing(crew, address):
    ports = [address() for _ in range(5)]
    crew.start("master", "master", *ports)
    pull, pub, wpull, wpush, db = ports
    crew.start("worker", "worker", db)
    rng = random.Random(4711)
    context = zmq.Context.instance()
    with Client("master", db, timeout=20, logging_level=logging.CRITICAL) as talk:
        assert talk.eval("master.foo", b"x") == b"x"
        router = talk.get("worker_router_address").decode()
        for kind, where in (
            (zmq.PUSH, pull),
            (zmq.PUSH, wpull),
            (zmq.DEALER, db),
            (zmq.DEALER, router),
            (zmq.XSUB, pub),
            (zmq.DEALER, wpush),
        ):
            with context.socket(kind) as peer:
                peer.linger = 300
                peer.connect(where)
                for _ in range(200):
                    parts = [
                        rng.randbytes(rng.choice((0, 1, 9, 40, 300)))
                        for _ in range(rng.randint(1, 4))
                    ]
                    if kind == zmq.DEALER and rng.random() < 0.5:
                        parts[0] = (
                            rng.choice((b"", b"R", b"W", b"H", b"J", b"B", b"X", b"P", b"D"))
                            + parts[0]
                        )
                    with contextlib.suppress(zmq.Again):
                        peer.send_multipart(parts, zmq.DONTWAIT)
        for where in ports:
            host, _, port = where.partition("://")[2].rpartition(":")
            with socket.create_connection((host, int(port))) as raw, contextlib.suppress(OSError):
                raw.sendall(rng.randbytes(500))
        for number in range(50):
            assert talk.eval("master.foo", b"%d" % number, idempotent=True) == b"%d" % number
    assert crew.processes["master"].poll() is None
