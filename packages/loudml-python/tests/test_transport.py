"""Retries, deadlines, errors: what the transport does when things go wrong."""

import contextlib
import pickle
import re
import socket
import sys
import threading
import time

import pytest
from loudml import (
    AuthenticationException,
    AuthorizationException,
    ConflictError,
    Connection,
    ConnectionError,
    ConnectionPool,
    ConnectionTimeout,
    Loud,
    LoudMLException,
    NativeHttpConnection,
    NotFoundError,
    RequestError,
    RequestsHttpConnection,
    SerializationError,
    TransportError,
    Urllib3HttpConnection,
)
from mock_servers.faults import Fault
from transport_utils.deadline import Timeout

CONNECTION_CLASSES = [NativeHttpConnection, Urllib3HttpConnection, RequestsHttpConnection]
DEAD = "127.0.0.1:1"


@pytest.fixture(params=CONNECTION_CLASSES, ids=lambda one: one.__name__)
def connection_class(request):
    return request.param


@pytest.fixture
def loud(loudml_server, connection_class):
    with Loud(loudml_server.hosts, connection_class=connection_class) as client:
        yield client


def answers(*replies):
    """Return an answer function that gives the replies in turn, the last one for ever."""
    waiting = list(replies)
    return lambda head, body: waiting.pop(0) if len(waiting) > 1 else waiting[0]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RequestError),
        (401, AuthenticationException),
        (403, AuthorizationException),
        (404, NotFoundError),
        (409, ConflictError),
        (301, TransportError),
        (304, TransportError),
        (405, TransportError),
        (500, TransportError),
        (501, TransportError),
    ],
)
def test_failure_statuses_have_their_classes(loud, loudml_server, status, kind):
    loudml_server.faults.add(Fault("status", status=status, body='{"error": "because"}'))
    with pytest.raises(TransportError) as error:
        loud.info()
    assert type(error.value) is kind
    if status != 304:
        assert (error.value.status_code, error.value.error) == (status, "because")
    assert error.value.attempts == (status,)
    assert (error.value.method, error.value.path) == ("GET", "/")
    assert error.value.node == loudml_server.url


def test_a_status_is_retried_until_it_is_well(loud, loudml_server):
    loudml_server.faults.add(Fault("status", status=502, times=2))
    assert loud.version() == "1.6.0"
    assert len(loudml_server.traffic.requests) == 3


def test_retries_end_and_the_error_knows_all_attempts(loud, loudml_server):
    loudml_server.faults.add(Fault("status", status=503))
    with pytest.raises(TransportError) as error:
        loud.info()
    assert error.value.attempts == (503,) * 4
    if sys.version_info >= (3, 11):
        (note,) = error.value.__notes__
        url = re.escape(loudml_server.nodes[0].url)
        assert re.fullmatch(rf"GET /\S* on {url}: status 503 after 4 attempts in \d\.\d s", note)
        assert pickle.loads(pickle.dumps(error.value)).__notes__ == [note]
    assert error.value.elapsed_s > 0


def test_a_post_is_sent_once_when_the_server_may_have_done_it(loud, loudml_server):
    for fault in (Fault("reset", times=1), Fault("status", status=502, times=1)):
        loudml_server.traffic.clear()
        loudml_server.faults.add(fault)
        with pytest.raises(TransportError):
            loud.models.train("m", _from=1)
        assert len(loudml_server.traffic.requests) == 1


def test_a_post_is_repeated_when_the_caller_allows_it(loud, loudml_server):
    loudml_server.faults.add(Fault("reset", times=1))
    with pytest.raises(NotFoundError):
        loud.models.train("m", _from=1, idempotent=True)
    assert len(loudml_server.traffic.requests) == 2


def test_a_post_is_repeated_when_the_server_says_it_did_nothing(loud, loudml_server):
    loudml_server.faults.add(Fault("status", status=503, times=1))
    with pytest.raises(NotFoundError):
        loud.models.train("m", _from=1)
    assert len(loudml_server.traffic.requests) == 2


