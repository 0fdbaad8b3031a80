"""What a whole transport promises, on threads and on asyncio alike; single exchanges are in the contract suite."""

import asyncio
import time

import pytest
from transport_utils import (
    AsyncTransport,
    BearerAuth,
    Compression,
    ConfigurationError,
    ConnectError,
    ConnectionReset,
    Constant,
    Discovery,
    DiscoveryError,
    Endpoint,
    RateLimiter,
    Request,
    RetryAfterExceeded,
    RetryPolicy,
    SentState,
    SerializationError,
    TimedOut,
    TotalTimeout,
    Transport,
    TransportClosed,
    TransportError,
)
from transport_utils.testing import (
    Answer,
    AsyncRecordingBackend,
    Close,
    Drip,
    FakeClock,
    FaultServer,
    RecordingBackend,
    Silence,
    refused_port,
)

AT_ONCE = RetryPolicy(backoff=Constant(0))
JSON = {"content-type": "application/json"}


class AsyncAsSync:
    """An asynchronous transport with the methods of the other, so that one test serves both."""

    def __init__(self, *args, **options):
        self.loop = asyncio.new_event_loop()
        try:
            self.inner = self.run(self.make(*args, **options))
        except BaseException:
            self.loop.close()
            raise

    async def make(self, *args, **options):
        return AsyncTransport(*args, **options)

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def __getattr__(self, name):
        found = getattr(self.inner, name)
        if name in ("request", "perform_request", "batch"):
            return lambda *args, **options: self.run(found(*args, **options))
        return found

    def close(self):
        if not self.loop.is_closed():
            self.run(self.inner.aclose())
            self.loop.close()


@pytest.fixture(params=["threads", "asyncio"])
def kind(request):
    return request.param


@pytest.fixture
def make(kind):
    made = []

    def build(*args, **options):
        answers = options.pop("answers", None)
        if answers is not None:
            options["backend"] = (RecordingBackend if kind == "threads" else AsyncRecordingBackend)(
                answers
            )
        made.append((Transport if kind == "threads" else AsyncAsSync)(*args, **options))
        return made[-1]

    yield build
    for transport in made:
        transport.close()


def sent(transport):
    """Return the requests that a recording backend has seen."""
    return [request for _, request in transport.backend.requests]


def nodes(transport):
    return [endpoint.host for endpoint, _ in transport.backend.requests]


# --- retries across nodes


def test_a_lost_node_costs_no_call_and_no_pause(make):
    with FaultServer(Answer(body=b"ok")) as server, refused_port() as port:
        dead = f"http://127.0.0.1:{port}"
        transport = make(
            [dead, server.url], randomize=False, retry=RetryPolicy(backoff=Constant(30))
        )
        started = time.monotonic()
        assert [transport.request("GET", "/x").content for _ in range(4)] == [b"ok"] * 4
        assert time.monotonic() - started < 5
        assert [node.health.ejected for node in transport.nodes.nodes] == [True, False]


def test_a_retry_goes_to_the_nodes_not_tried_yet(make):
    transport = make(["http://a", "http://b", "http://c"], answers=[503, 503, 200], retry=AT_ONCE)
    assert transport.request("GET", "/x").attempts == 3
    assert sorted(nodes(transport)) == ["a", "b", "c"]


def test_a_write_that_broke_is_sent_once_unless_allowed(make):
    reset = ConnectionReset("reset", sent=SentState.SENT)
    transport = make("http://a", answers=[reset, 200], retry=AT_ONCE)
    with pytest.raises(ConnectionReset) as caught:
        transport.request("POST", "/x", body=b"1")
    assert len(sent(transport)) == 1
    assert "POST /x on http://a:80 (attempt 1 of 4, request fully sent" in str(caught.value)
    assert transport.request("POST", "/x", body=b"1", idempotent=True).status == 200
    reset = ConnectionReset("reset", sent=SentState.SENT)
    keyed = make("http://a", answers=[reset, 200], retry=AT_ONCE)
    assert keyed.request("POST", "/x", headers={"Idempotency-Key": "k"}).status == 200


