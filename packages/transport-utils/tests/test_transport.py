"""What the transports promise over real sockets: deadlines, single sending, failover, cancelling."""

import asyncio
import contextlib
import gzip
import sys
import threading
import time
import types

import httpx
import pytest
from transport_utils import errors
from transport_utils.aio.transport import AsyncTransport
from transport_utils.backends.httpx import HttpxBackend
from transport_utils.backoff import Constant
from transport_utils.deadline import Timeout
from transport_utils.discovery import Discovery
from transport_utils.endpoint import Endpoint
from transport_utils.errors import SentState
from transport_utils.hooks import Hooks, PoolEvent
from transport_utils.retry import RetryPolicy
from transport_utils.testing import (
    Answer,
    AsyncRecordingBackend,
    Close,
    Drip,
    FakeClock,
    FaultServer,
    RecordingBackend,
    Reset,
    Silence,
    refused_port,
)
from transport_utils.testing.promises import in_time
from transport_utils.transport import Transport

QUICK = RetryPolicy(backoff=Constant(0.01))
HELLO = Answer(body=b"hello")


# -- the deadline of a whole call


@pytest.mark.parametrize("backend", ["native", "urllib3"])
@pytest.mark.parametrize(
    "acts",
    [
        [Answer(503)],
        [Close()],
        [Silence()],
        [Answer(503, delay_s=0.1)],
        [Drip(Answer(body=b"x" * 100), start=60, every_s=0.1)],
    ],
    ids=["refusals", "closes", "silence", "slow refusals", "drip"],
)
def test_total_timeout_bounds_all_attempts_and_pauses(acts, backend):
    policy = RetryPolicy(max_retries=None, on_timeout=True, backoff=Constant(0.05))

    def call():
        with (
            FaultServer(*acts) as server,
            Transport(server.url, retry=policy, backend=backend) as transport,
            contextlib.suppress(errors.TransportError),
        ):
            assert transport.request("GET", "/x", timeout=0.4).status == 503

    in_time(0.4, call)


def test_fault_15_a_second_call_does_not_wait_for_the_only_connection_beyond_its_limit():
    endpoint = {"max_connections": 1}
    with (
        FaultServer(Silence()) as server,
        Transport(Endpoint.from_url(server.url, **endpoint), retry=None) as transport,
    ):

        def occupy():
            with contextlib.suppress(errors.TransportError):
                transport.request("GET", "/first", timeout=Timeout(read=30))

        thread = threading.Thread(target=occupy)
        thread.start()
        while not server.requests:
            time.sleep(0.001)

        def call():
            with pytest.raises(errors.TotalTimeout, match="stayed busy"):
                transport.request("GET", "/second", timeout=0.3)

        in_time(0.3, call)
        transport.close()
        thread.join()


# -- sent once


@pytest.mark.parametrize("backend", ["native", "urllib3", "requests", "httpx"])
@pytest.mark.parametrize("act", [Close(), Reset(), Reset(after_bytes=20), Silence()])
def test_fault_8_post_is_sent_once_when_the_server_may_have_it(act, backend):
    with (
        FaultServer(act, HELLO) as server,
        Transport(server.url, retry=QUICK, backend=backend) as transport,
    ):
        with pytest.raises(errors.TransportError) as caught:
            transport.request("POST", "/x", body=b"x", timeout=Timeout(read=0.2))
        assert caught.value.sent >= SentState.PARTIAL
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "allow",
    [{"idempotent": True}, {"headers": {"Idempotency-Key": "k"}}, {"method": "PUT"}],
)
def test_what_may_be_repeated_is_sent_again(allow):
    options = {"method": "POST", "body": b"x", **allow}
    method = options.pop("method")
    with FaultServer(Close(), HELLO) as server, Transport(server.url, retry=QUICK) as transport:
        response = transport.request(method, "/x", **options)
        assert (response.content, response.attempts) == (b"hello", 2)
        assert [request.body for request in server.requests] == [b"x", b"x"]


def test_post_that_never_left_goes_to_another_node():
    with refused_port() as port, FaultServer(HELLO) as server:
        nodes = [f"http://127.0.0.1:{port}", server.url]
        with Transport(nodes, randomize=False, retry=QUICK) as transport:
            assert transport.request("POST", "/x", body=b"x").content == b"hello"
        assert len(server.requests) == 1