def test_a_post_goes_to_another_node_when_nothing_was_sent(loudml_server, connection_class):
    hosts = [DEAD, *loudml_server.hosts]
    options = {"connection_class": connection_class, "randomize_hosts": False}
    with Loud(hosts, **options) as loud, pytest.raises(NotFoundError):
        loud.models.train("m", _from=1)


def test_retry_after_is_obeyed(loud, loudml_server):
    loudml_server.faults.add(Fault("status", status=429, headers={"Retry-After": "0.25"}, times=1))
    began = time.monotonic()
    assert loud.version() == "1.6.0"
    assert time.monotonic() - began >= 0.25


def test_an_excessive_retry_after_gives_the_answer_at_once(loud, loudml_server):
    loudml_server.faults.add(Fault("status", status=503, headers={"Retry-After": "3600"}))
    began = time.monotonic()
    with pytest.raises(TransportError) as error:
        loud.info()
    assert time.monotonic() - began < 5
    assert error.value.status_code == 503


def test_another_live_node_is_tried_without_a_pause(loudml_server, connection_class):
    hosts = [DEAD, *loudml_server.hosts]
    with Loud(hosts, connection_class=connection_class, randomize_hosts=False) as loud:
        began = time.monotonic()
        assert loud.version() == "1.6.0"
        assert time.monotonic() - began < 2
        assert [one.host for one in loud.transport.connection_pool.connections] == [
            loudml_server.url
        ]


def test_a_dead_server_is_reported_within_seconds(connection_class):
    with Loud(DEAD, connection_class=connection_class) as loud:
        began = time.monotonic()
        assert loud.ping() is False
        with pytest.raises(ConnectionError) as error:
            loud.models.exists("m")
        assert time.monotonic() - began < 6
    assert error.value.status_code == "N/A"
    assert len(error.value.attempts) == 4
    assert "127.0.0.1:1" in str(error.value)
    assert "attempt 4 of 4" in str(error.value)


def test_a_read_timeout_is_not_retried_unless_asked(loudml_server, connection_class):
    loudml_server.faults.add(Fault("hang"))
    options = {"connection_class": connection_class, "timeout": 0.15}
    for retry, sent in ((False, 1), (True, 4)):
        loudml_server.traffic.clear()
        client = Loud(loudml_server.hosts, retry_on_timeout=retry, **options)
        with client, pytest.raises(ConnectionTimeout) as error:
            client.info()
        assert error.value.status_code == "TIMEOUT"
        assert len(error.value.attempts) == sent


def test_a_total_bounds_retries_and_pauses(connection_class):
    options = {"max_retries": 1000, "timeout": Timeout(total=0.4)}
    with Loud(DEAD, connection_class=connection_class, **options) as loud:
        began = time.monotonic()
        with pytest.raises(ConnectionError):
            loud.info()
        assert time.monotonic() - began < 2


def test_a_total_holds_against_a_silent_server(loudml_server, connection_class):
    loudml_server.faults.add(Fault("hang"))
    with Loud(loudml_server.hosts, connection_class=connection_class) as loud:
        began = time.monotonic()
        with pytest.raises(ConnectionTimeout):
            loud.info(request_timeout=Timeout(total=0.4))
        assert time.monotonic() - began < 2


def test_a_total_holds_against_a_trickle(connection_class):
    stop = threading.Event()

    def drip():
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not stop.wait(0.05):
                connection.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip)
        thread.start()
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        with Loud(host, connection_class=connection_class, max_retries=0) as loud:
            began = time.monotonic()
            with pytest.raises(ConnectionTimeout):
                loud.info(request_timeout=Timeout(total=0.4))
            assert time.monotonic() - began < 2
        stop.set()
        thread.join()


