"""The original's surface, name by name: signature, default, error. Source: the factual description of it."""

import inspect

import pytest
import ya_httpx_client
from ya_httpx_client import network_wrapper, provider_auto_balance, serializable_request, session
from ya_httpx_client.cluster import Cluster
from ya_httpx_client.session import Session, YagnaTransport
from ya_httpx_client.start_context import StartContext

# name, callable, leading parameters with their defaults (... where there is none)
SIGNATURES = [
    ("Session", Session.__init__, [("executor_cfg", ...)]),
    ("startup", Session.startup, [("url", ...), ("image_hash", ...), ("init_cluster_size", 1)]),
    ("add_startup", Session.add_startup, [("start_steps", ...)]),
    (
        "add_url",
        Session.add_url,
        [("url", ...), ("image_hash", ...), ("entrypoint", None), ("init_cluster_size", 1)],
    ),
    ("set_cluster_size", Session.set_cluster_size, [("url", ...), ("size", ...)]),
    ("YagnaTransport", YagnaTransport.__init__, [("request_queue", ...)]),
    ("Cluster", Cluster.__init__, [("manager", ...), ("image_hash", ...)]),
    ("set_size", Cluster.set_size, [("size", ...)]),
    ("NetworkWrapper", network_wrapper.NetworkWrapper.__init__, [("service_manager", ...)]),
    ("SimpleLoadBalancer", provider_auto_balance.SimpleLoadBalancer.__init__, [("cluster", ...)]),
    (
        "Request",
        serializable_request.Request.__init__,
        [("method", ...), ("url", ...), ("data", b""), ("headers", None)],
    ),
    (
        "Response",
        serializable_request.Response.__init__,
        [("status", ...), ("data", b""), ("headers", None)],
    ),
    ("send_bytes", StartContext.send_bytes, [("dst_path", ...), ("data", ...)]),
    ("send_json", StartContext.send_json, [("json_path", ...), ("data", ...)]),
    ("send_file", StartContext.send_file, [("src_path", ...), ("dst_path", ...)]),
    ("download_file", StartContext.download_file, [("src_path", ...), ("dst_path", ...)]),
    (
        "download_bytes",
        StartContext.download_bytes,
        [("src_path", ...), ("on_download", ...), ("limit", 1048576)],
    ),
    (
        "download_json",
        StartContext.download_json,
        [("src_path", ...), ("on_download", ...), ("limit", 1048576)],
    ),
    ("commit", StartContext.commit, [("timeout", None)]),
]


@pytest.mark.parametrize(
    ("name", "function", "expected"), SIGNATURES, ids=[row[0] for row in SIGNATURES]
)
def test_signature_begins_as_the_originals(name, function, expected):
    parameters = list(inspect.signature(function).parameters.values())[1:]
    found = [
        (parameter.name, ... if parameter.default is parameter.empty else parameter.default)
        for parameter in parameters[: len(expected)]
    ]
    assert found == expected


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (session, ["Session", "YagnaTransport"]),
        (serializable_request, ["Request", "Response"]),
        (network_wrapper, ["NetworkWrapper"]),
        (provider_auto_balance, ["SimpleLoadBalancer"]),
    ],
)
def test_names_are_where_they_were(module, names):
    assert set(names) <= set(vars(module))


def test_names_are_at_the_top_too():
    names = set(ya_httpx_client.__all__) - {"FileSerializationService", "VPNService", "__version__"}
    for name in names:
        assert getattr(ya_httpx_client, name).__name__ == name
    assert names <= set(dir(ya_httpx_client))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        ya_httpx_client.Nothing  # noqa: B018


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("expected_cnt", 1),
        ("cnt", 0),
        ("image_hash", "hash"),
        ("entrypoint", ("run", "it")),
        ("start_steps", None),
        ("USE_VPN", True),
        ("network_wrapper", None),
        ("manager", None),
    ],
)
def test_attributes_of_a_cluster(attribute, value):
    assert getattr(Cluster(None, "hash", ("run", "it")), attribute) == value


def test_cluster_of_the_decorator_generation():
    def start(ctx, listen_on):
        pass

    cluster = Cluster(None, "hash", start)
    assert cluster.start_steps is start
    assert cluster.entrypoint is None


def test_maximum_of_the_simple_balancer():
    assert provider_auto_balance.SimpleLoadBalancer.MAX_PROVIDER_CNT == 5


def test_network_of_a_session():
    assert network_wrapper.NETWORK == "192.168.0.1/24"


def test_repository_url_is_not_passed_to_golem(monkeypatch):
    monkeypatch.delenv("YAGNA_REGISTRY_URL", raising=False)
    made = Session({"budget": 1, "repository_url": "http://a"})
    assert (made.repository_url, made.executor_cfg) == ("http://a", {"budget": 1})
    assert Session({"budget": 1}, repository_url="http://b").repository_url == "http://b"
    assert Session({"budget": 1}).repository_url is None
    monkeypatch.setenv("YAGNA_REGISTRY_URL", "http://c")
    assert Session({"budget": 1}).repository_url == "http://c"


def test_options_that_do_not_exist_are_refused():
    with pytest.raises(TypeError):
        Session({"budget": 1}, colour="red")
    with pytest.raises(ValueError, match="slots=0"):
        Session({"budget": 1}, slots=0)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "calc",
        "http://",
        "ftp://calc",
        "http://calc/path",
        "http://calc?a=1",
        "http://calc:99999",
    ],
)
def test_url_no_request_could_be_sent_to_is_refused(url):
    with pytest.raises(ValueError, match=r"expected scheme, host and perhaps a port"):
        Session({"budget": 1}).startup(url, "hash")
    with pytest.raises(ValueError, match=r"expected scheme, host and perhaps a port"):
        Session({"budget": 1}).add_url(url, "hash", ("run",))


def test_url_with_credentials_is_refused_without_showing_them():
    with pytest.raises(ValueError, match=r"http://\*\*\*@calc") as error:
        Session({"budget": 1}).startup("http://user:hidden@calc", "hash")
    assert "hidden" not in str(error.value)


def test_arguments_of_the_wrong_kind_are_told_what_was_expected():
    with pytest.raises(TypeError, match="url: expected a str such as 'http://calc', got int"):
        Session({"budget": 1}).startup(5, "hash")
    with pytest.raises(TypeError, match=r"executor_cfg: expected .* a mapping, got NoneType"):
        Session(None)
    with pytest.raises(TypeError, match="slots='3': expected a number"):
        Session({"budget": 1}, slots="3")
    with pytest.raises(TypeError, match="unknown option 'slotz': did you mean 'slots'"):
        Session({"budget": 1}, slotz=3)
    with pytest.raises(TypeError, match=r"unknown option 'zzzz': there are: slots, "):
        Session({"budget": 1}).startup("http://calc", "hash", zzzz=3)
    with pytest.raises(KeyError, match="no service for url http://calc; there are: none"):
        Session({"budget": 1}).set_cluster_size("http://calc", 2)
