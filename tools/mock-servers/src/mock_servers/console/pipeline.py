"""A pylm cluster on the console: what its servers report, read from the command ``pylm top --json``.

pylm needs no mock server, since its servers are part of it. The console shows real ones, and takes what the pylm
command prints: one line of JSON a second. So this distribution imports no client, needs none installed, and follows
the release of pylm that runs the cluster. Used by ``mock-servers up``, which has a small cluster of its own, and by the
demo.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ExampleCluster", "Pipeline", "pylm_command", "write_example"]

SHOWN = (
    "name",
    "kind",
    "state",
    "rate",
    "received",
    "answered",
    "failed",
    "dropped",
    "waiting",
    "queue",
)
STOP_S = 20.0

ROLES = """
import collections
import json
import re
import time

from pylm.servers import Server, Worker


class Clean(Server):
    '''Keeps words only: ``clean.lower``.'''

    def lower(self, message):
        return re.sub(r"[^a-z\\n ]+", " ", message.decode().lower()).encode()


class Count(Worker):
    '''Counts words: ``crew.words``.'''

    def words(self, message):
        time.sleep({work_s})
        return json.dumps(collections.Counter(message.decode().split())).encode()
"""
FILE = """
[cluster]
name = "words"
base_port = {port}

[[server]]
name = "clean"
kind = "server"
class = "words:Clean"

[[server]]
name = "crew"
kind = "hub"
after = ["clean"]

[[worker]]
of = "crew"
class = "words:Count"
replicas = {workers}
"""
PORTS = 10
FOLLOW = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGINT, 0, 0, 0)  # PR_SET_PDEATHSIG: end with the process that started us
os.execv(sys.argv[1], sys.argv[1:])
"""


def pylm_command() -> list[str] | None:
    """Return the words that start pylm, ``None`` when it is not installed beside this interpreter nor on ``PATH``."""
    folders = [str(pathlib.Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    found = shutil.which("pylm", path=os.pathsep.join(folders))
    return None if found is None else [found]


class _Child:
    """A pylm command in a process of its own, which ends when this one is killed; to be started by the main thread."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self._process: subprocess.Popen[bytes] | None = None

    def _start(self, stdout: int) -> IO[bytes] | None:
        command = pylm_command()
        if command is None:
            raise FileNotFoundError("no pylm command; install pylm beside mock-servers")
        self._process = subprocess.Popen(
            [sys.executable, "-c", FOLLOW, *command, *self._words],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # Ctrl-C is ours to pass on, once
        )
        return self._process.stdout

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class ExampleCluster(_Child):
    """The cluster of ``mock-servers up``: a server that cleans text, and a hub with two workers that count words.

    Attributes:
        file: Its cluster file, to give to ``pylm top`` or to read; exists while it runs.
        address: ``db_address`` of its first server, ``clean``: what a client is made with.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.file, port = write_example(pathlib.Path(self._folder.name))
        self.address = f"tcp://127.0.0.1:{port}"
        super().__init__("run", str(self.file))

    def __enter__(self) -> Self:
        self._start(subprocess.DEVNULL)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()
        self._folder.cleanup()


class Pipeline(_Child):
    """What the servers of a cluster report, as long as the block runs.

    Args:
        file: The cluster file.

    Raises:
        FileNotFoundError: On entering: pylm is not installed.
    """

    def __init__(self, file: str | os.PathLike[str]) -> None:
        super().__init__("top", "--json", os.fspath(file))
        self._reading: dict[str, Any] = {"servers": []}
        self._thread = threading.Thread(target=self._read, name="pylm-top", daemon=True)
        self._lines: IO[bytes] | None = None

    def state(self) -> dict[str, Any]:
        """Return the newest reading: ``{"cluster": NAME, "servers": [...], "workers": [...]}``, of each its figures."""
        reading = self._reading
        servers, workers = [], []
        for server in reading["servers"]:
            shown = {key: server[key] for key in SHOWN if server.get(key) is not None}
            if (rate := server.get("rate")) is not None:
                shown["rate"] = round(rate, 1)
            servers.append(shown)
            workers += [{"of": server["name"], **worker} for worker in server.get("workers", ())]
        return {**reading, "servers": servers, "workers": workers}

    def throughput(self) -> tuple[int, float]:
        """Return how many messages all servers have received, and how many they receive per second."""
        servers = self._reading["servers"]
        total = sum(server.get("received", 0) for server in servers)
        return total, sum(server.get("rate") or 0.0 for server in servers)

    def _read(self) -> None:
        assert self._lines is not None
        for line in self._lines:
            with contextlib.suppress(ValueError):  # a line that was cut at the end
                self._reading = json.loads(line)

    def __enter__(self) -> Self:
        self._lines = self._start(subprocess.PIPE)
        assert self._lines is not None
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()
        self._thread.join()
        if self._lines is not None:
            self._lines.close()


def write_example(
    folder: pathlib.Path, workers: int = 2, work_s: float = 0.0
) -> tuple[pathlib.Path, int]:
    """Write the files of a cluster that counts words: ``clean.lower`` keeps words, ``crew.words`` counts them.

    Args:
        folder: Where ``words.toml`` and ``words.py`` are written.
        workers: Workers of the hub ``crew``.
        work_s: Seconds a worker takes for a message at least.

    Returns:
        The cluster file, and the port of ``clean`` on 127.0.0.1.
    """
    file, port = folder / "words.toml", _free_ports(PORTS)
    file.write_text(FILE.format(port=port, workers=workers), encoding="utf-8")
    file.with_suffix(".py").write_text(ROLES.replace("{work_s}", str(work_s)), encoding="utf-8")
    return file, port


def _free_ports(count: int) -> int:
    """Return the first of so many free consecutive ports, below those that the system hands out by itself."""
    while True:
        with contextlib.ExitStack() as stack:
            base = random.randint(20000, 32000)
            with contextlib.suppress(OSError):
                for offset in range(count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", base + offset))
                return base
