"""The faults of 0.7.2, each named, none of them left; in the order in which they were found."""

import array
import io
import logging
import pickle
import ssl
import time
import warnings

import pytest
import trustme
from mock_servers.faults import Fault
from mock_servers.runner import ServerThread
from transport_utils.errors import (
    BodyNotReplayable,
    CertificateError,
    ConnectionFailed,
    ReadTimeout,
    TimedOut,
)
from v3io.aio import dataplane as aio_dataplane
from v3io.dataplane import Client, RaiseForStatus
from v3io.dataplane.response import HttpResponseError, Response, Responses
from v3io.dataplane.transport import httpclient, verifier
from v3io.errors import ConnectionBroken, NotFound, PermissionDenied


class Quiet:
    def __getattr__(self, name):
        return lambda *args, **kwargs: None


def make_client(server, **options):
    return Client(logger=Quiet(), endpoint=server.url, access_key="secret-key", **options)


@pytest.fixture
def client(v3io_server):
    with make_client(v3io_server) as client:
        yield client


@pytest.fixture
async def aio(v3io_server):
    async with aio_dataplane.Client(
        logger=Quiet(), endpoint=v3io_server.url, access_key="secret-key", max_connections=4
    ) as client:
        yield client


def requests_of(server):
    return list(server.traffic.requests)


def test_01_cursor_of_the_flat_form_passes_its_arguments_where_they_belong(client):
    for name, age in (("bob", 42), ("louise", 9)):
        client.put_item("users", f"/t/{name}", {"age": age, "other": 1})
    cursor = client.new_items_cursor(
        "users", "/t/", attribute_names=["age"], filter_expression="age > 15"
    )
    assert cursor.all() == [{"age": 42}]


def test_02_failed_batches_leave_the_client_whole(client):
    client.object.put("users", "there", body="x")
    for _ in range(1000):
        for path in ("missing", "there", "missing", "there"):
            client.batch.get_object("users", path)
        with pytest.raises(NotFound):
            client.batch.wait()
    client.batch.get_object("users", "there")
    assert client.batch.wait()[0].body == b"x"
    assert client._transport._channel.pool.open_count <= 8


async def test_03_asyncio_deletes_items(aio):
    await aio.kv.put("users", "t", "k", {"a": 1})
    assert (await aio.kv.delete("users", "t", "k")).status_code == 204


async def test_04_asyncio_honours_max_connections_and_sends_single_slashes(aio, v3io_server):
    import asyncio

    await asyncio.gather(*(aio.kv.put("users", "t", f"k{n}", {"a": n}) for n in range(40)))
    assert aio._transport._channel.pool.open_count <= 4
    assert {entry.target for entry in requests_of(v3io_server)} == {
        f"/users/t/k{n}" for n in range(40)
    }


def test_05_cursor_goes_on_after_an_empty_page_and_starts_at_its_marker(client, v3io_server):
    for number in range(10):
        client.kv.put("users", "t", f"k{number}", {"n": number})
    v3io_server.knobs.page_rows = 2
    found = client.kv.new_cursor("users", "t", filter_expression="n >= 8").all()
    assert [item["n"] for item in found] == [8, 9]
    first = client.kv.scan("users", "t", limit=4)
    cursor = client.kv.new_cursor("users", "t", marker=first.output.next_marker)
    assert [item["n"] for item in cursor.all()] == list(range(4, 10))


def test_06_requests_transport_returns_the_headers_of_the_response(v3io_server):
    with make_client(v3io_server, transport_kind="requests") as client:
        response = client.kv.put("users", "t", "k", {"a": 1})
        assert "x-v3io-transaction-verifier" in response.headers
        assert "X-v3io-session-key" not in response.headers


def test_07_file_that_was_sent_and_lost_is_sent_again_whole(client, v3io_server):
    v3io_server.faults.add(Fault("drop", path="/users/o", apply=True, times=1))
    file = io.BytesIO(b"skipped" + b"x" * 200_000)
    file.seek(7)
    client.object.put("users", "o", body=file)
    assert client.object.get("users", "o").body == b"x" * 200_000


