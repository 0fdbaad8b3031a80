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
