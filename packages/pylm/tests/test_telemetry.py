"""Spans of calls and functions hang together across server and worker."""

import logging

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pylm import errors, telemetry
from pylm.servers import Master, Server, Worker
from pylm.testing import Kit

QUIET = {"log_level": logging.CRITICAL}


class Echo(Server):
    def foo(self, message):
        return message

    def fails(self, message):
        raise KeyError("missing")


class Hand(Worker):
    def foo(self, message):
        return message


@pytest.fixture
def spans():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry.instrument(provider)
    yield exporter
    telemetry.uninstrument()


def test_a_call_and_its_function_share_a_trace(spans):
    with Kit() as kit:
        server = kit.run(Echo("s", *kit.addresses(3), **QUIET, options=kit.options()))
        master = kit.run(Master("m", *kit.addresses(5), **QUIET, options=kit.options()))
        kit.run(Hand("w", master.db_address, **QUIET, options=kit.options()))
        kit.client("s", server.db_address).eval("s.foo", b"x")
        kit.client("m", master.db_address).eval("m.foo", b"x")
    inner, outer, hand, boss = spans.get_finished_spans()
    assert (outer.name, inner.name) == ("pylm s.foo", "s.foo")
    assert inner.context.trace_id == outer.context.trace_id
    assert inner.parent.span_id == outer.context.span_id
    assert hand.parent.span_id == boss.context.span_id


def test_a_failed_call_is_a_failed_span(spans):
    with Kit() as kit:
        server = kit.run(Echo("s", *kit.addresses(3), **QUIET, options=kit.options()))
        with pytest.raises(errors.RemoteError):
            kit.client("s", server.db_address).eval("s.fails", b"x")
    assert [span.status.is_ok for span in spans.get_finished_spans()] == [False, False]
