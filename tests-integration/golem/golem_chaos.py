"""Requests to a service on Golem providers that are killed, and worse; what was promised is checked at the end.

``hatch run golem:chaos [--seed N] [--runs N] [--seconds S]``. A seeded generator kills, freezes, crashes and slows
providers, lets them vanish, refuse connections or die in the middle of a message, cuts all websockets, restarts the
daemon and changes the number of instances, while requests of every kind go on.

Invariants: every request has one outcome, in time; one that is idempotent is answered; one that is not is executed at
most once, and exactly once when it was answered; the answer is that of the request; nothing is left at the daemon, and
no thread, socket, process or memory stays behind.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import itertools
import logging
import os
import pathlib
import random
import resource
import sys
import tempfile
import time

import httpx
from mock_servers.leaks import Resources, leaked
from mock_servers.yagna.config import YagnaConfig
from mock_servers.yagna.server import YagnaServer
from ya_httpx_client import Session
from ya_httpx_client.delivery import Rules
from ya_httpx_client.requirement import require_yapapi

sys.path.append(str(pathlib.Path(__file__).parents[1]))
from chaos_seeds import run_seeds

require_yapapi()

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVER = ROOT / "packages/ya-httpx-client/tests/golem/provider_server.py"
IMAGE_HASH = "c4a0" * 14
URL = "http://chaos"
ENTRYPOINT = (
    "/bin/sh",
    "-c",
    f"{sys.executable} /golem/run/server.py 0.0.0.0:80 >/dev/null 2>&1 &",
)
PROVIDERS = 5
SIZE = 3
CALLERS = 6
LIMIT_S = 60.0
MEMORY_KIB = 128 * 1024
METHODS = ("GET", "PUT", "POST", "streamed")


class Breaker:
    """Breaks one thing after the other; the same seed breaks the same things in the same order."""

    def __init__(self, golem: YagnaServer, session: Session, seed: int) -> None:
        self._golem = golem
        self._session = session
        self._random = random.Random(seed)
        self._names = [provider.name for provider in golem.config.providers]
        self.done: collections.Counter[str] = collections.Counter()

    async def run(self, seconds: float) -> None:
        """Break things for a time, then mend all."""
        actions = [
            self.kill, self.kill, self.kill, self.die_midway, self.die_midway, self.vanish, self.crash, self.freeze,
            self.slow, self.refuse, self.cut, self.resize, self.restart,
        ]  # fmt: skip
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            action = self._random.choice(actions)
            self.done[action.__name__] += 1
            await action(self._random.choice(self._names))
            await asyncio.sleep(self._random.uniform(0.1, 0.6))
        for name in self._names:
            await self._do("thaw", name)
            await self._do("revive", name)
            await self._change(name, latency_s=0.0, refuse_connections=0, trigger=None)
        self._session.set_cluster_size(URL, SIZE)

    async def _do(self, action: str, name: str) -> None:
        await asyncio.to_thread(getattr(self._golem, action), name)

    async def _change(self, name: str, **settings: object) -> None:
        await asyncio.to_thread(self._golem.change, name, **settings)

    async def _pause(self, longest_s: float) -> None:
        await asyncio.sleep(self._random.uniform(0.05, longest_s))

    async def kill(self, name: str) -> None:
        """Take a provider off the network, and bring it back."""
        await self._do("kill", name)
        await self._pause(1.0)
        await self._do("revive", name)

    async def die_midway(self, name: str) -> None:
        """Let a provider die, or lose its connections, after some bytes of either direction."""
        direction = self._random.choice(["sent_bytes", "received_bytes"])
        trigger = {
            "action": self._random.choice(["kill", "crash", "cut"]),
            direction: self._random.randrange(0, 3000),
        }
        await self._change(name, trigger=trigger)
        await self._pause(0.8)
        await self._change(name, trigger=None)
        await self._do("revive", name)

    async def vanish(self, name: str) -> None:
        """Take a provider off the network without a word."""
        await self._do("vanish", name)
        await self._pause(0.6)
        await self._do("revive", name)

    async def crash(self, name: str) -> None:
        """Kill what runs on a provider."""
        await self._do("crash", name)

    async def freeze(self, name: str) -> None:
        """Stop what runs on a provider, and let it go on."""
        await self._do("freeze", name)
        await self._pause(0.8)
        await self._do("thaw", name)

    async def slow(self, name: str) -> None:
        """Delay all that passes the network of a provider."""
        await self._change(name, latency_s=self._random.uniform(0.01, 0.2))
        await self._pause(0.8)
        await self._change(name, latency_s=0.0)

    async def refuse(self, name: str) -> None:
        """Refuse the next connections to a provider."""
        await self._change(name, refuse_connections=self._random.randint(1, 4))

    async def cut(self, name: str) -> None:
        """Close every websocket."""
        await asyncio.to_thread(self._golem.cut_connections)

    async def resize(self, name: str) -> None:
        """Change the number of instances."""
        self._session.set_cluster_size(URL, self._random.randint(1, PROVIDERS - 1))

    async def restart(self, name: str) -> None:
        """Restart the daemon, which forgets everything; once in a run, since a new start takes seconds."""
        if self.done["restart"] == 1:
            await asyncio.to_thread(self._golem.restart)


class Callers:
    """Send requests of every kind one after the other, and keep a ledger."""

    def __init__(self, client: httpx.AsyncClient, seed: int) -> None:
        self._client = client
        self._random = random.Random(seed)
        self._numbers = itertools.count(1)
        self.ending = asyncio.Event()
        self.answered: list[str] = []
        self.failed: list[tuple[str, str]] = []
        self.wrong: list[str] = []
        self.slowest_s = 0.0

    async def run(self) -> None:
        """Send until told to end."""
        while not self.ending.is_set():
            await self._one(self._random.choice(METHODS), self._random.randrange(0, 4000))
            await asyncio.sleep(0.005)

    async def _one(self, method: str, size: int) -> None:
        identifier = f"{method}-{next(self._numbers)}"
        body = (identifier.encode() + b" ") * (size // 10)

        async def pieces():
            for start in range(0, len(body), 1000):
                yield body[start : start + 1000]

        content = {"GET": None, "streamed": pieces()}.get(method, body)
        began = time.monotonic()
        try:
            answer = await self._client.request(
                "POST" if method == "streamed" else method,
                f"{URL}/echo",
                content=content,
                headers={"X-Id": identifier},
                timeout=httpx.Timeout(LIMIT_S, read=5.0),
            )
        except httpx.TransportError as error:
            self.failed.append((identifier, repr(error)))
        else:
            sent = b"" if method == "GET" else body
            if answer.status_code != 200 or answer.content.partition(b"\n")[2] != sent:
                self.wrong.append(f"{identifier}: {answer.status_code}, another answer")
            self.answered.append(identifier)
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)


def check(callers: Callers, executed: collections.Counter[str]) -> list[str]:
    """Return a line for every promise that was broken."""
    broken = list(callers.wrong[:5])
    for identifier, error in callers.failed:
        # a read timeout is the caller's own wish, and not repeated
        if identifier.startswith(("GET", "PUT")) and "ReadTimeout" not in error:
            broken.append(f"{identifier} may be repeated, and failed: {error[:300]}")
    once = {name: count for name, count in executed.items() if not name.startswith(("GET", "PUT"))}
    broken += [f"{name} executed {count} times" for name, count in once.items() if count > 1]
    never = [name for name in callers.answered if not executed[name]]
    if never:
        broken.append(f"answered and never executed: {never[:5]}")
    if callers.slowest_s > LIMIT_S:
        broken.append(f"a request took {callers.slowest_s:.1f} s")
    kinds = {name.partition("-")[0] for name in callers.answered}
    if kinds != set(METHODS):
        broken.append(f"only {sorted(kinds)} were answered")
    return broken


async def work(golem: YagnaServer, seed: int, seconds: float) -> tuple[Callers, Breaker, int]:
    """Send requests while things break; return the ledgers and how many executions were repeated."""
    rules = Rules(max_executions=20, deadline_s=LIMIT_S)
    session = Session(
        {"budget": 10, "subnet_tag": "public"},
        slots=4,
        liveness_s=0.3,
        rules=rules,
        probe_timeout_s=1.0,
    )
    session.add_url(URL, IMAGE_HASH, ENTRYPOINT, SIZE)
    try:
        async with session.client() as client:
            await client.get(f"{URL}/pid", timeout=LIMIT_S)
            callers = Callers(client, seed)
            breaker = Breaker(golem, session, seed)
            tasks = [asyncio.create_task(callers.run()) for _ in range(CALLERS)]
            await breaker.run(seconds)
            callers.ending.set()
            await asyncio.gather(*tasks)
            repeated = session.stats()[URL].reexecuted
    finally:
        await session.close(drain=20)
    return callers, breaker, repeated


def run(seed: int, seconds: float) -> tuple[list[str], str]:
    """Run once; return the broken promises and what happened."""
    before = Resources.now()
    memory_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as undo:
        folder = pathlib.Path(name)
        (folder / "golem/run").mkdir(parents=True)
        (folder / "golem/run/server.py").write_text(SERVER.read_text())
        log = folder / "executions"
        log.touch()
        config = YagnaConfig.of(PROVIDERS, images={IMAGE_HASH: folder}, seed=seed)
        with YagnaServer(config, environment={"EXECUTION_LOG": str(log)}) as golem:
            was = dict(os.environ)
            os.environ.update(golem.variables)
            undo.callback(lambda: (os.environ.clear(), os.environ.update(was)))
            callers, breaker, repeated = asyncio.run(work(golem, seed, seconds))
            broken = check(callers, collections.Counter(log.read_text().split()))
            deadline = time.monotonic() + 5
            while any(golem.left_behind().values()) and time.monotonic() < deadline:
                time.sleep(0.02)
            left = {kind: ids for kind, ids in golem.left_behind().items() if ids}
            if left:
                broken.append(f"left at the daemon: {left}")
    gc.collect()
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_kib
    if grown_kib > MEMORY_KIB:
        broken.append(f"memory grew by {grown_kib} KiB")
    if found := leaked(before):
        broken.append(found)
    errors = collections.Counter(error.partition("(")[0] for _, error in callers.failed)
    return broken, (
        f"seed {seed}, {seconds:g} s: {dict(breaker.done)}\n  requests answered {len(callers.answered)}, "
        f"failed {dict(errors)}, executions repeated {repeated}, slowest {callers.slowest_s:.1f} s"
    )


def main() -> int:
    """Run the seeds asked for; return 1 when a promise was broken."""
    logging.disable(logging.CRITICAL)
    return run_seeds(__doc__.partition("\n")[0], run)


if __name__ == "__main__":
    sys.exit(main())