def test_head_is_true_or_false(loud, loudml_server):
    assert loud.transport.perform_request("HEAD", "/") is True
    assert loud.transport.perform_request("HEAD", "/models/x") is False
    loudml_server.faults.add(Fault("status", status=500))
    assert loud.transport.perform_request("HEAD", "/", params={"ignore": 500}) is False


@pytest.mark.parametrize("status", [401, 403, 500])
def test_exists_never_takes_trouble_for_no(loud, loudml_server, status):
    loudml_server.faults.add(Fault("status", status=status))
    for exists in (
        loud.models.exists,
        loud.jobs.exists,
        loud.buckets.exists,
        loud.templates.exists,
        loud.scheduled_jobs.exists,
    ):
        with pytest.raises(TransportError) as error:
            exists("x")
        assert error.value.status_code == status


def test_ping_tells_wrong_credentials_from_a_server_that_is_down(loud, loudml_server):
    number = loudml_server.faults.add(Fault("status", status=500))
    assert loud.ping() is False
    loudml_server.faults.remove(number)
    loudml_server.faults.add(Fault("status", status=401))
    with pytest.raises(AuthenticationException):
        loud.ping()


def test_ignored_statuses_give_the_answer(loud):
    assert loud.models.get("x", ignore=404) == "Model (x) not found"
    assert loud.models.get("x", ignore=[404, 500]) == "Model (x) not found"


def test_answers_of_any_content_type_are_decoded(recording_server, http_reply, connection_class):
    replies = answers(
        http_reply(200, b"[1]", content_type="Application/JSON; charset=utf-8"),
        http_reply(200, b"<p>", content_type="text/html"),
        http_reply(200, b'"a"', content_type=""),
        http_reply(200, b"", content_type="application/x-unknown"),
        http_reply(200, b"x", content_type="application/x-unknown"),
        http_reply(200, b"{"),
        http_reply(200, b"\xff"),
    )
    server = recording_server(replies)
    with Loud(server.host, connection_class=connection_class) as loud:
        assert loud.models.get() == [1]
        assert loud.models.get() == "<p>"
        assert loud.models.get() == "a"
        assert loud.models.get() == ""
        for raw in ("x", "{", "\ufffd"):
            with pytest.raises(SerializationError) as error:
                loud.models.get()
            assert (error.value.status_code, error.value.raw) == (200, raw)
    assert len(server.requests) == 7, "what does not decode is not asked for again"


def test_a_failure_that_does_not_decode_is_still_that_failure(
    recording_server, http_reply, connection_class
):
    server = recording_server(lambda head, body: http_reply(418, b"\xff{"))
    with (
        Loud(server.host, connection_class=connection_class) as loud,
        pytest.raises(TransportError) as error,
    ):
        loud.info()
    assert (error.value.status_code, error.value.error) == (418, "\ufffd{")


def test_serializers_by_mimetype(recording_server, http_reply):
    class Upper:
        mimetype = "application/x-upper"

        def loads(self, s):
            return s.upper()

        def dumps(self, data):
            return str(data).lower()

    server = recording_server(
        lambda head, body: http_reply(200, b"abc", content_type="application/x-upper")
    )
    with Loud(server.host, serializers={Upper.mimetype: Upper()}) as loud:
        assert loud.models.get() == "ABC"
    with Loud(server.host, serializer=Upper()) as loud:
        assert loud.models.create({"A": 1}) == "ABC"
    assert server.requests[-1][1] == b"{'a': 1}"


def test_closed_client_says_so_at_once(loudml_server, connection_class):
    loud = Loud(loudml_server.hosts, connection_class=connection_class)
    loud.info()
    loud.close()
    loud.close()
    began = time.monotonic()
    with pytest.raises(ConnectionError, match="closed"):
        loud.info()
    assert time.monotonic() - began < 2


