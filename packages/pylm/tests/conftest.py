"""Shared fixtures: free addresses, processes of examples, and nothing left behind."""

import ast
import collections
import contextlib
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import zmq
from zmq.utils.garbage import GarbageCollectorThread

EXAMPLES = pathlib.Path(__file__).parent.parent / "docs" / "examples"
PORT = re.compile(r"\b(55[5-8]\d|8888)\b")
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def tidy(text):
    """Blank out what the page cannot know: times, ids, and the number of blanks."""
    return [
        re.sub(" +", " ", UUID.sub("UUID", TIME.sub("TIME", line))).rstrip()
        for line in text.splitlines()
    ]


def bind_low(probe):
    """Bind below the ports the system hands out by itself; return the port."""
    while True:
        port = random.randint(20000, 32000)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


CALL = re.compile(
    r'Client\(\s*"(?P<server>[^"]+)",\s*"(?P<db>[^"]+)",\s*sub_address="(?P<sub>[^"]+)".*?(?P<route>\[[^]]+\])',
    re.DOTALL,
)
"""What a client program of several stages says: whom it calls, where it listens."""


class Cluster:
    """The processes of one example, on ports of their own."""

    def __init__(self, name, folder):
        self.folder = folder
        self.processes = {}
        self.output = {}
        with contextlib.ExitStack() as stack:
            ports = {}

            def free(match):
                if match[0] not in ports:
                    ports[match[0]] = str(bind_low(stack.enter_context(socket.socket())))
                return ports[match[0]]

            for path in sorted((EXAMPLES / name).glob("*.py")):
                (folder / path.name).write_text(PORT.sub(free, path.read_text("utf-8")), "utf-8")
            self.ports = ports

    def port(self, number):
        return self.ports[str(number)]

    def start(self, label, file, *args, python=sys.executable, **env):
        out = self.folder / f"{label}.out"
        with out.open("w") as stream:
            self.processes[label] = subprocess.Popen(
                [python, "-u", str(self.folder / file), *args],
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONWARNINGS": "", **env},
            )

    def lines(self, label):
        return tidy((self.folder / f"{label}.out").read_text("utf-8"))

    def knock(self, answered):
        """Call along the client program's route until so many of the last four calls were answered.

        A publisher keeps nothing for a stage that subscribes after another one did, an original for none.
        """
        from pylm import errors
        from pylm.clients import Client

        call = CALL.search((self.folder / "client.py").read_text("utf-8"))
        if call is None:  # one master and its workers: nothing is published between stages
            return
        latest = collections.deque(maxlen=4)
        deadline = time.monotonic() + 60
        with Client(
            call["server"], call["db"], sub_address=call["sub"], logging_level=50
        ) as client:
            while sum(latest) < answered and time.monotonic() < deadline:
                try:
                    client.eval(ast.literal_eval(call["route"]), b"knock", timeout=0.5)
                except errors.TimedOut:
                    latest.append(False)
                else:
                    latest.append(True)

    def finish(self, label="client", limit_s=30):
        status = self.processes[label].wait(limit_s)
        text = self.lines(label)
        assert status == 0, text
        return text

    def stop(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def address():
    """Return free addresses on 127.0.0.1, a new one per call."""
    taken = []

    def free():
        while True:
            with socket.socket() as probe:
                port = bind_low(probe)
            if port not in taken:
                taken.append(port)
                return f"tcp://127.0.0.1:{port}"

    return free


FOREIGN = ("asyncio", "Dask", "IO loop", "Profile", "TCP-Executor", "AsyncProcess", "Event loop")
"""Threads that asyncio and distributed keep for the life of the process."""


@pytest.fixture(autouse=True)
def no_leaks():
    """Fail a test that leaves a socket open or a thread running."""
    before = set(threading.enumerate())
    yield
    context = zmq.Context.instance()
    left = [each for each in context._sockets if not each.closed]
    deadline = time.monotonic() + 2.0
    while (threads := set(threading.enumerate()) - before) and time.monotonic() < deadline:
        for thread in threads:
            thread.join(0.1)
    if not threads:  # a socket must not be closed under a thread that uses it
        for each in left:
            each.close(0)
    names = [
        thread.name
        for thread in threads
        if not thread.name.startswith(FOREIGN) and not isinstance(thread, GarbageCollectorThread)
    ]
    assert not left, f"sockets left open: {left}"
    assert not names, f"threads left running: {names}"


@pytest.fixture
def running():
    """Run servers and workers in threads; all are stopped at the end, last first."""
    with contextlib.ExitStack() as stack:

        def run(server):
            stack.enter_context(server.running())
            return server

        yield run


@pytest.fixture
def client():
    """Make clients that are closed at the end."""
    from pylm.clients import Client

    made = []

    def make(*args, **kwargs):
        kwargs.setdefault("timeout", 10.0)
        made.append(Client(*args, **kwargs))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def kit():
    """Run topologies on inproc sockets of a context of their own."""
    from pylm.testing import Kit

    with Kit() as one:
        yield one


@pytest.fixture
def example(tmp_path):
    """Make the processes of an example without starting them; all are stopped at the end."""
    made = []

    def make(name):
        made.append(Cluster(name, tmp_path))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def cluster(example):
    """Start the processes of an example in random order."""

    def start(name, roles, env=None):
        one = example(name)
        order = [*roles, ("client", "client.py")]
        random.shuffle(order)
        for label, file, *args in order:
            one.start(label, file, *args, **(env or {}))
        return one

    return start


ROLES = """
import logging, sys
from pylm import chained, standalone
from pylm.clients import Client
from pylm.config import ServerOptions
from pylm.parts.servers import ServerTemplate
from pylm.parts.services import CacheService, PubService, PullService, WorkerPullService, WorkerPushService
from pylm.servers import Hub, Master, Pipeline, Server, Sink, Worker

role, *where = sys.argv[1:]
quiet = {"log_level": logging.CRITICAL, "options": ServerOptions(heartbeat_s=0.2)}
calm = {"debug_level": logging.CRITICAL, "options": ServerOptions(heartbeat_s=0.2)}
result = lambda self, message: message
kinds = {
    base: type(base.__name__, (base,), {"foo": result})
    for base in (Server, Pipeline, Sink, Worker, chained.LastServer, standalone.Worker)
}


def template(db, pull, pub, wpull, wpush):
    one = ServerTemplate(logging.CRITICAL)
    one.register_inbound(PullService, "Pull", pull, route="WorkerPush")
    one.register_inbound(WorkerPullService, "WorkerPull", wpull, route="Pub")
    one.register_outbound(WorkerPushService, "WorkerPush", wpush)
    one.register_outbound(PubService, "Pub", pub, server="template")
    one.register_bypass(CacheService, "Cache", db)
    one.preset_cache(name="template", pull_address=pull, pub_address=pub, worker_pull_address=wpull,
                     worker_push_address=wpush)
    return one


def routed(db, router):
    options = ServerOptions(heartbeat_s=0.2, credit=1, router_address=router)
    return kinds[Worker]("", db, log_level=logging.CRITICAL, options=options)


class Caller:
    def __init__(self, name, db, route):
        self.client, self.route = Client(name, db, timeout=None, logging_level=50), route

    def start(self):
        while True:
            list(self.client.job(self.route, [b"other"] * 100, messages=100, idempotent=True))


class ChainedMaster(chained.Master):
    def gather(self, message):
        yield self.change_call(message, "last", "foo")


make = {
    "server": lambda: kinds[Server]("server", *where, **quiet),
    "first": lambda: kinds[Server]("first", *where, pipelined=True, **quiet),
    "pipeline": lambda: kinds[Pipeline]("pipeline", *where, "first", to_client=False, **quiet),
    "leaf": lambda: kinds[Pipeline]("pipeline", *where, "first", **quiet),
    "sink": lambda: kinds[Sink](
        "sink", where[0], where[2:], where[1], ["pipeline"] * len(where[2:]), **quiet
    ),
    "template": lambda: template(*where),
    "master": lambda: Master("master", *where, **quiet),
    "routed_master": lambda: Master(
        "master", *where[1:], log_level=logging.CRITICAL,
        options=ServerOptions(heartbeat_s=0.2, router_address=where[0]),
    ),
    "hub": lambda: Hub("hub", *where, "first", **quiet),
    "first_master": lambda: Master("first", *where, pipelined=True, **quiet),
    "routed_worker": lambda: routed(*where),
    "push_worker": lambda: kinds[Worker](
        "", *where, log_level=logging.CRITICAL, options=ServerOptions(heartbeat_s=0.2, channel="push")
    ),
    "worker": lambda: kinds[Worker]("", *where, **quiet),
    "old_master": lambda: standalone.Master("old", *where, **calm),
    "old_worker": lambda: kinds[standalone.Worker]("w", *where, **calm),
    "chained_master": lambda: ChainedMaster("chained", *where, **calm),
    "step": lambda: type("Step", (chained.Server,), {"foo": result})(*where, **calm),
    "request": lambda: type("Request", (standalone.Server,), {"foo": result})(
        "request", *where, log_level=logging.CRITICAL
    ),
    "client": lambda: Caller(*where),
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

    def disturbed(self, job, name, action):
        """Iterate over a job, disturb a role in its midst; return the answers, and the typed error that ended it."""
        from pylm import errors

        outcome = []

        def work():
            try:
                for answer in job:
                    outcome.append(answer)  # noqa: PERF402 - watched meanwhile
            except errors.PylmError as error:
                outcome.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        while len(outcome) < 100 and thread.is_alive():
            time.sleep(0.001)
        self.disturb(name, action)
        thread.join(60)
        assert not thread.is_alive()
        return outcome

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