def test_07_generator_that_was_lost_is_an_error_and_not_an_empty_object(client, v3io_server):
    v3io_server.faults.add(Fault("drop", path="/users/o", times=1))
    with pytest.raises(BodyNotReplayable):
        client.object.put("users", "o", body=(piece for piece in [b"a", b"b"]))


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.stream.put_records("users", "st", [{"data": "x"}]),
        lambda c: c.object.put("users", "o", body="x", append=True),
        lambda c: c.kv.update("users", "t", "k", expression="a = if_not_exists(a, 0) + 1"),
    ],
    ids=["put_records", "append", "expression"],
)
def test_08_what_may_have_been_applied_is_not_sent_again(client, v3io_server, call):
    client.stream.create("users", "st", 1)
    client.kv.get("users", "t", "none", raise_for_status=RaiseForStatus.never)
    v3io_server.traffic.clear()
    v3io_server.faults.add(Fault("drop", apply=True))
    with pytest.raises(ConnectionFailed) as caught:
        call(client)
    assert isinstance(caught.value, ConnectionResetError)
    assert len(requests_of(v3io_server)) == 1


def test_09_batch_queues_every_call(client):
    batch = client.create_batch()
    client.stream.create("users", "old", 1)
    client.kv.put("users", "t", "gone", {"a": 1})
    calls = [
        batch.object.put("users", "o", body="x"),
        batch.kv.create_schema("users", "t", key="id", fields=[]),
        batch.delete_item("users", "t/gone"),
        batch.stream.create("users", "st", 1),
        batch.delete_stream("users", "old"),
    ]
    batch.wait()
    calls += [
        batch.object.head("users", "o"),
        batch.container.get("users", ""),
        batch.container.list("users", "t"),
        batch.update_stream("users", "st", 2),
    ]
    batch.wait()
    calls.append(batch.stream.delete("users", "st"))
    batch.wait()
    assert all(call.done and call.exception() is None for call in calls)


@pytest.mark.parametrize("extra", [{"expression": "a=1"}, {"alternate_expression": "a=1"}])
def test_10_update_with_attributes_and_an_expression_is_refused(client, v3io_server, extra):
    with pytest.raises(RuntimeError, match="not both"):
        client.kv.update("users", "t", "k", attributes={"b": 2}, **extra)
    assert requests_of(v3io_server) == []


def test_11_attribute_names_may_be_text(client):
    client.kv.put("users", "t", "k", {"age": 1, "a": 2})
    assert client.kv.get("users", "t", "k", attribute_names="age").output.item == {"age": 1}
    assert "__size" in client.kv.get("users", "t", "k", attribute_names="**").output.item


def test_12_outputs_of_refused_calls_can_be_looked_at(client, v3io_server):
    never = RaiseForStatus.never
    output = client.stream.get_records("users", "none", 0, "x", raise_for_status=never).output
    assert (output.records, output.next_location) == ([], None)
    v3io_server.faults.add(Fault("status", status=403, body='{"ErrorCode": -13}', times=1))
    assert client.stream.delete("users", "st", raise_for_status=never).status_code == 403
    body = "<ListBucketResult><Name>users</Name></ListBucketResult>"
    v3io_server.faults.add(Fault("status", status=200, body=body, times=1))
    assert client.container.list("users", "").output.next_marker is None


def test_13_stream_with_more_files_than_a_page_is_deleted_whole(client):
    client.stream.create("users", "st", 1)
    batch = client.create_batch()
    for number in range(1100):
        batch.object.put("users", f"st/f{number}", body="")
    batch.wait()
    client.stream.delete("users", "st")
    assert client.container.list("users", "", directories_only=True).output.common_prefixes == []


@pytest.mark.parametrize("code", "bBhHiIlLqQfd")
def test_14_arrays_of_every_numeric_code_come_back(client, code):
    client.kv.put("users", "t", "k", {"a": array.array(code, [1, 2, 3])})
    assert client.kv.get("users", "t", "k").output.item["a"] == [1, 2, 3]


def test_15_length_of_text_is_counted_in_bytes(client, v3io_server):
    client.kv.put("users", "t", "k", {"a": "x" * 61199})
    with pytest.raises(AttributeError, match=r"too long\(183597 bytes\) when max is 61199"):
        client.kv.put("users", "t", "k", {"a": "\u20ac" * 61199})


def test_16_silent_server_is_given_up_at_the_timeout(v3io_server):
    v3io_server.faults.add(Fault("hang"))
    started = time.monotonic()
    with make_client(v3io_server, timeout=0.2) as client:
        with pytest.raises(TimedOut):
            client.kv.get("users", "t", "k")
        with pytest.raises(TimeoutError):
            client.with_options(timeout=0.1).object.get("users", "o")
    assert time.monotonic() - started < 5


def test_16_process_wide_timeout_is_kept(v3io_server):
    v3io_server.faults.add(Fault("hang"))
    assert httpclient.Transport.get_connection_timeout() == 20
    httpclient.Transport.set_connection_timeout(0.1)
    try:
        with make_client(v3io_server) as client, pytest.raises(ReadTimeout):
            client.kv.get("users", "t", "k")
    finally:
        httpclient.Transport.set_connection_timeout(20)


