import contextlib
import http.client
import json
import pathlib
import shutil
import subprocess
import threading
import time
import urllib.request

import chromium
import pytest
from click.testing import CliRunner
from loudml_client import BUCKET, MODEL, NOW, call, daily_points
from mock_servers.clock import ManualClock
from mock_servers.console import Console, pipeline
from mock_servers.console.curl import curl_line
from mock_servers.console.panel import Panel
from mock_servers.console.sampling import ROWS, Sampler
from mock_servers.process import ServerProcess
from mock_servers.traffic import Exchange


@pytest.fixture
def console(loudml_cluster):
    with Console() as running:
        running.add(loudml_cluster)
        yield running


def ask(console, method, path, body=None):
    address = console.url.removeprefix("http://")
    with contextlib.closing(http.client.HTTPConnection(address, timeout=10)) as connection:
        connection.request(method, path, None if body is None else json.dumps(body))
        reply = connection.getresponse()
        content = reply.read()
        is_json = reply.headers["Content-Type"] == "application/json"
        return reply.status, json.loads(content) if is_json else content


def recorded(**values):
    exchange = Exchange("s", "n", 0.0, "POST", "/models?b=1", [("content-type", "text/plain")])
    for name, value in values.items():
        setattr(exchange, name, value)
    exchange.request_size = values.get("request_size", len(exchange.request_body))
    return exchange


@pytest.mark.parametrize(
    "exchange",
    [
        recorded(request_body=b'{"it": "isn\'t $HOME `id`"}'),
        recorded(request_body=b"\x00\xff binary"),
        recorded(request_body=b"@not-a-file", request_headers=[]),
        recorded(method="GET", request_headers=[]),
        recorded(method="HEAD", request_headers=[]),
        recorded(request_headers=[("authorization", "Bearer hidden"), ("x-a", "b c")]),
        recorded(request_headers=[("x-api-token", "Bearer hidden")]),
        recorded(request_body=b'{"it": "isn\'t", "password": "Bearer hidden", "n": 1}'),
        recorded(target="/models?a=$HOME&token=Bearer%20hidden&b=1", request_headers=[]),
    ],
    ids=[
        *("quotes", "binary", "at sign", "get", "head", "secret"),
        *("secret of ramen", "secret in the body", "secret in the query"),
    ],
)
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_line_sends_the_same_request_again(loudml_server, exchange):
    line = curl_line(exchange, loudml_server.url)
    assert "hidden" not in line
    secret = "Bearer%20hidden" if "%20" in exchange.target else "Bearer hidden"
    environment = {"SECRET": secret, "PATH": "/usr/local/bin:/usr/bin:/bin"}
    subprocess.run(["sh", "-c", line], check=True, capture_output=True, env=environment)
    again = loudml_server.traffic.requests[-1]
    assert (again.method, again.target, again.request_body) == (
        exchange.method,
        exchange.target,
        exchange.request_body,
    )
    own = {"accept", "content-length", "host", "user-agent"}
    headers = [header for header in again.request_headers if header[0] not in own]
    assert headers == exchange.request_headers


def test_curl_line_says_when_the_body_was_cut():
    line = curl_line(recorded(request_body=b"abc", request_size=10), "http://h")
    assert line.endswith("# 7 more bytes of the body were not kept")


class Served:
    """A server that answered what the test says."""

    url = "http://127.0.0.1:1"

    def __init__(self, exchanges):
        from mock_servers.faults import FaultBoard
        from mock_servers.traffic import TrafficLog

        self.faults = FaultBoard()
        self.traffic = TrafficLog()
        for exchange in exchanges:
            self.traffic.add(exchange)