def test_stale_connection_costs_an_idempotent_call_nothing():
    with FaultServer(HELLO, Close(), HELLO) as server, Transport(server.url, retry=0) as transport:
        transport.request("GET", "/1")
        response = transport.request("GET", "/2")
        assert (response.content, response.attempts) == (b"hello", 2)


def test_file_is_rewound_and_an_iterator_is_not_sent_twice(tmp_path):
    path = tmp_path / "body"
    path.write_bytes(b"from the file")
    with FaultServer(Close(), HELLO) as server, Transport(server.url, retry=QUICK) as transport:
        with path.open("rb") as file:
            assert transport.request("PUT", "/x", body=file).status == 200
        assert [request.body for request in server.requests] == [b"from the file"] * 2
        server.then(Close(), HELLO)
        with pytest.raises(errors.BodyNotReplayable):
            transport.request("PUT", "/x", body=iter([b"once"]))


# -- nodes


@pytest.mark.parametrize("backend", ["native", "urllib3"])
def test_killing_two_of_three_nodes_under_eight_threads_loses_no_call(backend):
    servers = [FaultServer(HELLO) for _ in range(3)]
    failures, done = [], []
    transport = Transport([server.url for server in servers], backend=backend, retry=QUICK)

    def work():
        try:
            for _ in range(25):
                content = transport.request("GET", "/x").content
                done.append(content)
        except errors.TransportError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    try:
        for thread in threads:
            thread.start()
        for server in servers[:2]:
            while len(done) < 20:
                time.sleep(0.001)
            server.close()
        for thread in threads:
            thread.join()
    finally:
        transport.close()
        for server in servers:
            server.close()
    assert failures == []
    assert done == [b"hello"] * 200


async def test_killing_two_of_three_nodes_under_many_tasks_loses_no_call():
    servers = [FaultServer(HELLO) for _ in range(3)]
    async with AsyncTransport([server.url for server in servers], retry=QUICK) as transport:

        async def work():
            return [(await transport.request("GET", "/x")).content for _ in range(20)]

        tasks = [asyncio.create_task(work()) for _ in range(8)]
        await asyncio.sleep(0.02)
        for server in servers[:2]:
            await asyncio.to_thread(server.close)
        assert await asyncio.gather(*tasks) == [[b"hello"] * 20] * 8
    servers[2].close()


def test_pain_18_discovered_nodes_keep_what_the_seed_had_and_never_mask_a_request():
    with FaultServer(HELLO) as first, FaultServer(HELLO) as second:
        rounds = []

        def discover(transport, reason):
            rounds.append(reason)
            if len(rounds) == 2:
                raise RuntimeError("no answer")
            assert transport.request("GET", "/nodes").status == 200
            seed = transport.nodes.nodes[0].endpoint
            return [seed.replace(port=second.port)]

        discovery = Discovery(discover, on_start=True, interval_s=0.0)
        with Transport(first.url, discovery=discovery, headers={"X-Key": "k"}) as transport:
            assert rounds == ["start"]
            assert transport.request("GET", "/x").status == 200
            assert rounds == ["start", "interval"]
            assert [request.target for request in first.requests] == ["/nodes"]
            assert second.requests[0].header("x-key") == "k"


def test_discovery_that_fails_at_the_start_is_an_error():
    def discover(transport, reason):
        raise RuntimeError("no answer")

    with pytest.raises(errors.DiscoveryError, match="no answer"):
        Transport("http://127.0.0.1:1", discovery=Discovery(discover, on_start=True))


def test_discovery_follows_a_failure():
    with refused_port() as port, FaultServer(HELLO) as server:

        def discover(transport, reason):
            assert reason == "failure"
            return [Endpoint.from_url(server.url)]

        discovery = Discovery(discover, on_failure=True)
        with Transport(f"http://127.0.0.1:{port}", discovery=discovery, retry=QUICK) as transport:
            assert transport.request("GET", "/x").content == b"hello"


