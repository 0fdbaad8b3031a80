"""Speed of requests through providers against plain httpx straight to the same server, in the same rounds.

``hatch run golem:python tools/benchmarks/ya_httpx.py [--gate] [--rounds N]``. The local Golem is a process of its own;
three (five, for the resize) providers and the straight contender run the same small asyncio server. Requests one by one
take turns, loads alternate; a figure is the median over rounds of ours divided by httpx's of the same round.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator

from floor import Figure, record

try:
    import httpx
    from rich.console import Console
    from rich.table import Table
    from ya_httpx_client import Session
    from ya_httpx_client.requirement import require_yapapi

    require_yapapi()  # which only the environment "golem" has
except ImportError as missing:
    sys.exit(
        "ya_httpx.py: run it as `hatch run golem:python tools/benchmarks/ya_httpx.py --gate`; "
        f"this environment lacks what it needs: {missing}"
    )

IMAGE_HASH = "be0c" * 14
URL = "http://bench"
SEQUENTIAL, CONCURRENT, CONNECTIONS, STREAM_MIB = 300, 1000, 64, 100
BARS = {
    "sequential GET, p50, ratio": 1.6,
    "1000 concurrent GETs, ratio": 1.3,
    "100 MiB streamed, memory growth, MiB": 16.0,
    "resize 1 -> 5, beyond yapapi's start, s": 1.0,
    "requests lost": 0.0,
}
SERVER = """
import asyncio, sys

SMALL = b"HTTP/1.1 200 OK\\\\r\\\\nContent-Type: text/plain\\\\r\\\\nContent-Length: 12\\\\r\\\\n\\\\r\\\\nhello, golem"
BLOCK = bytes(65536)

async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\\\r\\\\n\\\\r\\\\n")
            if head.startswith(b"GET /big/"):
                blocks = int(head.split()[1][5:]) * 16
                writer.write(b"HTTP/1.1 200 OK\\\\r\\\\nContent-Length: %d\\\\r\\\\n\\\\r\\\\n" % (blocks * 65536))
                for _ in range(blocks):
                    writer.write(BLOCK)
                    await writer.drain()
            else:
                writer.write(SMALL)
    except (asyncio.IncompleteReadError, OSError):
        writer.close()

async def main():
    host, port = sys.argv[1].rsplit(":", 1)
    server = await asyncio.start_server(serve, host, int(port), backlog=2048)
    await server.serve_forever()

asyncio.run(main())
""".replace("\\\\", "\\")


@contextlib.contextmanager
def local_golem(image: pathlib.Path) -> Iterator[None]:
    """Run the local Golem with five providers; its variables are in this process's environment."""
    command = [sys.executable, "-m", "mock_servers", "yagna", "--port", "0", "--providers", "5"]
    process = subprocess.Popen(
        [*command, "--image", f"{IMAGE_HASH}={image}"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        for _ in range(5):
            line = process.stdout.readline()
            if line.startswith("export "):
                name, _, value = line.removeprefix("export ").strip().partition("=")
                os.environ[name] = value
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


@contextlib.asynccontextmanager
async def straight_server(image: pathlib.Path) -> AsyncIterator[str]:
    """Run the same server beside us; yield its address."""
    port = 18080
    process = subprocess.Popen(
        [sys.executable, str(image / "golem/run/server.py"), f"127.0.0.1:{port}"]
    )
    try:
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


async def sequential(
    ours: httpx.AsyncClient, plain: httpx.AsyncClient, base: str
) -> tuple[float, float]:
    """Return the median times of a GET through a provider and straight, in turns, seconds."""
    times: dict[str, list[float]] = {URL: [], base: []}
    for _ in range(SEQUENTIAL):
        for client, address in ((ours, URL), (plain, base)):
            started = time.perf_counter()
            await client.get(f"{address}/")
            times[address].append(time.perf_counter() - started)
    return statistics.median(times[URL]), statistics.median(times[base])


async def concurrent(
    client: httpx.AsyncClient, base: str, tasks: int, lost: list[BaseException]
) -> float:
    """Return how long a thousand GETs by a number of tasks took, seconds."""
    numbers = iter(range(CONCURRENT))

    async def work() -> None:
        for _ in numbers:
            try:
                await client.get(f"{base}/")
            except httpx.TransportError as error:
                lost.append(error)

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(tasks)))
    return time.perf_counter() - started


