"""The requestor of the ya-httpx-client chapter, run in the ``golem`` environment: prints one JSON event a line."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import logging
import os
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from ya_httpx_client import Session

URL = "http://calc"
RATE = 150
LOAD_S = 6.0


def tell(**event: Any) -> None:
    """Report one event."""
    print(json.dumps(event), flush=True)


@contextlib.contextmanager
def step(text: str) -> Iterator[None]:
    """Report a step and its end."""
    tell(step=text)
    yield
    tell(end=True)


def check(holds: Any, message: str) -> None:
    """Report whether a condition holds."""
    tell(check=[bool(holds), message])


def golem(action: str) -> None:
    """Have the local Golem do something to a provider."""
    address = f"{os.environ['YAGNA_API_URL']}/_golem/providers/{action}"
    urllib.request.urlopen(urllib.request.Request(address, method="POST"), timeout=20).close()


async def until(condition: Callable[[], bool], limit_s: float = 20.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + limit_s
    while not condition() and time.monotonic() < deadline:
        await asyncio.sleep(0.02)


async def main(image_hash: str) -> None:
    """Walk through the steps."""
    session = Session({"budget": 1, "subnet_tag": "public"}, slots=8, liveness_s=0.5)

    @session.startup(url=URL, image_hash=image_hash, init_cluster_size=3)
    def start(ctx: Any, listen_on: str) -> None:
        ctx.run("sh", "-c", f"exec python3 /golem/run/server.py {listen_on} >/dev/null 2>&1 &")

    def ready() -> list[str]:
        found = session.stats()[URL].providers
        return [str(provider.provider) for provider in found if provider.state == "ready"]

    async with session.client() as client:
        with step("Start a service on three providers"):
            await until(lambda: len(ready()) == 3)
            check(len(ready()) == 3, "not all providers came up")
            tell(note=", ".join(sorted(ready())))

        with step("Send 300 requests"):
            answers = await asyncio.gather(*(client.get(f"{URL}/") for _ in range(300)))
            processes = collections.Counter(answer.text for answer in answers)
            check(all(answer.status_code == 200 for answer in answers), "a request failed")
            check(len(processes) == 3, "not all providers got requests")
            rows = [[found.provider, found.served] for found in session.stats()[URL].providers]
            tell(table=[["provider", "requests"], rows])

        with step("Kill a provider that is serving 8 requests"):
            tasks = [asyncio.create_task(client.get(f"{URL}/slow")) for _ in range(24)]
            await until(lambda: session.clusters[URL].in_flight == 24)
            victim = ready()[0]
            await asyncio.to_thread(golem, f"{victim}/kill")
            answers = await asyncio.gather(*tasks)
            check(all(answer.status_code == 200 for answer in answers), "a request was lost")
            tell(
                note=f"{victim} died; {session.stats()[URL].reexecuted} executions repeated, all 24 answered"
            )

        with step(f"Resize 3 -> 5 -> 1 -> 3 under {RATE} requests/s"):
            sizes = iter([(0.1, 5), (0.5, 1), (0.75, 3)])
            coming = next(sizes)
            started, tasks, largest = time.monotonic(), [], 0
            await asyncio.to_thread(golem, f"{victim}/revive")
            while (elapsed := time.monotonic() - started) < LOAD_S:
                if coming and elapsed > coming[0] * LOAD_S:
                    session.set_cluster_size(URL, coming[1])
                    coming = next(sizes, None)
                tasks.append(asyncio.create_task(client.get(f"{URL}/", timeout=30)))
                largest = max(largest, len(ready()))
                tell(progress=[len(tasks), int(RATE * LOAD_S)])
                await asyncio.sleep(max(0.0, started + len(tasks) / RATE - time.monotonic()))
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            lost = [answer for answer in answers if isinstance(answer, BaseException)]
            check(not lost, f"{len(lost)} requests were lost, the first by {lost[:1]}")
            figures = session.stats()[URL]
            p99 = 1000 * (figures.latency_p99_s or 0.0)
            tell(
                note=f"{len(tasks)} requests, none lost; up to {largest} providers; p99 {p99:.0f} ms"
            )

    with step("Close: end agreements, pay, leave"):
        await session.close()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(main(sys.argv[1]))
