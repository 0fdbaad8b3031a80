import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator

import pytest
from mock_servers.control import Controlled
from mock_servers.faults import Fault, FaultBoard
from mock_servers.runner import ServerThread
from mock_servers.traffic import TrafficLog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


class Counter:
    """A server with one effect: POST /count adds one."""

    def __init__(self) -> None:
        self.count = 0
        self.faults = FaultBoard()
        self.traffic = TrafficLog()
        self.app = Controlled(
            Starlette(routes=[Route("/count", self.handle, methods=["GET", "POST"])]),
            server="counter",
            node="node-1",
            faults=self.faults,
            traffic=self.traffic,
            state=lambda: {"count": self.count},
            reset=lambda: setattr(self, "count", 0),
        )

    async def handle(self, request: Request) -> Response:
        await request.body()
        if request.method == "POST":
            self.count += 1
        return JSONResponse({"count": self.count})


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def server(counter) -> Iterator[ServerThread]:
    with ServerThread(counter.app) as running:
        yield running


def call(server: ServerThread, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=5)
    with contextlib.closing(connection):
        connection.request(method, path, None if body is None else json.dumps(body))
        reply = connection.getresponse()
        return reply.status, reply.read()


def test_fault_over_http_strikes_and_expires(server, counter):
    fault = {
        "action": "status",
        "status": 429,
        "headers": {"Retry-After": "1"},
        "body": "slow",
        "times": 1,
    }
    assert call(server, "POST", "/_mock/faults", fault) == (201, b'{"id":1}')
    assert call(server, "POST", "/count") == (429, b"slow")
    assert call(server, "POST", "/count") == (200, b'{"count":1}')


def test_bad_fault_over_http_is_refused(server):
    status, body = call(server, "POST", "/_mock/faults", {"action": "explode"})
    assert status == 400
    assert b"expected one of" in body


def test_faults_are_listed_and_removed_over_http(server, counter):
    number = counter.faults.add(Fault("drop", path="/x"))
    listed = json.loads(call(server, "GET", "/_mock/faults")[1])
    assert [(entry["id"], entry["action"]) for entry in listed] == [(number, "drop")]
    assert call(server, "DELETE", f"/_mock/faults/{number}")[0] == 204
    assert call(server, "DELETE", f"/_mock/faults/{number}")[0] == 404
    counter.faults.add(Fault("drop"))
    assert call(server, "DELETE", "/_mock/faults")[0] == 204
    assert counter.faults.shown() == []


@pytest.mark.parametrize(("apply", "count"), [(False, 0), (True, 1)])
@pytest.mark.parametrize(
    ("action", "error"),
    [("reset", ConnectionResetError), ("drop", http.client.RemoteDisconnected)],
)
def test_connection_ends_before_or_after_the_work_is_done(
    server, counter, action, error, apply, count
):
    counter.faults.add(Fault(action, apply=apply))
    with pytest.raises(error):
        call(server, "POST", "/count", {"big": "x" * 1000})
    assert counter.count == count
    assert counter.traffic.requests[-1].fault == action


def test_status_after_the_work_is_done(server, counter):
    counter.faults.add(Fault("status", apply=True, times=1))
    assert call(server, "POST", "/count")[0] == 503
    assert counter.count == 1


def test_hang_sends_nothing_until_the_client_leaves(server, counter):
    counter.faults.add(Fault("hang", times=1))
    with socket.create_connection((server.host, server.port)) as client:
        client.settimeout(0.2)
        client.sendall(b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        with pytest.raises(TimeoutError):
            client.recv(1)
    assert call(server, "GET", "/count") == (200, b'{"count":0}')


def test_hanging_request_does_not_hold_up_the_stop(counter):
    counter.faults.add(Fault("hang"))
    server = ServerThread(counter.app, grace_s=0.1).start()
    with socket.create_connection((server.host, server.port)) as client:
        client.sendall(b"GET /count HTTP/1.1\r\nHost: x\r\n\r\n")
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 2


def test_truncated_reply_ends_in_the_middle_of_its_body(server, counter):
    counter.faults.add(Fault("truncate"))
    with pytest.raises(http.client.IncompleteRead):
        call(server, "POST", "/count")
    assert counter.count == 1


def test_a_dripping_reply_arrives_byte_by_byte(server, counter):
    counter.faults.add(Fault("drip", delay_s=0.01, times=1))
    with socket.create_connection((server.host, server.port)) as client:
        client.sendall(b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        received = client.recv(65536)
        while not received.endswith(b"\r\n\r\n"):
            received += client.recv(1)
        parts = []
        while b"".join(parts) != b'{"count":1}':
            parts.append(client.recv(65536))
    assert len(parts) > 3
    assert counter.traffic.requests[-1].fault == "drip"


def test_a_dripping_reply_does_not_hold_up_the_stop(counter):
    counter.faults.add(Fault("drip", delay_s=60))
    server = ServerThread(counter.app, grace_s=0.1).start()
    with socket.create_connection((server.host, server.port)) as client:
        client.sendall(b"GET /count HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1)
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 2


@pytest.mark.parametrize("apply", [False, True])
def test_delayed_reply_arrives_whole(server, counter, apply):
    counter.faults.add(Fault("delay", delay_s=0.05, apply=apply))
    started = time.monotonic()
    assert call(server, "GET", "/count") == (200, b'{"count":0}')
    assert time.monotonic() - started >= 0.05


def test_traffic_is_recorded_with_bodies_and_timing(server, counter):
    call(server, "POST", "/count?a=%20b", {"k": 1})
    [entry] = counter.traffic.seen("POST", "/count")
    assert entry.target == "/count?a=%20b"
    assert (entry.request_body, entry.status, entry.response_body) == (
        b'{"k": 1}',
        200,
        b'{"count":1}',
    )
    assert entry.duration_s > 0


def test_traffic_is_readable_and_cleared_over_http(server, counter):
    call(server, "GET", "/count")
    shown = json.loads(call(server, "GET", "/_mock/requests?after=0&limit=5")[1])
    assert shown["total"] == 1
    assert shown["requests"][0]["response_body"] == {"text": '{"count":0}'}
    assert call(server, "GET", "/_mock/requests?after=x")[0] == 400
    assert call(server, "DELETE", "/_mock/requests")[0] == 204
    assert counter.traffic.requests == []


def test_state_is_shown_and_reset(server, counter):
    call(server, "POST", "/count")
    assert call(server, "GET", "/_mock/state") == (200, b'{"count":1}')
    counter.faults.add(Fault("drop"))
    assert call(server, "POST", "/_mock/reset")[0] == 204
    assert counter.count == 0
    assert counter.faults.shown() == []


async def test_connection_faults_outside_the_runner_say_what_they_need(counter):
    counter.faults.add(Fault("reset"))
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/count",
        "raw_path": b"/count",
        "query_string": b"",
        "headers": [],
    }

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        raise AssertionError("nothing may be sent")

    with pytest.raises(RuntimeError, match="ServerThread"):
        await counter.app(scope, receive, send)