async def test_16_asyncio_call_ends_at_its_timeout(v3io_server):
    v3io_server.faults.add(Fault("hang"))
    async with aio_dataplane.Client(
        logger=Quiet(), endpoint=v3io_server.url, access_key="k", timeout=0.2
    ) as client:
        with pytest.raises(TimedOut):
            await client.kv.get("users", "t", "k")


def test_17_empty_endpoint_is_taken_from_the_environment(v3io_server, monkeypatch):
    monkeypatch.setenv("V3IO_API", v3io_server.url.removeprefix("http://") + "//")
    with Client(logger=Quiet(), endpoint="", access_key="k") as client:
        assert client.get_containers().status_code == 200


@pytest.mark.parametrize("kind", ["httpclient", "requests"])
def test_17_endpoint_with_a_path_is_used(v3io_server, kind):
    client = Client(
        logger=Quiet(), endpoint=v3io_server.url + "/users", access_key="k", transport_kind=kind
    )
    with client:
        client.object.put("o", "below", body="x")
        assert client.object.get("o", "below").body == b"x"
    assert {entry.target for entry in requests_of(v3io_server)} == {"/users/o/below"}


@pytest.fixture
def tls(tmp_path):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    async def ok(scope, receive, send):
        if scope["type"] == "http":
            await send(
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": [(b"content-length", b"2")],
                }
            )
            await send({"type": "http.response.body", "body": b"ok"})

    with ServerThread(ok, ssl_context=context) as server:
        yield server, tmp_path / "ca.pem"


@pytest.mark.parametrize("kind", ["httpclient", "requests"])
def test_18_certificate_is_verified_unless_switched_off(tls, kind, monkeypatch):
    server, authorities = tls
    options = {"logger": Quiet(), "access_key": "k", "transport_kind": kind}
    refused = CertificateError if kind == "httpclient" else OSError
    with Client(endpoint=server.url, **options) as client, pytest.raises(refused):
        client.object.get("c", "o")
    with Client(endpoint=server.url, tls_verify=str(authorities), **options) as client:
        assert client.object.get("c", "o").body == b"ok"
    monkeypatch.setenv("V3IO_TLS_VERIFY", "0")
    with pytest.warns(UserWarning, match="not verified"):
        client = Client(endpoint=server.url, **options)
    with client, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # urllib3 repeats the warning for each request
        assert client.object.get("c", "o").body == b"ok"


async def test_18_asyncio_verifies_the_certificate_too(tls):
    server, authorities = tls
    for verify, expected in ((None, False), (str(authorities), True)):
        async with aio_dataplane.Client(
            logger=Quiet(),
            endpoint=server.url,
            access_key="k",
            tls_verify=verify,
            retry_intervals=[],
        ) as client:
            if expected:
                assert (await client.object.get("c", "o")).body == b"ok"
            else:
                with pytest.raises(CertificateError):
                    await client.object.get("c", "o")


class Lines:
    def __init__(self):
        self.lines = []

    def debug_with(self, message, **details):
        self.lines.append(f"{message} {details}")

    def __getattr__(self, name):
        return lambda message, *args, **kwargs: self.lines.append(f"{name} {message}")


@pytest.mark.parametrize("kind", ["httpclient", "requests"])
def test_19_debug_lines_hide_the_key_and_errors_are_not_logged(v3io_server, kind):
    lines = Lines()
    client = Client(
        logger=lines,
        endpoint=v3io_server.url,
        access_key="secret-key",
        transport_kind=kind,
        transport_verbosity="DEBUG",
    )
    with client:
        client.batch.put_object("users", "o", body="x")
        client.batch.wait()
        with pytest.raises(NotFound):
            client.kv.get("users", "t", "none")
    assert [line.split(" ")[0] for line in lines.lines] == ["Tx", "Rx", "Tx", "Rx"]
    assert "secret-key" not in "".join(lines.lines)
    assert "/users/o" in lines.lines[0]


def test_19_error_the_caller_handles_is_not_printed(v3io_server, capsys, caplog):
    with (
        Client(endpoint=v3io_server.url, access_key="k") as client,
        pytest.raises(NotFound) as caught,
    ):
        client.kv.get("users", "t", "none")
    assert "secret" not in str(caught.value)
    assert capsys.readouterr().out == ""
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_20_range_from_an_offset_on_is_understood(client):
    client.object.put("users", "o", body="0123456789")
    assert client.object.get("users", "o", offset=4).body == b"456789"
    assert client.object.get("users", "o", offset=4, num_bytes=2).body == b"45"