def test_the_last_response_is_kept_when_the_network_fails_after_it(make):
    transport = make("http://a", answers=[(503, b"busy"), ConnectError("refused")], retry=AT_ONCE)
    response = transport.request("GET", "/x")
    assert (response.status, response.content) == (503, b"busy")
    strict = AT_ONCE.replace(prefer_response=False)
    transport = make("http://a", answers=[(503, b"busy"), ConnectError("refused")], retry=strict)
    with pytest.raises(ConnectError) as caught:
        transport.request("GET", "/x")
    assert (caught.value.meta.status, caught.value.body) == (503, b"busy")


def test_a_retry_after_of_an_hour_raises_with_the_response(make):
    transport = make("http://a", answers=[(503, b"later", {"Retry-After": "3600"})])
    with pytest.raises(RetryAfterExceeded) as caught:
        transport.request("GET", "/x")
    assert (caught.value.delay_s, caught.value.body) == (3600, b"later")


def test_no_retry_means_one_exchange(make):
    transport = make("http://a", answers=[503], retry=None)
    assert transport.request("GET", "/x").attempts == 1
    assert transport.request("GET", "/x", retry=2).attempts in (1, 2, 3)
    assert len(sent(transport)) == 4


@pytest.mark.parametrize("retry", [-1, True, "3", 1.5])
def test_a_bad_number_of_retries_is_refused(make, retry):
    with pytest.raises(ConfigurationError):
        make("http://a", answers=[200], retry=retry)


# --- time


@pytest.mark.parametrize(
    "act",
    [Silence(), Drip(Answer(body=b"x" * 1000), every_s=0.05), Answer(status=503, delay_s=0.1)],
)
def test_a_total_timeout_ends_a_call_whatever_the_server_does(make, act):
    with FaultServer(act) as server:
        transport = make(server.url, retry=RetryPolicy(max_retries=None, on_timeout=True))
        started = time.monotonic()
        try:
            status = transport.request("GET", "/x", timeout=0.5).status
        except TotalTimeout as error:
            status = getattr(error.meta, "status", None)
        took = time.monotonic() - started
        # What the server said last is kept, whether the time ran out in a pause or in the middle of an attempt.
        assert status == (503 if isinstance(act, Answer) else None)
        assert took < 0.5 * 1.1 + 0.25


async def test_a_cancelled_task_leaves_its_pause_and_counts_against_nobody():
    backend = AsyncRecordingBackend([503])
    async with AsyncTransport(
        "http://a", backend=backend, retry=RetryPolicy(backoff=Constant(60))
    ) as transport:
        task = asyncio.create_task(transport.request("GET", "/x"))
        while not backend.requests:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert transport._pauses == set()


def test_after_close_calls_say_so(make):
    with FaultServer(Answer()) as server:
        transport = make(server.url)
        transport.request("GET", "/x")
        inner = transport if isinstance(transport, Transport) else transport.inner
        if isinstance(inner, Transport):
            inner.close()
        else:
            transport.run(inner.aclose())
        with pytest.raises(TransportClosed):
            transport.request("GET", "/x")


# --- requests and payloads


def test_headers_of_transport_endpoint_and_call_add_up(make):
    with FaultServer(Answer()) as server:
        endpoint = Endpoint.from_url(server.url, headers={"x-b": "endpoint", "x-c": "endpoint"})
        transport = make(endpoint, headers={"x-a": "transport", "x-b": "transport"})
        transport.request(
            "GET", "/x?a=1", params={"b": "2 3"}, headers={"X-C": "call", "x-a": None}
        )
        (request,) = server.requests
        assert request.target == "/x?a=1&b=2%203"
        assert [request.header(name) for name in ("x-a", "x-b", "x-c")] == [
            None,
            "endpoint",
            "call",
        ]


def test_credentials_are_asked_for_every_attempt_and_yield_to_the_calls_own(make):
    tokens = iter("abc")
    transport = make(
        "http://a", answers=[503, 200], auth=BearerAuth(lambda: next(tokens)), retry=AT_ONCE
    )
    transport.request("GET", "/x")
    transport.request("GET", "/x", headers={"Authorization": "mine"})
    shown = [dict(request.headers) for request in sent(transport)]
    assert shown == [
        {"authorization": "Bearer a"},
        {"authorization": "Bearer b"},
        {"Authorization": "mine"},
    ]