def resident_mib() -> float:
    """Return this process's resident memory."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


async def stream(client: httpx.AsyncClient) -> float:
    """Return by how much memory grew at most while a large body was read, MiB."""
    before = highest = resident_mib()
    received = 0
    async with client.stream("GET", f"{URL}/big/{STREAM_MIB}") as response:
        async for piece in response.aiter_raw():
            received += len(piece)
            highest = max(highest, resident_mib())
    if received != STREAM_MIB << 20:
        raise RuntimeError(f"{received} bytes arrived")
    return highest - before


async def ready(session: Session, count: int) -> None:
    """Wait until a number of providers is ready."""
    while sum(found.state == "ready" for found in session.stats()[URL].providers) != count:
        await asyncio.sleep(0.005)


async def resize(image_hash: str, command: tuple[str, ...], lost: list[BaseException]) -> float:
    """Return how much longer 1 -> 5 took under load than yapapi's own start of an instance, seconds."""
    session = Session({"budget": 1, "subnet_tag": "public"}, slots=8)
    session.add_url(URL, image_hash, command, 1)
    async with session.client() as client:
        await ready(session, 1)
        running = True

        async def load() -> None:
            while running:
                try:
                    await client.get(f"{URL}/")
                except httpx.TransportError as error:
                    lost.append(error)
                await asyncio.sleep(0.02)

        tasks = [asyncio.create_task(load()) for _ in range(4)]
        asked = time.monotonic()
        session.set_cluster_size(URL, 5)
        await ready(session, 5)
        elapsed = time.monotonic() - asked
        instances = session.clusters[URL].instances[1:]
        own = max((found.ready_at or 0.0) - found.created_at for found in instances)
        session.set_cluster_size(URL, 1)
        await ready(session, 1)
        running = False
        await asyncio.gather(*tasks)
    await session.close()
    return elapsed - own


async def measure(rounds: int, image: pathlib.Path) -> dict[str, float]:
    """Return the figures of :data:`BARS`."""
    command = (
        "/bin/sh",
        "-c",
        f"{sys.executable} /golem/run/server.py 0.0.0.0:80 >/dev/null 2>&1 &",
    )
    lost: list[BaseException] = []
    one, many = [], []
    session = Session({"budget": 1, "subnet_tag": "public"}, slots=22)
    session.add_url(URL, IMAGE_HASH, command, 3)
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    timeout = httpx.Timeout(60)
    async with (
        straight_server(image) as base,
        session.client() as ours,
        httpx.AsyncClient(limits=limits, timeout=timeout) as plain,
        httpx.AsyncClient(timeout=timeout) as fresh,  # its pool is not full of idle connections
    ):
        await ready(session, 3)

        async def load() -> float:
            return await concurrent(ours, URL, CONCURRENT, lost)

        async def straight_load() -> float:
            # as many tasks as connections: beyond that httpx's own queue is what would be measured
            return await concurrent(plain, base, CONNECTIONS, [])

        for number in range(rounds + 1):
            through, straight = await sequential(ours, fresh, base)
            if number % 2:
                fast, slow = await straight_load(), await load()
            else:
                slow, fast = await load(), await straight_load()
            if number:  # the first round warms up
                one.append(through / straight)
                many.append(slow / fast)
                print(
                    f"round {number}: GET {through * 1e6:.0f} us, straight {straight * 1e6:.0f} us;"
                    f" 1000 in {slow:.2f} s, straight {fast:.2f} s",
                    flush=True,
                )
        growth = max(await stream(ours), await stream(ours))
    await session.close()
    extra = await resize(IMAGE_HASH, command, lost)
    return dict(
        zip(
            BARS,
            (statistics.median(one), statistics.median(many), growth, extra, len(lost)),
            strict=True,
        )
    )


def main() -> int:
    """Measure, print, and return 1 when ``--gate`` was given and a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gate", action="store_true", help="exit with 1 when a bar is missed")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds (default 5)")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        image = pathlib.Path(folder)
        (image / "golem/run").mkdir(parents=True)
        (image / "golem/run/server.py").write_text(SERVER)
        with local_golem(image):
            figures = asyncio.run(measure(options.rounds, image))
    table = Table("figure", "measured", "bar", "", title="ya-httpx-client through the local Golem")
    missed = [name for name, bar in BARS.items() if figures[name] > bar]
    for name, bar in BARS.items():
        table.add_row(
            name, f"{figures[name]:.2f}", f"{bar:g}", "missed" if name in missed else "held"
        )
    Console().print(table)
    record(
        "through the local Golem, against plain httpx straight to the same server",
        figures=[
            Figure(name, f"{figures[name]:.2f}", f"<= {bar:g}", name not in missed)
            for name, bar in BARS.items()
        ],
    )
    return 1 if options.gate and missed else 0


if __name__ == "__main__":
    sys.exit(main())
