"""Answers that servers and proxies give on bad days, over every connection class."""

import gzip

import loudml
import pytest
from loudml import Loud

CLASSES = [loudml.NativeHttpConnection, loudml.RequestsHttpConnection, loudml.Urllib3HttpConnection]


@pytest.fixture(params=CLASSES, ids=lambda cls: cls.__name__)
def client_of(request):
    clients = []

    def make(server, **options):
        clients.append(Loud([server.host], connection_class=request.param, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def test_a_failure_is_not_hidden_by_a_body_that_does_not_decompress(
    client_of, recording_server, http_reply
):
    server = recording_server(lambda head, body: http_reply(500, b"oops", Content_Encoding="gzip"))
    with pytest.raises(loudml.TransportError) as caught:
        client_of(server).models.get()
    assert (caught.value.status_code, caught.value.error) == (500, "oops")
    assert len(server.requests) == 1


def test_a_compressed_answer_is_read(client_of, recording_server, http_reply):
    packed = gzip.compress(b'[{"a": 1}]')
    server = recording_server(lambda head, body: http_reply(200, packed, Content_Encoding="gzip"))
    assert client_of(server).models.get() == [{"a": 1}]


def test_a_pause_of_an_hour_ends_the_call_at_once(client_of, recording_server, http_reply):
    server = recording_server(lambda head, body: http_reply(429, b'"slow"', Retry_After="3600"))
    with pytest.raises(loudml.TransportError) as caught:
        client_of(server).models.get()
    assert caught.value.status_code == 429
    assert len(server.requests) == 1


def test_a_redirect_is_an_answer(client_of, recording_server, http_reply):
    server = recording_server(lambda head, body: http_reply(301, b'"moved"', Location="//[bad"))
    with pytest.raises(loudml.TransportError) as caught:
        client_of(server).models.get()
    assert (caught.value.status_code, caught.value.error) == (301, "moved")


def test_a_decompression_bomb_is_stopped(client_of, recording_server, http_reply):
    bomb = gzip.compress(bytes(64 << 20), 9)
    server = recording_server(lambda head, body: http_reply(200, bomb, Content_Encoding="gzip"))
    with pytest.raises(loudml.ConnectionError, match="250 times"):
        client_of(server).models.get()
    assert len(server.requests) == 1


def test_an_answer_in_an_unknown_coding_is_said(client_of, recording_server, http_reply):
    server = recording_server(lambda head, body: http_reply(200, b"?", Content_Encoding="lzma"))
    with pytest.raises(loudml.SerializationError, match="lzma"):
        client_of(server).models.get()
    assert len(server.requests) == 1
