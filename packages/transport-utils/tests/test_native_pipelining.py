"""The two halves of a native exchange, for many requests on their way at once."""

import time

import pytest
from mock_servers.runner import ServerThread
from transport_utils.backends.native import NativeBackend
from transport_utils.deadline import DEFAULT_TIMEOUT, Deadline, Timeout
from transport_utils.endpoint import Endpoint
from transport_utils.errors import PoolTimeout, ReadTimeout

NEVER = Deadline()


async def echo(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/hang":
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    body = scope["path"].encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def channel():
    with ServerThread(echo) as server:
        backend = NativeBackend()
        yield backend.channel(Endpoint("http", "127.0.0.1", server.port, max_connections=3))
        backend.close()


def get(channel, path):
    return channel.template.encode("GET", path, None)


def test_responses_may_be_awaited_in_any_order(channel):
    begun = [channel.begin(get(channel, f"/{n}"), DEFAULT_TIMEOUT, NEVER) for n in range(3)]
    for number in (2, 0, 1):
        _, body, _ = channel.end(begun[number], "GET", DEFAULT_TIMEOUT, NEVER)
        assert body == f"/{number}".encode()
    assert channel.pool.idle_count == 3


def test_abandoned_request_gives_its_place_back(channel):
    for _ in range(10):
        channel.abandon(channel.begin(get(channel, "/hang"), DEFAULT_TIMEOUT, NEVER))
    assert channel.pool.open_count == 0
    assert channel.exchange(get(channel, "/x"), "GET", DEFAULT_TIMEOUT, NEVER)[1] == b"/x"


def test_begin_without_patience_says_at_once_that_all_are_busy(channel):
    begun = [channel.begin(get(channel, "/x"), DEFAULT_TIMEOUT, NEVER) for _ in range(3)]
    started = time.monotonic()
    with pytest.raises(PoolTimeout):
        channel.begin(get(channel, "/x"), Timeout(pool=1e-6), NEVER)
    assert time.monotonic() - started < 1
    for one in begun:
        channel.end(one, "GET", DEFAULT_TIMEOUT, NEVER)


def test_silence_after_begin_is_a_read_timeout(channel):
    limits = Timeout(read=0.05)
    begun = channel.begin(get(channel, "/hang"), limits, NEVER)
    with pytest.raises(ReadTimeout):
        channel.end(begun, "GET", limits, NEVER)
    assert channel.pool.open_count == 0
