"""Fixtures shared by the suite of infi.ramen_client."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading

import pytest
from infi.ramen_client.config import QueueReaderConfig
from infi.ramen_client.diskqueue import DiskQueue, QueueFiles
from infi.ramen_client.queue_reader import QueueReader
from infi.ramen_client.queue_writer import QueueWriter

FIELDS = QueueReaderConfig.fields


@pytest.fixture(autouse=True)
def _nothing_leaks(no_leaks):
    return no_leaks


@pytest.fixture
def writer_values(tmp_path):
    return {
        "sender": "imx",
        "system_serial": 1099,
        "system_version": "3.0.0.1",
        "queue_dir": str(tmp_path / "queue"),
    }


@pytest.fixture
def files(tmp_path):
    return QueueFiles(tmp_path / "queue", "imx", 1099)


@pytest.fixture
def make_queue(files):
    made = []

    def make(**options):
        made.append(DiskQueue(files, **options))
        return made[-1]

    yield make
    for queue in made:
        queue.close()


@pytest.fixture
def queue(make_queue):
    return make_queue()


class Recorder:
    """Raw HTTP peer: keeps the bytes of every request and answers with the bytes it was given, in turn."""

    ACCEPTED = b'{"code":"ACCEPTED","details":null}'

    def __init__(self):
        self.requests = []
        self.connections = 0
        self.answers = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = []
        self._thread = threading.Thread(target=self._run, name="recorder")
        self._workers = []
        self._thread.start()

    @property
    def hostname(self):
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @staticmethod
    def reply(status=202, body=ACCEPTED, headers=()):
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
        return "\r\n".join(lines).encode() + body

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                worker = threading.Thread(target=self._serve, args=(connection,))
                self._workers.append(worker)
                worker.start()

    def _serve(self, connection):
        data = b""
        with contextlib.suppress(OSError), connection:
            while True:
                while b"\r\n\r\n" not in data:
                    part = connection.recv(65536)
                    if not part:
                        return
                    data += part
                head, _, data = data.partition(b"\r\n\r\n")
                length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
                while len(data) < length:
                    data += connection.recv(65536)
                self.requests.append((head.decode("latin-1").split("\r\n"), data[:length]))
                data = data[length:]
                answer = self.answers.pop(0) if self.answers else self.reply()
                if callable(answer):
                    answer(connection)
                    return
                connection.sendall(answer)

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for worker in self._workers:
            worker.join()


@pytest.fixture
def recorder():
    made = Recorder()
    yield made
    made.close()


@pytest.fixture
def reader_values(writer_values):
    return {
        **writer_values,
        "auth_token": "good-token",
        "ssl": False,
        "server_timeout": 2,
        "retry_delay": 0.01,
        "polling_delay": 0.05,
    }


@pytest.fixture
def make_pair(reader_values):
    """Make a reader and a writer for a server; both are closed after the test."""
    made = []

    def make(server, *, events=None, **options):
        values = {"hostname": getattr(server, "hostname", server)}
        values |= {name: options.pop(name) for name in list(options) if name in FIELDS}
        if events is not None:
            options["on_event"] = lambda name, **facts: events.append((name, facts))
        config = QueueReaderConfig({**reader_values, **values})
        reader = QueueReader(config, **options)
        writer = QueueWriter(config)
        made.extend((reader, writer))
        return reader, writer

    yield make
    for closable in made:
        closable.close()


@pytest.fixture
def fill():
    """Push so many numbered messages of one path at once."""

    def push(writer, count, path=("m", "t", "v1")):
        writer.push_many([(*path, {"i": number}) for number in range(count)])

    return push


@pytest.fixture
def bodies():
    """Read what a server has stored."""

    def read(server):
        return [json.loads(message["body"]) for message in server.store.messages()]

    return read


@pytest.fixture
def running():
    """Run readers in threads; all are stopped and joined after the test."""
    started = []

    def run(reader, target=None):
        thread = threading.Thread(target=target or reader.run_forever)
        thread.start()
        started.append((reader, thread))
        return thread

    yield run
    for reader, thread in started:
        reader.stop()
        thread.join(10)
        assert not thread.is_alive()
