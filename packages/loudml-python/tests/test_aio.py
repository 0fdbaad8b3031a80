"""The asynchronous client: the same surface, awaitable."""

import asyncio
import inspect

import pytest
from cpu_model import BUCKET, SETTINGS
from loudml import (
    AsyncLoud,
    AuthenticationException,
    ConnectionError,
    ConnectionTimeout,
    ImproperlyConfigured,
    JobFailed,
    Loud,
    NotFoundError,
    SerializationError,
    TransportError,
    _clock,
    aio,
)
from loudml.connection.backend import BackendConnection
from loudml.transport import Transport
from mock_servers.faults import Fault
from transport_utils.deadline import Timeout

POINTS = [{"timestamp": 1_700_000_000 + 60 * n, "load": 10 + n % 7} for n in range(300)]
RANGE = {"_from": 1_700_000_000, "_to": 1_700_018_000}
NODES = "/_nodes/_all/http"
SYNC_ONLY = {"__enter__", "__exit__", "__init__"}
ASYNC_ONLY = {"__aenter__", "__aexit__"}


@pytest.fixture
async def loud(loudml_server):
    async with AsyncLoud(loudml_server.hosts) as client:
        yield client


def methods(kind):
    names = [name for name, _ in inspect.getmembers(kind, callable) if not name.startswith("_")]
    return {name: inspect.signature(getattr(kind, name)) for name in names}


def parameters(signature):
    return [(p.name, p.kind, p.default) for p in signature.parameters.values()]


@pytest.mark.parametrize(
    ("sync_kind", "async_kind"),
    [
        (Loud, AsyncLoud),
        (type(Loud().models), aio.AsyncModelsClient),
        (type(Loud().models.versions), aio.AsyncModelVersionsClient),
        (type(Loud().models.hooks), aio.AsyncModelHooksClient),
        (type(Loud().jobs), aio.AsyncJobsClient),
        (type(Loud().jobs.id("a")), aio.AsyncJobClient),
        (type(Loud().scheduled_jobs), aio.AsyncScheduledJobsClient),
        (type(Loud().templates), aio.AsyncTemplatesClient),
        (type(Loud().buckets), aio.AsyncBucketsClient),
        (Transport, aio.AsyncTransport),
    ],
)
def test_both_clients_have_the_same_methods_and_parameters(sync_kind, async_kind):
    ours, theirs = methods(sync_kind), methods(async_kind)
    assert ours.keys() == theirs.keys()
    for name, signature in ours.items():
        assert parameters(signature) == parameters(theirs[name]), name


def test_both_clients_take_the_same_options():
    def options(kind):
        return set(inspect.signature(kind).parameters) - {"connection_class", "kwargs"}

    assert options(Transport) == options(aio.AsyncTransport)
    assert options(BackendConnection) == options(aio.AsyncHttpConnection)
    sync_params = Loud.info.query_params, Loud().models.train.query_params
    assert sync_params == (AsyncLoud.info.query_params, aio.AsyncModelsClient.train.query_params)


async def test_a_model_from_data_to_forecast(loud):
    assert await loud.ping() is True
    assert await loud.version() == "1.6.0"
    await loud.buckets.create(BUCKET)
    await loud.write_points("metrics", POINTS, interval=0.01)
    await loud.models.create(SETTINGS)
    assert await loud.models.exists("cpu") is True
    assert await loud.models.exists("other") is False
    job = loud.jobs.id(await loud.models.train("cpu", max_evals=2, **RANGE))
    states = [one.state async for one in job.progress(0.02)]
    assert states[-1] == "done"
    result = await loud.models.forecast("cpu", _from=1_700_018_000, _to=1_700_019_000, bg=False)
    assert "avg_load" in result["predicted"]
    assert await loud.models.versions.exists("cpu", "00") is True
    assert await loud.models.versions.exists("cpu", "99") is False
    assert await loud.models.versions.exists("other", "00") is False
    assert [one async for one in loud.models.versions.generator("cpu")]
    assert [one["settings"]["name"] async for one in loud.models.generator()] == ["cpu"]
    assert len([one async for one in loud.models.generator(["cpu"])]) == 1
    job = loud.jobs.id(await loud.models.eval_model("cpu", **RANGE))
    await job.async_wait(0.02, check=True)
    assert "observed" in await job.fetch_result()
    assert await job.exists() is True
    assert await loud.models.start_inference(["cpu"]) == ""
    assert await loud.models.stop_inference("cpu") == ""
    with pytest.raises(NotFoundError):
        await loud.models.stop_inference(["cpu", "other"])


