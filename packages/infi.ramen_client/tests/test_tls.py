"""Messages over TLS, from the queue to the server's store, and what happens when the server cannot be trusted."""

from __future__ import annotations

import ssl

import pytest
import trustme
from infi.ramen_client.aio import AsyncQueueReader
from infi.ramen_client.config import QueueReaderConfig
from mock_servers.ramen.server import RamenServer


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def secure_server(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with RamenServer(ssl_context=context) as server:
        yield server


@pytest.fixture(autouse=True)
def no_bundle_of_the_machine(monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def trusted(request, authority, tmp_path, monkeypatch):
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    monkeypatch.setenv(request.param, str(path))


def fill(writer):
    for number in range(20):
        writer.push("m", "t", "v1", {"n": number}, f"r{number}")


@pytest.mark.usefixtures("trusted")
def test_messages_arrive_in_order_over_one_secure_connection(secure_server, make_pair):
    reader, writer = make_pair(secure_server, ssl=True)
    fill(writer)
    assert reader.test_connection()
    assert reader.run(blocking=False) == 20
    assert writer.queue_size() == 0
    messages = secure_server.store.messages(path="/ramen/v1/m/1099/imx.t.v1")
    assert [message["reqid"] for message in messages] == [f"r{number}" for number in range(20)]


@pytest.mark.usefixtures("trusted")
async def test_the_asyncio_reader_sends_over_tls_too(secure_server, make_pair, reader_values):
    _, writer = make_pair(secure_server, ssl=True)
    fill(writer)
    config = QueueReaderConfig({**reader_values, "hostname": secure_server.hostname, "ssl": True})
    async with AsyncQueueReader(config) as reader:
        assert await reader.test_connection()
        assert await reader.run(blocking=False) == 20
    assert len(secure_server.store.messages(path="/ramen/v1/m/1099/imx.t.v1")) == 20


def test_a_server_of_an_unknown_authority_gets_nothing_and_the_messages_stay(
    secure_server, make_pair
):
    reader, writer = make_pair(secure_server, ssl=True)
    fill(writer)
    assert not reader.test_connection()
    assert reader.consume_one() == reader.RETRY
    assert "certificate" in reader.stats.last_error
    assert writer.queue_size() == 20
    assert secure_server.store.stats()["messages"] == 0


def test_the_first_variable_wins_as_in_requests(
    secure_server, make_pair, authority, tmp_path, monkeypatch
):
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(path))
    reader, writer = make_pair(secure_server, ssl=True)
    fill(writer)
    assert reader.consume_one() == reader.RETRY
    assert "certificate" in reader.stats.last_error


def test_a_bundle_that_does_not_exist_is_named_and_the_messages_stay(
    secure_server, make_pair, tmp_path, monkeypatch
):
    missing = str(tmp_path / "missing.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", missing)
    reader, writer = make_pair(secure_server, ssl=True)
    fill(writer)
    assert reader.consume_one() == reader.RETRY
    assert missing in reader.stats.last_error
    assert writer.queue_size() == 20


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("trust_env", [False, True])
def test_a_bundle_does_not_make_the_rest_of_the_environment_trusted(
    secure_server, make_pair, monkeypatch, trust_env
):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    reader, writer = make_pair(secure_server, ssl=True, trust_env=trust_env)
    fill(writer)
    assert reader.consume_one() == (reader.RETRY if trust_env else reader.ACCEPTED)


@pytest.mark.usefixtures("trusted")
def test_a_certificate_for_another_name_is_not_enough(secure_server, make_pair):
    hostname = secure_server.hostname.replace("127.0.0.1", "localhost")
    reader, writer = make_pair(secure_server, hostname=hostname, ssl=True)
    fill(writer)
    assert reader.consume_one() == reader.RETRY
    assert "certificate" in reader.stats.last_error
    assert writer.queue_size() == 20


@pytest.mark.parametrize("ssl_of_client", [True, False])
def test_both_sides_disagreeing_about_tls_keeps_the_messages(
    secure_server, ramen_server, make_pair, ssl_of_client
):
    reader, writer = make_pair(ramen_server if ssl_of_client else secure_server, ssl=ssl_of_client)
    fill(writer)
    assert reader.consume_one() == reader.RETRY
    assert reader.stats.last_error
    assert writer.queue_size() == 20
