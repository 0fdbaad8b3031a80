"""Calls are spans when the application uses OpenTelemetry, blocking and asyncio, and carry no data."""

import pytest
from opentelemetry import trace
from v3io.aio import dataplane as aio_dataplane
from v3io.dataplane import Client
from v3io.dataplane.transport import verifier
from v3io.errors import NotFound


def test_a_call_is_a_span_below_the_current_one(v3io_server, spans):
    with (
        Client(endpoint=v3io_server.url, access_key="k", logger_verbosity="ERROR") as client,
        trace.get_tracer("test").start_as_current_span("root"),
    ):
        client.kv.put("users", "t", "secret-key", {"a": "secret-value"})
        with pytest.raises(NotFound):
            client.get_object("users", "missing")
        client.batch.kv.get("users", "t", "secret-key")
        client.batch.wait()
    put, got, batch, root = spans()
    assert (put.name, put.parent.span_id) == ("v3io put_item", root.context.span_id)
    assert put.attributes["http.response.status_code"] == 200
    assert put.attributes["v3io.container"] == "users"
    assert f"127.0.0.1:{put.attributes['server.port']}" in v3io_server.url
    assert (got.name, got.attributes["error.type"]) == ("v3io get_object", "NotFound")
    assert got.attributes["http.response.status_code"] == 404
    assert not got.status.is_ok
    assert (batch.name, batch.parent.span_id) == ("v3io batch", root.context.span_id)
    assert "secret" not in repr([span.to_json() for span in spans()])


async def test_an_asyncio_call_is_a_span_too(v3io_server, spans):
    async with aio_dataplane.Client(
        endpoint=v3io_server.url, access_key="k", logger_verbosity="ERROR"
    ) as client:
        await client.kv.put("users", "t", "k", {})
        with pytest.raises(NotFound):
            await client.kv.get("users", "t", "missing")
    assert [span.name for span in spans()] == ["v3io put_item", "v3io get_item"]


def test_nothing_is_traced_when_switched_off(v3io_server, spans, monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with Client(endpoint=v3io_server.url, access_key="k", logger_verbosity="ERROR") as client:
        client.get_containers()
    assert spans() == ()


def test_a_traced_request_names_the_arguments_of_its_encoder(spans):
    seen = []
    client = Client(transport_kind=verifier.Transport([seen.append]), logger_verbosity="ERROR")
    client.kv.get("users", "t", "k")
    assert seen[0].encoder_args == {"path": "t/k", "attribute_names": "*"}
    assert [span.name for span in spans()] == ["v3io get_item"]


def traceparents(server):
    return {
        dict(exchange.request_headers).get("traceparent") for exchange in server.traffic.requests
    }


def parent(span):
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-{span.context.trace_flags:02x}"


@pytest.mark.parametrize("kind", ["httpclient", "requests"])
def test_the_context_of_each_call_travels_to_the_platform(v3io_server, spans, kind):
    with Client(
        endpoint=v3io_server.url, access_key="k", logger_verbosity="ERROR", transport_kind=kind
    ) as client:
        client.kv.put("users", "t", "k", {"a": 1})
        client.object.put("users", "o", body="x", append=True)
        assert client.object.get("users", "o", offset=0, num_bytes=1).body == b"x"
    assert traceparents(v3io_server) == {parent(span) for span in spans()}
    assert len(spans()) == 3


def test_a_batch_is_one_span_whose_context_all_its_requests_carry(v3io_server, spans):
    with Client(endpoint=v3io_server.url, access_key="k", logger_verbosity="ERROR") as client:
        for number in range(3):
            client.batch.kv.put("users", "t", f"k{number}", {"a": 1})
        client.batch.object.get("users", "missing")
        client.batch.wait(return_errors=True)
        client.batch.object.get("users", "missing")
        with pytest.raises(NotFound):
            client.batch.wait()
        assert client.batch.wait() == []
    mixed, failing = spans()
    assert mixed.name == failing.name == "v3io batch"
    assert dict(mixed.attributes)["v3io.batch.calls"] == 4
    assert mixed.attributes["v3io.batch.failed"] == 1
    assert failing.attributes["error.type"] == "NotFound"
    assert not failing.status.is_ok
    assert traceparents(v3io_server) == {parent(mixed), parent(failing)}


async def test_an_asyncio_call_and_batch_carry_their_context_too(v3io_server, spans):
    async with aio_dataplane.Client(
        endpoint=v3io_server.url, access_key="k", logger_verbosity="ERROR"
    ) as client:
        await client.kv.put("users", "t", "k", {})
        client.batch.kv.get("users", "t", "k")
        await client.batch.wait()
    assert [span.name for span in spans()] == ["v3io put_item", "v3io batch"]
    assert traceparents(v3io_server) == {parent(span) for span in spans()}
