"""The Ramen server does what the protocol says, message by message."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import threading
import zlib

import pytest
from click.testing import CliRunner
from mock_servers.cli import main
from mock_servers.faults import Fault
from mock_servers.ramen.server import RamenServer

PATH = "/ramen/v1/metrics/1099/imx.san_totals.v1/"
BODY = zlib.compress(b'{"a":1}')
ACCEPTED = {"code": "ACCEPTED", "details": None}


@pytest.fixture
def ask(ramen_server):
    connection = http.client.HTTPConnection(ramen_server.hostname, timeout=10)

    def ask(
        method="POST",
        target=PATH + "?version=3.0.0.1&reqid=r1",
        body=BODY,
        **headers,
    ):
        sent = {"X-API-Token": "good-token", "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in sent.items() if value is not None}
        connection.request(method, target, body=body, headers=sent)
        reply = connection.getresponse()
        content = reply.read()
        with contextlib.suppress(ValueError):
            content = json.loads(content)
        return reply.status, content

    yield ask
    connection.close()


def test_a_message_is_stored_before_it_is_accepted(ramen_server, ask):
    assert ask(Content_Encoding="gzip") == (202, ACCEPTED)
    (message,) = ramen_server.store.messages()
    assert message["path"] == PATH.rstrip("/")
    assert (message["category"], message["system_serial"], message["sender"]) == (
        "metrics",
        1099,
        "imx",
    )
    assert (message["data_type"], message["data_version"], message["system_version"]) == (
        "san_totals",
        "v1",
        "3.0.0.1",
    )
    assert (message["reqid"], message["body"]) == ("r1", '{"a":1}')
    assert ["content-encoding", "gzip"] in message["headers"]


@pytest.mark.parametrize("body", [b'{"a":1}', zlib.compress(b'{"a":1}'), gzip.compress(b'{"a":1}')])
def test_the_body_is_recognized_whatever_the_header_says(ramen_server, ask, body):
    assert ask(body=body, Content_Encoding="gzip")[0] == 202
    assert ramen_server.store.messages()[0]["body"] == '{"a":1}'


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"target": "/"}, 404, "NOT_FOUND"),
        ({"target": "/ramen/v1/m/1099/imx.t.v1.x/"}, 404, "NOT_FOUND"),
        ({"target": "/ramen/v1/m/abc/imx.t.v1/"}, 404, "NOT_FOUND"),
        ({"target": "/ramen/v1/m%0A/1099/imx.t.v1/"}, 404, "NOT_FOUND"),
        ({"method": "GET", "body": None}, 405, "METHOD_NOT_ALLOWED"),
        ({"X_API_Token": None}, 401, "UNAUTHORIZED"),
        ({"X_API_Token": "bad"}, 401, "UNAUTHORIZED"),
        ({"Content_Type": "text/plain"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ({"body": zlib.compress(b"no json")}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ({"body": b""}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ({"body": zlib.compress(b"{}")[:-2]}, 400, "BAD_REQUEST"),
        ({"body": b"\x78\x9cnonsense"}, 400, "BAD_REQUEST"),
    ],
)
def test_refusals_say_why_and_store_nothing(ramen_server, ask, request_, status, code):
    answer = ask(**request_)
    assert (answer[0], answer[1]["code"]) == (status, code)
    assert ramen_server.store.count() == 0


def test_limits_apply_to_the_sent_and_to_the_inflated_size(ramen_server, ask):
    ramen_server.knobs.stored_limit = 100
    assert ask(body=b"x" * 101)[0] == 413
    ramen_server.knobs.inflated_limit = 1000
    assert ask(body=zlib.compress(b'"' + b"x" * 1000 + b'"'))[0] == 413


def test_knobs_make_it_strict(ramen_server, ask):
    nan = zlib.compress(b"NaN")
    assert ask(body=nan)[0] == 202
    ramen_server.knobs.strict_json = True
    assert ask(body=nan)[0] == 415
    ramen_server.knobs.strict_encoding = True
    assert ask(Content_Encoding="gzip")[0] == 400
    assert ask(Content_Encoding="deflate")[0] == 202


def test_the_rate_is_limited(ramen_server, ask):
    ramen_server.knobs.rate_per_s = 0.001
    assert [ask()[0] for _ in range(2)] == [202, 429]


def test_a_repetition_is_accepted_and_not_stored_again(ramen_server, ask):
    ask()
    assert ask() == (202, {"code": "ACCEPTED", "details": "Duplicate request"})
    assert ask(target=PATH.replace(".v1/", ".v2/") + "?reqid=r1")[1] == ACCEPTED
    assert ramen_server.store.count() == 2
    assert ramen_server.store.stats()["attempts"] == {"accepted": 2, "duplicate": 1}


def test_state_shows_the_newest_messages_without_their_secrets(ramen_server, ask):
    ask(body=zlib.compress(b'{"password":"hidden"}'))
    ask(target=PATH.replace("imx", "b") + "?reqid=r2")
    state = ask("GET", "/_mock/state", None)[1]
    assert (state["messages"], state["attempts"]) == (2, {"accepted": 2})
    assert [row["sender"] for row in state["newest_messages"]] == ["b", "imx"]
    assert state["newest_messages"][1]["body"] == '{"password":"***"}'
    assert {row["path"]: row["messages"] for row in state["messages_by_path"]} == {
        PATH.rstrip("/"): 1,
        PATH.replace("imx", "b").rstrip("/"): 1,
    }


def test_one_request_id_with_two_bodies_is_a_conflict(ramen_server, ask):
    ask()
    ask(body=b'{"a":2}')
    (conflict,) = ramen_server.store.conflicts()
    assert (conflict["first"], conflict["second"]) == ('{"a":1}', '{"a":2}')


@pytest.mark.parametrize("query", ["", "?reqid="])
def test_messages_without_request_id_are_never_repetitions(ramen_server, ask, query):
    ask(target=PATH + query)
    ask(target=PATH + query)
    assert ramen_server.store.stats()["without_reqid"] == 2


def test_a_token_may_be_limited_to_senders_and_serials(ramen_server, ask):
    ramen_server.tokens["narrow"] = {"senders": ["imx"], "serials": [1]}
    assert ask(X_API_Token="narrow")[0] == 403
    ramen_server.tokens["narrow"] = {"senders": ["imx"], "serials": [1099]}
    assert ask(X_API_Token="narrow")[0] == 202


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        ({"category": "metrics"}, "DROPPED"),
        ({"system_serial": "1099", "sender": "imx"}, "DROPPED"),
        ({"system_version": "3.0.0.1", "data_version": None}, "DROPPED"),
        ({"category": "metrics", "data_type": "other"}, "ACCEPTED"),
        ({}, "DROPPED"),
        (None, "DROPPED"),
    ],
)
def test_rules_drop_what_they_match(ramen_server, ask, rule, status):
    ask("POST", "/_mock/rules", json.dumps(rule))
    answer = ask()[1]
    assert answer["code"] == status
    if status == "DROPPED":
        assert answer["rule"] == rule
        assert ramen_server.store.count() == 0


def test_the_control_api_shows_and_checks_what_arrived(ramen_server, ask):
    for reqid in ("b", "a", "a", "c"):
        ask(target=f"{PATH}?reqid={reqid}")
    path = PATH.rstrip("/")
    assert [entry["reqid"] for entry in ask("GET", "/_mock/messages?since=1", None)[1]] == [
        "a",
        "c",
    ]
    assert len(ask("GET", f"/_mock/messages?reqid=a&path={path}", None)[1]) == 1
    assert len(ask("GET", "/_mock/attempts", None)[1]) == 4
    assert ask("GET", "/_mock/conflicts", None)[1] == []
    assert ask("GET", "/_mock/stats", None)[1]["messages"] == 3
    expected = "\n".join(json.dumps({"path": path, "reqid": reqid}) for reqid in ("a", "b", "d"))
    assert ask("POST", "/_mock/check", expected)[1] == {
        "missing": [[path, "d"]],
        "unexpected": [[path, "c"]],
        "out_of_order": [[path, "b"]],
        "repeated": [[path, "a"]],
    }
    number = ask("POST", "/_mock/rules", "{}")[1]["id"]
    assert ask("GET", "/_mock/rules", None)[1] == [{"id": number, "rule": {}}]
    assert ask("DELETE", f"/_mock/rules?id={number}", None)[0] == 204
    assert ask("DELETE", f"/_mock/rules?id={number}", None)[0] == 404
    assert ask("DELETE", "/_mock/rules", None)[0] == 204
    assert ask("POST", "/_mock/tokens", '{"other": {}}')[1] == {"other": {}}
    assert ask()[0] == 401
    assert ask("POST", "/_mock/reset", None)[0] == 204
    assert ramen_server.store.count() == 0


def test_waiting_ends_when_the_messages_are_there(ramen_server, ask):
    assert ask("GET", "/_mock/wait?count=1&timeout=0.01", None)[0] == 408
    found = []
    waiter = threading.Thread(target=lambda: found.append(ramen_server.store.wait(1, 10)))
    waiter.start()
    ask()
    waiter.join()
    assert found == [True]
    assert ask("GET", "/_mock/wait?count=1", None) == (200, {"messages": 1})


def test_a_reply_lost_after_the_commit_leaves_the_message(ramen_server, ask):
    ramen_server.faults.add(Fault("reset", apply=True, times=1))
    with pytest.raises((http.client.HTTPException, OSError)):
        ask()
    assert ramen_server.store.count() == 1
    assert ask()[1]["details"] == "Duplicate request"


def test_messages_survive_a_restart(tmp_path):
    for expected in (ACCEPTED, {"code": "ACCEPTED", "details": "Duplicate request"}):
        with RamenServer(data=tmp_path / "data") as server:
            connection = http.client.HTTPConnection(server.hostname, timeout=10)
            connection.request(
                "POST",
                PATH + "?reqid=1",
                b"{}",
                {"X-API-Token": "good-token", "Content-Type": "application/json"},
            )
            assert json.load(connection.getresponse()) == expected
            connection.close()


def test_the_settings_of_the_old_mock_server(tmp_path):
    with RamenServer(compat=True) as server:
        connection = http.client.HTTPConnection(server.hostname, timeout=10)

        def ask(method, target, token="good-token"):
            connection.request(
                method,
                target,
                b"{}" if method == "POST" else None,
                {"X-API-Token": token, "Content-Type": "application/json"},
            )
            reply = connection.getresponse()
            return reply.status, reply.read()

        assert ask("GET", "/set_response?code=500&body=oops") == (200, b"OK")
        assert ask("POST", PATH) == (500, b"oops")
        assert ask("POST", PATH, token="bad")[0] == 401
        assert ask("GET", "/set_response") == (200, b"OK")
        assert ask("GET", "/set_delay?delay=0.001") == (200, b"OK")
        assert ask("POST", PATH)[0] == 202
        connection.close()


def test_the_command_is_listed_and_explains_itself():
    result = CliRunner().invoke(main, ["--help"])
    assert "ramen" in result.output
    result = CliRunner().invoke(main, ["ramen", "--help"])
    assert "--strict-json" in result.output
