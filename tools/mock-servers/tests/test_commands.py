"""The commands as a person runs them: what they print, where they listen, how they end."""

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from click.testing import CliRunner
from mock_servers.cli import main
from mock_servers.console.cli import SERVERS
from mock_servers.process import ServerProcess


def get(url, path="/"):
    connection = http.client.HTTPConnection(url.partition("//")[2], timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read()


def run_until_asked(arguments, url, path="/"):
    """Run a command in this process and end it by SIGTERM once a request was answered with 200."""
    answered, ended = threading.Event(), threading.Event()

    def watch():
        deadline = time.monotonic() + 20
        while not answered.is_set() and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if get(url, path)[0] == 200:
                    answered.set()
            time.sleep(0.01)
        while not ended.wait(0.05):
            os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=watch)
    # Until the command has set its own handler a signal must not end the test run.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        watcher.start()
        result = CliRunner().invoke(main, arguments)
    finally:
        ended.set()
        watcher.join()
        signal.signal(signal.SIGTERM, before)
    assert result.exit_code == 0, result.output
    assert answered.is_set()
    return result.output


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_loudml_loads_its_file_serves_and_ends_at_sigterm(tmp_path, port):
    (tmp_path / "p.csv").write_text("time,v\n1,2\n")
    arguments = ["loudml", "--port", str(port), "--load", f"b={tmp_path}/p.csv"]
    output = run_until_asked(arguments, f"http://127.0.0.1:{port}", "/buckets/b")
    assert output.splitlines() == [
        "loaded 1 values into bucket b",
        f"loudml http://127.0.0.1:{port}",
        "ready (Ctrl-C stops)",
        "stopped",
    ]


@pytest.mark.parametrize(
    ("name", "said"), [("ramen", "stopped with 0 messages"), ("v3io", "stopped")]
)
def test_single_server_serves_and_ends_at_sigterm(name, said, port):
    url = f"http://127.0.0.1:{port}"
    output = run_until_asked([name, "--port", str(port)], url, "/_mock/requests")
    assert url in output
    assert output.splitlines()[-1] == said


def test_up_serves_the_page_and_what_was_chosen(port, monkeypatch):
    monkeypatch.setattr(
        "mock_servers.console.cli.SERVERS",
        {name: (make, 0) for name, (make, _) in SERVERS.items()},
    )
    arguments = ["up", "--port", str(port), "--only", "ramen", "--only", "v3io"]
    output = run_until_asked(arguments, f"http://127.0.0.1:{port}", "/state/ramen")
    assert re.findall(r"^(\w+) http", output, re.M) == ["v3io", "ramen", "console"]


def test_proxy_carries_to_its_upstream(port, loudml_server):
    arguments = ["proxy", loudml_server.hosts[0], "--port", str(port), "--latency-ms", "20"]
    run_until_asked(arguments, f"http://127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["loudml", "--load", "b"], "expected BUCKET=FILE"),
        (["proxy", "nowhere"], "expected host:port"),
        (["nope"], "No such command"),
        (["up", "--only", "nope"], "'nope' is not one of"),
    ],
)
def test_bad_arguments_are_refused_with_what_was_expected(arguments, message):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_help_lists_every_server_without_importing_it():
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for name in ("loudml", "proxy", "ramen", "up", "v3io", "yagna"):
        assert re.search(rf"^  {name} ", result.output, re.M)


@pytest.mark.parametrize("name", ["loudml", "ramen", "v3io"])
def test_process_is_killed_and_starts_again_at_its_address(name):
    with ServerProcess(name, "--port", "0") as server:
        url = server.url
        assert get(url, "/_mock/requests")[0] == 200
        server.kill()
        with pytest.raises(ConnectionRefusedError):
            get(url)
        server.start()
        assert server.url == url
        assert get(url, "/_mock/requests")[0] == 200
        assert server.starts == 2
        assert server.stop() == 0
        assert server.stop() == 0


def test_paused_process_answers_only_after_it_is_resumed():
    with ServerProcess("loudml", "--port", "0") as server:
        host = server.url.partition("//")[2]
        server.pause()
        connection = http.client.HTTPConnection(host, timeout=0.2)
        connection.request("GET", "/")
        with contextlib.closing(connection), pytest.raises(TimeoutError):
            connection.getresponse()
        server.resume()
        assert get(server.url)[0] == 200


def test_several_nodes_of_one_process_are_all_known():
    with ServerProcess("loudml", "--port", "0", "--nodes", "3") as server:
        assert len(set(server.addresses)) == 3


def test_process_that_cannot_start_says_why(loudml_server):
    port = loudml_server.hosts[0].rpartition(":")[2]
    with pytest.raises(RuntimeError, match="in use"):
        ServerProcess("loudml", "--port", port).start()
    with pytest.raises(RuntimeError, match="does not run"):
        ServerProcess("loudml").pause()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    "arguments",
    [
        ["up", "--free-ports", "--only", "ramen"],
        ["loudml", "--port", "0"],
        ["v3io", "--port", "0"],
        ["ramen", "--port", "0"],
        ["yagna", "--port", "0"],
        ["proxy", "127.0.0.1:9"],
    ],
    ids=lambda words: words[0],
)
def test_interrupted_command_says_one_line_and_ends_with_0(arguments, number):
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "mock_servers", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        assert any("Ctrl-C" in line for line in run.stdout), run.stderr.read()
        run.send_signal(number)
        said, errors = run.communicate(timeout=30)
    assert (run.returncode, errors) == (0, "")
    assert said.splitlines()[-1].startswith("stopped")


INTERRUPTED_AT_EVERY_STEP = """
import os, signal, sys, threading
import click
from mock_servers.foreground import Interruption, wait_for_interrupt

steps = 0

def trace(frame, event, argument):
    global steps
    steps += event == "line"
    if steps == at:
        signal.raise_signal(signal.SIGTERM)
    return trace

for at in range(1, 40):
    steps = 0
    with click.Context(click.Command("x"), obj=Interruption()) as context, context.obj:
        late = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM))
        late.start()
        sys.settrace(trace)
        wait_for_interrupt()
        sys.settrace(None)
        late.join()
print("all came through")
"""


def test_a_signal_at_any_step_of_the_wait_ends_it():
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_AT_EVERY_STEP],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout.endswith("all came through\n"), done.stderr


INTERRUPTED_IN_ANOTHER_THREAD = """
import signal, threading
import click
from mock_servers.foreground import Interruption, wait_for_interrupt

def interrupt():
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

with click.Context(click.Command("x"), obj=Interruption()) as context, context.obj:
    late = threading.Timer(0.2, interrupt)
    late.start()
    wait_for_interrupt()
    late.join()
"""


def test_a_signal_that_interrupts_no_call_of_the_main_thread_ends_the_wait():
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IN_ANOTHER_THREAD],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert done.stdout == "stopped\n", done.stderr
