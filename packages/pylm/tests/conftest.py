"""Shared fixtures: free addresses, and nothing left behind."""

import contextlib
import socket
import threading
import time

import pytest
import zmq
from zmq.utils.garbage import GarbageCollectorThread


@pytest.fixture
def address():
    """Return free addresses on 127.0.0.1, a new one per call."""
    taken = []

    def free():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port in taken:
            return free()
        taken.append(port)
        return f"tcp://127.0.0.1:{port}"

    return free


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
    for each in left:
        each.close(0)
    names = [
        thread.name
        for thread in threads
        if not thread.name.startswith("asyncio") and not isinstance(thread, GarbageCollectorThread)
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
