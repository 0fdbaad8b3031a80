"""The real daemon in a network namespace with nothing but loopback, beside our server.

golem-node is GPL-3.0 and used as a separate process only; starting it accepts Golem's terms (``yagna --help``). Tests
are skipped, with the reason, where it is not installed or no network namespace can be made.
"""

import importlib.util
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import pytest

REQUESTOR_KEY, PROVIDER_KEY = "requestor-key", "provider-key"
API_PORT, BUS_PORT = 7465, 7464
START_S = 20.0


def pytest_collection_modifyitems(items):
    for item in items:
        if "real_yagna" in str(item.path):
            item.add_marker(pytest.mark.timeout(180))


@pytest.fixture(scope="session")
def loopback_only():
    """Move this process, and what it starts from now on, into a network namespace of its own."""
    if importlib.util.find_spec("golem_node") is None:
        pytest.skip("the real daemon is not installed (hatch run real-yagna:tests has it)")
    from mock_servers.yagna.exeunit import enter_network_namespace

    if not enter_network_namespace():
        pytest.skip(
            "this system allows no network namespace, and the daemon must not reach the network"
        )
    with socket.socket() as probe, pytest.raises(OSError, match="unreachable"):
        probe.connect(("192.0.2.1", 80))


class RealYagna:
    """One daemon; ``bus`` is the address of the router its nodes meet at, by default its own."""

    def __init__(self, binary, bus_port=None):
        self.binary = binary
        self.folder = tempfile.mkdtemp(prefix="ry-")
        self.url = f"http://127.0.0.1:{API_PORT}"
        self.process = None
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": self.folder,
            "YAGNA_DATADIR": self.folder,
            "YAGNA_API_URL": self.url,
            "GSB_URL": f"tcp://127.0.0.1:{BUS_PORT}",
            "YA_NET_TYPE": "central",
            "CENTRAL_NET_HOST": f"127.0.0.1:{bus_port or BUS_PORT}",
            "YAGNA_AUTOCONF_APPKEY": REQUESTOR_KEY,
            "YAGNA_AUTOCONF_ID_SECRET": "01" * 32,
            "YAGNA_DEV_SKIP_ALLOCATION_VALIDATION": "1",
            "INACTIVITY_LIMIT_SECONDS": "100000",
            "UNRESPONSIVE_LIMIT_SECONDS": "100000",
            "OFFER_BROADCAST_DELAY": "50ms",
            "UNSUB_BROADCAST_DELAY": "50ms",
            "MEAN_CYCLIC_BCAST_INTERVAL": "500ms",
            "MEAN_CYCLIC_UNSUBSCRIBES_INTERVAL": "500ms",
            "YAGNA_LOG_DIR": "",
            "YA_CONSENT_STATS": "deny",
            "RUST_LOG": "info",
        }

    def command(self, *words):
        done = subprocess.run(
            [self.binary, *words], env=self.environment, capture_output=True, text=True, timeout=20
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def start(self):
        with open(pathlib.Path(self.folder) / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "service", "run", "--disable-metrics-push"],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_S
        while True:
            try:
                status, _ = ask(self.url, REQUESTOR_KEY, "GET", "/me")
                if status == 200:
                    return
            except OSError:
                pass
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def log(self):
        return (pathlib.Path(self.folder) / "log").read_text(errors="replace")[-5000:]

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def prepare(self):
        """Start, add the provider's identity, and start again: identities are registered at the start only."""
        self.start()
        self.command("id", "create", "provider", "--no-password")
        self.provider_key = self.command("app-key", "create", "provider", "--id", "provider")
        self.stop()
        self.start()
        self.requestor_id = ask(self.url, REQUESTOR_KEY, "GET", "/me")[1]["identity"]
        self.provider_id = ask(self.url, self.provider_key, "GET", "/me")[1]["identity"]


def ask(url, key, method, path, body=None):
    """Return status and decoded body."""
    headers = {"Content-Type": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, method=method, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            raw, status = response.read(), response.status
    except urllib.error.HTTPError as error:
        with error:
            raw, status = error.read(), error.code
    try:
        return status, json.loads(raw) if raw else None
    except ValueError:
        return status, raw.decode()


@pytest.fixture(scope="session")
def yagna_binary(loopback_only):
    from golem_node.__main__ import find_yagna_bin

    return str(find_yagna_bin())


@pytest.fixture
def make_real_yagna(yagna_binary):
    """Start daemons, one at a time."""
    made = []

    def make(bus_port=None):
        daemon = RealYagna(yagna_binary, bus_port)
        made.append(daemon)
        daemon.prepare()
        return daemon

    yield make
    for daemon in made:
        daemon.stop()
        shutil.rmtree(daemon.folder, ignore_errors=True)


@pytest.fixture
def call():
    return ask


@pytest.fixture
def keys():
    return REQUESTOR_KEY, PROVIDER_KEY
