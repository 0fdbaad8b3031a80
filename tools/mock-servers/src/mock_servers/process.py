"""A ``mock-servers`` command in a process of its own, for what a thread cannot show: SIGKILL, SIGSTOP, a restart.

    with ServerProcess("v3io", "--port", "0", "--data", folder) as server:
        client = Client(server.url)
        server.kill()
        server.start()      # same port, same data

Used by the chaos suite and by programs that keep the server out of their own process.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from typing import IO, TYPE_CHECKING

from mock_servers.started import Started

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ServerProcess"]

ADDRESS = re.compile(r"(?:https?://|(?<!\S))127\.0\.0\.1:\d+")
READY = "Ctrl-C"
POLL_S = 0.01


class ServerProcess(Started):
    """One command of ``mock-servers``, run by this interpreter.

    Args:
        arguments: The command and its options, ``"loudml", "--port", "0"``.

    Attributes:
        addresses: What the command said it listens at, in its order; known once started.
        starts: How often it was started.
    """

    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments
        self.addresses: list[str] = []
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The first address."""
        return self.addresses[0]

    @property
    def pid(self) -> int:
        """Process id of the running server.

        Raises:
            RuntimeError: It does not run.
        """
        return self._running().pid

    def start(self, timeout_s: float = 20.0) -> Self:
        """Run the command and return when it says that it listens.

        A second start of a server whose port the system chose asks for that port again; with several nodes give a port
        yourself.

        Args:
            timeout_s: Give up after this many seconds.

        Raises:
            RuntimeError: It runs already, it ended, or it did not get ready; the message holds its words.
        """
        if self._process is not None:
            raise RuntimeError(f"{self.arguments[0]} already runs at {self.url}")
        again = ["--port", self.url.rpartition(":")[2]] if self.addresses else []
        with tempfile.TemporaryFile() as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mock_servers", *self.arguments, *again],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            self.addresses = self._wait_ready(self._process, output, timeout_s)
        self.starts += 1
        return self

    def _wait_ready(
        self, process: subprocess.Popen[bytes], output: IO[bytes], timeout_s: float
    ) -> list[str]:
        deadline = time.monotonic() + timeout_s
        while True:
            ended = process.poll() is not None
            output.seek(0)
            said = output.read().decode(errors="replace")
            output.seek(0, 2)
            if READY in said and said.endswith("\n"):
                return ADDRESS.findall(said)
            if ended or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"mock-servers {' '.join(self.arguments)} did not start: {said}")
            time.sleep(POLL_S)

    def stop(self, timeout_s: float = 20.0) -> int:
        """End the server as a person would, by SIGTERM, and return its exit status; 0 when it does not run.

        Args:
            timeout_s: After this many seconds it is killed.
        """
        if self._process is None:
            return 0
        self.resume()
        self._process.terminate()
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._process = None

    def kill(self) -> None:
        """End the server by SIGKILL; nothing it holds in memory survives. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop its execution by SIGSTOP: connections stay open, nothing answers."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)  # until its last thread stands still

    def resume(self) -> None:
        """Go on after :meth:`pause`."""
        self._running().send_signal(signal.SIGCONT)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.arguments[0]} does not run")
        return self._process
