import http.server
import socket
import socketserver
import subprocess
import sys
import threading

import pytest
from ya_httpx_client.__main__ import main
from ya_httpx_client.provider_command import mount_url, send
from ya_httpx_client.serializable_request import Request, Response


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        text = f"{self.command} {self.path} {self.headers['host']} ".encode() + body
        self.send_response(201)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Set-Cookie", "a=1")
        self.send_header("Set-Cookie", "b=2")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_HEAD = do_POST

    def log_message(self, *args):
        pass

    def address_string(self):
        return "client"


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@pytest.fixture(params=["tcp", "unix"])
def server_url(request, tmp_path):
    if request.param == "tcp":
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        url = f"http://127.0.0.1:{server.server_address[1]}"
    else:
        server = UnixServer(str(tmp_path / "s.sock"), Handler)
        url = f"unix://{tmp_path}/s.sock"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield url
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("url", "mounted"),
    [
        ("unix:///tmp/golem.sock/", "http+unix://%2Ftmp%2Fgolem.sock"),
        ("unix:///tmp/golem.sock", "http+unix://%2Ftmp%2Fgolem.sock"),
        ("http://127.0.0.1:80/", "http://127.0.0.1:80"),
        ("https://a", "https://a"),
    ],
)
def test_server_address_rules(url, mounted):
    assert mount_url(url) == mounted


def test_address_without_scheme_is_refused():
    with pytest.raises(ValueError, match=r"Missing schema in url /tmp/golem\.sock"):
        mount_url("/tmp/golem.sock")


def test_request_file_becomes_response_file(server_url, tmp_path, capsys):
    source, target = str(tmp_path / "req.json"), str(tmp_path / "res.json")
    Request("POST", "http://calc/add?x=1", b"\xff\x00", {"Host": "calc"}).to_file(source)
    main(["--url", server_url, source, target])
    answer = Response.from_file(target)
    assert answer.status == 201
    assert answer.data == b"POST /add?x=1 calc \xff\x00"
    cookies = [value for name, value in answer.header_items if name.lower() == "set-cookie"]
    assert cookies == ["a=1", "b=2"]
    assert capsys.readouterr().out == f"IN:  {source}\nOUT: {target}\n"


def test_head_has_no_body(server_url):
    request = Request("HEAD", "http://calc/")
    request.replace_mount_url(mount_url(server_url))
    assert send(request).data == b""


def test_other_schemes_are_refused():
    with pytest.raises(ValueError, match="expected http, https or unix"):
        send(Request("GET", "ftp://a/"))


def test_server_that_is_not_there_is_an_os_error():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="refused"):
            send(Request("GET", f"http://127.0.0.1:{probe.getsockname()[1]}/"))


def test_command_needs_nothing_but_the_standard_library():
    code = (
        "import sys, ya_httpx_client, ya_httpx_client.__main__; "
        "loaded = {name.partition('.')[0] for name in sys.modules}; "
        "print(sorted(loaded & {'httpx', 'yapapi', 'aiohttp', 'transport_utils', 'requests', 'click', 'httptools'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_names_both_files():
    command = [sys.executable, "-m", "ya_httpx_client", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "REQUEST_PATH" in done.stdout
    assert "RESPONSE_PATH" in done.stdout
