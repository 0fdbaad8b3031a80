"""Many requests over several connections on one thread, or from one task."""

import pytest
from transport_utils import errors
from transport_utils.aio.transport import AsyncTransport
from transport_utils.backends.native import Channel
from transport_utils.backoff import Constant
from transport_utils.budget import RateLimiter
from transport_utils.deadline import Timeout
from transport_utils.endpoint import Endpoint
from transport_utils.messages import Request
from transport_utils.retry import RetryPolicy
from transport_utils.testing import (
    Answer,
    Close,
    FaultServer,
    Silence,
)
from transport_utils.testing.promises import in_time
from transport_utils.transport import Transport

QUICK = RetryPolicy(backoff=Constant(0.01))
HELLO = Answer(body=b"hello")


def targets(count):
    return [Request("GET", f"/{number}") for number in range(count)]


class Echo:
    """Answers with the target; misbehaves on some."""

    def perform(self, peer):
        request = peer.read_request()
        if request is None:
            return False
        if request.target.endswith("7"):
            return False
        if request.target.endswith("3"):
            peer.stopping.wait(0.02)
        status = 404 if request.target.endswith("4") else 200
        peer.sock.sendall(Answer(status, body=request.target.encode()).encode())
        return True


def summary(results):
    return [
        type(one).__name__ if isinstance(one, errors.TransportError) else (one.status, one.content)
        for one in results
    ]


EXPECTED = [
    "ConnectionReset"
    if number % 10 == 7
    else (404 if number % 10 == 4 else 200, f"/{number}".encode())
    for number in range(40)
]


@pytest.mark.parametrize("backend", ["native", "urllib3"])
@pytest.mark.parametrize("connections", [1, 3, 8])
def test_batch_keeps_the_order_and_an_error_per_request(backend, connections):
    with FaultServer(Echo()) as server:
        endpoint = Endpoint.from_url(server.url, max_connections=5)
        with Transport(endpoint, backend=backend, retry=None) as transport:
            results = transport.batch(targets(40), connections=connections)
    assert [
        one if one != "StaleConnection" else "ConnectionReset" for one in summary(results)
    ] == EXPECTED


async def test_asynchronous_batch_keeps_the_order_and_an_error_per_request():
    with FaultServer(Echo()) as server:
        endpoint = Endpoint.from_url(server.url, max_connections=5)
        async with AsyncTransport(endpoint, retry=None) as transport:
            results = await transport.batch(targets(40))
    assert [
        one if one != "StaleConnection" else "ConnectionReset" for one in summary(results)
    ] == EXPECTED


def test_batch_retries_by_the_policy_and_takes_bodies_and_streams():
    with (
        FaultServer(Answer(503), Close(), HELLO) as server,
        Transport(server.url, retry=QUICK) as transport,
    ):
        results = transport.batch(
            [
                Request("GET", "/1"),
                Request("PUT", "/2", body=b"x"),
                Request("PUT", "/3", body=[b"y"]),
            ],
            connections=2,
        )
    assert summary(results) == [(200, b"hello")] * 3
    assert {(r.target, r.body) for r in server.requests} == {
        ("/1", b""),
        ("/2", b"x"),
        ("/3", b"y"),
    }


def test_batch_stops_at_its_first_error_if_asked_to():
    with FaultServer(Echo()) as server, Transport(server.url, retry=None) as transport:
        results = transport.batch(targets(20), connections=1, stop_on_error=True)
    names = [type(one).__name__ for one in results]
    assert names[:7] == ["Response"] * 7
    assert names[8:] == ["TransportClosed"] * 12


def test_batch_that_cannot_connect_sends_nothing_more_if_asked_to():
    with FaultServer(HELLO) as server:
        refused = server.url
    with Transport(refused, retry=None) as transport:
        results = transport.batch(targets(20), connections=8, stop_on_error=True)
        names = [type(one).__name__ for one in results]
        assert names == ["ConnectError"] + ["TransportClosed"] * 19


def test_interrupted_batch_gives_back_its_turns_at_the_rate_limiter(monkeypatch):
    limiter = RateLimiter()
    taken = []
    monkeypatch.setattr(limiter, "reserve", lambda now: taken.append(now) or 0.0)
    monkeypatch.setattr(limiter, "cancel", taken.pop)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with FaultServer(HELLO) as server, Transport(server.url, rate_limiter=limiter) as transport:
        monkeypatch.setattr(Channel, "begin", interrupt)
        with pytest.raises(KeyboardInterrupt):
            transport.batch(targets(20), connections=8)
    assert len(taken) == 1  # that of the request which was being sent


def test_batch_is_not_held_up_by_one_slow_answer():
    class SlowFirst:
        def perform(self, peer):
            request = peer.read_request()
            if request is None:
                return False
            if request.target == "/0":
                peer.stopping.wait(0.3)
            order.append(request.target)
            peer.sock.sendall(HELLO.encode())
            return True

    order = []
    with FaultServer(SlowFirst()) as server, Transport(server.url) as transport:
        assert summary(transport.batch(targets(30), connections=3)) == [(200, b"hello")] * 30
    assert order.index("/0") == 29


def test_batch_keeps_the_limits_of_its_requests():
    with FaultServer(Silence()) as server, Transport(server.url, retry=None) as transport:

        def call():
            results = transport.batch(
                [Request("GET", "/x", timeout=Timeout(total=0.3)) for _ in range(4)], connections=4
            )
            assert [type(one) for one in results] == [errors.TotalTimeout] * 4

        in_time(0.3, call)
        [result] = transport.batch([Request("GET", "/x", timeout=Timeout(read=0.1))])
        assert isinstance(result, errors.ReadTimeout)


def test_batch_of_bad_requests_sends_nothing():
    with FaultServer(HELLO) as server, Transport(server.url) as transport:
        results = transport.batch(
            [Request("GET", "no slash"), Request("GET", "/x"), Request("G T", "/x")]
        )
        assert summary(results) == ["LocalProtocolError", (200, b"hello"), "LocalProtocolError"]
        assert len(server.requests) == 1
        with pytest.raises(errors.ConfigurationError):
            transport.batch([], connections=0)
