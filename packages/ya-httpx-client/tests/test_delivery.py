"""When a request is executed again: the rules, with providers that are scripted."""

import asyncio

import httpx
import pytest
from transport_utils import errors
from transport_utils.errors import SentState
from ya_httpx_client.cluster import Cluster
from ya_httpx_client.delivery import Rules, deliver
from ya_httpx_client.instance import Instance, State
from ya_httpx_client.options import ServiceOptions
from ya_httpx_client.session import YagnaTransport


class Manager:
    """Stands in for the yapapi side; remembers providers to avoid."""

    def __init__(self):
        self.avoided = []

    def avoid(self, provider_id):
        self.avoided.append(provider_id)


class Scripted:
    """Executor that fails as told, then answers."""

    connections = 0

    def __init__(self, *failures):
        self.failures = list(failures)
        self.requests = []
        self.aborted = False

    async def execute(self, request, timeouts, finished, *, settle):
        self.requests.append(request)
        if self.failures:
            failure = self.failures.pop(0)
            if failure == "hang":
                await asyncio.Event().wait()
            raise failure
        finished(None)
        return httpx.Response(200, text="done")

    def abort(self):
        self.aborted = True


def failure(kind, sent):
    return kind("it broke", sent=sent)


def make(*executors, **options):
    cluster = Cluster(
        Manager(), "hash", None, None, url="http://calc", options=ServiceOptions(**options)
    )
    for number, executor in enumerate(executors):
        instance = Instance(cluster.options.slots, cluster._changed, cluster.latency)
        instance.starting(f"0x{number}", f"provider-{number}", 0.5)
        cluster.instances.append(instance)
        instance.ready(executor)
    return cluster


def request(method="GET", **settings):
    settings.setdefault("extensions", {})
    return httpx.Request(method, "http://calc/x", **settings)


NOT_SENT = (errors.ConnectError, SentState.NOT_SENT)
PARTIAL = (errors.ConnectionReset, SentState.PARTIAL)
SENT = (errors.ConnectionReset, SentState.SENT)
STARTED = (errors.TruncatedBody, SentState.RESPONSE_STARTED)
STALE = (errors.StaleConnection, SentState.SENT)
SILENT = (errors.ReadTimeout, SentState.SENT)

ALLOWED = {"extensions": {"ya_httpx_client": {"reexecute": True}}}
KEYED = {"headers": {"Idempotency-Key": "1"}}


@pytest.mark.parametrize(
    ("method", "settings", "broken", "repeated"),
    [
        ("GET", {}, NOT_SENT, True),
        ("GET", {}, PARTIAL, True),
        ("GET", {}, SENT, True),
        ("GET", {}, STARTED, True),
        ("GET", {}, STALE, True),
        ("GET", {}, SILENT, False),
        ("PUT", {"content": b"x"}, SENT, True),
        ("DELETE", {}, SENT, True),
        ("POST", {}, NOT_SENT, True),
        ("POST", {}, PARTIAL, False),
        ("POST", {}, SENT, False),
        ("POST", {}, STARTED, False),
        ("POST", {}, STALE, False),
        ("PATCH", {}, SENT, False),
        ("POST", ALLOWED, SENT, True),
        ("POST", ALLOWED, STARTED, True),
        ("POST", KEYED, SENT, True),
    ],
)
async def test_execution_is_repeated_only_where_it_does_no_harm(method, settings, broken, repeated):
    first, second = Scripted(failure(*broken)), Scripted()
    cluster = make(first, second)
    outcome = await asyncio.gather(
        deliver(cluster, request(method, **settings)), return_exceptions=True
    )
    executed = len(first.requests) + len(second.requests)
    if repeated:
        assert outcome[0].status_code == 200
        assert (executed, cluster.reexecuted) == (2, 1)
    else:
        assert isinstance(outcome[0], httpx.TransportError)
        assert executed == 1
    assert cluster.in_flight == 0


async def test_streamed_body_cannot_be_repeated_once_it_was_touched():
    async def body():
        yield b"x"

    cluster = make(Scripted(failure(*SENT)), Scripted())
    with pytest.raises(httpx.WriteError, match="can be read only once"):
        await deliver(cluster, request("PUT", content=body()))
    cluster = make(Scripted(failure(*NOT_SENT)), Scripted())
    assert (await deliver(cluster, request("PUT", content=body()))).status_code == 200


async def test_error_of_a_request_that_may_have_been_executed_says_so():
    cluster = make(Scripted(failure(*SENT)), Scripted())
    with pytest.raises(httpx.RemoteProtocolError) as caught:
        await deliver(cluster, request("POST"))
    text = str(caught.value)
    assert "may have been executed" in text
    assert "reexecute" in text
    assert caught.value.request.method == "POST"
    assert isinstance(caught.value.__cause__, errors.ConnectionReset)


async def test_request_that_kills_every_provider_is_given_up_with_the_story():
    executors = [Scripted(failure(*SENT)) for _ in range(5)]
    cluster = make(*executors)
    with pytest.raises(httpx.RemoteProtocolError) as caught:
        await deliver(cluster, request())
    assert sum(len(executor.requests) for executor in executors) == 3
    attempts = caught.value.attempts
    assert len({attempt.provider for attempt in attempts}) == 3
    for attempt in attempts:
        assert attempt.provider in str(caught.value)
    assert "given up after 3 executions" in str(caught.value)


async def test_number_of_executions_can_be_chosen():
    executors = [Scripted(failure(*SENT)) for _ in range(5)]
    cluster = make(*executors)
    limit = {"ya_httpx_client": {"max_executions": None}}
    cluster.instances[4].executor.failures.clear()
    assert (await deliver(cluster, request(extensions=limit))).status_code == 200
    cluster = make(Scripted(failure(*SENT)), Scripted())
    with pytest.raises(httpx.RemoteProtocolError):
        await deliver(cluster, request(extensions={"ya_httpx_client": {"max_executions": 1}}))


