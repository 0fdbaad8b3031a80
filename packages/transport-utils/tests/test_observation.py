import io
import logging
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import propagate
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from transport_utils import errors, telemetry
from transport_utils.endpoint import Endpoint
from transport_utils.headers import Headers
from transport_utils.health import NodeChange
from transport_utils.hooks import Attempt, Hooks, PoolEvent, combine_hooks
from transport_utils.messages import Request, ResponseMeta
from transport_utils.redact import redact_headers, redact_url
from transport_utils.telemetry import auto_hooks, telemetry_hooks
from transport_utils.trace import curl, curl_hooks, enable_debug, log_hooks

NODE = Endpoint.from_url("https://user:hunter2@node:9200/api")


def attempt(method="GET", target="/x?token=hunter2&q=1", number=1, **fields):
    return Attempt(Request(method, target, **fields), NODE, number, started=10.0)


def meta(status=200):
    return ResponseMeta(status, "", "1.1", Headers(), NODE.base_url)


# --- redact


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://u:p@h/x", "http://<hidden>@h/x"),
        ("/x?a=1&TOKEN=s&b=2", "/x?a=1&TOKEN=<hidden>&b=2"),
        ("/x?api_key=s#frag", "/x?api_key=<hidden>#frag"),
        ("/x?password=", "/x?password="),
        ("/x?monkey=s", "/x?monkey=s"),
        ("/mail/a@b?c=d", "/mail/a@b?c=d"),
        ("http://h//x@y", "http://h//x@y"),
    ],
)
def test_urls_lose_their_secrets_and_nothing_else(url, shown):
    assert redact_url(url) == shown


def test_header_secrets_are_hidden_and_repeated_fields_stay():
    fields = [("Authorization", "Bearer s"), ("X-Own", "s"), ("Vary", "a"), ("Vary", "b")]
    assert redact_headers(fields, ["x-own"]) == [
        ("Authorization", "Bearer <hidden>"),
        ("X-Own", "<hidden>"),
        ("Vary", "a"),
        ("Vary", "b"),
    ]


# --- curl


def run_in_shell(command):
    """Run a curl line with curl replaced by a function; return its arguments and its input."""
    script = (
        "curl() { printf '%s\\0' \"$@\"; printf '\\0'; case \"$*\" in *@-*) cat;; esac; }\n"
        + command
    )
    out = subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout
    arguments, _, stdin = out.partition(b"\0\0")
    return arguments.decode().split("\0"), stdin


@given(
    st.binary(max_size=50)
    | st.text(st.characters(codec="utf-8"), max_size=50).map(lambda text: text.encode())
)
def test_a_curl_line_sends_exactly_the_body_when_pasted_into_a_shell(body):
    arguments, stdin = run_in_shell(curl(Request("POST", "/x", body=body), NODE))
    if "--data-binary" in arguments:
        assert stdin == body
    elif body:
        assert arguments[arguments.index("--data-raw") + 1].encode() == body
    else:
        assert "--data-raw" not in arguments


def test_a_curl_line_names_method_headers_and_address():
    request = Request(
        "PUT", "/a?b='c'", {"X-Quote": "it's", "x-empty": "", "authorization": None}, body=b"@x"
    )
    arguments, _ = run_in_shell(curl(request, NODE, redact=False, headers={"traceparent": "00"}))
    assert arguments == [
        "--silent",
        "--show-error",
        "--request",
        "PUT",
        "--header",
        "X-Quote: it's",
        "--header",
        "x-empty;",
        "--header",
        "traceparent: 00",
        "--data-raw",
        "@x",
        "https://node:9200/api/a?b='c'",
    ]


def test_a_curl_line_hides_secrets_unless_asked():
    request = Request("GET", "/x?token=hunter3")
    hidden = curl(request, NODE)
    assert "hunter" not in hidden
    assert "dXNlcj" not in hidden
    assert "authorization: Basic <hidden>" in hidden
    shown = curl(request, NODE, redact=False)
    assert "hunter3" in shown
    assert "authorization: Basic dXNlcj" in shown