class Scripted(Connection):
    """A user's connection class: raises and answers as told."""

    script = []
    calls = []

    def perform_request(
        self, method, url, params=None, body=None, timeout=None, ignore=(), headers=None
    ):
        self.calls.append((method, url, params, body, timeout, ignore, headers, self.host))
        outcome = self.script.pop(0) if self.script else (200, {}, "[]")
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def scripted():
    Scripted.script, Scripted.calls = [], []
    return Scripted


def test_custom_connection_classes_are_called_as_before(scripted):
    loud = Loud(connection_class=scripted)
    loud.models.get("m", request_timeout=7, ignore=404, fields="a")
    loud.transport.perform_request("POST", "/x", headers={"a": "b"}, body={"c": 1})
    assert scripted.calls == [
        ("GET", "/models/m", {"fields": b"a"}, None, 7, (404,), None, "http://localhost:8077"),
        ("POST", "/x", None, b'{"c":1}', None, (), {"a": "b"}, "http://localhost:8077"),
    ]


@pytest.mark.parametrize(
    ("failure", "method", "sent"),
    [
        (ConnectionError("N/A", "x", OSError()), "GET", 2),
        (ConnectionError("N/A", "x", OSError()), "POST", 1),
        (ConnectionError("N/A", "x", ConnectionRefusedError()), "POST", 2),
        (ConnectionTimeout("TIMEOUT", "x", OSError()), "GET", 1),
        (TransportError(502, "x", None), "GET", 2),
        (TransportError(502, "x", None), "POST", 1),
        (TransportError(500, "x", None), "GET", 1),
    ],
)
def test_failures_of_custom_connection_classes_follow_the_same_rules(
    scripted, failure, method, sent
):
    scripted.script = [failure]
    loud = Loud(["a", "b"], connection_class=scripted)
    try:
        loud.transport.perform_request(method, "/")
    except TransportError as error:
        assert error is failure
        assert error.node in ("http://a:8077", "http://b:8077")
    assert len(scripted.calls) == sent
    if sent == 2:
        assert scripted.calls[0][-1] != scripted.calls[1][-1], "the retry went to the other node"


def test_only_failures_of_the_node_put_it_on_hold(scripted):
    refused = ConnectionError("N/A", "x", ConnectionRefusedError())
    for failure, is_held in (
        (refused, True),
        (TransportError(503, "x", None), True),
        (TransportError(429, "x", None), False),
        (TransportError(404, "x", None), False),
        (TransportError(500, "x", None), False),
        (ConnectionTimeout("TIMEOUT", "x", OSError()), False),
    ):
        scripted.script = [failure]
        loud = Loud(["a", "b"], connection_class=scripted, max_retries=0)
        with pytest.raises(TransportError):
            loud.info()
        assert len(loud.transport.connection_pool.connections) == (1 if is_held else 2)


def test_a_last_answer_is_worth_more_than_a_later_network_failure(scripted):
    answer = TransportError(503, "busy", None)
    scripted.script = [answer, *[ConnectionError("N/A", "x", ConnectionRefusedError())] * 3]
    with pytest.raises(TransportError) as error:
        Loud(["a", "b"], connection_class=scripted).info()
    assert error.value is answer
    assert len(error.value.attempts) == 4


def test_pool_class_of_ones_own_is_used_for_a_single_node_too(scripted):
    class Mine(ConnectionPool):
        pass

    assert isinstance(
        Loud(connection_class=scripted, connection_pool_class=Mine).transport.connection_pool, Mine
    )


def test_nodes_can_be_added(scripted):
    loud = Loud("a", connection_class=scripted)
    (first,) = loud.transport.connection_pool.connections
    loud.transport.add_connection({"host": "b"})
    assert first in loud.transport.connection_pool.connections
    assert len(loud.transport.connection_pool.connections) == 2
    assert loud.transport.hosts == [{"host": "a"}, {"host": "b"}]


def test_errors_have_one_root():
    assert issubclass(TransportError, LoudMLException)
    assert issubclass(SerializationError, LoudMLException)
