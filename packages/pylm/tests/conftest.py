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

    def finish(self, label="client"):
        status = self.processes[label].wait(30)
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