def test_sample_tells_rates_and_prefers_what_went_wrong():
    now = [0.0]
    exchanges = [recorded(status=200, started_at=float(i), duration_s=0.001) for i in range(100)]
    exchanges[3].status = 503
    exchanges[5].fault = "reset"
    panel = Panel("p", Served(exchanges))
    sampler = Sampler(lambda: [panel], lambda: now[0])
    assert sampler.update()["panels"][0]["rate"] == 0.0
    for exchange in exchanges:
        panel.server.traffic.add(exchange)
    now[0] = 0.5
    update = sampler.update()
    [shown] = update["panels"]
    assert (shown["total"], shown["rate"], shown["bad"], shown["p50"]) == (200, 200.0, 2, 1.0)
    assert (update["new"], len(update["rows"])) == (100, ROWS)
    assert {104, 106} < {row["number"] for row in update["rows"]}
    assert [row["at"] for row in update["rows"]] == sorted(row["at"] for row in update["rows"])
    assert sampler.update()["new"] == 0


def test_sample_lets_no_busy_server_hide_a_quiet_one():
    busy = Served(
        [recorded(status=200, started_at=float(i), duration_s=0.1) for i in range(5000, 6000)]
    )
    quiet = Served([recorded(status=200, started_at=float(i)) for i in range(3)])
    update = Sampler(lambda: [Panel("busy", busy), Panel("quiet", quiet)]).update()
    assert (update["new"], len(update["rows"])) == (1003, ROWS)
    assert [row["number"] for row in update["rows"] if row["panel"] == "quiet"] == [1, 2, 3]
    assert [row["number"] for row in update["rows"] if row["panel"] == "busy"][-1] == 1000


def test_page_and_its_files_are_served(console):
    for path, content in (
        ("/", b"<!doctype"),
        ("/console.js", b"use strict"),
        ("/console.css", b":root"),
    ):
        status, body = ask(console, "GET", path)
        assert status == 200
        assert content in body


def test_events_stream_starts_with_the_servers(console):
    address = console.url.removeprefix("http://")
    with contextlib.closing(http.client.HTTPConnection(address, timeout=10)) as connection:
        connection.request("GET", "/events")
        reply = connection.getresponse()
        assert reply.headers["Content-Type"].startswith("text/event-stream")
        first = json.loads(reply.readline().removeprefix(b"data: "))
    assert [panel["name"] for panel in first["panels"]] == ["loudml"]
    assert len(first["panels"][0]["nodes"]) == 3


def test_exchange_is_shown_whole_without_secrets_and_with_a_curl_line(console, loudml_cluster):
    call(loudml_cluster.nodes[1], "GET", "/models", headers={"Authorization": "Basic c2VjcmV0"})
    status, shown = ask(console, "GET", "/exchange/loudml/1")
    assert status == 200
    assert shown["response_body"] == {"text": "[]\n"}
    assert "c2VjcmV0" not in json.dumps(shown)
    assert shown["curl"].endswith(f"{loudml_cluster.nodes[1].url}/models")
    assert ask(console, "GET", "/exchange/loudml/99")[0] == 404


def test_fault_of_a_button_strikes_the_server(console, loudml_cluster):
    status, _ = ask(console, "POST", "/faults/loudml", {"action": "status", "status": 503})
    assert status == 201
    assert call(loudml_cluster, "GET", "/").status == 503
    assert ask(console, "DELETE", "/faults/loudml")[0] == 204
    assert call(loudml_cluster, "GET", "/").status == 200
    status, reply = ask(console, "POST", "/faults/loudml", {"action": "explode"})
    assert (status, "expected one of" in reply["error"]) == (400, True)


def test_state_is_shown_and_reset(console, loudml_cluster):
    call(loudml_cluster, "POST", "/models", MODEL)
    status, state = ask(console, "GET", "/state/loudml")
    assert (status, len(state["models"])) == (200, 1)
    assert ask(console, "POST", "/reset/loudml")[0] == 204
    assert ask(console, "GET", "/state/loudml")[1]["models"] == []


def test_node_is_killed_and_started(console, loudml_cluster):
    assert ask(console, "POST", "/nodes/loudml/loudml-1/kill")[0] == 204
    assert not loudml_cluster.nodes[0].is_running
    assert ask(console, "GET", "/state/loudml")[0] == 200
    assert ask(console, "POST", "/nodes/loudml/loudml-1/start")[0] == 204
    assert loudml_cluster.nodes[0].is_running
    assert ask(console, "POST", "/nodes/loudml/loudml-9/kill")[0] == 404
    assert ask(console, "POST", "/nodes/loudml/loudml-1/explode")[0] == 404