async def test_writes_are_sent_as_they_are_iterated(loud, loudml_server, capsys):
    await loud.buckets.create(BUCKET)
    lazy = loud.buckets.write("metrics", POINTS, 100)
    assert loudml_server.traffic.seen("POST", "/buckets/metrics/_write") == []
    assert len([job_id async for job_id in lazy]) == 3
    await loud.write_points("metrics", [])
    with pytest.raises(JobFailed):
        await loud.async_write_points("metrics", [{"timestamp": "no date", "load": 1}], True, 0.01)
    assert capsys.readouterr().out.startswith("timestamp")


async def test_a_canceled_job_ends_waiting(make_loudml_server):
    server = make_loudml_server(evaluation_s=0.2)
    async with AsyncLoud(server.hosts) as loud:
        await loud.buckets.create(BUCKET)
        await loud.write_points("metrics", POINTS, interval=0.01)
        await loud.models.create(SETTINGS)
        job = loud.jobs.id(await loud.models.train("cpu", max_evals=50, **RANGE))
        await job.cancel()
        seen = []
        await job.wait(0.02, callback=lambda: seen.append(job.state))
        assert seen[-1] == job.state == "canceled"


async def test_requests_run_at_the_same_time(loudml_server, loud):
    loudml_server.faults.add(Fault("delay", delay_s=0.1))
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await asyncio.gather(*[loud.version() for _ in range(8)]) == ["1.6.0"] * 8
    assert loop.time() - began < 0.8


async def test_retries_and_errors_are_those_of_the_sync_client(loud, loudml_server):
    loudml_server.faults.add(Fault("status", status=502, times=2))
    assert await loud.version() == "1.6.0"
    loudml_server.faults.add(Fault("reset", times=1))
    with pytest.raises(ConnectionError):
        await loud.models.train("m", _from=1)
    with pytest.raises(NotFoundError) as error:
        await loud.models.get("x")
    assert (error.value.path, error.value.node) == ("/models/x", loudml_server.url)
    loudml_server.faults.add(Fault("status", status=401, times=1))
    with pytest.raises(AuthenticationException):
        await loud.ping()
    assert await loud.transport.perform_request("HEAD", "/models/x") is False


async def test_dead_servers_and_timeouts(loudml_server):
    async with AsyncLoud("127.0.0.1:1") as loud:
        assert await loud.ping() is False
    loudml_server.faults.add(Fault("hang"))
    async with AsyncLoud(loudml_server.hosts) as loud:
        with pytest.raises(ConnectionTimeout):
            await loud.info(request_timeout=Timeout(total=0.2))


async def test_sniffing(make_loudml_server, monkeypatch):
    cluster = make_loudml_server(nodes=3)
    async with AsyncLoud(cluster.hosts[:1], sniff_on_start=True) as loud:
        assert await loud.version() == "1.6.0"
        assert len(loud.transport.connection_pool.connections) == 3
    async with AsyncLoud("127.0.0.1:1", sniff_on_start=True) as loud:
        with pytest.raises(TransportError, match="Unable to sniff hosts"):
            await loud.version()
    now_s = [1000.0]
    monkeypatch.setattr(_clock, "now", lambda: now_s[0])
    options = {"sniffer_timeout": 60, "sniff_on_connection_fail": True}
    async with AsyncLoud(cluster.hosts[:2], **options) as loud:
        cluster.nodes[0].kill()
        now_s[0] += 61
        assert await asyncio.gather(*[loud.version() for _ in range(4)]) == ["1.6.0"] * 4
        assert len(loud.transport.connection_pool.orig_connections) == 2
    cluster.faults.add(Fault("status", status=500, path=NODES))
    async with AsyncLoud(cluster.hosts[1:2], **options) as loud:
        now_s[0] += 61
        assert await loud.version() == "1.6.0", "a failed refresh fails no request"


async def test_closing_ends_a_pause(loudml_server):
    loudml_server.faults.add(Fault("status", status=503, headers={"Retry-After": "30"}))
    loud = AsyncLoud(loudml_server.hosts)
    waiting = asyncio.create_task(loud.info())
    while not loudml_server.traffic.requests:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.02)
    await loud.close()
    await loud.close()
    with pytest.raises(ConnectionError, match="closed"):
        await waiting


async def test_a_cancelled_call_leaves_a_working_client(loud, loudml_server):
    loudml_server.faults.add(Fault("hang", times=1))
    task = asyncio.create_task(loud.info())
    while not loudml_server.traffic.total and not task.done():
        await asyncio.sleep(0.01)
        if loud.transport.connection_pool.connections:
            break
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await loud.version() == "1.6.0"


async def test_bad_options_and_bodies(loud, recording_server, http_reply):
    with pytest.raises(ImproperlyConfigured, match="unknown option"):
        AsyncLoud(frobnicate=1)
    server = recording_server(lambda head, body: http_reply(200, b"{"))
    async with AsyncLoud(server.host) as other:
        with pytest.raises(SerializationError):
            await other.info()
        assert repr(other).startswith("<AsyncLoud([{'host': '127.0.0.1'")