def test_a_curl_line_knows_sockets_proxies_and_streams():
    socket = Endpoint("http", "h", 80, uds="/run/my app.sock", path_prefix="/v1")
    assert curl(Request("HEAD", "/x"), socket) == (
        "curl --silent --show-error --head --unix-socket '/run/my app.sock' http://localhost/v1/x"
    )
    proxied = Endpoint("http", "h", 80, proxy="http://u:hunter2@p:3128")
    assert "--proxy 'http://<hidden>@p:3128'" in curl(Request("GET", "/"), proxied)
    assert curl(Request("POST", "/", body=iter([b"x"])), NODE).endswith("# body is streamed")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_itself_accepts_the_line():
    line = curl(Request("POST", "/", body=b"{}"), Endpoint("http", "127.0.0.1", 9))
    done = subprocess.run(["sh", "-c", f"{line} --max-time 1"], capture_output=True, check=False)
    assert done.returncode == 7  # could not connect: the line itself was understood


# --- hooks


def test_hooks_are_called_in_order_and_a_broken_one_disturbs_nobody(caplog):
    seen = []
    broken = Hooks(on_attempt=lambda attempt: 1 / 0)
    hooks = combine_hooks(
        [broken, None, Hooks(on_attempt=seen.append), Hooks(on_attempt=seen.append)]
    )
    one = attempt()
    hooks.on_attempt(one)
    assert seen == [one, one]
    assert "ZeroDivisionError" in caplog.text
    assert hooks.on_retry is None


def test_an_interrupt_in_a_hook_is_not_swallowed():
    def interrupt(attempt):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        combine_hooks([Hooks(on_attempt=interrupt)]).on_attempt(attempt())


def test_no_hooks_cost_nothing():
    assert combine_hooks([None]) is None


# --- logs


def test_each_attempt_is_one_line_without_secrets(caplog):
    hooks = log_hooks()
    with caplog.at_level(logging.DEBUG, "transport_utils.transport"):
        hooks.on_response(attempt(), meta(503), 10.25)
        hooks.on_error(attempt(number=2), errors.ConnectError("refused"), 10.5)
        hooks.on_retry(attempt(number=2), 0.125)
        hooks.on_node_state(NODE, NodeChange.EJECTED)
    assert [record.getMessage() for record in caplog.records] == [
        "GET https://node:9200/api/x?token=<hidden>&q=1 (attempt 1) -> 503 in 0.250 s",
        "GET https://node:9200/api/x?token=<hidden>&q=1 (attempt 2) -> ConnectError: refused",
        "GET https://node:9200/api/x?token=<hidden>&q=1 (attempt 2) is tried again in 0.125 s",
        "node https://node:9200/api is ejected",
    ]


def test_curl_lines_are_logged_with_their_answers(caplog):
    hooks = curl_hooks()
    with caplog.at_level(logging.INFO, "transport_utils.trace"):
        hooks.on_attempt(attempt())
        hooks.on_response(attempt(), meta(), 10.5)
        hooks.on_error(attempt(), errors.ConnectError("refused"), 11)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].startswith("curl --silent")
    assert lines[1:] == ["# 200 in 0.500 s", "# ConnectError in 1.000 s"]


def test_nothing_is_formatted_while_a_logger_is_off(monkeypatch):
    monkeypatch.setattr("transport_utils.trace.curl", lambda *args, **kwargs: 1 / 0)
    monkeypatch.setattr("transport_utils.trace._line", lambda *args: 1 / 0)
    for hooks in (curl_hooks(level=logging.DEBUG), log_hooks()):
        for hook, extra in ((hooks.on_attempt, ()), (hooks.on_response, (meta(), 1.0))):
            if hook is not None:
                hook(attempt(), *extra)


def test_debug_output_goes_to_a_file_until_the_handler_is_removed():
    logger = logging.getLogger("transport_utils")
    level, file = logger.level, io.StringIO()
    handler = enable_debug(file=file)
    try:
        log_hooks().on_response(attempt(), meta(), 11.0)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert "DEBUG   transport_utils.transport: GET https://node:9200/api/x" in file.getvalue()


# --- OpenTelemetry


