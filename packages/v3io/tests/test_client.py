"""Clients and their transports: options, closing, threads, forks, override points, the environment."""

import asyncio
import binascii
import io
import os
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mock_servers.faults import Fault
from transport_utils.retry import RetryPolicy
from v3io import base64_codec
from v3io.aio import dataplane as aio_dataplane
from v3io.aio.dataplane.transport import aiohttp as aiohttp_path
from v3io.dataplane import Client, RaiseForStatus
from v3io.dataplane.transport import httpclient, verifier
from v3io.errors import ClientClosed, ConnectionRefused, NotFound, Overloaded


class Lines:
    """A logger that keeps its debug lines."""

    def __init__(self):
        self.lines = []

    def debug_with(self, message, **details):
        self.lines.append((message, details))

    def __getattr__(self, name):
        return lambda *args, **kwargs: None


@pytest.fixture
def client(v3io_server):
    with Client(logger=Lines(), endpoint=v3io_server.url, access_key="k") as client:
        yield client


def test_missing_endpoint_wins_over_a_missing_key(monkeypatch):
    monkeypatch.delenv("V3IO_API", raising=False)
    monkeypatch.delenv("V3IO_ACCESS_KEY", raising=False)
    with pytest.raises(RuntimeError, match="Endpoints must be passed"):
        Client(logger=Lines())
    with pytest.raises(ValueError, match="Access key must be provided"):
        Client(logger=Lines(), endpoint="http://127.0.0.1:1")
    with pytest.raises(ValueError, match="Access key must be provided"):
        aio_dataplane.Client(logger=Lines())
    with pytest.raises(AttributeError, match="transport_kind 'nope'"):
        Client(logger=Lines(), endpoint="http://127.0.0.1:1", access_key="k", transport_kind="nope")
    for bad in ("ftp://x", "http://user@x", "http://x?q"):
        with pytest.raises(ValueError, match="endpoint"):
            Client(logger=Lines(), endpoint=bad, access_key="k")


def test_closed_client_says_so_and_closes_again(client):
    client.object.put("users", "o", body="x")
    client.close()
    client.close()
    with pytest.raises(RuntimeError) as caught:
        client.object.get("users", "o")
    assert isinstance(caught.value, ClientClosed)


def test_close_wakes_a_call_that_waits_to_retry(v3io_server):
    v3io_server.faults.add(Fault("status", status=503, headers={"Retry-After": "30"}))
    client = Client(logger=Lines(), endpoint=v3io_server.url, access_key="k")
    outcome = []

    def call():
        try:
            client.object.get("users", "o")
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    while not v3io_server.traffic.requests:
        thread.join(0.005)
    client.close()
    thread.join(10)
    assert isinstance(outcome[0], ClientClosed)


def test_refused_connection_is_the_built_in_error_too():
    client = Client(logger=Lines(), endpoint="http://127.0.0.1:1", access_key="k")
    with client, pytest.raises(ConnectionRefusedError) as caught:
        client.object.get("users", "o")
    assert isinstance(caught.value, ConnectionRefused)
    assert "attempt 3 of 3" in str(caught.value)


def test_overload_is_retried_as_often_as_the_policy_says(client, v3io_server):
    v3io_server.faults.add(Fault("status", status=503, times=2))
    response = client.object.put("users", "o", body="x")
    assert (response.status_code, response.meta.attempts) == (200, 3)
    v3io_server.faults.add(Fault("status", status=503))
    patient = client.with_options(retry=RetryPolicy(max_retries=0))
    v3io_server.traffic.clear()
    with pytest.raises(Overloaded):
        patient.object.get("users", "o")
    assert len(v3io_server.traffic.requests) == 1
    response = patient.object.get("users", "o", raise_for_status=RaiseForStatus.never)
    assert response.status_code == 503


def test_process_wide_number_of_retries_is_kept(client, v3io_server):
    assert httpclient.Transport.get_request_max_retries() == 2
    v3io_server.faults.add(Fault("status", status=503))
    httpclient.Transport.set_request_max_retries(0)
    try:
        with pytest.raises(Overloaded):
            client.object.get("users", "o")
    finally:
        httpclient.Transport.set_request_max_retries(2)
    assert len(v3io_server.traffic.requests) == 1


