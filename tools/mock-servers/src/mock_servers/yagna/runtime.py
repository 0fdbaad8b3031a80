"""The server's end of one activity's process: start it, ask it, take sockets from it, end it.

Called by ``provider``. The process itself is ``exeunit.py``; its docstring describes the protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["ExeUnit", "ExeUnitError"]

MARKER = "MOCK_YAGNA_ACTIVITY"
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 20.0
LINE_BYTES = 2**26


class ExeUnitError(Exception):
    """The activity's process refused a request or is gone. ``kind`` is the error's class name over there."""

    def __init__(self, message: str, kind: str = "ExeUnitError") -> None:
        super().__init__(message)
        self.kind = kind


class ExeUnit:
    """One running activity process. Bound to the event loop it was started in."""

    def __init__(self, activity_id: str, root: pathlib.Path) -> None:
        self.activity_id = activity_id
        self.root = root
        self.isolated = False
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._outputs: dict[int, Callable[[str, str], None]] = {}
        self._sockets: dict[int, socket.socket] = {}
        self._claims: set[int] = set()
        self._process: subprocess.Popen[bytes]
        self._control: asyncio.StreamWriter
        self._passing: socket.socket
        self._reader: asyncio.Task[None]
        self.closed = False

    @classmethod
    async def start(
        cls,
        activity_id: str,
        *,
        image: pathlib.Path | None,
        environment: Mapping[str, str],
        isolation: str,
    ) -> ExeUnit:
        """Start the process and wait until it answers.

        Raises:
            ExeUnitError: It did not come up, for example because ``isolation="netns"`` is not allowed here.
        """
        root = pathlib.Path(tempfile.mkdtemp(prefix="yg-"))
        unit = cls(activity_id, root)
        settings = {
            "root": str(root),
            "image": str(image.resolve()) if image else None,
            "environment": {**environment, MARKER: activity_id},
            "isolation": isolation,
        }
        ours, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        unit._passing, passing = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with control, passing:
            unit._process = await asyncio.get_running_loop().run_in_executor(
                None, _spawn, settings, control, passing
            )
        lines, unit._control = await asyncio.open_unix_connection(sock=ours, limit=LINE_BYTES)
        unit._passing.setblocking(False)
        first = asyncio.get_running_loop().create_future()
        unit._answers[0] = first
        unit._reader = asyncio.create_task(unit._read(lines))
        try:
            unit.isolated = (await asyncio.wait_for(first, START_TIMEOUT_S))["isolated"]
        except BaseException:
            await unit.close()
            raise
        return unit

    async def ask(
        self,
        method: str,
        on_output: Callable[[str, str], None] | None = None,
        **params: Any,
    ) -> Any:
        """Send a request and return its result.

        Raises:
            ExeUnitError: It failed over there, or the process is gone.
        """
        return await self._ask(next(self._ids), method, on_output, params)

    async def connect(self, port: int, timeout_s: float) -> socket.socket:
        """Return a non-blocking socket connected to a port inside the activity.

        Raises:
            ExeUnitError: Refused, timed out, or the process is gone.
        """
        identifier = next(self._ids)
        self._claims.add(identifier)
        try:
            await self._ask(identifier, "connect", None, {"port": port, "timeout_s": timeout_s})
            self._take_sockets()
            return self._sockets.pop(identifier)
        finally:
            self._claims.discard(identifier)

    async def _ask(
        self,
        identifier: int,
        method: str,
        on_output: Callable[[str, str], None] | None,
        params: dict[str, Any],
    ) -> Any:
        if self.closed:
            raise ExeUnitError("the activity's process is gone", "Gone")
        answer = self._answers[identifier] = asyncio.get_running_loop().create_future()
        if on_output is not None:
            self._outputs[identifier] = on_output
        try:
            line = (
                json.dumps({"id": identifier, "method": method, "params": params}).encode() + b"\n"
            )
            self._control.write(line)
            await self._control.drain()
            if method == "run":  # as long as the command takes
                return await answer
            return await asyncio.wait_for(answer, ANSWER_TIMEOUT_S)
        except asyncio.TimeoutError as error:
            raise ExeUnitError(
                f"the activity's process gave no answer to {method} within {ANSWER_TIMEOUT_S:g} s",
                "Timeout",
            ) from error
        except OSError as error:
            raise ExeUnitError("the activity's process is gone", "Gone") from error
        finally:
            self._answers.pop(identifier, None)
            self._outputs.pop(identifier, None)

    async def _read(self, lines: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            async for line in lines:
                if line.endswith(b"\n"):  # killed in the middle of the last one otherwise
                    self._dispatch(json.loads(line))
        self.closed = True
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ExeUnitError("the activity's process is gone", "Gone"))

    def _dispatch(self, message: dict[str, Any]) -> None:
        identifier = message["id"]
        if "output" in message:
            if output := self._outputs.get(identifier):
                output(*message["output"])
            return
        answer = self._answers.get(identifier)
        if answer is None or answer.done():
            return
        if "error" in message:
            answer.set_exception(ExeUnitError(message["error"], message["kind"]))
        else:
            answer.set_result(message["result"])

    def _take_sockets(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data, descriptors, _, _ = socket.recv_fds(self._passing, 64, 1)
                if not data:
                    return
                connection = socket.socket(fileno=descriptors[0])
                if int(data) in self._claims:
                    self._sockets[int(data)] = connection
                else:  # whoever asked was cancelled meanwhile
                    connection.close()

    def freeze(self, frozen: bool) -> asyncio.Task[Any]:
        """Stop or continue every process of the activity."""
        number = signal.SIGSTOP if frozen else signal.SIGCONT
        return asyncio.create_task(self.ask("signal", number=int(number)))

    async def close(self) -> None:
        """End the process and everything it started; remove its files. Safe to call again."""
        self.closed = True
        self._control.transport.abort()  # close() would wait for a process that does not read
        self._passing.close()
        self._reader.cancel()
        for answer in self._answers.values():  # before anything is awaited: this may be cancelled
            if not answer.done():
                answer.set_exception(ExeUnitError("the activity's process is gone", "Gone"))
        for connection in self._sockets.values():
            connection.close()
        self._sockets.clear()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader
        await asyncio.get_running_loop().run_in_executor(None, self._finish)

    def _finish(self) -> None:
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        kill_marked(self.activity_id)
        shutil.rmtree(self.root, ignore_errors=True)


def _spawn(
    settings: Mapping[str, Any], control: socket.socket, passing: socket.socket
) -> subprocess.Popen[bytes]:
    """Start exeunit.py with its two sockets inherited under the numbers given in its settings."""
    script = pathlib.Path(__file__).with_name("exeunit.py")
    numbers = {"control": control.fileno(), "passing": passing.fileno()}
    return subprocess.Popen(
        [sys.executable, "-I", str(script), json.dumps({**settings, **numbers})],
        pass_fds=tuple(numbers.values()),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill_marked(activity_id: str) -> int:
    """Kill processes that carry the activity's marker in their environment; return how many.

    Needed only where the activity's own process was killed from outside and could not do it.
    """
    wanted = f"{MARKER}={activity_id}".encode()
    killed = 0
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                environment = pathlib.Path(f"/proc/{entry}/environ").read_bytes()
                if wanted in environment.split(b"\0"):
                    os.kill(int(entry), signal.SIGKILL)
                    killed += 1
    return killed
