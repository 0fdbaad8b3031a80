"""A service behind ya-httpx-client whose handler uses two other clients, and one trace through all five."""

import asyncio
import contextlib
import pathlib
import sys

import pytest
from infi.ramen_client.config import QueueReaderConfig
from infi.ramen_client.queue_reader import QueueReader
from infi.ramen_client.queue_writer import QueueWriter
from loudml import Loud, NativeHttpConnection
from loudml.aio import AsyncLoud
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from pylm import telemetry as pylm_telemetry
from v3io.aio.dataplane import Client as V3ioClient
from ya_httpx_client import Session
from ya_httpx_client.requirement import require_yapapi

sys.path.append(str(pathlib.Path(__file__).parent.parent))
import telemetry

require_yapapi()

IMAGE_HASH = "cd" * 28
URL = "http://days"
SERVICE = pathlib.Path(__file__).with_name("service.py")
MODEL = {**telemetry.MODEL, "name": "rides"}


@pytest.fixture
def platform(v3io_server, make_loudml_server, make_yagna, tmp_path):
    """A Golem whose image holds the service, and the servers that its handler talks to."""
    loudml = make_loudml_server()
    with Loud(loudml.hosts, connection_class=NativeHttpConnection) as loud:
        loud.buckets.create(telemetry.BUCKET)
        loud.models.create(MODEL)
    folder = tmp_path / "image"
    (folder / "golem/run").mkdir(parents=True)
    (folder / "golem/run/service.py").write_text(SERVICE.read_text())
    # A provider reaches nothing outside; rewritten ports instead of a network namespace let this one.
    golem = make_yagna(2, images={IMAGE_HASH: folder}, isolation="ports")
    golem.app.daemon.environment["V3IO_API"] = v3io_server.url
    golem.app.daemon.environment["LOUDML_HOST"] = loudml.hosts[0]
    return v3io_server, loudml


@contextlib.asynccontextmanager
async def served():
    """Yield an httpx client of the service on the providers."""
    start = f"{sys.executable} /golem/run/service.py 0.0.0.0:80 >/dev/null 2>&1 &"
    session = Session({"budget": 1, "subnet_tag": "public"})
    session.add_url(URL, IMAGE_HASH, ("/bin/sh", "-c", start), 2)
    try:
        async with session.client(timeout=60) as http:
            yield http
    finally:
        await session.close(drain=10)


@pytest.mark.timeout(120)
async def test_a_handler_on_the_providers_uses_v3io_and_loudml(platform):
    async with served() as http:
        puts = [http.put(f"{URL}/days/{day}", json={"rides": day}) for day in range(20)]
        assert all(reply.json() == {"stored": True} for reply in await asyncio.gather(*puts))
        assert (await http.get(f"{URL}/total")).json() == sum(range(20))
        assert (await http.get(f"{URL}/models")).json() == ["rides"]


@pytest.mark.timeout(120)
async def test_one_trace_crosses_all_five_clients(
    platform, ramen_server, tmp_path, monkeypatch, spans
):
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader])
    monkeypatch.setattr(metrics._internal, "_METER_PROVIDER", meters)
    pylm_telemetry.instrument()
    v3io_server, loudml = platform
    try:
        with telemetry.statistics_cluster(1) as db_address:
            async with (
                served() as http,
                V3ioClient(
                    endpoint=v3io_server.url, access_key="k", logger_verbosity="ERROR"
                ) as v3io,
                AsyncLoud(loudml.hosts) as loud,
            ):
                with trace.get_tracer("application").start_as_current_span("application") as root:
                    days = telemetry.readings()[:24]
                    payload = telemetry.json.dumps(days).encode()
                    [figures] = telemetry.compute(db_address, [payload])
                    await v3io.kv.put("bigdata", "days", "first", {"rides": figures["rides"]})
                    assert (await http.get(f"{URL}/total")).json() == figures["rides"]
                    assert [model["settings"]["name"] for model in await loud.models.get()] == [
                        "rides"
                    ]
                    ship(ramen_server.hostname, tmp_path / "queue", figures)
    finally:
        pylm_telemetry.uninstrument()
    of_the_trace = [span for span in spans() if span.context.trace_id == root.context.trace_id]
    scopes = {span.instrumentation_scope.name for span in of_the_trace}
    assert {"application", "pylm", "v3io", "ya_httpx_client", "transport_utils"} <= scopes
    assert "ramen_client.messages" in measured(reader)  # infi.ramen_client reports metrics
    meters.shutdown()


def ship(hostname, queue_dir, figures):
    """Send one message."""
    values = {
        "sender": "a", "system_serial": 1, "system_version": "1", "hostname": hostname,
        "auth_token": "good-token", "ssl": False, "queue_dir": str(queue_dir),
    }  # fmt: skip
    config = QueueReaderConfig(values)
    writer, reader = QueueWriter(config), QueueReader(config)
    writer.push("telemetry", "rides", "v1", figures)
    assert reader.run(blocking=False) == 1
    reader.close()
    writer.close()


def measured(reader):
    """Return the names of all metrics that have a figure."""
    data = reader.get_metrics_data()
    return {
        metric.name
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
