"""Closing, forking and forgetting: what ends, what goes on, and what is given back."""

import asyncio
import contextlib
import os
import threading
import time

import pytest
from transport_utils import errors
from transport_utils.aio.transport import AsyncTransport
from transport_utils.backoff import Constant
from transport_utils.endpoint import Endpoint
from transport_utils.retry import RetryPolicy
from transport_utils.testing import (
    Answer,
    FaultServer,
    Silence,
)
from transport_utils.transport import Transport

QUICK = RetryPolicy(backoff=Constant(0.01))
HELLO = Answer(body=b"hello")


# -- closing


def test_pain_1_close_wakes_a_call_that_pauses():
    policy = RetryPolicy(backoff=Constant(30.0))
    caught = []
    with FaultServer(Answer(503)) as server:
        transport = Transport(server.url, retry=policy)

        def call():
            try:
                transport.request("GET", "/x")
            except errors.TransportClosed as error:
                caught.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        while not server.requests:
            time.sleep(0.001)
        transport.close()
        thread.join(5)
    assert len(caught) == 1


async def test_aclose_wakes_a_call_that_pauses():
    policy = RetryPolicy(backoff=Constant(30.0))
    with FaultServer(Answer(503)) as server:
        transport = AsyncTransport(server.url, retry=policy)
        task = asyncio.create_task(transport.request("GET", "/x"))
        while not server.requests:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
        await transport.aclose()
        with pytest.raises(errors.TransportClosed):
            await task


def test_close_can_wait_for_exchanges_in_progress():
    results = []
    with FaultServer(Answer(body=b"late", delay_s=0.1)) as server:
        transport = Transport(server.url)
        thread = threading.Thread(target=lambda: results.append(transport.request("GET", "/x")))
        thread.start()
        while not server.requests:
            time.sleep(0.001)
        transport.close(drain_s=5.0)
        thread.join()
    assert [response.content for response in results] == [b"late"]


@pytest.mark.parametrize("backend", ["native", "urllib3"])
def test_close_ends_exchanges_in_progress(backend):
    failures = []

    def send():
        try:
            transport.request("GET", "/x", timeout=10.0)
        except errors.TransportError as error:
            failures.append(error)

    with FaultServer(Silence()) as server:
        transport = Transport(server.url, backend=backend, retry=0)
        thread = threading.Thread(target=send)
        thread.start()
        while not server.requests:
            time.sleep(0.001)
        begun = time.monotonic()
        transport.close()
        thread.join()
        assert time.monotonic() - begun < 5.0
    assert [type(failure) for failure in failures] == [errors.TransportClosed]


async def test_aclose_can_wait_for_exchanges_in_progress_or_end_them():
    with FaultServer(Answer(body=b"late", delay_s=0.1), Silence()) as server:
        transport = AsyncTransport(server.url, retry=0)
        task = asyncio.create_task(transport.request("GET", "/x"))
        while not server.requests:
            await asyncio.sleep(0.001)
        await transport.aclose(drain_s=5.0)
        assert (await task).content == b"late"
        transport = AsyncTransport(server.url, retry=0)
        task = asyncio.create_task(transport.request("GET", "/x"))
        while len(server.requests) < 2:
            await asyncio.sleep(0.001)
        await transport.aclose()
        with pytest.raises(errors.TransportClosed):
            await task


@pytest.mark.parametrize("backend", ["native", "urllib3", "requests", "httpx"])
def test_fault_13_use_after_close_says_so(backend):
    transport = Transport("http://127.0.0.1:1", backend=backend)
    transport.close()
    transport.close()
    with pytest.raises(errors.TransportClosed, match="closed"):
        transport.request("GET", "/x")


# -- processes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("backend", ["native", "urllib3", "httpx"])
def test_fault_14_and_pain_10_a_forked_child_has_connections_of_its_own(backend):
    with FaultServer(HELLO) as server, Transport(server.url, backend=backend) as transport:
        transport.request("GET", "/parent")
        child = os.fork()
        if not child:
            status = 1
            with contextlib.suppress(BaseException):
                status = 0 if transport.request("GET", "/child").content == b"hello" else 2
            os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert transport.request("GET", "/parent").reused is True
        by_target = {request.target: request.connection for request in server.requests}
        assert by_target == {"/parent": 0, "/child": 1}


# -- forgotten responses


def test_forgotten_stream_gives_its_place_back_and_warns():
    with FaultServer(Answer(body=b"x" * 300_000)) as server:
        endpoint = Endpoint.from_url(server.url, max_connections=1)
        with Transport(endpoint, retry=0) as transport:
            held = [transport.request("GET", "/x", stream=True)]
            with pytest.warns(ResourceWarning, match="neither read to its end nor closed"):
                held.clear()
            assert transport.request("GET", "/x").status == 200


async def test_forgotten_asynchronous_stream_gives_its_place_back_and_warns():
    with FaultServer(Answer(body=b"x" * 300_000)) as server:
        endpoint = Endpoint.from_url(server.url, max_connections=1)
        async with AsyncTransport(endpoint, retry=0) as transport:
            held = [await transport.request("GET", "/x", stream=True)]
            with pytest.warns(ResourceWarning, match="neither read to its end nor closed"):
                held.clear()
            assert (await transport.request("GET", "/x")).status == 200
