"""Requests are spans when the application uses OpenTelemetry, blocking and asyncio."""

import pytest
from loudml import Loud, NativeHttpConnection
from loudml.aio import AsyncLoud
from opentelemetry import trace


@pytest.mark.parametrize("options", [{}, {"connection_class": NativeHttpConnection}])
def test_a_request_is_a_span_below_the_current_one(loudml_server, spans, options):
    with (
        Loud(loudml_server.hosts, **options) as loud,
        trace.get_tracer("test").start_as_current_span("root"),
    ):
        loud.models.get()
    request, root = spans()
    assert (request.name, request.parent.span_id) == ("GET", root.context.span_id)
    assert request.attributes["http.response.status_code"] == 200


async def test_an_asyncio_request_is_a_span_too(loudml_server, spans):
    async with AsyncLoud(loudml_server.hosts) as loud:
        await loud.models.get()
    assert [span.name for span in spans()] == ["GET"]