@pytest.fixture
def reported():
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([reader])
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    hooks = telemetry_hooks(tracers, meters)

    def metrics():
        data = reader.get_metrics_data()
        return {
            metric.name: [(dict(point.attributes), point) for point in metric.data.data_points]
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    yield hooks, exporter.get_finished_spans, metrics
    tracers.shutdown()
    meters.shutdown()


def test_every_attempt_is_a_client_span(reported):
    hooks, spans, _ = reported
    first, second = attempt(), attempt(number=2)
    hooks.on_attempt(first)
    hooks.on_error(first, errors.ConnectError("refused"), 11.0)
    hooks.on_attempt(second)
    hooks.on_response(second, meta(), 12.0)
    failed, done = spans()
    assert failed.name == done.name == "GET"
    assert failed.kind is SpanKind.CLIENT
    assert dict(failed.attributes) == {
        "error.type": "ConnectError",
        "http.request.method": "GET",
        "network.protocol.name": "http",
        "server.address": "node",
        "server.port": 9200,
        "url.full": "https://node:9200/api/x?token=<hidden>&q=1",
    }
    assert failed.status.status_code is StatusCode.ERROR
    assert done.attributes["http.request.resend_count"] == 1
    assert done.attributes["http.response.status_code"] == 200
    assert done.attributes["network.protocol.version"] == "1.1"
    assert done.status.status_code is StatusCode.UNSET


def test_a_failure_status_is_an_error_and_an_odd_method_is_other(reported):
    hooks, spans, _ = reported
    one = attempt("BREW")
    hooks.on_attempt(one)
    hooks.on_response(one, meta(404), 12.0)
    (span,) = spans()
    assert span.name == "HTTP"
    assert span.attributes["http.request.method"] == "_OTHER"
    assert span.attributes["http.request.method_original"] == "BREW"
    assert span.attributes["error.type"] == "404"
    assert span.status.status_code is StatusCode.ERROR


def test_the_context_travels_in_the_headers(reported):
    hooks, spans, _ = reported
    one = attempt()
    hooks.on_attempt(one)
    hooks.on_response(one, meta(), 12.0)
    context = propagate.extract(one.headers)
    (parent,) = context.values()
    assert parent.get_span_context().span_id == spans()[0].context.span_id


def test_durations_and_connections_are_measured(reported):
    hooks, _, metrics = reported
    one = attempt()
    hooks.on_attempt(one)
    hooks.on_response(one, meta(), 10.5)
    for event in (PoolEvent.OPENED, PoolEvent.OPENED, PoolEvent.RETURNED, PoolEvent.EXHAUSTED):
        hooks.on_pool(NODE, event)
    found = metrics()
    ((attributes, point),) = found["http.client.request.duration"]
    assert (point.count, point.sum) == (1, 0.5)
    assert attributes["http.response.status_code"] == 200
    assert attributes["server.port"] == 9200
    open_now = {
        attributes["http.connection.state"]: point.value
        for attributes, point in found["http.client.open_connections"]
    }
    assert open_now == {"active": 1, "idle": 1}


def test_every_open_connection_is_taken_back_from_the_count(reported):
    hooks, _, metrics = reported
    for event in ("OPENED", "RETURNED", "REUSED", "CLOSED", "OPENED", "RETURNED", "EXPIRED"):
        hooks.on_pool(NODE, PoolEvent[event])
    assert {point.value for _, point in metrics()["http.client.open_connections"]} == {0}


def test_an_attempt_that_began_unseen_ends_quietly(reported):
    hooks, spans, _ = reported
    hooks.on_response(attempt(), meta(), 12.0)
    assert spans() == ()


def test_telemetry_is_on_only_where_the_application_uses_it(monkeypatch):
    assert auto_hooks() is not None
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "redis, transport_utils")
    assert auto_hooks() is None
    monkeypatch.delenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert auto_hooks() is None
    monkeypatch.delenv("OTEL_SDK_DISABLED")
    monkeypatch.delitem(telemetry.sys.modules, "opentelemetry.trace")
    assert auto_hooks() is None


def test_asking_for_telemetry_without_the_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(telemetry.sys.modules, "opentelemetry", None)
    with pytest.raises(errors.ConfigurationError, match=r"transport-utils\[telemetry\]"):
        telemetry_hooks()


def test_a_unix_socket_has_no_port():
    assert telemetry._address(Endpoint("http", "h", 80, uds="/s")) == {"server.address": "/s"}
