"""ya-httpx-client: requests served by three local Golem providers, one killed mid-request, a resize under load.

yapapi has an environment of its own, so the requestor is a process there (``_golem_requestor.py``) that reports its
steps as JSON, one event a line; the local Golem runs here.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

from mock_servers.yagna.config import YagnaConfig
from mock_servers.yagna.server import YagnaServer
from stage import Stage

TITLE = "ya-httpx-client: httpx requests served by Golem providers, none is lost"

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
STOP_S = 10.0
REQUESTOR = "tools/chapters/_golem_requestor.py"
IMAGE_HASH = "de70" * 14
SERVER = """
import http.server, os, sys, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self):
        if "slow" in self.path:
            time.sleep(0.4)
        body = str(os.getpid()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

host, port = sys.argv[1].split(":")
http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
"""


def run(stage: Stage) -> None:
    """Walk through the job of ya-httpx-client."""
    folder = pathlib.Path(stage.enter(tempfile.TemporaryDirectory()))
    (folder / "golem/run").mkdir(parents=True)
    (folder / "golem/run/server.py").write_text(SERVER)
    server = stage.enter(YagnaServer(YagnaConfig.of(5, images={IMAGE_HASH: folder})))
    stage.address("yagna", server.url)
    environment = {**os.environ, **server.variables, "PYTHONUNBUFFERED": "1"}
    command = ["hatch", "run", "golem:python", REQUESTOR, IMAGE_HASH]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # hatch, its shell and the requestor, ended together
        )
        assert process.stdout is not None
        try:
            with process.stdout, stage.stopping(lambda: signal_group(process, signal.SIGINT)):
                follow(stage, events(process.stdout))
                process.wait()
        finally:
            end(process)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"the requestor failed: {errors.read()[-2000:]}")
    with stage.step("See what is left at the daemon") as step:
        left = {kind: ids for kind, ids in server.left_behind().items() if ids}
        step.check(not left, f"left behind: {left}")
        step.note("no demand, agreement, activity, network or process")


def signal_group(process: subprocess.Popen[str], number: int) -> None:
    """Send a signal to a process and all it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def end(process: subprocess.Popen[str]) -> None:
    """End a requestor that was not waited for: it gives its providers back first, if it can."""
    if process.poll() is None:
        signal_group(process, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
            return
        signal_group(process, signal.SIGKILL)
        process.wait()


def events(lines: Any) -> Iterator[dict[str, Any]]:
    """Yield the requestor's events; other output is passed over."""
    for line in lines:
        if line.startswith("{"):
            yield json.loads(line)


def follow(stage: Stage, found: Iterator[dict[str, Any]]) -> None:
    """Show each step of the requestor as a step of the chapter."""
    for opening in found:
        with stage.step(opening["step"]) as step:
            for event in found:
                if "note" in event:
                    step.note(event["note"])
                elif "progress" in event:
                    step.progress(*event["progress"])
                elif "table" in event:
                    step.table(*event["table"])
                elif "check" in event:
                    step.check(*event["check"])
                elif "end" in event:
                    break
            else:
                step.check(False, "the requestor ended in the middle of the step")