def test_a_body_is_compressed_once_for_all_attempts(make, monkeypatch):
    calls = []
    compress = Compression.compress
    monkeypatch.setattr(
        Compression, "compress", lambda self, body: calls.append(1) or compress(self, body)
    )
    transport = make("http://a", answers=[503, 503, 200], compression=True, retry=AT_ONCE)
    transport.request("PUT", "/x", body=b"x" * 5000)
    assert len(calls) == 1
    assert {len(request.body) < 100 for request in sent(transport)} == {True}
    assert {request.headers["content-encoding"] for request in sent(transport)} == {"gzip"}
    transport.request("PUT", "/x", body=b"x" * 5000, headers={"Content-Encoding": "own"})
    transport.request("PUT", "/x", body=b"short")
    assert [len(request.body) for request in sent(transport)[-2:]] == [5000, 5]


def test_compressed_answers_are_asked_for_only_where_wanted(make):
    with FaultServer(Answer()) as server:
        for options in ({}, {"compression": True}, {"accept_encoding": True}):
            make(server.url, **options).request("GET", "/x")
        compressed = make(server.url, compression=True, accept_encoding=False)
        compressed.request("GET", "/x")
        asked = [request.header("accept-encoding") is not None for request in server.requests]
        assert asked == [False, True, True, False]


def test_objects_go_out_and_come_back(make):
    transport = make("http://a", answers=[(200, b'{"b": 2}', JSON)])
    assert transport.perform_request("POST", "/x", body={"a": 1})[1] == {"b": 2}
    (request,) = sent(transport)
    assert (request.body, request.headers) == (b'{"a":1}', {"content-type": "application/json"})
    transport.perform_request(
        "POST", "/x", body=[1], headers={"Content-Type": "application/x-ndjson"}
    )
    assert sent(transport)[-1].body == b"1\n"


@pytest.mark.parametrize(
    ("answer", "method", "body"),
    [
        ((200, b"", JSON), "GET", None),
        ((204, b""), "GET", None),
        ((200, b"\x00", {"content-type": "image/x"}), "GET", b"\x00"),
        ((200, b"[1]"), "GET", [1]),
        ((200, b"[1]", JSON), "HEAD", None),
        ((500, b"<html>", JSON), "GET", b"<html>"),
        ((404, b'"gone"', JSON), "GET", "gone"),
    ],
)
def test_an_answer_becomes_what_its_content_type_says(make, answer, method, body):
    transport = make("http://a", answers=[answer])
    meta, found = transport.perform_request(method, "/x")
    assert found == body
    assert (meta.decode_error is not None) is (found == b"<html>")


def test_a_good_answer_that_does_not_decode_says_everything(make):
    transport = make("http://a", answers=[(200, b"{oops", JSON)])
    with pytest.raises(SerializationError) as caught:
        transport.perform_request("GET", "/x")
    error = caught.value
    assert (error.meta.status, error.body, error.node) == (200, b"{oops", "http://a:80")
    assert "GET /x" in str(error)


def test_an_object_without_a_form_is_refused_before_anything_is_sent(make):
    transport = make("http://a", answers=[200])
    with pytest.raises(SerializationError, match="no JSON form"):
        transport.perform_request("POST", "/x", body=object())
    assert sent(transport) == []


def test_an_error_status_is_read_at_once_also_when_streaming(make):
    with FaultServer(Answer(status=500, body=b"why")) as server:
        transport = make(server.url, retry=None)
        response = transport.request("GET", "/x", stream=True)
        assert not response.is_streaming
        assert response.content == b"why"


# --- batch


def test_a_batch_keeps_the_order_and_gives_each_request_its_own_end(make):
    with FaultServer(Answer(body=b"ok")) as server:
        transport = make(server.url, retry=None)
        requests = [Request("GET", f"/{number}") for number in range(40)]
        requests[7] = Request("GET", "/bad target")
        results = transport.batch(requests, connections=4)
        assert [isinstance(result, TransportError) for result in results] == [
            number == 7 for number in range(40)
        ]
        assert sorted(int(request.target[1:]) for request in server.requests) == [
            number for number in range(40) if number != 7
        ]
        assert 1 <= len({request.connection for request in server.requests}) <= 4


