"""Calls are spans when the application uses OpenTelemetry, blocking and asyncio, and carry no data."""

import pytest
from opentelemetry import trace
from v3io.aio import dataplane as aio_dataplane
from v3io.dataplane import Client
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
    put, got, root = spans()
    assert (put.name, put.parent.span_id) == ("v3io put_item", root.context.span_id)
    assert put.attributes["http.response.status_code"] == 200
    assert put.attributes["v3io.container"] == "users"
    assert f"127.0.0.1:{put.attributes['server.port']}" in v3io_server.url
    assert (got.name, got.attributes["error.type"]) == ("v3io get_object", "NotFound")
    assert got.attributes["http.response.status_code"] == 404
    assert not got.status.is_ok
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
