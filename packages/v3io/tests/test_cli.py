"""The command line against the mock server: every command does its work and every failure is one line."""

import json
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner
from mock_servers.faults import Fault
from v3io.cli import main
from v3io.dataplane import Client


@pytest.fixture
def client(v3io_server):
    with Client(endpoint=v3io_server.url, access_key="k", logger_verbosity="ERROR") as client:
        yield client


@pytest.fixture
def run(v3io_server):
    def run(*arguments, status=0, **options):
        base = ["--endpoint", v3io_server.url, "--access-key", "k"]
        result = CliRunner().invoke(main, [*base, *arguments], **options)
        assert result.exit_code == status, result.output
        return result.output

    return run


def test_a_file_goes_up_is_listed_comes_down_and_is_removed(run, tmp_path):
    source = tmp_path / "notes.txt"
    source.write_bytes(bytes(range(256)) * 40_000)
    run("put", str(source), "users/alice/")
    assert "alice/notes.txt\t10240000\t" in run("ls", "v3io://users/alice")
    run("get", "users/alice/notes.txt", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    assert not (tmp_path / "copy.part").exists()
    run("rm", "users/alice/notes.txt")
    assert "notes.txt" not in run("ls", "users/alice")


def test_cat_writes_the_bytes(run, client):
    client.object.put("users", "a", body=b"one\ntwo\n")
    assert run("cat", "users/a") == "one\ntwo\n"


def test_containers_are_listed(run):
    assert "bigdata" in run("ls")


def test_a_tree_is_removed_only_when_asked(run, client):
    client.object.put("users", "t/a/b", body=b"x")
    client.object.put("users", "t/c", body=b"x")
    assert "status" in run("rm", "users/t/", status=1)
    run("rm", "-r", "users/t")
    assert run("ls", "users/t", status=1)
    assert "whole container" in run("rm", "-r", "users", status=2)


def test_items_are_written_updated_read_and_scanned(run):
    run("kv", "put", "users/t/bob", "age=42", "name=bob", "ok=true", "l=[1, 2]")
    run("kv", "put", "users/t/bob", "age=43", "--update", "-c", "age == 42")
    run("kv", "put", "users/t/liz", "age=9")
    assert json.loads(run("kv", "get", "users/t/bob")) == {
        "age": 43,
        "name": "bob",
        "ok": True,
        "l": [1, 2],
    }
    rows = [
        json.loads(line)
        for line in run("kv", "scan", "users/t", "-o", "json", "-a", "age").splitlines()
    ]
    assert sorted(row["age"] for row in rows) == [9, 43]
    assert (
        run("kv", "scan", "users/t", "-o", "csv", "-f", "age > 15", "-a", "age,name")
        == "age,name\n43,bob\n"
    )
    assert run("kv", "scan", "users/t", "-n", "1", "-a", "age").strip() in ("9", "43")
    assert "status 400" in run("kv", "put", "users/t/bob", "age=1", "-c", "age == 0", status=1)
    assert "NAME=VALUE" in run("kv", "put", "users/t/bob", "age", status=2)


def test_brackets_and_colons_are_shown_as_they_are_stored(run, client, tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    client.kv.put("users", "t", "k", {"text": "[bold]x[/bold]", "more": "[/foo] :smile:"})
    table = run("kv", "scan", "users/t")
    assert "[bold]x[/bold]" in table
    assert "[/foo] :smile:" in table
    source = tmp_path / "[x].txt"
    source.write_bytes(b"x")
    assert "put [x].txt" in run("put", str(source), "users/t/")


def test_records_are_put_and_tailed(run, client):
    client.stream.create("users", "s", 2)
    run("stream", "put", "users/s", "-s", "1", "a", "b")
    run("stream", "put", "users/s", "-k", "key", input="from\nstdin\n")
    lines = run("stream", "tail", "users/s", "--from", "earliest", "--no-follow").splitlines()
    assert [line.split("\t")[2] for line in lines if line.startswith("1\t")][:2] == ["a", "b"]
    assert len(lines) == 4
    assert run("stream", "tail", "users/s", "--no-follow") == ""


def test_the_doctor_checks_and_tells_what_is_wrong(run, v3io_server):
    output = run("doctor", "users")
    assert output.count("ok  ") == 5
    assert "FAIL  container none: Container not found: none\n" in run("doctor", "none", status=1)


def test_the_doctor_stops_where_the_rest_cannot_hold():
    runner = CliRunner(env={"V3IO_API": "http://127.0.0.1:1", "V3IO_ACCESS_KEY": "k"})
    lines = runner.invoke(main, ["doctor", "users"]).output.splitlines()
    assert [line[:5] for line in lines] == ["ok   ", "FAIL ", "-    ", "-    ", "-    "]


def test_an_append_whose_answer_is_lost_is_not_written_twice(run, v3io_server, tmp_path):
    source = tmp_path / "big"
    source.write_bytes(bytes(range(256)) * 40_000)
    v3io_server.faults.add(Fault("drop", method="PUT", apply=True, skip=1, times=1))
    run("put", str(source), "users/big")
    run("get", "users/big", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("command", ["cat", "get"])
def test_a_missing_object_is_named(run, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "No such object: users/none (status 404)" in run(command, "users/none", status=1)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_has_seen_enough_is_no_error(client, v3io_server):
    client.object.put("users", "long", body=b"line\n" * 2_000_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "v3io", "cat", "users/long"],
        env={**os.environ, "V3IO_API": v3io_server.url, "V3IO_ACCESS_KEY": "k"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout.read(5) == b"line\n"
        process.stdout.close()
        assert process.stderr.read() == b""


def test_ctrl_c_ends_a_tail_without_a_word(client, v3io_server):
    client.stream.create("users", "s", 1)
    client.stream.put_records("users", "s", [{"data": "hello"}])
    process = subprocess.Popen(
        [sys.executable, "-m", "v3io", "stream", "tail", "users/s", "--from", "earliest"],
        env={**os.environ, "V3IO_API": v3io_server.url, "V3IO_ACCESS_KEY": "k"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout.readline() == b"0\t1\thello\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_missing_endpoint_is_one_line():
    result = CliRunner(env={"V3IO_API": None}).invoke(main, ["ls"])
    assert result.exit_code == 1
    assert "V3IO_API" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "command", [[], ["kv"], ["stream"], ["ls"], ["get"], ["put"], ["rm"], ["cat"], ["doctor"]]
)
def test_every_command_has_help(command):
    result = CliRunner().invoke(main, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_python_m_works():
    done = subprocess.run(
        [sys.executable, "-m", "v3io", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("v3io, version 0.8.")
