"""The command line against the mock server: every command does its work and every failure is one line."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
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
    assert "FAIL" in run("doctor", "no-such-container", status=1)


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