def test_a_batch_retries_like_single_calls(make):
    with FaultServer(Answer(status=503), Close(), Answer(body=b"ok")) as server:
        transport = make(server.url, retry=RetryPolicy(backoff=Constant(0.001)))
        results = transport.batch([Request("GET", f"/{number}") for number in range(10)])
        assert [result.content for result in results] == [b"ok"] * 10
        assert len(server.requests) == 12


@pytest.mark.parametrize("connections", [0, -1, True, "8"])
def test_a_batch_needs_a_connection(make, connections):
    with pytest.raises(ConfigurationError, match="connections"):
        make("http://a", answers=[200]).batch([Request("GET", "/x")], connections=connections)


# --- discovery


def discovery_for(kind, find, **options):
    if kind == "threads":
        return Discovery(find, **options)

    async def find_later(transport, reason):
        return find(transport, reason)

    return Discovery(find_later, **options)


def test_nodes_are_found_at_the_start_and_lost_ones_given_up(make, kind):
    found = [Endpoint("http", "b", 80), Endpoint("http", "c", 80)]
    discovery = discovery_for(kind, lambda transport, reason: found, on_start=True)
    transport = make(["http://a", "http://b"], answers=[200], discovery=discovery)
    transport.request("GET", "/x")
    assert sorted(node.endpoint.host for node in transport.nodes.nodes) == ["b", "c"]
    assert [endpoint.host for endpoint in transport.backend.forgotten] == ["a"]


def test_nobody_there_at_the_start_is_an_error(kind):
    def fail(transport, reason):
        raise ConnectError("nobody")

    discovery = discovery_for(kind, fail, on_start=True)
    if kind == "threads":
        with pytest.raises(DiscoveryError, match="nobody"):
            Transport("http://a", backend=RecordingBackend(), discovery=discovery)
    else:
        transport = AsyncAsSync("http://a", backend=AsyncRecordingBackend(), discovery=discovery)
        with pytest.raises(DiscoveryError, match="nobody"):
            transport.request("GET", "/x")
        transport.close()


def test_a_failed_question_never_masks_the_answer_of_the_request(make, kind, caplog):
    asked = []

    def fail(transport, reason):
        asked.append(reason)
        raise ConnectError("nobody")

    discovery = discovery_for(kind, fail, on_failure=True, min_delay_s=0)
    answers = [ConnectError("refused"), (200, b"ok")]
    transport = make(["http://a", "http://b"], answers=answers, discovery=discovery, retry=AT_ONCE)
    assert transport.request("GET", "/x").content == b"ok"
    assert asked == ["failure"]
    assert "nobody" in caplog.text


def test_nodes_are_asked_for_every_so_often(make, kind):
    asked = []

    def find(transport, reason):
        asked.append(reason)
        return [Endpoint("http", "a", 80)]

    transport = make("http://a", answers=[200], discovery=discovery_for(kind, find, interval_s=0.0))
    for _ in range(3):
        transport.request("GET", "/x")
    assert asked == ["interval"] * 3


def test_the_question_itself_asks_no_question(make, kind):
    if kind == "asyncio":

        async def find(transport, reason):
            await transport.request("GET", "/nodes")
            return [Endpoint("http", "a", 80)]
    else:

        def find(transport, reason):
            transport.request("GET", "/nodes")
            return [Endpoint("http", "a", 80)]

    transport = make("http://a", answers=[200], discovery=Discovery(find, interval_s=0.0))
    transport.request("GET", "/x")
    assert [request.target for request in sent(transport)] == ["/nodes", "/x"]


@pytest.mark.parametrize(
    "build",
    [
        lambda: Discovery("nothing", on_start=True),
        lambda: Discovery(print),
        lambda: Discovery(print, interval_s=-1),
        lambda: Discovery(print, on_failure=True, min_delay_s=-1),
    ],
)
def test_a_discovery_that_cannot_work_is_refused(build):
    with pytest.raises(ConfigurationError):
        build()


