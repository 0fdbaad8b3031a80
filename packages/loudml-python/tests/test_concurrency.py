"""Threads, forks, closing, and what a request may cost."""

import gc
import os
import sys
import threading
import warnings

import pytest
from loudml import (
    ConnectionError,
    Loud,
    NativeHttpConnection,
    RequestsHttpConnection,
    Urllib3HttpConnection,
)
from mock_servers.faults import Fault

CONNECTION_CLASSES = [NativeHttpConnection, Urllib3HttpConnection, RequestsHttpConnection]


@pytest.fixture(params=CONNECTION_CLASSES, ids=lambda one: one.__name__)
def connection_class(request):
    return request.param


@pytest.fixture
def echo(recording_server, http_reply):
    """A server that answers with the path it was asked for."""

    def answer(head, body):
        return http_reply(200, b'"' + head.split(b" ")[1] + b'"')

    return recording_server(answer)


def test_threads_get_their_own_answers(echo, connection_class):
    wrong = []
    with Loud(echo.host, connection_class=connection_class, maxsize=4) as loud:

        def work(number):
            answers = {turn: loud.models.get(f"{number}-{turn}") for turn in range(20)}
            expected = {turn: f"/models/{number}-{turn}" for turn in range(20)}
            if answers != expected:
                wrong.append(answers)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_parent_and_child_of_a_fork_get_their_own_answers(echo, connection_class):
    def wrong(side):
        return sum(loud.models.get(f"{side}{n}") != f"/models/{side}{n}" for n in range(50))

    with Loud(echo.host, connection_class=connection_class) as loud:
        loud.models.get("before")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads
            child = os.fork()
        if child == 0:
            status = 1
            try:
                status = min(wrong("child"), 100)
            finally:
                os._exit(status)
        assert wrong("parent") == 0
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_closing_ends_a_pause_of_another_thread(loudml_server):
    loudml_server.faults.add(Fault("status", status=503, headers={"Retry-After": "30"}))
    loud = Loud(loudml_server.hosts, connection_class=NativeHttpConnection)
    pausing, errors = threading.Event(), []
    real_wait = loud.transport._closed.wait

    def wait(seconds):
        pausing.set()
        return real_wait(seconds)

    loud.transport._closed.wait = wait

    def work():
        try:
            loud.info()
        except ConnectionError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert pausing.wait(10)
    loud.close()
    thread.join(10)
    assert "closed while a request waited" in str(errors[0])


def test_a_forgotten_client_closes_its_connections(loudml_server, connection_class):
    loud = Loud(loudml_server.hosts, connection_class=connection_class)
    loud.info()
    del loud
    gc.collect()  # the leak check of every test sees the rest


def test_a_native_request_makes_at_most_90_python_calls(echo):
    with Loud(echo.host, connection_class=NativeHttpConnection) as loud:
        get = loud.models.get
        get("a")
        calls = 0

        def count(frame, event, argument):
            nonlocal calls
            calls += event == "call"

        sys.setprofile(count)
        try:
            get("a")
        finally:
            sys.setprofile(None)
    assert calls <= 90


def test_importing_loads_nothing_optional():
    import subprocess

    optional = "asyncio click dateutil requests rich ssl urllib3 yaml"
    code = f"import sys, loudml; print(*set({optional!r}.split()) & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "\n"