async def test_attempts_that_sent_nothing_do_not_count_as_executions():
    executors = [Scripted(failure(*NOT_SENT)) for _ in range(6)] + [Scripted()]
    cluster = make(*executors)
    assert (await deliver(cluster, request("POST"))).status_code == 200


async def test_deadline_ends_the_search_for_a_provider():
    cluster = make()
    with pytest.raises(httpx.PoolTimeout, match="the size of http://calc is 0"):
        await deliver(cluster, request(extensions={"ya_httpx_client": {"deadline": 0.02}}))
    cluster = make(rules=Rules(deadline_s=0.02))
    with pytest.raises(httpx.PoolTimeout):
        await deliver(cluster, request())


async def test_pool_timeout_of_httpx_limits_the_wait():
    with pytest.raises(httpx.PoolTimeout, match=r"within 0\.01 s"):
        await deliver(make(), request(extensions={"timeout": {"pool": 0.01}}))


@pytest.mark.parametrize("extension", [{"unknown": 1}, "text", 3])
async def test_malformed_extension_is_refused(extension):
    with pytest.raises(httpx.LocalProtocolError, match="reexecute"):
        await deliver(make(Scripted()), request(extensions={"ya_httpx_client": extension}))


async def test_cancelled_execution_frees_the_slot():
    cluster = make(Scripted("hang"))
    task = asyncio.create_task(deliver(cluster, request()))
    await asyncio.sleep(0)
    assert cluster.in_flight == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert cluster.in_flight == 0


async def test_least_busy_instance_is_chosen_and_equals_take_turns():
    cluster = make(*(Scripted() for _ in range(3)), slots=4)
    chosen = [cluster._reserve() for _ in range(12)]
    assert [chosen.count(instance) for instance in cluster.instances] == [4, 4, 4]
    assert cluster._reserve() is None
    cluster.instances[1].give_back()
    assert cluster._reserve() is cluster.instances[1]


async def test_suspected_instance_gets_no_requests_until_it_is_ready_again():
    cluster = make(Scripted(failure(*NOT_SENT)), Scripted())
    await deliver(cluster, request())
    suspect = next(i for i in cluster.instances if i.state is State.SUSPECT)
    assert suspect.attention.is_set()
    assert cluster._reserve() is not suspect
    suspect.ready()
    assert suspect.free


async def test_three_silent_answers_make_an_instance_suspect():
    cluster = make(Scripted(*[failure(*SILENT) for _ in range(3)]))
    for _ in range(3):
        assert cluster.instances[0].state is State.READY
        with pytest.raises(httpx.ReadTimeout):
            await deliver(cluster, request())
    assert cluster.instances[0].state is State.SUSPECT


async def test_drained_instance_ends_with_its_last_request():
    cluster = make(Scripted("hang"))
    task = asyncio.create_task(deliver(cluster, request()))
    await asyncio.sleep(0)
    instance = cluster.instances[0]
    instance.drain()
    assert instance.state is State.DRAINING
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert instance.state is State.DEAD
    assert instance.lost_because is None


async def test_stop_answers_everybody():
    cluster = make(Scripted("hang"))
    running = asyncio.create_task(deliver(cluster, request()))
    waiting = asyncio.create_task(deliver(cluster, request()))
    await asyncio.sleep(0)
    executor = cluster.instances[0].executor
    cluster.stop()
    assert executor.aborted
    with pytest.raises(httpx.ConnectError, match="the session closed"):
        await waiting
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_transport_is_reached_through_the_queue_as_before():
    cluster = make(Scripted())
    transport = YagnaTransport(cluster.request_queue)
    assert transport.request_queue is cluster.request_queue
    async with httpx.AsyncClient(mounts={"http://calc": transport}) as client:
        assert (await client.get("http://calc/x")).text == "done"


def test_every_error_has_a_class_in_httpx_and_httpx2():
    from ya_httpx_client.errors import HTTPX_NAMES, to_httpx

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    plain = [k for k in kinds if getattr(k, "__init__", None) is errors.TransportError.__init__]
    assert len(plain) > 15
    for kind in plain:
        made = to_httpx(kind("text"), request())
        assert isinstance(made, httpx.TransportError)
        assert made.request.url == "http://calc/x"
    for name in HTTPX_NAMES.values():
        assert issubclass(getattr(httpx, name), httpx.TransportError)


def test_object_of_no_http_library_is_refused():
    from ya_httpx_client.errors import library_of

    with pytest.raises(TypeError, match="no request of httpx"):
        library_of(3)


async def test_request_is_a_span_with_its_story(spans):
    await deliver(make(Scripted(failure(*SENT)), Scripted()), request())
    with pytest.raises(httpx.RemoteProtocolError):
        await deliver(make(Scripted(failure(*SENT))), request("POST"))
    answered, failed = spans()
    assert answered.name == "ya_httpx_client GET"
    assert answered.attributes["ya_httpx_client.executions"] == 2
    assert answered.attributes["http.response.status_code"] == 200
    assert answered.attributes["ya_httpx_client.provider"] == "provider-1"
    assert not failed.status.is_ok


async def test_without_opentelemetry_there_is_no_span(monkeypatch):
    from ya_httpx_client import telemetry

    monkeypatch.setattr(telemetry, "_opentelemetry", lambda: None)
    with telemetry.span(request()) as opened:
        assert opened is None
    assert (await deliver(make(Scripted()), request())).status_code == 200
