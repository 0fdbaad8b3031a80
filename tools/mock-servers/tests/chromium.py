"""A headless Chromium driven over its DevTools protocol: as much of it as the console's test needs."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


def executable() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0

    def call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        while True:
            reply = json.loads(self._socket.recv(timeout=20))
            if reply.get("id") == self._number:
                assert "error" not in reply, reply
                return reply["result"]

    def evaluate(self, script: str) -> Any:
        reply = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in reply, reply["exceptionDetails"]
        return reply["result"].get("value")

    def script_share(self, span_s: float) -> float:
        """Return the share of a span of time that the page's scripts took, 0..1."""

        def metrics() -> dict[str, float]:
            return {m["name"]: m["value"] for m in self.call("Performance.getMetrics")["metrics"]}

        self.call("Performance.enable")
        before = metrics()
        self.evaluate(f"new Promise(done => setTimeout(() => done(true), {span_s * 1000}))")
        after = metrics()
        span = after["Timestamp"] - before["Timestamp"]
        return (after["ScriptDuration"] - before["ScriptDuration"]) / span

    def until(self, script: str, limit_s: float = 15.0) -> Any:
        """Return what a script evaluates to as soon as it is true."""
        deadline = time.monotonic() + limit_s
        while not (value := self.evaluate(script)):
            assert time.monotonic() < deadline, f"never true: {script}"
            time.sleep(0.05)
        return value


@contextlib.contextmanager
def opened(url: str, width: int = 1400, height: int = 860) -> Iterator[Page]:
    """Open a page in a browser of its own."""
    browser = executable()
    assert browser is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
            "about:blank",
        ]
        # A group of its own: Debian's command is a shell script that waits for the browser.
        with subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                address = None
                while address is None:
                    line = process.stderr.readline()
                    assert line, "the browser ended"
                    address = re.search(r"ws://(127\.0\.0\.1:\d+)/", line)
                with contextlib.closing(http.client.HTTPConnection(address[1])) as control:
                    control.request("PUT", "/json/new?about:blank")
                    target = json.loads(control.getresponse().read())
                with connect(target["webSocketDebuggerUrl"], max_size=None) as socket:
                    page = Page(socket)
                    page.call("Page.enable")
                    page.call("Runtime.enable")
                    page.call("Page.navigate", url=url)
                    yield page
            finally:
                os.killpg(process.pid, signal.SIGTERM)
                process.stderr.close()