async def test_asynchronous_discovery_does_the_same():
    with FaultServer(HELLO) as first, FaultServer(HELLO) as second:

        async def discover(transport, reason):
            await transport.request("GET", "/nodes")
            return [Endpoint.from_url(second.url)]

        discovery = Discovery(discover, on_start=True)
        async with AsyncTransport(first.url, discovery=discovery) as transport:
            await transport.request("GET", "/x")
        assert [request.target for request in second.requests] == ["/x"]


# -- decoding


def test_compressed_response_is_decoded_whole_and_streamed():
    packed = Answer(body=gzip.compress(b"hello" * 1000), headers=(("Content-Encoding", "gzip"),))
    with FaultServer(packed) as server, Transport(server.url) as transport:
        assert transport.request("GET", "/x").content == b"hello" * 1000
        with transport.request("GET", "/x", stream=True) as response:
            assert b"".join(response.iter_bytes(100)) == b"hello" * 1000
        assert transport.request("GET", "/x").reused is True


def test_undecodable_body_hides_no_failure_status_but_fails_a_success():
    broken = {"body": b"not gzip", "headers": (("Content-Encoding", "gzip"),)}
    with (
        FaultServer(Answer(404, **broken), Answer(200, **broken)) as server,
        Transport(server.url, retry=0) as transport,
    ):
        response = transport.request("GET", "/x")
        assert (response.status, response.content) == (404, b"not gzip")
        assert response.meta.decode_error
        with pytest.raises(errors.ProtocolError) as caught:
            transport.request("GET", "/x")
        assert caught.value.meta.status == 200
        assert caught.value.body == b"not gzip"


def test_bomb_is_refused():
    bomb = Answer(body=gzip.compress(bytes(40 << 20)), headers=(("Content-Encoding", "gzip"),))
    with (
        FaultServer(bomb) as server,
        Transport(server.url) as transport,
        pytest.raises(errors.DecodeBomb),
    ):
        transport.request("GET", "/x")


def test_perform_request_speaks_the_content_type():
    with (
        FaultServer(
            Answer(body=b'{"a":1}', headers=(("Content-Type", "application/json"),))
        ) as server,
        Transport(server.url, compression=True) as transport,
    ):
        meta, body = transport.perform_request("POST", "/x", body={"b": "x" * 5000})
        assert (meta.status, body) == (200, {"a": 1})
        assert transport.perform_request("HEAD", "/x")[1] is None
        [request, _] = server.requests
        assert request.header("content-type") == "application/json"
        assert request.header("content-encoding") == "gzip"
        assert b"x" * 5000 in gzip.decompress(request.body)


# -- asyncio


async def run_and_cancel_after(steps, make):
    """Start a call, let the loop turn ``steps`` times, cancel; return whether it had ended."""
    task = asyncio.ensure_future(make())
    for _ in range(steps):
        await asyncio.sleep(0)
        if task.done():
            break
    ended = task.done()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, errors.TransportError):
        await task
    return ended


@pytest.mark.parametrize("kind", ["short", "stream", "upload", "busy"])
async def test_cancellation_at_every_step_takes_nothing_from_the_pool(kind):
    async def body():
        for _ in range(3):
            await asyncio.sleep(0)
            yield b"x" * 10

    with FaultServer(Answer(body=b"x" * 200_000)) as server:
        endpoint = Endpoint.from_url(server.url, max_connections=1)
        async with AsyncTransport(endpoint, retry=0) as transport:

            async def call():
                if kind == "upload":
                    return await transport.request("PUT", "/x", body=body())
                if kind == "busy":
                    return await asyncio.gather(*(transport.request("GET", "/x") for _ in range(3)))
                async with await transport.request(
                    "GET", "/x", stream=kind == "stream"
                ) as response:
                    return [piece async for piece in response.aiter_bytes()]

            for steps in range(200):
                ended = await run_and_cancel_after(steps, call)
                await asyncio.sleep(0)
                for pool in transport.backend._pools.values():
                    assert pool.open_count == pool.idle_count <= 1
                if ended:
                    break
            assert (await transport.request("GET", "/x")).status == 200


def test_asynchronous_transport_may_be_used_in_a_second_loop():
    with FaultServer(HELLO) as server:
        transport = AsyncTransport(server.url)

        async def call():
            return (await transport.request("GET", "/x")).content

        async def call_and_close():
            content = await call()
            await transport.aclose()
            return content

        async def call_in_a_thread():
            await call()
            with pytest.raises(errors.ConfigurationError, match="another running event loop"):
                await asyncio.to_thread(asyncio.run, call())
            for pool in transport.backend._pools.values():
                pool.close_now()

        asyncio.run(call_in_a_thread())
        assert asyncio.run(call_and_close()) == b"hello"


