"""Sessions on a local Golem whose providers run a small server that can do everything a test needs."""

import asyncio
import contextlib
import os
import pathlib
import sys
import time

import pytest
from mock_servers.yagna.config import ProviderConfig
from ya_httpx_client import Session
from ya_httpx_client.requirement import require_yapapi

require_yapapi()

IMAGE_HASH = "ab" * 28
SEED_HASH = "25f09e17c34433f979331edf4f3b47b2ca330ba2f8acbfe2e3dbd9c3"
URL = "http://calc"
SERVER = pathlib.Path(__file__).with_name("provider_server.py").read_text()


@pytest.fixture
def image(tmp_path):
    folder = tmp_path / "image"
    (folder / "golem/run").mkdir(parents=True)
    (folder / "golem/run/server.py").write_text(SERVER)
    (folder / "usr/local/bin").mkdir(parents=True)
    python = folder / "usr/local/bin/python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return folder


@pytest.fixture
def executions(tmp_path):
    """Return how often the providers' servers executed each request that carried an id."""
    log = tmp_path / "executions"
    log.touch()
    os.environ["EXECUTION_LOG"] = str(log)

    def count():
        counts = {}
        for line in log.read_text().splitlines():
            counts[line] = counts.get(line, 0) + 1
        return counts

    yield count
    del os.environ["EXECUTION_LOG"]


@pytest.fixture
def make_golem(make_yagna, image, executions):
    """Start a local Golem with the image."""

    def make(providers=3, **settings):
        server = make_yagna(providers, images={IMAGE_HASH: image}, **settings)
        server.app.daemon.environment["EXECUTION_LOG"] = os.environ["EXECUTION_LOG"]
        return server

    return make


@pytest.fixture
def golem(make_golem):
    return make_golem(3)


@pytest.fixture
def make_seed_golem(make_yagna, image):
    """Start three providers of a subnet whose image is the one the seed names, with its start script."""
    script = image / "usr/local/bin/start_my_http_server.sh"
    script.write_text(
        f'#!/bin/sh\nexec {sys.executable} "$HOME"/golem/run/server.py 0.0.0.0:80 >/dev/null 2>&1 &\n'
    )
    script.chmod(0o755)
    server = image / "golem/run/server.py"
    server.write_text(server.read_text().replace('b"no such path", 404', "body"))

    def make(subnet):
        golem = make_yagna(0, images={SEED_HASH: image})
        for number in range(3):
            golem.add_provider(ProviderConfig(f"provider-{number}", subnet=subnet))
        return golem

    return make


ENTRYPOINT = (
    "/bin/sh",
    "-c",
    f"{sys.executable} /golem/run/server.py 0.0.0.0:80 >/dev/null 2>&1 &",
)


class Running:
    """A session, its client and its events."""

    def __init__(self, session, client, events):
        self.session, self.client, self.events = session, client, events
        self.cluster = session.clusters[URL]

    def seen(self, name):
        return [event for event in self.events if type(event).__name__ == name]

    async def until(self, condition, timeout_s=20.0):
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"did not come true; {self.session.stats()}"
            await asyncio.sleep(0.02)

    async def ready(self, count):
        await self.until(lambda: self.providers("ready") >= count)

    def providers(self, state):
        return sum(found.state == state for found in self.session.stats()[URL].providers)


@pytest.fixture
def running():
    """``async with running(size=2, **options) as run``: a session that serves ``http://calc``."""

    @contextlib.asynccontextmanager
    async def run(size=1, *, golem_cfg=None, client=None, drain=10.0, **options):
        events = []
        options.setdefault("liveness_s", 0.3)
        configuration = {"budget": 1, "subnet_tag": "public", **(golem_cfg or {})}
        session = Session(configuration, on_event=events.append, **options)
        session.add_url(URL, IMAGE_HASH, ENTRYPOINT, size)
        try:
            async with session.client(**(client or {})) as http:
                yield Running(session, http, events)
        finally:
            await session.close(drain=drain)

    return run


@pytest.fixture
def nothing_left():
    """Fail when a requestor left something at the daemon, or a provider's process lives."""

    def check(server):
        deadline = time.monotonic() + 5
        while any(left := server.left_behind().values()):
            assert time.monotonic() < deadline, server.left_behind()
            time.sleep(0.02)
        del left

    return check