@pytest.mark.parametrize("path", ["", None, 5])
def test_21_path_that_is_none_is_refused_by_name(client, v3io_server, path):
    with pytest.raises(ValueError, match="path"):
        client.object.get("users", path)
    with pytest.raises(ValueError, match="container"):
        client.object.get(path, "o")
    assert requests_of(v3io_server) == []


def test_22_last_sequence_is_read_in_both_spellings(client):
    client.stream.create("users", "st", 1)
    client.stream.put_records("users", "st", [{"data": "x"}, {"data": "y"}])
    listed = client.container.list("users", "st", get_all_attributes=True).output.contents[0]
    assert listed.last_sequence_id == 2
    client.object.put("users", "plain", body="")
    plain = client.container.list("users", "", get_all_attributes=True).output.contents[0]
    assert not hasattr(plain, "last_sequence_id")


def test_23_truncation_is_a_bool_beside_the_text(client):
    for name in "abc":
        client.object.put("users", f"d/{name}", body="")
    output = client.container.list("users", "d", limit=2).output
    assert (output.is_truncated, output.truncated, output.max_keys) == ("true", True, "2")


def test_24_verifier_says_that_it_has_no_more(client):
    client = Client(transport_kind=verifier.Transport([]), logger=Quiet())
    with pytest.raises(IndexError, match="only 0 verifiers"):
        client.get_object("users", "o")


def test_25_responses_of_created_and_deleted_are_successes():
    responses = Responses()
    for status in (200, 201, 204):
        responses.add_response(Response(None, status, {}, b""))
    assert responses.success
    responses.raise_for_status()
    responses.add_response(Response(None, 404, {}, b""))
    with pytest.raises(HttpResponseError, match="Failed to put items"):
        responses.raise_for_status()


def test_26_retention_of_zero_says_what_it_means(client):
    with pytest.warns(UserWarning, match="24 hours"):
        client.stream.create("users", "st", 1, retention_period_hours=0)
    assert client.stream.describe("users", "st").output.retention_period_hours == 24


def test_27_nan_is_refused_before_anything_is_sent(client, v3io_server):
    with pytest.raises(ValueError, match="ratio is NaN"):
        client.kv.put("users", "t", "k", {"ratio": float("nan")})
    assert requests_of(v3io_server) == []
    client.kv.put("users", "t", "k", {"ratio": float("inf")})
    assert client.kv.get("users", "t", "k").output.item == {"ratio": float("inf")}


@pytest.mark.parametrize(("status", "raises"), [(201, False), (204, False), (302, True)])
def test_28_statuses_below_300_do_not_raise(client, v3io_server, status, raises):
    v3io_server.faults.add(Fault("status", status=status, times=1))
    if raises:
        with pytest.raises(HttpResponseError):
            client.object.get("users", "o")
    else:
        client.object.get("users", "o")


def test_permanent_redirect_is_told_with_its_target(client, v3io_server):
    v3io_server.faults.add(
        Fault("status", status=308, headers={"Location": "http://elsewhere/"}, times=1)
    )
    with pytest.raises(HttpResponseError, match=r"Permanent Redirect.*http://elsewhere/"):
        client.object.get("users", "o")


def test_errors_survive_pickling_with_their_parts(client, v3io_server):
    v3io_server.faults.add(
        Fault("status", status=403, body='{"ErrorCode": -13, "ErrorMessage": "Permission denied"}')
    )
    with pytest.raises(PermissionDenied) as caught:
        client.object.get("users", "o")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.status_code, again.code, again.error_message) == (403, -13, "Permission denied")
    v3io_server.faults.clear()
    v3io_server.faults.add(Fault("reset"))
    with pytest.raises(ConnectionBroken) as broken:
        client.stream.put_records("users", "st", [{"data": "x"}])
    assert pickle.loads(pickle.dumps(broken.value)).method == "POST"
    assert "secret-key" not in str(broken.value)


def test_oversize_records_are_refused_with_the_limit_and_mixed_ones_told_apart(client, v3io_server):
    client.stream.create("users", "st", 1)
    v3io_server.traffic.clear()
    with pytest.raises(ValueError, match="3000000 bytes; the platform takes at most 2097152"):
        client.stream.put_records("users", "st", [{"data": b"x" * 3_000_000}])
    with pytest.raises(ValueError, match="1001 records; the platform takes at most 1000"):
        client.stream.put_records("users", "st", [{"data": b"x"}] * 1001)
    assert requests_of(v3io_server) == []
    output = client.stream.put_records(
        "users", "st", [{"data": b"x" * 3_000_000}, {"data": "small"}]
    ).output
    assert output.failed_record_count == 1
    assert [record.sequence_number for record in output.records] == [None, 1]