def test_server_that_is_down_is_told_not_hidden(console, loudml_cluster):
    for node in loudml_cluster.nodes:
        node.stop()
    status, reply = ask(console, "GET", "/state/loudml")
    assert (status, reply["error"]) == (502, "loudml: no node of loudml runs")
    assert ask(console, "GET", "/state/nope")[0] == 404


def test_panel_without_a_server_shows_its_state(console):
    console.show("pipeline", lambda: {"messages_per_s": 7})
    assert ask(console, "GET", "/state/pipeline") == (200, {"messages_per_s": 7})
    assert ask(console, "POST", "/faults/pipeline", {"action": "drop"})[0] == 404
    console.remove("pipeline")
    assert ask(console, "GET", "/state/pipeline")[0] == 404


def test_panel_without_a_server_tells_its_throughput():
    panel = Panel("pipeline", state=dict, throughput=lambda: (12, 3.25))
    [shown] = Sampler(lambda: [panel]).update()["panels"]
    assert (shown["total"], shown["rate"], shown["unit"]) == (12, 3.2, "messages")
    assert "faults" not in shown


@pytest.fixture
def pylm_like(tmp_path, monkeypatch):
    """A command in the place of pylm that prints a reading, half a line, and waits to be interrupted."""
    first = {"name": "clean", "state": "up", "rate": 2.04, "received": 7, "pid": 1, "workers": []}
    second = {"name": "crew", "state": "up", "rate": 1.0, "received": 3, "workers": [{"name": "w"}]}
    reading = json.dumps(
        {"cluster": "words", "servers": [first, second, {"name": "x", "state": "down"}]}
    )
    command = tmp_path / "pylm"
    command.write_text(
        f"#!/bin/sh\n[ \"$1 $2\" = 'top --json' ] || exit 2\necho '{reading}'\necho '{{'\nexec sleep 60\n"
    )
    command.chmod(0o755)
    monkeypatch.setattr(pipeline, "pylm_command", lambda: [str(command)])
    return command


