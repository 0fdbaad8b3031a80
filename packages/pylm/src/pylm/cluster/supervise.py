"""``pylm run``: every process of a cluster on this machine, restarted when it dies, its output prefixed with its name.

SIGTERM and SIGINT stop the clients first, then the servers in the direction of the stream, each with time to drain.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from transport_utils.backoff import exponential

from pylm._signals import on_signals
from pylm.cluster.config import Cluster

__all__ = ["Supervisor"]

DRAIN_S = 12.0
STABLE_S = 10.0
"""A process that lived so long starts its next restarts from the shortest pause again."""


class _Child:
    def __init__(self, name: str) -> None:
        self.name = name
        self.process: subprocess.Popen[str] | None = None
        self.reader: threading.Thread | None = None
        self.failures = 0
        self.started_at = 0.0
        self.restart_at = 0.0
        self.restarts = 0


class Supervisor:
    """Runs a cluster.

    Args:
        cluster: A sound file.
        echo: Called with each line of output, already prefixed; from several threads.

    Not thread-safe but for :meth:`stop`.
    """

    def __init__(self, cluster: Cluster, echo: Any = print) -> None:
        self.cluster = cluster
        self.echo = echo
        self._width = max((len(name) for name in cluster.instances()), default=0)
        self.children = {name: _Child(name) for name in cluster.instances()}
        self.clients = {entry.name: _Child(entry.name) for entry in cluster.clients}
        self._stop = threading.Event()
        self._backoff = exponential(base_s=0.2, cap_s=10.0)
        self._rng = random.Random()

    def run(self, *, until_clients_end: bool = False) -> int:
        """Run until :meth:`stop` or a signal, or until every client has ended.

        Args:
            until_clients_end: End when the last ``[[client]]`` has.

        Returns:
            0, or 1 when a client failed.
        """
        with on_signals(lambda _: self._stop.set()):
            for child in self.children.values():
                self._start(child, "role")
            for child in self.clients.values():
                self._start(child, "client")
            try:
                while (
                    not self._stop.is_set()
                ):  # not wait(): a handler's set() would wait for its lock
                    time.sleep(0.1)
                    self._look()
                    if until_clients_end and all(
                        child.process is not None and child.process.poll() is not None
                        for child in self.clients.values()
                    ):
                        break
            finally:
                self._end()
        failed = [
            child for child in self.clients.values() if child.process and child.process.returncode
        ]
        return 1 if failed else 0

    def stop(self) -> None:
        """Make :meth:`run` stop everything and return; thread-safe."""
        self._stop.set()

    def _start(self, child: _Child, what: str) -> None:
        command = [sys.executable, "-u", "-m", "pylm", what, str(self.cluster.path), child.name]
        child.process = subprocess.Popen(  # noqa: S603 - our own command
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            env={**os.environ, **self.cluster.env_of(child.name)},
        )
        child.started_at = time.monotonic()
        child.reader = threading.Thread(
            target=self._copy, args=(child.name, child.process), daemon=True
        )
        child.reader.start()

    def _copy(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self.echo(f"{name:{self._width}} | {line.rstrip()}")

    def _look(self) -> None:
        now = time.monotonic()
        for child in self.children.values():
            assert child.process is not None
            status = child.process.poll()
            if status is None:
                continue
            if not child.restart_at:
                child.failures = 1 if now - child.started_at > STABLE_S else child.failures + 1
                pause = self._backoff.delay(child.failures, 0.0, self._rng)
                child.restart_at = now + pause
                self.echo(
                    f"{child.name:{self._width}} | ended with status {status}; again in {pause:.1f} s"
                )
            elif now >= child.restart_at:
                child.restart_at = 0.0
                child.restarts += 1
                self._start(child, "role")

    def _end(self) -> None:
        for children in (self.clients, self.children):
            for child in children.values():
                if child.process is not None and child.process.poll() is None:
                    child.process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + DRAIN_S
            for child in children.values():
                if child.process is None:
                    continue
                try:
                    child.process.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    self.echo(f"{child.name:{self._width}} | did not stop in time and was killed")
                    child.process.kill()
                    child.process.wait()
                if child.reader is not None:
                    child.reader.join(2.0)
