"""OpenTelemetry gets what happens, when the application uses it, and nothing otherwise."""

from __future__ import annotations

import sys
import types

import pytest
from infi.ramen_client import telemetry
from infi.ramen_client.config import QueueWriterConfig


class Meter:
    def __init__(self):
        self.added = []
        self.gauges = {}

    def create_counter(self, name, unit, description):
        return types.SimpleNamespace(
            add=lambda count, attributes: self.added.append((name, count, attributes))
        )

    def create_observable_gauge(self, name, callbacks, unit):
        self.gauges[name] = callbacks[0]


@pytest.fixture
def meter(monkeypatch):
    """Stand in for opentelemetry-api: the calls we make and nothing else."""
    made = Meter()
    metrics = types.ModuleType("opentelemetry.metrics")
    metrics.get_meter = lambda name, version, provider: made
    metrics.Observation = lambda value, attributes: (value, attributes)
    package = types.ModuleType("opentelemetry")
    package.metrics = metrics
    monkeypatch.setitem(sys.modules, "opentelemetry", package)
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", metrics)
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    monkeypatch.delenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", raising=False)
    return made


def test_messages_retries_and_the_queue_are_reported(meter, make_pair, recorder):
    events = []
    recorder.answers = [
        recorder.reply(500),
        recorder.reply(400),
        recorder.reply(202, b'{"code":"DROPPED","rule":{}}'),
        recorder.reply(),
    ]
    reader, writer = make_pair(recorder, events=events)
    for number in range(3):
        writer.push("m", f"t{number}", "v1", {})
    assert meter.gauges["ramen_client.queue.messages"](None)[0][0] == 3
    assert meter.gauges["ramen_client.queue.size"](None)[0][0] > 4096
    for _ in range(4):
        reader.consume_one()
    writer.close()
    reader.close()
    assert meter.gauges["ramen_client.queue.messages"](None) == []  # a closed queue stays closed
    common = {"ramen.sender": "imx", "ramen.system_serial": 1099}
    assert meter.added == [
        ("ramen_client.retries", 1, {**common, "reason": "retry"}),
        ("ramen_client.messages", 1, {**common, "outcome": "dead"}),
        ("ramen_client.messages", 1, {**common, "outcome": "dropped"}),
        ("ramen_client.messages", 1, {**common, "outcome": "accepted"}),
    ]
    assert [name for name, _ in events] == ["retry", "dead", "dropped", "accepted"]


def test_what_happens_to_the_files_is_reported(meter, writer_values):
    report = telemetry.telemetry_events(QueueWriterConfig(writer_values))
    report("trimmed", count=5, size=1, limit=2)
    report("damage", error="", saved=1, kept="")
    report("active")
    assert [(name, count) for name, count, _ in meter.added] == [
        ("ramen_client.messages", 5),
        ("ramen_client.damage", 1),
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [("OTEL_SDK_DISABLED", "true"), ("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "a, ramen_client")],
)
def test_it_can_be_switched_off(meter, writer_values, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert telemetry.with_telemetry(None, QueueWriterConfig(writer_values)) is None


def test_nothing_is_done_where_nobody_listens(writer_values, monkeypatch):
    # Other suites of the same run may have imported it.
    monkeypatch.delitem(sys.modules, "opentelemetry.metrics", raising=False)
    config = QueueWriterConfig(writer_values)
    assert telemetry.with_telemetry(None, config) is None
    assert telemetry.with_telemetry(None, config) is None
