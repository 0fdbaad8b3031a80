import ast
import importlib
import json
import pathlib
import pickle
import pkgutil
import subprocess
import sys

import pytest
import transport_utils
from transport_utils import (
    Compression,
    Deadline,
    DecodeLimits,
    Endpoint,
    Exponential,
    Headers,
    HealthPolicy,
    Request,
    ResponseMeta,
    RetryPolicy,
    Schedule,
    Timeout,
    TlsConfig,
    errors,
)

SOURCE = pathlib.Path(transport_utils.__file__).parent
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages([str(SOURCE)], "transport_utils.")
    if not module.name.endswith("._version")
)


def test_every_public_name_can_be_imported_and_is_listed_once_and_sorted():
    assert transport_utils.__all__ == sorted(set(transport_utils.__all__))
    for name in transport_utils.__all__:
        assert getattr(transport_utils, name) is not None
        assert name in dir(transport_utils)
    with pytest.raises(AttributeError, match="nonsense"):
        transport_utils.nonsense  # noqa: B018


def test_the_shop_window_shows_type_checkers_the_same_names():
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    shown = {
        (alias.name, statement.module.removeprefix("transport_utils."))
        for statement in block.body
        for alias in statement.names
    }
    assert shown == set(transport_utils._HOME.items())
    assert set(transport_utils.__all__) == {"__version__", *transport_utils._HOME}


@pytest.mark.parametrize("name", MODULES)
def test_every_module_lists_what_it_offers(name):
    module = importlib.import_module(name)
    listed = getattr(module, "__all__", [])
    assert listed == sorted(listed, key=lambda one: (not one.isupper(), not one[0].isupper(), one))
    for one in listed:
        assert hasattr(module, one)


@pytest.mark.parametrize(
    "kind", [getattr(errors, name) for name in errors.__all__ if name != "SentState"]
)
def test_every_error_pickles_with_all_it_knows(kind):
    extra = {"delay_s": 5.0} if kind is errors.RetryAfterExceeded else {}
    extra |= {"status": 503} if kind is errors.HttpStatusError else {}
    error = kind(
        "no answer",
        node="http://h:1",
        method="GET",
        target="/x",
        sent=errors.SentState.SENT,
        attempts=(503, errors.ConnectError("refused")),
        attempt_limit=4,
        elapsed_s=41.25,
        body=b"raw",
        **extra,
    )
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error)
    assert str(error) == (
        "no answer: GET /x on http://h:1 (attempt 3 of 4, request fully sent, total 41.2 s)"
    )
    assert vars(copy).keys() == vars(error).keys()
    assert copy.attempts[0] == 503


def test_no_message_carries_line_breaks_of_a_bad_target_into_a_log():
    error = errors.LocalProtocolError("bad target", method="GET", target="/x\r\nA: \x1b[31m")
    assert str(error) == r"bad target: GET /x\r\nA: \x1b[31m (nothing sent)"


def loaded_by(statement):
    code = (
        "import sys; before = set(sys.modules)\n"
        f"{statement}\n"
        "after = set(sys.modules); import json; print(json.dumps(sorted(after - before)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return set(json.loads(out.stdout))


def test_importing_the_package_loads_next_to_nothing():
    loaded = loaded_by("import transport_utils")
    assert {name for name in loaded if name.startswith("transport_utils")} == {
        "transport_utils",
        "transport_utils._version",
    }


POLICY = (
    "auth backoff budget deadline errors headers health idempotency redact retry selectors url"
).split()


@pytest.mark.parametrize("name", POLICY)
def test_the_policy_floor_needs_the_standard_library_only(name):
    loaded = {
        one.partition(".")[0]
        for one in loaded_by(f"import transport_utils.{name}")
        if one[0] != "_"
    }
    assert loaded <= {*sys.stdlib_module_names, "transport_utils"}
    assert not loaded & {"socket", "ssl", "http", "asyncio", "select"}


def test_no_optional_library_is_loaded_before_it_is_used():
    over_a_library = (
        "backends.httpx",
        "backends.requests",
        "backends.tracking",
        "backends.urllib3",
    )
    modules = [
        name for name in MODULES if "testing" not in name and not name.endswith(over_a_library)
    ]
    loaded = loaded_by("; ".join(f"import {name}" for name in modules))
    optional = {
        "brotli",
        "httpx",
        "numpy",
        "opentelemetry",
        "orjson",
        "requests",
        "truststore",
        "urllib3",
        "zstandard",
    }
    assert not {name.partition(".")[0] for name in loaded} & optional


@pytest.mark.parametrize(
    "value",
    [
        Compression("gzip", 6),
        DecodeLimits(max_size=5),
        Deadline(5.0),
        Endpoint.from_url(
            "https://u:p@h/x", tls=TlsConfig(fingerprints="00" * 32), max_connections=3
        ),
        Exponential(1.0),
        Headers([("A", "1"), ("a", "2")]),
        HealthPolicy.legacy(),
        Request("GET", "/x", {"a": None}, b"x"),
        ResponseMeta(200, "", "1.1", Headers({"a": "b"}), "http://h"),
        RetryPolicy(max_retries=7),
        Schedule([1, 2]),
        Timeout(connect=1),
        TlsConfig(trust="system", key_password=None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_configures_a_transport_and_what_it_reports_pickles(value):
    copy = pickle.loads(pickle.dumps(value))
    assert type(copy) is type(value)
    if isinstance(value, Deadline):
        assert copy.at == value.at
    else:
        assert copy == value
    if isinstance(value, Endpoint):
        assert copy.headers == value.headers
        assert copy.tls == value.tls
