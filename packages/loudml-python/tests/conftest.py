"""A server that records the bytes of requests, for tests of what goes over the wire."""

import contextlib
import json
import re
import socket
import threading

import pytest


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
