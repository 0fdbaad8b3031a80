"""A server that records what goes over the wire; plain modules beside the tests can be imported."""

import contextlib
import gzip
import json
import pathlib
import re
import socket
import subprocess
import sys
import threading

import pytest

sys.path.append(str(pathlib.Path(__file__).parent))


class RecordingServer:
    """Answers by path, keeps every request as received.

    Attributes:
        port: Where it listens on 127.0.0.1.
        requests: ``(head, body)`` as bytes, in order of arrival.
    """

    def __init__(self, answer):
        self.answer = answer
        self.requests = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def host(self):
        return f"127.0.0.1:{self.port}"

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            thread.start()
            self._threads.append(thread)

    def _serve(self, connection):
        data = b""
        with connection, contextlib.suppress(OSError):
            while True:
                while b"\r\n\r\n" not in data:
                    received = connection.recv(65536)
                    if not received:
                        return
                    data += received
                head, _, data = data.partition(b"\r\n\r\n")
                length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
                length = int(length[1]) if length else 0
                while len(data) < length:
                    data += connection.recv(65536)
                body, data = data[:length], data[length:]
                self.requests.append((head, body))
                reply = self.answer(head, body)
                if reply is None:
                    return
                connection.sendall(reply)

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()


def reply(status, body=b"", content_type="application/json", head=False, **headers):
    """Return the bytes of a response."""
    fields = {"Content-Type": content_type, "Content-Length": str(len(body))}
    fields.update({name.replace("_", "-"): value for name, value in headers.items()})
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + (b"" if head else body)


@pytest.fixture
def recording_server():
    """Return a function that starts a recording server; ``answer(head, body)`` gives bytes, or ``None`` to hang up."""
    servers = []

    def start(answer=lambda head, body: reply(200, b"[]", head=head.startswith(b"HEAD"))):
        servers.append(RecordingServer(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def http_reply():
    """Return the function that makes the bytes of a response."""
    return reply


@pytest.fixture
def json_reply():
    """Return a function that makes the bytes of a response from an object."""

    def make(status, data, **options):
        return reply(status, json.dumps(data).encode(), **options)

    return make


JOB = {
    "id": "a",
    "name": "a",
    "settings": {"name": "a"},
    "type": "training",
    "model": "m",
    "state": "done",
    "result": {"x": 1},
    "progress": {"eval": 3, "max_evals": 10},
    "version": {"name": "01"},
}


def answer_like_a_server(head, body):
    """Answer the calls of ``wire_calls.py``."""
    method, target = head.decode("latin-1").split(" ")[:2]
    is_head = method == "HEAD"
    if status := re.search(r"status-(\d+)", target):
        return reply(int(status[1]), b'"failed"', head=is_head)
    if "error-object" in target:
        return reply(500, b'{"error":{"type":"t","reason":"r"}}')
    if "error-text" in target:
        return reply(501, b"oops", content_type="text/html; charset=utf-8")
    if "html" in target:
        return reply(200, b"<p>", content_type="text/html; charset=utf-8")
    if "missing" in target:
        return reply(404, b'"not found"', head=is_head)
    if method == "DELETE":
        return reply(204)
    if method == "GET" and target == "/":
        return reply(200, b'{"version":"1.6.0"}')
    if method == "GET":
        past_the_end = re.search(r"[?&]page=([1-9]\d*)", target) and "paged" not in target
        return reply(200, b"[]" if past_the_end else json.dumps([JOB]).encode())
    return reply(202, b'"id"', head=is_head)


def normalized(head, body, port):
    """Return a request as text, without what is different on every request.

    header-names: ours are all lower case (they are case-insensitive in HTTP).
    content-length-last: ours follows the other headers.
    user-agent: names this package instead of urllib3.
    """
    line, *fields = head.replace(str(port).encode(), b"PORT").split(b"\r\n")
    kept, length = [], []
    for field in fields:
        name, _, value = field.partition(b":")
        if name.lower() == b"content-length":
            length = [b"content-length:" + value]
        elif name.lower() != b"user-agent":
            kept.append(name.lower() + b":" + value)
    if body.startswith(b"\x1f\x8b"):
        # The compressed bytes hold a time and depend on the library.
        body, length = gzip.decompress(body), []
    return [b"\r\n".join([line, *kept, *length]).decode("latin-1"), body.decode("latin-1")]


@pytest.fixture
def run_script():
    """Return a function that runs a script of this folder and gives the object it prints."""

    def run(python, name, *arguments):
        script = pathlib.Path(__file__).with_name(name)
        command = [str(python), "-W", "ignore", str(script), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return run


@pytest.fixture
def run_calls(recording_server, run_script):
    """Return a function that makes every call of a script; gives per call the requests and the outcome."""

    def run(python, module, script="wire_calls.py"):
        server = recording_server(answer_like_a_server)
        outcomes = run_script(python, script, module, str(server.port))
        names = {f"/__call__/{name.replace(' ', '_')}".encode(): name for name in outcomes}
        calls = {name: {"requests": [], "outcome": outcomes[name]} for name in outcomes}
        for head, body in server.requests:
            target = head.split(b" ")[1]
            if target in names:
                requests = calls[names[target]]["requests"]
            else:
                requests.append(normalized(head, body, server.port))
        return calls

    return run
