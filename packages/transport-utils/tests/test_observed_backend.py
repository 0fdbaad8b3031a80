"""Hooks see every exchange of a backend that a client drives itself, and headers they add are sent."""

import pytest
from transport_utils.aio.backends.native import AsyncNativeBackend
from transport_utils.backends.native import NativeBackend
from transport_utils.backends.observed import observed, observed_async
from transport_utils.deadline import Deadline
from transport_utils.endpoint import Endpoint
from transport_utils.errors import ConnectError
from transport_utils.hooks import Hooks
from transport_utils.messages import Request


class Watcher:
    def __init__(self):
        self.seen = []
        self.hooks = Hooks(
            on_attempt=self.begin,
            on_response=lambda attempt, meta, now: self.seen.append(meta.status),
            on_error=lambda attempt, error, now: self.seen.append(type(error).__name__),
        )

    def begin(self, attempt):
        attempt.headers["traceparent"] = "00-1-2-03"


def test_nobody_listening_means_the_backend_itself():
    backend = NativeBackend()
    assert observed(backend, None) is backend
    backend.close()


def test_answers_and_failures_are_seen(v3io_server):
    watcher = Watcher()
    backend = observed(NativeBackend(), watcher.hooks)
    endpoint = Endpoint.from_url(v3io_server.url)
    refused = Endpoint("http", "127.0.0.1", 1)
    assert backend.request(endpoint, Request("GET", "/"), Deadline()).status == 401
    with pytest.raises(ConnectError):
        backend.request(refused, Request("GET", "/"), Deadline())
    backend.forget(endpoint)
    backend.close()
    assert watcher.seen == [401, "ConnectError"]
    [exchange] = v3io_server.traffic.requests
    headers = {str(name).lower(): value for name, value in exchange.request_headers}
    assert headers["traceparent"] == "00-1-2-03"


async def test_answers_and_failures_are_seen_on_asyncio(v3io_server):
    watcher = Watcher()
    backend = observed_async(AsyncNativeBackend(), watcher.hooks)
    endpoint = Endpoint.from_url(v3io_server.url)
    response = await backend.request(endpoint, Request("GET", "/"), Deadline())
    assert response.status == 401
    with pytest.raises(ConnectError):
        await backend.request(Endpoint("http", "127.0.0.1", 1), Request("GET", "/"), Deadline())
    backend.forget(endpoint)
    await backend.aclose()
    assert watcher.seen == [401, "ConnectError"]
