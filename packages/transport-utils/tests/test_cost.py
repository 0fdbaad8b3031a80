"""What a request costs, in figures that do not depend on the machine."""

import asyncio
import sys

import pytest
from mock_servers.runner import ServerThread
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from transport_utils import AsyncTransport, Transport


async def small(request):
    return Response(b'{"a":"' + b"x" * 190 + b'"}', media_type="application/json")


@pytest.fixture(scope="module")
def url():
    with ServerThread(Starlette(routes=[Route("/x", small, methods=["GET", "POST"])])) as server:
        yield server.url


@pytest.fixture(autouse=True)
def without_telemetry(monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")


def count_calls(run):
    calls = 0

    def profile(frame, event, argument):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("body", [None, b"x" * 1024])
def test_a_native_request_makes_at_most_60_python_calls(url, body):
    with Transport(url) as transport:
        for _ in range(3):
            transport.request("POST", "/x", body=body)
        assert count_calls(lambda: transport.request("POST", "/x", body=body)) <= 60


def test_a_decoded_request_makes_at_most_90(url):
    with Transport(url) as transport:
        for _ in range(3):
            transport.perform_request("GET", "/x")
        assert count_calls(lambda: transport.perform_request("GET", "/x")) <= 90


def test_an_asynchronous_request_makes_at_most_120(url):
    async def measure():
        async with AsyncTransport(url) as transport:
            for _ in range(3):
                await transport.request("GET", "/x")
            calls = 0

            def profile(frame, event, argument):
                nonlocal calls
                calls += event == "call"

            sys.setprofile(profile)
            try:
                await transport.request("GET", "/x")
            finally:
                sys.setprofile(None)
            return calls

    assert asyncio.run(measure()) <= 120
