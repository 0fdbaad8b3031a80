import io
import json
import subprocess
import sys

import pytest
from mock_servers.yagna import gftp
from mock_servers.yagna.server import gftp_folder


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "addresses"
    folder.mkdir()
    return gftp.Files(folder)


@pytest.fixture
def ask(files):
    def ask(*requests):
        answer = io.StringIO()
        lines = [line if isinstance(line, str) else json.dumps(line) for line in requests]
        gftp.serve(io.StringIO("\n".join(lines) + "\n"), answer, files)
        return [json.loads(line) for line in answer.getvalue().splitlines()]

    return ask


def test_published_file_can_be_downloaded_by_its_address(ask, tmp_path):
    (tmp_path / "in").write_bytes(b"\x00\xffdata")
    (published,) = ask({"id": 1, "method": "publish", "params": {"files": [str(tmp_path / "in")]}})
    url = published["result"][0]["url"]
    assert url.startswith("gftp://0x")
    output = str(tmp_path / "out")
    ask({"id": 2, "method": "download", "params": {"url": url, "output_file": output}})
    assert (tmp_path / "out").read_bytes() == b"\x00\xffdata"


def test_identical_content_has_one_address(files, tmp_path):
    (tmp_path / "a").write_text("same")
    (tmp_path / "b").write_text("same")
    assert files.publish(str(tmp_path / "a")) == files.publish(str(tmp_path / "b"))


def test_upload_ends_up_in_the_file_that_was_awaited(ask, tmp_path):
    (tmp_path / "source").write_text("result")
    target = str(tmp_path / "target")
    (awaited,) = ask({"id": 1, "method": "receive", "params": {"output_file": target}})
    url = awaited["result"]["url"]
    ask({"id": 2, "method": "upload", "params": {"file": str(tmp_path / "source"), "url": url}})
    assert (tmp_path / "target").read_text() == "result"


def test_closed_address_is_forgotten(ask, files, tmp_path):
    (tmp_path / "a").write_text("x")
    url = files.publish(str(tmp_path / "a"))
    (first, second) = ask(
        {"id": 1, "method": "close", "params": {"urls": [url]}},
        {"id": 2, "method": "close", "params": {"urls": [url]}},
    )
    assert (first["result"], second["result"]) == (["ok"], ["error"])


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("{", -32700),
        ('{"id": 7}', -32600),
        ('{"id": 7, "method": "nothing"}', -32601),
        ('{"id": 7, "method": "_answer"}', -32601),
        ('{"id": 7, "method": "publish", "params": {"file": 1}}', -32602),
        ('{"id": 7, "method": "publish", "params": {"files": ["/does/not/exist"]}}', -32000),
    ],
)
def test_bad_request_has_its_json_rpc_code(ask, line, code):
    (answer,) = ask(line)
    assert answer["error"]["code"] == code


def test_shutdown_is_answered_and_ends_the_server(ask):
    answers = ask({"id": 1, "method": "shutdown"}, {"id": 2, "method": "version"})
    assert [answer["result"] for answer in answers] == ["ok"]


def test_executable_ends_with_its_input():
    done = subprocess.run(
        [f"{gftp_folder()}/gftp", "server"],
        input='{"jsonrpc": "2.0", "id": 12345678901234567890, "method": "version"}\n',
        capture_output=True,
        text=True,
        timeout=20,
    )
    answer = json.loads(done.stdout)
    assert answer["id"] == 12345678901234567890
    assert answer["result"].split()[0] == "0.7.3"
    assert done.returncode == 0


def test_executable_without_its_word_says_how_it_is_used():
    done = subprocess.run(
        [sys.executable, "-c", "from mock_servers.yagna.gftp import main; main()"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "usage: gftp server" in done.stderr