def test_pipeline_shows_what_the_pylm_command_reports(pylm_like):
    with pipeline.Pipeline("words.toml") as shown:
        deadline = time.monotonic() + 10
        while not shown.state()["servers"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert shown.throughput() == (10, 3.04)
        first, second, third = shown.state()["servers"]
        assert shown.state()["workers"] == [{"of": "crew", "name": "w"}]
    assert first == {"name": "clean", "state": "up", "rate": 2.0, "received": 7}
    assert second == {"name": "crew", "state": "up", "rate": 1.0, "received": 3}
    assert third == {"name": "x", "state": "down"}


def test_pipeline_without_pylm_says_so(monkeypatch):
    monkeypatch.setattr(pipeline, "pylm_command", lambda: None)
    with pytest.raises(FileNotFoundError, match="install pylm"), pipeline.Pipeline("words.toml"):
        pass


def command_lines(parent=None):
    """Yield the command lines of all processes, or of the children of one."""
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            ppid = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent is None or ppid == parent:
                yield (folder / "cmdline").read_text().rstrip("\0").split("\0")


@pytest.mark.skipif(pipeline.pylm_command() is None, reason="needs pylm")
@pytest.mark.timeout(90)
def test_up_runs_a_pylm_cluster_and_shows_it():
    with ServerProcess("up", "--free-ports", "--only", "pylm") as up:
        (url,) = [address for address in up.addresses if address.startswith("http")]
        deadline = time.monotonic() + 60
        states = {}
        while set(states.values()) != {"up"} or len(states) != 2:
            assert time.monotonic() < deadline, states
            with urllib.request.urlopen(f"{url}/state/pylm", timeout=10) as reply:
                states = {one["name"]: one["state"] for one in json.load(reply)["servers"]}
            time.sleep(0.1)
        assert set(states) == {"clean", "crew"}
        file = next(found for found in command_lines(up.pid) if found[-1].endswith("words.toml"))[
            -1
        ]
        up.kill()
        while any(file in found for found in command_lines()):
            assert time.monotonic() < deadline, "the cluster lives on without its parent"
            time.sleep(0.1)


def test_up_lists_the_servers_it_can_start():
    from mock_servers.cli import main

    result = CliRunner().invoke(main, ["up", "--help"])
    assert result.exit_code == 0
    assert "[loudml|" in result.output


@pytest.mark.skipif(chromium.executable() is None, reason="needs chromium")
@pytest.mark.timeout(120)
def test_page_follows_a_thousand_requests_per_second_and_injects_faults(make_loudml_server):
    server = make_loudml_server(clock=ManualClock(NOW))
    call(server, "POST", "/buckets", BUCKET)
    call(server, "POST", "/models", MODEL)
    server.cluster.buckets.save("b", daily_points(4), None)
    call(server, "POST", "/models/m/_train?from=now-4d&max_evals=1")
    server.advance()
    call(server, "POST", "/models/m/_eval?from=now-2d&to=now&flag_abnormal_data=true")
    with Console() as console, load(server) as sent:
        console.add(server)
        console.show("pylm", lambda: {"servers": [{"name": "crew"}]}, lambda: (sent[0], 7.0))
        with chromium.opened(console.url) as page:
            page.until("document.querySelectorAll('#rows tr').length > 100")
            page.until("document.getElementById('sampled').textContent.includes('sampled')")
            busy_share = page.script_share(1.0)
            assert busy_share < 0.5
            assert page.evaluate("document.querySelectorAll('#rows tr').length") <= 250
            page.until("document.querySelector('svg.plot .anomaly') !== null")
            pipeline_panel = "document.querySelector('.panel[data-panel=pylm]')"
            page.until(f"/\\d messages · 7.s/.test({pipeline_panel}.textContent)")
            page.evaluate(f"{pipeline_panel}.querySelector('h2').click()")
            page.until("document.getElementById('state').textContent.includes('crew')")
            assert page.evaluate(
                f"{pipeline_panel}.querySelector('.buttons').offsetParent === null"
            )
            set_filter = (
                "document.getElementById('filter').value = '{}';"
                "document.getElementById('filter').dispatchEvent(new Event('input'));"
                "document.querySelectorAll('#rows tr').length"
            )
            assert page.evaluate(set_filter.format("no such path")) == 0
            assert page.evaluate("document.getElementById('empty').hidden") is False
            assert page.evaluate(set_filter.format("get /models/m 200".upper())) > 100
            assert page.evaluate(set_filter.format("")) > 100
            only = "document.getElementById('only').click();"
            count = "document.querySelectorAll('#rows tr').length"
            assert page.evaluate(only + count) == 0  # the chosen one is no server
            assert page.evaluate(only + count) > 100
            page.evaluate("document.querySelector('#rows tr').click()")
            page.until("document.getElementById('curl')?.textContent.startsWith('curl -sS')")
            page.evaluate(
                "[...document.querySelectorAll('.panel button')]"
                ".find(b => b.textContent.startsWith('503')).click()"
            )
            page.until("document.querySelector('#rows tr[data-status=\"503\"]') !== null")
            page.until("document.querySelector('.panel .faults').textContent === ''")
    assert sent[0] > 500


@contextlib.contextmanager
def load(server):
    """Ask a server as fast as two threads can, while the block runs."""
    sent = [0]
    stop = threading.Event()

    def ask_on() -> None:
        connection = http.client.HTTPConnection(server.nodes[0].host, timeout=10)
        with contextlib.closing(connection):
            while not stop.is_set():
                connection.request("GET", "/models/m")
                connection.getresponse().read()
                sent[0] += 1
                time.sleep(0.001)

    threads = [threading.Thread(target=ask_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield sent
    finally:
        stop.set()
        for thread in threads:
            thread.join()
