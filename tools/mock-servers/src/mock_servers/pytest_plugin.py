"""Pytest fixtures of the mock servers, registered as a plugin; usable by any project that installs this distribution.

Each server's fixtures live beside it in ``mock_servers.<server>.fixtures`` and are re-exported here. Nothing is applied
to a test that does not ask for it; a project that wants the leak check everywhere sets ``usefixtures = no_leaks``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from mock_servers.loudml.fixtures import loudml_cluster, loudml_server, make_loudml_server
from mock_servers.proxy.fixtures import make_proxy
from mock_servers.ramen.fixtures import ramen_server
from mock_servers.v3io.fixtures import v3io_server
from mock_servers.yagna.fixtures import make_yagna, yagna

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

__all__ = [
    "loudml_cluster",
    "loudml_server",
    "make_loudml_server",
    "make_proxy",
    "make_yagna",
    "no_leaks",
    "ramen_server",
    "spans",
    "v3io_server",
    "yagna",
]


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fail the test when it leaves a thread or an open socket behind.

    What broader-scoped fixtures hold is theirs and not counted.
    """
    from mock_servers.leaks import Resources, leaked

    before = Resources.now()
    yield
    if found := leaked(before):
        pytest.fail(found)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[ReadableSpan, ...]]:
    """Return a function that gives the spans which have ended so far; they go nowhere else during the test.

    Needs ``opentelemetry-sdk``.
    """
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return exporter.get_finished_spans