def test_options_make_another_view_of_the_same_client(client, v3io_server):
    other = client.with_options(access_key="other", timeout=5)
    other.object.put("users", "o", body="x")
    sent = dict(v3io_server.traffic.requests[-1].request_headers)
    assert sent["x-v3io-session-key"] == "other"
    assert other._transport._channel is client._transport._channel
    with pytest.raises(TypeError, match="takes no timeout"):
        Client(transport_kind=object.__new__(Refuser), logger=Lines()).with_options(timeout=1)


class Refuser:
    """A transport of the user's own, with the least it needs."""

    max_connections = 1

    def requires_access_key(self):
        return False

    def request(self, *args):
        raise NotImplementedError


def test_response_tells_about_its_exchange(client):
    first = client.object.put("users", "o", body="x")
    second = client.object.get("users", "o")
    assert (first.meta.attempts, second.meta.reused) == (1, True)
    assert 0 < second.meta.duration_s < 5
    assert second.headers["content-TYPE"] == "application/octet-stream"
    assert client._transport._node in second.meta.node


def test_access_key_that_is_no_header_value_is_refused(v3io_server):
    client = Client(logger=Lines(), endpoint=v3io_server.url, access_key="a\r\nb: c")
    with client, pytest.raises(Exception, match="X-v3io-session-key"):
        client.object.get("users", "o")
    assert v3io_server.traffic.requests == []


def test_client_is_shared_by_threads(client):
    def work(name):
        for number in range(20):
            client.kv.put("users", name, f"k{number}", {"n": number})

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert all(len(client.kv.scan("users", f"t{n}").to_dicts()) == 20 for n in range(8))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forked_child_opens_connections_of_its_own(client, v3io_server):
    client.object.put("users", "o", body="x")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if client.object.get("users", "o").body == b"x" else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert client.object.get("users", "o").body == b"x"


class FakeConnection:
    """A connection of a downstream test: fails every other time."""

    made = []

    def __init__(self):
        self.closed = 0
        self.calls = []
        FakeConnection.made.append(self)

    def request(self, method, path, body, headers):
        self.calls.append((method, path, body, dict(headers)))

    def getresponse(self):
        if len(FakeConnection.made) < 6:
            raise ConnectionResetError("gone")
        return self

    def read(self):
        return b"answer"

    code = 200
    headers = {}

    def close(self):
        self.closed += 1


class FakeTransport(httpclient.Transport):
    def _create_connection(self, host, ssl_context):
        assert host == "127.0.0.1"
        return FakeConnection()


def test_overridden_connections_are_used_and_closed_once_each():
    FakeConnection.made.clear()
    transport = FakeTransport(Lines(), "http://127.0.0.1:8081", max_connections=4)
    client = Client(transport_kind=transport, logger=Lines(), access_key="k")
    with pytest.raises(ConnectionResetError):
        client.stream.put_records("users", "st", [{"data": "x"}])
    assert sum(connection.closed for connection in FakeConnection.made) == 1
    assert client.object.get("users", "o").body == b"answer"
    client.batch.object.get("users", "p")
    assert client.batch.wait()[0].body == b"answer"
    client.close()
    assert [connection.closed for connection in FakeConnection.made] == [1] * len(
        FakeConnection.made
    )
    calls = [sent for connection in FakeConnection.made for sent in connection.calls]
    assert ("GET", "/users/o", None, {"X-v3io-session-key": "k"}) in calls
    with pytest.raises(ClientClosed):
        client.object.get("users", "o")


def test_assigned_transport_is_used_by_flat_and_grouped_calls(client, v3io_server):
    class Other:
        max_connections = 1

        def request(self, container, access_key, *rest):
            return container, access_key

    client._transport, kept = Other(), client._transport
    assert client.get_object("users", "o") == ("users", "k")
    assert client.object.get("users", "o", access_key="other") == ("users", "other")
    client._transport = kept


def test_request_names_the_arguments_of_its_encoder():
    seen = []
    client = Client(transport_kind=verifier.Transport([seen.append]))
    client.kv.put("users", "people", "bob", {"age": 42})
    assert seen[0].encoder_args == {
        "path": "people/bob",
        "attributes": {"age": 42},
        "condition": None,
    }


@given(st.binary(max_size=60))
def test_both_ways_of_base64_agree(raw):
    text = base64_codec.encode(raw)
    assert base64_codec._encode_slowly(raw) == text
    assert base64_codec.decode(text) == raw
    assert base64_codec._decode_slowly(text.decode(), validate=True) == raw


