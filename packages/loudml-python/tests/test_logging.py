"""The loggers ``loudml`` and ``loudml.trace``: lines for people, and commands that run when pasted into a shell."""

import json
import logging
import shutil
import subprocess

import pytest
from loudml import Connection, Loud, NativeHttpConnection, NotFoundError, TransportError
from mock_servers.faults import Fault

SETTINGS = {
    "name": "it's",
    "type": "donut",
    "bucket_interval": "1m",
    "interval": "1m",
    "offset": 0,
    "span": 5,
    "features": [{"name": "f", "metric": "avg", "field": "f", "default": None}],
}


@pytest.fixture
def trace(caplog):
    """Switch the trace logger on and give its lines."""
    logger = logging.getLogger("loudml.trace")
    logger.addHandler(caplog.handler)
    logger.setLevel(logging.INFO)
    yield lambda: [one.getMessage() for one in caplog.records if one.name == "loudml.trace"]
    logger.removeHandler(caplog.handler)
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def paste(loudml_server, tmp_path):
    """Return a function that runs a line in a shell, where localhost:8077 is the mock server."""
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    (tmp_path / ".curlrc").write_text(
        f'connect-to = "localhost:8077:{loudml_server.nodes[0].host}"\nsilent\nmax-time = 10\n'
    )
    environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", "CURL_HOME": str(tmp_path)}

    def paste(line, **variables):
        result = subprocess.run(
            ["/bin/sh", "-c", line],
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=20,
            cwd=tmp_path,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return paste


@pytest.fixture
def loud(loudml_server):
    with Loud(loudml_server.hosts, connection_class=NativeHttpConnection) as client:
        yield client


def sent_again(loudml_server, trace, paste, call, **variables):
    """Make a call, paste its trace line, and return both requests as the server saw them."""
    loudml_server.traffic.clear()
    call()
    (line,) = trace()[-1:]
    paste(line, **variables)
    return loudml_server.traffic.requests


@pytest.mark.parametrize(
    "call",
    [
        lambda loud: loud.info(),
        lambda loud: loud.ping(),
        lambda loud: loud.models.get(
            "a b", fields=["x", "y"], include_fields=True, ignore=[400, 404]
        ),
        lambda loud: loud.models.create(SETTINGS, ignore=400),
        lambda loud: loud.models.train("m", _from="now-1d", ignore=404),
        lambda loud: loud.models.delete("m", ignore=404),
        lambda loud: loud.transport.perform_request(
            "POST", "/models", body="it's $(touch pwned) `x` \" \\ \n@x", params={"ignore": 400}
        ),
        lambda loud: loud.transport.perform_request(
            "POST", "/models", body="@x", params={"ignore": 400}
        ),
        lambda loud: loud.transport.perform_request(
            "POST", "/models", headers={"X-A": "it's b"}, body={"a": "it's"}, params={"ignore": 400}
        ),
    ],
)
def test_trace_lines_run_when_pasted(loudml_server, loud, trace, paste, tmp_path, call):
    first, second = sent_again(loudml_server, trace, paste, lambda: call(loud))
    assert second.method == first.method
    path, _, query = second.target.partition("?pretty")
    assert (path + query.replace("&", "?", 1)) == first.target
    headers = dict(second.request_headers)
    try:
        assert json.loads(second.request_body) == json.loads(first.request_body)
        assert headers["content-type"] == "application/json"
    except ValueError:
        assert second.request_body == first.request_body
    if "x-a" in dict(first.request_headers):
        assert headers["x-a"] == "it's b"
    assert not (tmp_path / "pwned").exists()


def test_trace_has_the_historic_form(loud, trace):
    loud.models.get("first", fields="settings", ignore=404)
    loud.transport.perform_request("POST", "/x", body={"b": 1, "a": "it's"}, params={"ignore": 404})
    get, post = trace()
    assert get == "curl -XGET 'http://localhost:8077/models/first?pretty&fields=settings'"
    assert post == (
        "curl -H 'Content-Type: application/json' -XPOST 'http://localhost:8077/x?pretty' "
        '-d \'{\n  "a": "it\\u0027s",\n  "b": 1\n}\''
    )


def test_trace_leaves_credentials_to_a_variable(loudml_server, trace, paste):
    with Loud(loudml_server.hosts, http_auth=("user", "secret")) as loud:
        first, second = sent_again(
            loudml_server, trace, paste, loud.info, LOUDML_AUTH="Basic dXNlcjpzZWNyZXQ="
        )
    assert "secret" not in trace()[-1]
    auth = [dict(one.request_headers)["authorization"] for one in (first, second)]
    assert auth == ["Basic dXNlcjpzZWNyZXQ="] * 2


def test_trace_leaves_the_prefix_out_and_hides_secrets_in_the_query(recording_server, trace):
    with Loud(recording_server().host, url_prefix="/some/prefix") as loud:
        loud.models.get(params={"token": "secret"}, fields="a")
    assert trace() == ["curl -XGET 'http://localhost:8077/models?pretty&token=<hidden>&fields=a'"]


def test_trace_shows_answers_and_failures_as_comments(loudml_server, loud, trace, caplog):
    logging.getLogger("loudml.trace").setLevel(logging.DEBUG)
    loud.info()
    request, answer = trace()
    assert request.startswith("curl ")
    assert answer.startswith("#[200] (")
    assert all(line.startswith("#") for line in answer.splitlines())
    assert '#  "version": "1.6.0"' in answer
    caplog.clear()
    logging.getLogger("loudml.trace").setLevel(logging.INFO)
    loudml_server.faults.add(Fault("drop", times=1))
    with Loud(loudml_server.hosts, max_retries=0) as other, pytest.raises(TransportError):
        other.info()
    assert trace()[1].startswith("#[N/A] (")


def test_trace_costs_nothing_unless_somebody_listens(loud, monkeypatch):
    def format_nothing(*args):
        raise AssertionError("formatted for nobody")

    logger = logging.getLogger("loudml.trace")
    monkeypatch.setattr(Connection, "_curl", format_nothing)
    loud.info()
    monkeypatch.setattr(logger, "handlers", [])  # pytest's own
    monkeypatch.setattr(logger, "level", logging.INFO)
    loud.info()
    assert logger.propagate is False


def lines(caplog):
    return [
        (one.levelname, one.getMessage().partition(" request:")[0])
        for one in caplog.records
        if one.name == "loudml"
    ]


def test_log_has_a_line_per_request(loudml_server, loud, caplog):
    url = loudml_server.url
    with caplog.at_level(logging.INFO, "loudml"):
        loud.models.get(fields="a")
        with pytest.raises(NotFoundError):
            loud.models.get("x")
        loud.models.exists("x")
    assert lines(caplog) == [
        ("INFO", f"GET {url}/models?fields=a [status:200"),
        ("WARNING", f"GET {url}/models/x [status:404"),
    ]


def test_log_shows_bodies_at_debug(loud, caplog):
    with caplog.at_level(logging.DEBUG, "loudml"):
        loud.transport.perform_request("POST", "/x", body={"a": 1}, params={"ignore": 404})
        with pytest.raises(NotFoundError):
            loud.transport.perform_request("POST", "/x", body=b"\xff")
    assert lines(caplog)[1] == ("DEBUG", '> {"a":1}')
    assert lines(caplog)[2] == ("DEBUG", "< unknown endpoint")
    assert lines(caplog)[4] == ("DEBUG", "> \\xff")


def test_log_has_no_credentials_and_every_attempt(caplog):
    loud = Loud("http://user:secret@127.0.0.1:1", max_retries=2)
    with loud, caplog.at_level(logging.DEBUG, "loudml"), pytest.raises(TransportError) as error:
        loud.info()
    failed = [line for line in lines(caplog) if "[status:N/A" in line[1]]
    assert len(failed) == 3
    assert "secret" not in caplog.text
    assert "secret" not in f"{error.value} {error.value!r}"


def test_log_methods_can_be_overridden(loudml_server):
    class Quiet(NativeHttpConnection):
        seen = []

        def log_request_success(
            self, method, full_url, path, body, status_code, response, duration
        ):
            self.seen.append((method, full_url, path, body, status_code, response[:1], duration))

    logger = logging.getLogger("loudml")
    logger.setLevel(logging.INFO)
    try:
        with Loud(loudml_server.hosts, connection_class=Quiet) as loud:
            loud.info()
    finally:
        logger.setLevel(logging.NOTSET)
    (line,) = Quiet.seen
    assert line[:6] == ("GET", f"{loudml_server.url}/", "/", None, 200, "{")


def test_a_connection_class_of_ones_own_can_write_the_same_lines(caplog, trace):
    connection = Connection("h")
    with caplog.at_level(logging.DEBUG, "loudml"):
        connection.log_request_fail("GET", "http://h/", "/", None, 0.5, 500, "text")
        connection.log_request_success("GET", "http://h/", "/", None, 200, "[1]", 0.5)
    assert lines(caplog)[0] == ("WARNING", "GET http://h/ [status:500")
    assert trace() == ["curl -XGET 'http://localhost:8077/?pretty'"] * 2
