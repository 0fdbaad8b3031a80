"""The command shows and does what its help says."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys

import pytest
from click.testing import CliRunner
from infi.ramen_client.cli import main
from mock_servers.faults import Fault


@pytest.fixture
def command(writer_values, ramen_server):
    environment = {f"RAMEN_{name.upper()}": str(value) for name, value in writer_values.items()}
    environment |= {
        "RAMEN_HOSTNAME": ramen_server.hostname,
        "RAMEN_AUTH_TOKEN": "good-token",
        "RAMEN_SSL": "false",
    }

    def command(*arguments, input=None, status=0, **more):
        result = CliRunner().invoke(
            main, arguments, input=input, env={**environment, **more}, catch_exceptions=False
        )
        assert result.exit_code == status, result.output
        return result.output

    return command


def test_status_shows_names_and_errors_as_they_are(command, tmp_path, ramen_server):
    where = {"RAMEN_QUEUE_DIR": str(tmp_path / "[x]"), "COLUMNS": "300"}
    command("push", "m", "t", "v1", input="1", **where)
    said = {"code": "BUSY", "details": "[/b] later"}
    ramen_server.faults.add(Fault("status", status=500, body=json.dumps(said), times=1))
    command("drain", status=1, **where)
    text = command("status", **where)
    assert str(tmp_path / "[x]") in text
    assert "[/b] later" in text


def test_push_tail_status_and_drain(command, ramen_server):
    assert "pushed 1, 1 in the queue" in command("push", "m", "t", "v1", input='{"a":1}')
    assert "pushed 3" in command("push", "m", "t", "v1", "--lines", input="[1]\n[2]\n\n[3]\n")
    lines = [json.loads(line) for line in command("tail", "-n", "2").splitlines()]
    assert [line["data"] for line in lines] == ['{"a":1}', "[1]"]
    facts = json.loads(command("status", "--json"))
    assert (facts["messages"], facts["reader_active"], facts["dead_letters"]) == (4, False, 0)
    assert facts["oldest_s"] >= 0
    assert "accepted 4, dropped 0, set aside 0, left 0" in command("drain")
    assert ramen_server.store.count() == 4
    text = command("status")
    assert "messages" in text
    assert "accepted" in text
    assert json.loads(command("status", "--json"))["reader"]["accepted"] == 4


def test_dead_letters_are_shown_and_requeued_under_the_same_request_id(command, ramen_server):
    ramen_server.faults.add(
        Fault("status", status=400, body='{"code":"BAD_REQUEST","details":"no"}', times=2)
    )
    command("push", "m", "t", "v1", "--reqid", "mine", input="{}")
    command("push", "m", "t", "v1", "--reqid", "other", input="{}")
    assert "set aside 2" in command("drain")
    letters = [json.loads(line) for line in command("tail", "--dead").splitlines()]
    assert [letter["reqid"] for letter in letters] == ["mine", "other"]
    assert letters[0]["status"] == 400
    assert "BAD_REQUEST" in letters[0]["body"]
    assert "requeued 1" in command("requeue", str(letters[0]["number"]))
    assert "no dead letter 99" in command("requeue", "99", status=1)
    assert "deleted 1" in command("requeue", "--all", "--delete")
    command("requeue", status=2)
    assert "accepted 1" in command("drain")
    assert ramen_server.store.messages()[0]["reqid"] == "mine"


def test_drain_says_what_is_left_and_why(command, ramen_server):
    ramen_server.faults.add(Fault("status", status=503))
    command("push", "m", "t", "v1", input="{}")
    output = command("drain", status=1)
    assert "left 1" in output
    assert "HTTP 503" in output


def test_a_refused_token_is_told(command):
    command("push", "m", "t", "v1", input="{}")
    assert "refuses the token" in command("drain", "--auth-token", "bad", status=1)
    assert "did not accept" in command("test-connection", "--auth-token", "bad", status=1)
    assert "accepts messages of imx" in command("test-connection")


def test_rules_are_shown_with_what_they_dropped(command, ramen_server):
    ramen_server.rules.add({"category": "m"})
    for _ in range(3):
        command("push", "m", "t", "v1", input="{}")
    assert "dropped 3" in command("drain")
    (rule,) = json.loads(command("status", "--json"))["blacklist"]
    assert (rule["category"], rule["dropped"]) == ("m", 2)
    assert '"category": "m"' in command("status")


def test_doctor_finds_wrong_counters_and_corrects_them(command, writer_values):
    command("push", "m", "t", "v1", input="{}")
    assert "is sound: 1 messages" in command("doctor")
    path = os.path.join(writer_values["queue_dir"], "imx_1099.db")
    database = sqlite3.connect(path)
    with database:
        database.execute("UPDATE ramen_counters SET base = -8")
    database.close()
    assert "9 messages counted, 1 are there" in command("doctor", "--repair", status=1)
    assert "is sound" in command("doctor")
    os.chmod(path, 0o644)
    assert "is 0644" in command("doctor", status=1)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("push", "a b", "t", "v1"), "Invalid characters in category"),
        (("push", "m", "t", "v1", "--system-serial", "x"), "is not int"),
        (("status", "--queue-dir", "/nonexistent/x"), "there is no queue"),
    ],
)
def test_mistakes_are_told_in_words(command, arguments, text):
    status = 1 if arguments[0] == "status" else 2
    assert text in command(*arguments, input="{}", status=status)


@pytest.mark.parametrize(
    ("more", "data", "text"),
    [
        ((), "", "<stdin> is not JSON, nothing was pushed"),
        ((), "{'a': 1}", "the server would refuse it"),
        (("--lines",), "[1]\nx\n", "message 2 of <stdin> is not JSON"),
        ((), b"\xff\xfe", "is not UTF-8 text"),
        (("--lines", "--reqid", "r"), "[1]\n[2]\n", "one --reqid"),
    ],
)
def test_what_the_server_would_refuse_is_not_pushed(command, writer_values, more, data, text):
    assert text in command("push", "m", "t", "v1", *more, input=data, status=2)
    assert not os.path.exists(os.path.join(writer_values["queue_dir"], "imx_1099.db"))


def test_lines_end_at_newlines_only(command):
    assert "pushed 1" in command("push", "m", "t", "v1", "--lines", input='"a\u2028b"\n')


def test_a_file_may_hold_the_configuration(command, writer_values, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**writer_values, "sender": "other"}))
    command("push", "m", "t", "v1", "--config", str(path), input="{}", RAMEN_SENDER="")
    path.write_text("nonsense")
    assert "is not JSON" in command("status", "--config", str(path), status=2)
    path.write_text("[1]")
    assert "no JSON object" in command("status", "--config", str(path), status=2)


def test_every_command_explains_itself_and_the_module_runs():
    for name in main.commands:
        assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0
    done = subprocess.run(
        [sys.executable, "-m", "infi.ramen_client", "--version"], capture_output=True, check=True
    )
    assert b"1.41" in done.stdout
