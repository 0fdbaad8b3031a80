"""Hosts as users write them, and options nobody takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loudml import (
    Connection,
    ConnectionPool,
    ImproperlyConfigured,
    Loud,
    NativeHttpConnection,
    Transport,
    Urllib3HttpConnection,
)
from loudml._hosts import parse_publish_address
from loudml.client import _normalize_hosts

NODE = {"host": "h"}


@pytest.mark.parametrize(
    ("given_hosts", "nodes"),
    [
        (None, [{}]),
        ("localhost", [{"host": "localhost"}]),
        (["localhost:99", "H.Example:1"], [{"host": "localhost", "port": 99}, {"host": "h.example", "port": 1}]),
        ("http://h", [NODE]),
        ("http://h/", [NODE]),
        ("http://h:80?x=1#y", [{"host": "h", "port": 80}]),
        ("https://h", [{"host": "h", "port": 443, "use_ssl": True}]),
        ("https://h:1/p/", [{"host": "h", "port": 1, "use_ssl": True, "url_prefix": "/p/"}]),
        ("http://u:p%40x@h:9/", [{"host": "h", "port": 9, "http_auth": "u:p@x"}]),
        ("user@h", [{"host": "h", "http_auth": "user:"}]),
        ("h/path", [{"host": "h", "url_prefix": "/path"}]),
        ("[::1]:8077", [{"host": "::1", "port": 8077}]),
        ({"host": "a", "port": 5}, [{"host": "a", "port": 5}]),
        ([{"host": "a"}, "b"], [{"host": "a"}, {"host": "b"}]),
        ((), []),
    ],
)  # fmt: skip
def test_hosts_become_options_of_nodes(given_hosts, nodes):
    assert _normalize_hosts(given_hosts) == nodes


@pytest.mark.parametrize(
    "host",
    ["//h:5/x", "", "unix:///x", "ftp://h", "a b", "h:99999", "h:0", "h:x", "u:secret@h:x", "https://"],
)  # fmt: skip
def test_impossible_hosts_are_refused_without_showing_a_password(host):
    with pytest.raises(ImproperlyConfigured, match="host") as error:
        Loud(host)
    assert "secret" not in str(error.value)
    assert error.value.__cause__ is None or "secret" not in str(error.value.__cause__)


def test_user_names_with_a_colon_are_refused():
    with pytest.raises(ImproperlyConfigured, match="must not hold ':'"):
        Loud("http://a%3Ab:secret@h")


@pytest.mark.parametrize("host", [b"h:9", 5, [b"h"], [None]])
def test_hosts_of_other_types_are_refused(host):
    with pytest.raises(TypeError, match=r"expected a str or a mapping|a str, a mapping or several"):
        Loud(host)


def test_no_host_at_all_is_refused():
    with pytest.raises(ImproperlyConfigured, match="at least one host"):
        Loud([])


@given(st.text(max_size=30))
def test_any_text_is_a_host_or_refused(text):
    try:
        (node,) = _normalize_hosts(text)
    except ImproperlyConfigured:
        return
    assert node["host"] == node["host"].lower()
    assert 0 < node.get("port", 1) < 65536


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("10.0.0.1:8077", {"host": "10.0.0.1", "port": 8077}),
        ("[::1]:8077", {"host": "::1", "port": 8077}),
        ("node.example/10.0.0.1:8077", {"host": "node.example", "port": 8077}),
        ("/10.0.0.1:8077", {"host": "10.0.0.1", "port": 8077}),
        ("nothing", None),
        ("", None),
        (None, None),
    ],
)
def test_publish_addresses_are_understood(address, host):
    assert parse_publish_address(address) == host


@pytest.mark.parametrize("address", ["h:x", "h:0", "a b:1", ":1"])
def test_unusable_publish_addresses_say_so(address):
    with pytest.raises(ImproperlyConfigured, match="publish address"):
        parse_publish_address(address)


def test_options_of_a_node_win_over_keywords():
    loud = Loud(
        ["https://a:444", {"host": "b", "http_auth": "x:y"}],
        port=443,
        http_auth=("u", "p"),
        scheme="https",
        randomize_hosts=False,
    )
    first, second = loud.transport.connection_pool.connections
    assert (first.host, second.host) == ("https://a:444", "https://b:443")
    assert first.headers["authorization"] != second.headers["authorization"]


def test_ipv6_hosts_have_a_base_url_that_works():
    assert Connection("::1").host == Connection("[::1]").host == "http://[::1]:8077"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_retry": 3}, "unknown option 'max_retry': did you mean 'max_retries'?"),
        ({"frobnicate": 1}, "unknown option 'frobnicate': known are"),
        ({"hosts_": 1}, "unknown option"),
        ({"scheme": "ftp"}, "expected 'http' or 'https'"),
        ({"port": "80"}, "port '80'"),
        ({"maxsize": 0}, "max_connections=0"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": "5"}, "timeout"),
        ({"max_retries": -1}, "max_retries=-1"),
        ({"retry_on_status": ["x"]}, "retries"),
        ({"retry_on_status": 5}, "retries"),
        ({"send_get_body_as": "PUT"}, "send_get_body_as='PUT'"),
        ({"http_compress": "lzma"}, "lzma"),
        ({"headers": {"a": "b\r\nc: d"}}, "CR, LF"),
        ({"url_prefix": "a b"}, "prefix"),
        ({"dead_timeout": 0, "hosts": ["a", "b"]}, "dead_timeout=0"),
    ],
)
def test_impossible_options_are_refused_at_construction(options, message):
    hosts = options.pop("hosts", None)
    with pytest.raises(ImproperlyConfigured) as error:
        Loud(hosts, **options)
    assert message in str(error.value)


def test_unknown_options_of_a_node_are_refused():
    with pytest.raises(ImproperlyConfigured, match="option of host 'h': 'prot': did you mean"):
        Loud([{"host": "h", "prot": 1}])


def test_custom_classes_may_take_options_of_their_own():
    class Connection_(NativeHttpConnection):
        def __init__(self, *args, colour=None, **kwargs):
            self.colour = colour
            super().__init__(*args, **kwargs)

    class Strict(ConnectionPool):
        def __init__(self, connections, shape=None, dead_timeout=60, **kwargs):
            self.shape = shape
            super().__init__(connections, dead_timeout)

    loud = Loud(
        ["a", "b"], connection_class=Connection_, connection_pool_class=Strict, colour=1, shape=2
    )
    assert loud.transport.connection_pool.shape == 2
    assert {one.colour for one in loud.transport.connection_pool.connections} == {1}


def test_a_class_that_hands_nothing_on_takes_only_what_it_names():
    class Narrow(Urllib3HttpConnection):
        def __init__(self, host="localhost", port=8077):
            super().__init__(host, port)

    with pytest.raises(ImproperlyConfigured, match="unknown option 'maxsize'"):
        Loud(connection_class=Narrow, maxsize=5)


def test_a_transport_of_ones_own_is_used():
    class Mine(Transport):
        def perform_request(self, method, url, headers=None, params=None, body=None):
            return {"version": f"{method} {url}"}

    assert Loud(transport_class=Mine).version() == "GET /"


def test_repr_shows_at_most_five_nodes_and_no_password():
    assert repr(Loud()) == "<Loud([{}])>"
    assert repr(Loud("localhost:8077")) == "<Loud([{'host': 'localhost', 'port': 8077}])>"
    assert "secret" not in repr(Loud("http://u:secret@h"))
    assert repr(Loud([f"h{n}" for n in range(6)])).endswith("{'host': 'h4'}, ...])>")