def test_errors_are_timeouts_and_os_errors_too():
    assert issubclass(TimedOut, TimeoutError)
    assert issubclass(ConnectError, OSError)


def test_a_question_keeps_within_the_time_of_the_call_that_waits_for_it(kind):
    with FaultServer(Silence()) as server:
        if kind == "asyncio":

            async def find(transport, reason):
                return await transport.request("GET", "/nodes")
        else:

            def find(transport, reason):
                return transport.request("GET", "/nodes")

        build = Transport if kind == "threads" else AsyncAsSync
        transport = build(server.url, discovery=Discovery(find, interval_s=0.0), retry=None)
        started = time.monotonic()
        with pytest.raises(TotalTimeout):
            transport.request("GET", "/x", timeout=0.4)
        assert time.monotonic() - started < 0.4 * 1.1 + 0.3
        assert server.requests[0].target == "/nodes"
        transport.close()


# --- adaptive rate


THROTTLED = (429, b"", {"retry-after": "0"})


def throttle(transport, clock):
    """Let the server refuse once after a steady two requests a second."""
    for _ in range(8):
        transport.request("GET", "/x")
        clock.advance(0.5)
    assert transport.request("GET", "/x").status == 429


def throttled_transport(make, limiter, **options):
    clock = FakeClock()
    answers = [200] * 8 + [THROTTLED, 200]
    options = {"retry": None, "rate_limiter": limiter, "clock": clock, **options}
    return make("http://a", answers=answers, **options), clock


def test_a_throttled_transport_spaces_its_requests_out(make):
    limiter = RateLimiter()
    transport, clock = throttled_transport(make, limiter)
    throttle(transport, clock)
    assert limiter.rate < 2.0
    before = limiter.rate
    transport.request("GET", "/x")
    assert clock.pauses == [pytest.approx(1 / before)]


def test_without_a_throttle_nothing_waits(make):
    clock = FakeClock()
    transport = make(
        "http://a", answers=[200, 500], rate_limiter=RateLimiter(), clock=clock, retry=None
    )
    for _ in range(50):
        transport.request("GET", "/x")
    assert clock.pauses == []


def test_a_turn_that_comes_after_the_deadline_is_not_waited_for(make):
    limiter = RateLimiter()
    transport, clock = throttled_transport(make, limiter)
    throttle(transport, clock)
    with pytest.raises(TotalTimeout, match=r"throttled.*requests/s") as caught:
        transport.request("GET", "/late", timeout=0.1)
    assert caught.value.target == "/late"
    assert caught.value.sent is SentState.NOT_SENT
    assert "/late" not in [request.target for request in sent(transport)]
    # Its place was given back.
    transport.request("GET", "/x")
    assert clock.pauses == [pytest.approx(1 / limiter.rate, rel=0.5)]


def test_a_batch_keeps_to_the_rate_too(make):
    limiter = RateLimiter(min_rate=200.0)
    limiter.on_throttle(0.0)
    with FaultServer(Answer(body=b"ok")) as server:
        transport = make(server.url, rate_limiter=limiter, retry=None)
        started = time.monotonic()
        results = transport.batch([Request("GET", f"/{number}") for number in range(20)])
        assert [result.content for result in results] == [b"ok"] * 20
        assert time.monotonic() - started > 10 / limiter.rate


# --- closed and opened again


def test_a_closed_transport_works_again_once_reopened(make):
    with FaultServer(Answer(body=b"ok")) as server:
        transport = make(server.url, retry=None)
        transport.reopen()
        assert transport.request("GET", "/1").content == b"ok"
        close(transport)
        with pytest.raises(TransportClosed):
            transport.request("GET", "/2")
        transport.reopen()
        assert transport.request("GET", "/3").content == b"ok"
        assert [request.target for request in server.requests] == ["/1", "/3"]


def test_a_backend_given_as_an_object_cannot_be_reopened(make):
    transport = make("http://a", answers=[200])
    close(transport)
    with pytest.raises(ConfigurationError, match="by name"):
        transport.reopen()


def close(transport):
    """Close the transport, and leave the loop of an asynchronous one open."""
    if isinstance(transport, AsyncAsSync):
        transport.run(transport.inner.aclose())
    else:
        transport.close()
