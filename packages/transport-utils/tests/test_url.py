from urllib.parse import parse_qsl, quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transport_utils.endpoint import Endpoint
from transport_utils.errors import ConfigurationError, LocalProtocolError
from transport_utils.url import check_host, check_target, encode_query, join_path, parse_node_url


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://h", ("http", "h", 80, "", None, None)),
        ("HTTPS://Host.Example/", ("https", "host.example", 443, "", None, None)),
        ("https://user:secret@h:9443/a/b/", ("https", "h", 9443, "/a/b", "user", "secret")),
        ("http://us%40er:p%3A%2F@h", ("http", "h", 80, "", "us@er", "p:/")),
        ("http://user@h", ("http", "h", 80, "", "user", "")),
        ("http://[::1]:9200", ("http", "::1", 9200, "", None, None)),
        ("http://bücher.example", ("http", "xn--bcher-kva.example", 80, "", None, None)),
    ],
)
def test_node_urls_are_taken_apart(url, parts):
    found = parse_node_url(url)
    assert (
        found.scheme,
        found.host,
        found.port,
        found.path_prefix,
        found.username,
        found.password,
    ) == parts


def test_the_default_port_can_be_given():
    assert parse_node_url("http://h", default_port=8077).port == 8077


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h",
        "h:80",
        "ftp://h",
        "http://",
        "http://h:0",
        "http://h:99999",
        "http://h:x",
        "http://h?q=1",
        "http://h#f",
        "http://h\r\nx: y",
        "http://a b",
        "http://[::1",
        "http://[nope]",
        "http://h/a b",
        "http://-h",
        "http://" + "a" * 300,
        None,
        5,
    ],
)
def test_bad_node_urls_are_refused(url):
    with pytest.raises(ConfigurationError):
        parse_node_url(url)


@pytest.mark.parametrize(
    "url", ["ftp://u:hunter2@h", "http://u:hunter2@h:x", "http://u:hunter2@h?q"]
)
def test_no_message_shows_a_password(url):
    with pytest.raises(ConfigurationError) as caught:
        parse_node_url(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@given(st.text(min_size=1), st.text())
def test_credentials_survive_percent_encoding(user, password):
    user, password = (text.encode("utf-8", "ignore").decode() for text in (user, password))
    found = parse_node_url(f"http://{quote(user, safe='')}:{quote(password, safe='')}@h")
    assert (found.username, found.password) == (user, password)


@given(st.text())
def test_parsing_never_fails_in_another_way(text):
    for url in (text, f"http://{text}"):
        try:
            parts = parse_node_url(url)
        except ConfigurationError:
            continue
        assert parts.host.isascii()
        assert 1 <= parts.port <= 65535


@pytest.mark.parametrize(
    "host", ["[::1]", "::1::", "h:80", "http://h", "a/b", "", "a b", None, "::1%a b"]
)
def test_bad_hosts_are_refused(host):
    with pytest.raises(ConfigurationError):
        check_host(host)


def test_a_zone_is_part_of_an_address():
    assert check_host("fe80::1%eth0") == "fe80::1%eth0"


@given(st.lists(st.text(min_size=1).filter(lambda text: text not in (".", "..")), min_size=1))
def test_segments_come_back_out_of_a_path(segments):
    segments = [text.encode("utf-8", "ignore").decode() or "x" for text in segments]
    segments = ["x" if text in (".", "..") else text for text in segments]
    path = join_path(*segments)
    assert check_target(path) == path
    assert [unquote(part) for part in path[1:].split("/")] == segments


@pytest.mark.parametrize("segment", ["", ".", ".."])
def test_a_segment_that_would_change_the_path_is_refused(segment):
    with pytest.raises(ConfigurationError):
        join_path("a", segment)


@pytest.mark.parametrize("target", ["", "a", "/a b", "/ä", "/a\r\nx: y", "/a#b", "http://h/"])
def test_targets_that_would_break_the_request_are_refused(target):
    with pytest.raises(LocalProtocolError):
        check_target(target)


@given(st.lists(st.tuples(st.text(min_size=1), st.text())))
def test_query_parameters_come_back(pairs):
    pairs = [tuple(text.encode("utf-8", "ignore").decode() for text in pair) for pair in pairs]
    query = encode_query(pairs)
    assert parse_qsl(query, keep_blank_values=True, max_num_fields=None) == pairs
    assert query == "" or check_target(f"/?{query}")


def test_query_values_have_one_spelling():
    params = {"a": True, "b": None, "c": [1, "x y", None], "d": 2.5, "e": b"\xff", "f": False}
    assert encode_query(params) == "a=true&c=1&c=x%20y&d=2.5&e=%FF&f=false"
    assert encode_query(None) == ""


def test_an_endpoint_of_a_url_hides_its_credentials():
    endpoint = Endpoint.from_url("https://user:pass@h:9443/api", max_connections=3)
    assert endpoint.headers == {"authorization": "Basic dXNlcjpwYXNz"}
    assert endpoint.base_url == "https://h:9443/api"
    assert (endpoint.path_prefix, endpoint.max_connections) == ("/api", 3)
    assert "pass" not in repr(endpoint)
    assert "dXNl" not in repr(endpoint)


def test_endpoints_show_addresses_as_people_write_them():
    assert Endpoint("http", "::1", 80).base_url == "http://[::1]:80"
    assert Endpoint("http", "h", 80, uds="/run/x.sock").base_url == "unix:/run/x.sock"


def test_endpoints_are_the_same_by_address_only():
    one = Endpoint("http", "h", 80, headers={"a": "b"}, max_connections=2)
    assert one == Endpoint("http", "H", 80)
    assert hash(one) == hash(Endpoint("http", "h", 80))
    assert one != Endpoint("http", "h", 81)
    assert one.replace(port=81).headers == {"a": "b"}


@pytest.mark.parametrize(
    "options",
    [
        {"scheme": "ftp"},
        {"scheme": "HTTP"},
        {"host": "a b"},
        {"host": "[::1]"},
        {"port": 0},
        {"port": "80"},
        {"port": True},
        {"path_prefix": "a"},
        {"path_prefix": "/a/"},
        {"path_prefix": "/a?b"},
        {"max_connections": 0},
        {"max_connections": True},
        {"max_idle_s": 0},
        {"max_age_s": -1},
        {"timeout": "fast"},
        {"tls": object()},
        {"uds": "/x", "proxy": "http://p"},
    ],
)
def test_bad_endpoints_are_refused_at_construction(options):
    with pytest.raises(ConfigurationError):
        Endpoint(**{"scheme": "http", "host": "h", "port": 80, **options})


def test_header_injection_is_refused_at_construction():
    with pytest.raises(LocalProtocolError):
        Endpoint("http", "h", 80, headers={"x": "a\r\nb: c"})
    with pytest.raises(ConfigurationError, match="both"):
        Endpoint.from_url("http://u:p@h", headers={"Authorization": "x"})