# -- figures without noise


def test_native_request_takes_at_most_90_calls(monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    with FaultServer(HELLO) as server, Transport(server.url) as transport:
        for _ in range(3):
            transport.request("GET", "/x")
        sys.setprofile(note)
        transport.request("GET", "/x")
        sys.setprofile(None)
    assert count <= 90


@pytest.mark.parametrize("idle", [0, 40])
def test_pain_7_a_request_costs_the_same_with_many_idle_connections(idle, monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    with (
        FaultServer(Answer(body=b"x" * 300_000)) as server,
        Transport(Endpoint.from_url(server.url, max_connections=64)) as transport,
    ):
        streams = [transport.request("GET", "/x", stream=True) for _ in range(idle)]
        for response in streams:
            assert len(response.content) == 300_000
        server.then(HELLO)
        transport.request("GET", "/x")
        sys.setprofile(note)
        transport.request("GET", "/x")
        sys.setprofile(None)
    assert count <= 90


# -- hooks, credentials


def test_pool_events_tell_the_life_of_a_connection():
    events = []
    hooks = Hooks(on_pool=lambda endpoint, event: events.append(event))
    with FaultServer(HELLO) as server, Transport(server.url, hooks=hooks) as transport:
        transport.request("GET", "/x")
        transport.request("GET", "/x")
    assert events == [
        PoolEvent.OPENED,
        PoolEvent.RETURNED,
        PoolEvent.REUSED,
        PoolEvent.RETURNED,
        PoolEvent.EXPIRED,
    ]


def test_credentials_are_asked_for_each_attempt():
    backend = RecordingBackend([503, 200, 200])
    tokens = iter("ab")
    with Transport(
        "http://h:1/p",
        backend=backend,
        retry=QUICK,
        auth=lambda method, target, body: {"authorization": f"{method} {target} {next(tokens)}"},
    ) as transport:
        transport.request("GET", "/x")
        transport.request("GET", "/x", headers={"Authorization": "mine"})
    sent = [request.headers for _, request in backend.requests]
    assert [dict(one) for one in sent] == [
        {"authorization": "GET /p/x a"},
        {"authorization": "GET /p/x b"},
        {"Authorization": "mine"},
    ]


def test_pain_12_a_proxy_is_refused_where_it_would_be_ignored():
    endpoint = Endpoint("http", "h", 1, proxy="http://127.0.0.1:1")
    with (
        Transport(endpoint) as transport,
        pytest.raises(errors.ConfigurationError, match="urllib3"),
    ):
        transport.request("GET", "/x")


def test_pain_12_the_urllib3_backend_goes_through_a_proxy():
    with FaultServer(HELLO) as proxy:
        endpoint = Endpoint("http", "service.invalid", 1234, "/p", proxy=proxy.url)
        with Transport(endpoint, backend="urllib3") as transport:
            assert transport.request("GET", "/x").content == b"hello"
        assert proxy.requests[0].target == "http://service.invalid:1234/p/x"
        assert proxy.requests[0].header("host") == "service.invalid:1234"


def test_pain_8_the_limit_of_connections_is_a_limit_and_its_error_names_it():
    with FaultServer(Answer(body=b"x" * 300_000)) as server:
        endpoint = Endpoint.from_url(server.url, max_connections=2)
        with Transport(endpoint, retry=0) as transport:
            held = [transport.request("GET", "/x", stream=True) for _ in range(2)]
            with pytest.raises(errors.PoolTimeout, match=r"all 2 connections .* max_connections"):
                transport.request("GET", "/x", timeout=Timeout(pool=0.1))
            for response in held:
                response.close()
            assert transport.request("GET", "/x").status == 200


@pytest.mark.parametrize("option", [{"max_idle_s": 0.01}, {"max_age_s": 0.01}])
def test_pain_9_an_old_connection_is_not_used_again(option):
    with (
        FaultServer(HELLO) as server,
        Transport(Endpoint.from_url(server.url, **option)) as transport,
    ):
        transport.request("GET", "/x")
        deadline = time.monotonic() + 0.02
        while time.monotonic() < deadline:
            pass
        assert transport.request("GET", "/x").reused is False


@pytest.mark.parametrize("backend", ["native", "urllib3", "requests", "httpx"])
def test_fault_16_the_http_version_is_the_one_the_server_spoke(backend):
    old = Answer(raw=b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", then_close=True)
    with FaultServer(old, HELLO) as server, Transport(server.url, backend=backend) as transport:
        versions = [transport.request("GET", "/x").meta.http_version for _ in range(2)]
    assert versions == ["1.0", "1.1"]


def test_pain_5_waiting_for_a_connection_has_a_limit_and_an_error_of_its_own():
    with FaultServer(Answer(body=b"x" * 300_000)) as server:
        endpoint = Endpoint.from_url(server.url, max_connections=1)
        limits = Timeout(pool=0.1, read=30.0)
        with (
            Transport(endpoint, retry=0) as transport,
            transport.request("GET", "/x", stream=True),
            pytest.raises(errors.PoolTimeout) as caught,
        ):
            transport.request("GET", "/x", timeout=limits)
    assert caught.value.sent is SentState.NOT_SENT
    assert not transport.nodes.nodes[0].health.troubled


def test_pain_13_a_unix_socket_is_an_endpoint_like_any_other(tmp_path):
    path = str(tmp_path / "socket")
    with (
        FaultServer(HELLO, uds=path) as server,
        Transport(Endpoint("http", "localhost", 80, uds=path)) as transport,
    ):
        response = transport.request("GET", "/x")
        assert (response.content, response.node) == (b"hello", f"unix:{path}")
        assert server.requests[0].header("host") == "localhost"


@pytest.mark.parametrize("backend", ["native", "urllib3", "requests", "httpx"])
def test_pain_16_proxies_and_netrc_of_the_environment_are_not_looked_up(backend, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("NETRC", "/no/such/file")
    with FaultServer(HELLO) as server, Transport(server.url, backend=backend) as transport:
        assert transport.request("GET", "/x").content == b"hello"


def test_pain_24_any_module_with_the_names_of_httpx_will_do():
    renamed = types.ModuleType("httpx2")
    renamed.__dict__.update({name: getattr(httpx, name) for name in httpx.__all__})
    renamed.__name__ = "httpx2"
    with (
        FaultServer(HELLO) as server,
        Transport(server.url, backend=HttpxBackend(renamed)) as transport,
    ):
        assert transport.request("GET", "/x").content == b"hello"
        assert transport.backend.name == "httpx2"
    with pytest.raises(errors.ConfigurationError, match="httpx99"):
        HttpxBackend("httpx99")


@pytest.mark.parametrize("backend", ["native2", "", "stdlib"])
def test_unknown_backend_is_refused_with_the_known_ones(backend):
    with pytest.raises(errors.ConfigurationError, match="native"):
        Transport("http://h", backend=backend)
    with pytest.raises(errors.ConfigurationError, match="native"):
        AsyncTransport("http://h", backend=backend)


# -- without a network


def test_retries_can_be_watched_without_waiting():
    clock, backend = FakeClock(), RecordingBackend([503, errors.ConnectError("no"), (200, b"ok")])
    policy = RetryPolicy(backoff=Constant(10.0))
    with Transport("http://h:1", backend=backend, retry=policy, clock=clock) as transport:
        response = transport.request("GET", "/x", timeout=25.0)
    assert (response.content, response.attempts, response.duration_s) == (b"ok", 3, 20.0)
    assert clock.pauses == [10.0, 10.0]
    assert backend.closed


async def test_asynchronous_retries_can_be_watched_without_waiting():
    clock, backend = FakeClock(), AsyncRecordingBackend([503])
    policy = RetryPolicy(backoff=Constant(10.0))
    async with AsyncTransport(
        "http://h:1", backend=backend, retry=policy, clock=clock
    ) as transport:
        response = await transport.request("GET", "/x", timeout=25.0)
    assert (response.status, clock.pauses) == (503, [10.0, 10.0])
    clock.advance(1.0)
    assert clock.monotonic() == 1021.0