@pytest.mark.parametrize("text", ["a", "YQ=", "Y Q==", "YQ==x", "\u00e9"])
def test_text_that_is_no_base64_is_refused(text):
    with pytest.raises(ValueError):
        base64_codec.decode(text)
    with pytest.raises((ValueError, binascii.Error)):
        base64_codec._decode_slowly(text, validate=True)


async def test_asyncio_client_does_it_all(v3io_server):
    lines = Lines()
    async with aio_dataplane.Client(
        logger=lines, endpoint=v3io_server.url, access_key="secret", transport_verbosity="DEBUG"
    ) as client:
        assert isinstance(client._transport, aiohttp_path.Transport)
        await client.object.put("users", "o", body=io.BytesIO(b"x" * 100_000))

        async def pieces():
            yield b"a"
            yield b"b"

        await client.object.put("users", "p", body=pieces())
        assert (await client.get_object("users", "p")).body == b"ab"
        await client.put_items("users", "/t", {"k": {"a": 1}, "l": {"a": 2}})
        assert len(await client.new_items_cursor("users", "t", limit=5).all()) == 2
        await client.create_stream("users", "st", 1)
        await client.delete_stream("users", "st")
        with pytest.raises(NotFound):
            await client.with_options(timeout=3, retry=RetryPolicy()).object.get("users", "none")
        await client.close()
        with pytest.raises(ClientClosed):
            await client.object.get("users", "o")
    assert "secret" not in str(lines.lines)
    assert {message for message, _ in lines.lines} == {"Tx", "Rx"}


async def test_asyncio_close_wakes_a_call_that_waits_to_retry():
    client = aio_dataplane.Client(
        logger=Lines(), endpoint="http://127.0.0.1:1", access_key="k", retry_intervals=[30.0]
    )
    call = asyncio.ensure_future(client.object.get("users", "o"))
    done, _ = await asyncio.wait([call], timeout=0.2)
    assert not done
    await client.close()
    with pytest.raises(ClientClosed):
        await call


def test_asyncio_client_may_be_made_outside_a_loop(v3io_server):
    client = aio_dataplane.Client(logger=Lines(), endpoint=v3io_server.url, access_key="k")

    async def use():
        async with client:
            return (await client.object.put("users", "o", body="x")).status_code

    assert asyncio.run(use()) == 200


def test_import_loads_no_optional_library():
    code = "import sys, v3io.dataplane, v3io.aio.dataplane; print(*sys.modules)"
    environment = {**os.environ, "COVERAGE_PROCESS_START": ""}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    optional = {
        "aiohttp",
        "click",
        "dask",
        "numpy",
        "opentelemetry",
        "pandas",
        "pyarrow",
        "requests",
        "rich",
    }
    assert optional.isdisjoint(run.stdout.split())


@pytest.mark.parametrize(
    ("records", "error", "text"),
    [
        ("abc", TypeError, "put_records got a str: expected a list of dicts"),
        ({"data": "x"}, TypeError, "put_records got a dict"),
        ([{"data": "x"}, "y"], TypeError, "record 1 is a str: expected a dict with 'data'"),
        ([{"data": "x"}, {"date": "y"}], KeyError, "^'data'$"),
        ([{"data": 5}], TypeError, "data of record 0 is a int: expected str or bytes"),
    ],
)
def test_bad_record_is_named(client, records, error, text):
    with pytest.raises(error, match=text):
        client.stream.put_records("users", "events", records)


def test_bad_item_is_refused_before_it_is_sent(client):
    with pytest.raises(AttributeError, match=r"attributes None: expected a dict"):
        client.kv.put("users", "people", "bob", None)
    with pytest.raises(TypeError, match=r"PutItem /users/people/bob: .*key must be str"):
        client.kv.put("users", "people", "bob", {1: 2})
    with pytest.raises(TypeError, match=r"PutItem /users/people/bob: .*surrogates"):
        client.kv.put("users", "people", "bob", {"name": "\ud800"})


def test_unknown_policy_is_named_and_responses_print_short(client):
    response = client.object.put("users", "o", body=b"some bytes")
    assert repr(response) == "<Response 200, 0 bytes>"
    assert repr(client.object.get("users", "o")) == "<Response 200, 10 bytes>"
    with pytest.raises(ValueError, match="raise_for_status='sometimes': expected 'never'"):
        response.raise_for_status("sometimes")
