import gzip
import json
import zlib

import pytest
from mock_servers.traffic import Exchange, TrafficLog


def exchange(path: str = "/") -> Exchange:
    return Exchange("loudml", "node-1", 0.0, "GET", path, [("authorization", "Basic c2VjcmV0")])


def test_ring_keeps_the_newest_and_counts_all():
    log = TrafficLog(capacity=2)
    for path in ("/a", "/b", "/c"):
        log.add(exchange(path))
    assert [entry.path for entry in log.requests] == ["/b", "/c"]
    assert log.total == 3


def test_since_returns_what_is_newer_oldest_first():
    log = TrafficLog()
    for path in ("/a", "/b", "/c"):
        log.add(exchange(path))
    assert [entry.path for entry in log.since(1)] == ["/b", "/c"]
    assert [entry.path for entry in log.since(0, limit=1)] == ["/c"]
    assert log.since(3) == []


def test_seen_selects_by_method_and_path_without_query():
    log = TrafficLog()
    log.add(exchange("/a?x=1"))
    assert [entry.target for entry in log.seen("GET", "/a")] == ["/a?x=1"]
    assert log.seen("POST", "/a") == []


def test_numbering_goes_on_after_clear():
    log = TrafficLog()
    log.add(exchange())
    log.clear()
    log.add(exchange())
    assert [entry.number for entry in log.requests] == [2]


def test_shown_exchange_hides_credentials_and_encodes_binary_bodies():
    entry = exchange()
    entry.response_body = b"\xff"
    shown = entry.shown()
    assert shown["request_headers"] == [("authorization", "***")]
    assert shown["response_body"] == {"base64": "/w=="}


@pytest.mark.parametrize(
    "header",
    ["X-API-Token", "x-v3io-session-key", "Cookie", "Set-Cookie", "Proxy-Authorization", "api_key"],
)
def test_header_that_names_a_secret_is_hidden(header):
    entry = exchange()
    entry.request_headers = entry.response_headers = [(header, "c2VjcmV0"), ("x-a", "b")]
    shown = entry.shown()
    assert shown["request_headers"] == [(header, "***"), ("x-a", "b")]
    assert shown["response_headers"] == shown["request_headers"]


def test_secrets_of_bodies_and_queries_are_hidden():
    entry = exchange("/buckets?a=1&api_key=c2VjcmV0&b=2")
    body = {"password": 'c2Vj"cmV0', "n": {"write_token": "c2VjcmV0", "tokens": 3}, "user": "u"}
    entry.request_body = json.dumps(body).encode()
    shown = entry.shown()
    assert shown["target"] == "/buckets?a=1&api_key=***&b=2"
    assert json.loads(shown["request_body"]["text"]) == {
        "password": "***",
        "n": {"write_token": "***", "tokens": 3},
        "user": "u",
    }


@pytest.mark.parametrize(
    ("coding", "body"), [("gzip", gzip.compress(b"text")), ("deflate", zlib.compress(b"text"))]
)
def test_compressed_body_is_shown_as_what_it_holds(coding, body):
    entry = exchange()
    entry.request_headers, entry.request_body = [("content-encoding", coding)], body
    assert entry.shown()["request_body"] == {"text": "text"}
    entry.request_body = b"not " + coding.encode()
    assert entry.shown()["request_body"] == {"text": f"not {coding}"}


def test_body_that_was_cut_inside_a_character_is_still_text():
    entry = exchange()
    entry.response_body = "a\u20ac".encode()[:-1]
    assert entry.shown()["response_body"] == {"text": "a"}


def test_bomb_is_shown_up_to_its_limit():
    entry = exchange()
    entry.request_headers = [("content-encoding", "gzip")]
    entry.request_body = gzip.compress(b"0" * 10_000_000)
    assert len(entry.shown()["request_body"]["text"]) == 65536
