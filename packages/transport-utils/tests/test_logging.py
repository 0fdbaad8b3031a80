"""What a transport says in the log, and that it costs nothing while nobody listens."""

import logging
import subprocess
import sys

import pytest
from transport_utils import (
    AsyncTransport,
    Headers,
    HealthPolicy,
    Hooks,
    RetryPolicy,
    Transport,
    exponential,
)
from transport_utils.errors import ConnectError
from transport_utils.messages import AsyncResponse, Response, ResponseHead

LOGGER = "transport_utils.transport"
FAST = RetryPolicy(backoff=exponential(0.001))


class Canned:
    """A backend that plays a list of statuses and errors."""

    name = "canned"

    def __init__(self, *results):
        self.results = list(results)

    def request(self, endpoint, request, deadline):
        result = self.results.pop(0)
        if isinstance(result, BaseException):
            raise result
        return Response(ResponseHead(result, "", "1.1", Headers()), b"", endpoint.base_url)

    def forget(self, endpoint):
        pass

    def close(self, drain_s=0.0):
        pass


class AsyncCanned(Canned):
    async def request(self, endpoint, request, deadline):
        response = super().request(endpoint, request, deadline)
        return AsyncResponse(response.head, b"", endpoint.base_url)

    async def aclose(self, drain_s=0.0):
        pass


def call(*results, **options):
    backend = Canned(*results)
    with Transport(
        ["http://a", "http://b"], backend=backend, randomize=False, **options
    ) as transport:
        return transport.request("GET", "/x?token=hunter2", retry=FAST)


def lines(caplog):
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_a_calm_transport_says_nothing_at_info(caplog):
    with caplog.at_level(logging.INFO, LOGGER):
        call(200)
    assert lines(caplog) == []


def test_retries_and_lost_nodes_are_told_at_every_level(caplog):
    with caplog.at_level(logging.INFO, LOGGER):
        call(ConnectError("refused"), 200)
    assert lines(caplog) == [
        ("WARNING", "node http://a:80 is ejected"),
        ("INFO", "GET http://a:80/x?token=<hidden> (attempt 1) is tried again in 0.000 s"),
    ]


def test_debug_tells_every_attempt_once(caplog):
    with caplog.at_level(logging.DEBUG, LOGGER):
        call(ConnectError("refused"), 200)
    told = [
        message.partition(" -> ")[0] if level == "DEBUG" else level
        for level, message in lines(caplog)
    ]
    assert told == [
        "WARNING",
        "GET http://a:80/x?token=<hidden> (attempt 1)",
        "INFO",
        "GET http://b:80/x?token=<hidden> (attempt 2)",
    ]


async def test_the_asynchronous_transport_says_the_same(caplog):
    backend = AsyncCanned(ConnectError("refused"), 200)
    with caplog.at_level(logging.DEBUG, LOGGER):
        async with AsyncTransport(
            ["http://a", "http://b"], backend=backend, randomize=False
        ) as transport:
            await transport.request("GET", "/x", retry=FAST)
    assert len(caplog.records) == 4


@pytest.mark.parametrize("level", [logging.WARNING, logging.DEBUG])
def test_hooks_hear_each_thing_once_whether_or_not_the_log_listens(caplog, level):
    seen = []
    hooks = Hooks(
        on_request_start=lambda request: seen.append("start"),
        on_attempt=lambda attempt: seen.append(attempt.number),
        on_response=lambda attempt, meta, now: seen.append(meta.status),
        on_error=lambda attempt, error, now: seen.append(type(error).__name__),
        on_retry=lambda attempt, delay_s: seen.append("retry"),
        on_node_state=lambda endpoint, change: seen.append(change.value),
    )
    with caplog.at_level(level, LOGGER):
        call(ConnectError("refused"), 200, hooks=hooks, health=HealthPolicy(jitter=0))
    assert seen == ["start", 1, "ejected", "ConnectError", "retry", 2, 200]


def test_the_error_says_what_was_asked_and_that_nothing_was_sent():
    refused = [ConnectError("refused") for _ in range(4)]
    with pytest.raises(ConnectError) as caught:
        call(*refused)
    assert "GET /x" in str(caught.value)
    assert "nothing sent" in str(caught.value)
    assert "attempt 4 of 4" in str(caught.value)


def test_retries_by_number_share_the_allowance_of_the_transport():
    results = [503] * 200
    with Transport("http://a", backend=Canned(*results), retry=1) as transport:
        policy = transport._settings.retry
        assert policy.budget is not None
        assert transport._settings._policy(2).budget is policy.budget
    with Transport("http://a", backend=Canned(), retry=FAST) as transport:
        assert transport._settings.retry is FAST


def test_nothing_is_printed_in_a_program_that_set_no_logging_up():
    program = (
        "from transport_utils import ConnectError, Transport\n"
        "with Transport('http://127.0.0.1:9', retry=5) as transport:\n"
        "    try:\n"
        "        transport.request('GET', '/')\n"
        "    except ConnectError:\n"
        "        pass\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert done.stderr == b""
