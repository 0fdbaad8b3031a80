"""Speed of the transport against raw socket loops in the same rounds.

``python tools/benchmarks/transport.py [--gate] [--rounds N]``. The server polls without sleeping, so that the scheduler
does not hide what the client costs. Four tables: a GET of 200 B and a POST of 1 KiB over a kept-alive connection, on
every backend and on asyncio; the same GET by other libraries, those that are installed (``hatch -e bench run``); a
batch over 8 connections against a raw loop that drives 8 sockets in lockstep; 10 MiB against a raw read into a fresh
buffer. Then two figures without noise, the calls and modules that a request and an import take, and the time of
``import transport_utils`` above a bare interpreter.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import TypeAlias

from floor import Bar, Row, check, compare, import_ms, print_table, raw_exchange, serve_floor
from transport_utils import AsyncTransport, Request, Transport

OPERATIONS = 400
IN_A_ROW = 10
CONNECTIONS = 8
BATCH = 40
BIG_BYTES = 10 * 1024 * 1024
POSTED = b'{"text":"' + b"x" * 1013 + b'"}'
LONG_ROUNDS = 5
"""Operations as long as a time slice meet other processes more often: as many times the rounds of small requests."""
CALLS_LIMIT = 90
IMPORT_LIMIT_MS = 40.0
MODULES_LIMIT = 150

SMALL_BARS = [
    Bar("native GET", "wall", 1.8),
    Bar("native GET", "cpu", 2.3),
    Bar("native POST", "wall", 1.8),
    Bar("native POST", "cpu", 2.3),
    Bar("asyncio GET", "wall", 2.2),
    Bar("urllib3 GET", "wall", 10.0),
]
BATCH_BARS = [Bar("batch", "wall", 1.5)]
BIG_BARS = [Bar("native 10 MiB", "wall", 1.0)]


def head(port: int, method: str, target: str, length: int | None = None) -> bytes:
    """Return the bytes that the native backend would send, without a body."""
    lines = [f"{method} {target} HTTP/1.1", f"host: 127.0.0.1:{port}"]
    lines += [] if length is None else [f"content-length: {length}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def small_requests(port: int, rounds: int) -> list[Row]:
    """Measure single requests."""
    url = f"http://127.0.0.1:{port}"
    transports = {
        name: Transport(url, backend=name) for name in ("native", "urllib3", "requests", "httpx")
    }
    loop = asyncio.new_event_loop()
    service = AsyncTransport(url)

    async def in_a_row() -> None:
        for _ in range(IN_A_ROW):
            await service.request("GET", "/x")

    raw_get = raw_exchange(port, head(port, "GET", "/x"))
    subjects: dict[str, Callable[[], object]] = {
        "raw GET": raw_get,
        "raw POST": raw_exchange(port, head(port, "POST", "/x", len(POSTED)) + POSTED),
        "native GET": lambda: transports["native"].request("GET", "/x"),
        "native POST": lambda: transports["native"].request("POST", "/x", body=POSTED),
        "native decoded": lambda: transports["native"].perform_request("GET", "/x"),
        "asyncio GET": lambda: loop.run_until_complete(in_a_row()),
        "raw GETs": lambda: [raw_get() for _ in range(IN_A_ROW)],
    }
    for name in ("urllib3", "requests", "httpx"):
        subjects[f"{name} GET"] = lambda one=transports[name]: one.request("GET", "/x")
    try:
        return compare(
            subjects,
            floor="raw GET",
            operations=OPERATIONS,
            rounds=rounds,
            per_operation={"asyncio GET": IN_A_ROW, "raw GETs": IN_A_ROW},
        )
    finally:
        loop.run_until_complete(service.aclose())
        loop.close()
        for transport in transports.values():
            transport.close()


Subjects: TypeAlias = "dict[str, Callable[[], object]]"


def peers(port: int, rounds: int) -> list[Row]:
    """Measure what else there is, as far as it is installed, at its own most favourable."""
    url = f"http://127.0.0.1:{port}"
    ours = Transport(url)
    subjects: dict[str, Callable[[], object]] = {
        "raw GET": raw_exchange(port, head(port, "GET", "/x")),
        "native, decoded": lambda: ours.perform_request("GET", "/x"),
    }
    with contextlib.ExitStack() as stack:
        stack.callback(ours.close)
        for add in (_elastic_transport, _urllib3, _requests, _httpx, _aiohttp):
            with contextlib.suppress(ImportError):
                add(url, port, subjects, stack)
        return compare(subjects, floor="raw GET", operations=OPERATIONS, rounds=rounds)


def _elastic_transport(
    url: str, port: int, subjects: Subjects, stack: contextlib.ExitStack
) -> None:
    import elastic_transport

    node = elastic_transport.NodeConfig("http", "127.0.0.1", port)
    transport = elastic_transport.Transport([node], meta_header=False)
    stack.callback(transport.close)
    subjects["elastic-transport"] = lambda: transport.perform_request("GET", "/x")


def _urllib3(url: str, port: int, subjects: Subjects, stack: contextlib.ExitStack) -> None:
    import urllib3

    pool = urllib3.HTTPConnectionPool("127.0.0.1", port, maxsize=1)
    stack.callback(pool.close)
    subjects["urllib3"] = lambda: pool.urlopen("GET", "/x", retries=False).data


def _requests(url: str, port: int, subjects: Subjects, stack: contextlib.ExitStack) -> None:
    import requests

    session = stack.enter_context(requests.Session())
    session.trust_env = False
    subjects["requests"] = lambda: session.get(url + "/x").content


def _httpx(url: str, port: int, subjects: Subjects, stack: contextlib.ExitStack) -> None:
    import httpx

    client = stack.enter_context(httpx.Client(base_url=url, trust_env=False))
    subjects["httpx"] = lambda: client.get("/x").content


def _aiohttp(url: str, port: int, subjects: Subjects, stack: contextlib.ExitStack) -> None:
    import aiohttp

    loop = asyncio.new_event_loop()

    async def start() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    async def get() -> bytes:
        async with session.get(url + "/x") as response:
            return await response.read()

    session = loop.run_until_complete(start())
    stack.callback(loop.close)
    stack.callback(lambda: loop.run_until_complete(session.close()))
    subjects["aiohttp"] = lambda: loop.run_until_complete(get())


def lockstep(port: int) -> Callable[[], object]:
    """Return as many raw requests as a batch has, over several sockets: send on all, receive from all, and again.

    As long as a batch takes, since what interrupts the process interrupts the longer measurement more often.
    """
    exchanges = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    request = head(port, "GET", "/x")
    exchanges[0].sendall(request)
    expected = len(exchanges[0].recv(65536))

    def run() -> None:
        for _ in range(BATCH // CONNECTIONS):
            for sock in exchanges:
                sock.sendall(request)
            for sock in exchanges:
                received = 0
                while received < expected:
                    received += len(sock.recv(65536))

    return run


def batches(port: int, rounds: int) -> list[Row]:
    """Measure a batch."""
    requests = [Request("GET", "/x") for _ in range(BATCH)]
    with Transport(f"http://127.0.0.1:{port}") as transport:
        return compare(
            {
                "raw lockstep": lockstep(port),
                "batch": lambda: transport.batch(requests, connections=CONNECTIONS),
                "one by one": lambda: transport.request("GET", "/x"),
            },
            floor="raw lockstep",
            operations=BATCH * 40,
            rounds=rounds * LONG_ROUNDS,
            per_operation={"raw lockstep": BATCH, "batch": BATCH},
        )


def fresh_buffer(port: int) -> Callable[[], object]:
    """Return the raw read of a long body into a buffer made for it."""
    sock = socket.create_connection(("127.0.0.1", port))
    request = head(port, "GET", "/big")

    def read() -> bytearray:
        sock.sendall(request)
        first = sock.recv(65536)
        at = first.index(b"\r\n\r\n") + 4
        buffer = bytearray(BIG_BYTES)
        done = len(first) - at
        buffer[:done] = first[at:]
        view = memoryview(buffer)
        while done < BIG_BYTES:
            done += sock.recv_into(view[done:])
        return buffer

    return read


def long_bodies(port: int, rounds: int) -> list[Row]:
    """Measure 10 MiB."""
    buffer = bytearray(BIG_BYTES)

    def into_own_buffer() -> None:
        with transport.request("GET", "/big", stream=True) as response:
            response.read_into(buffer)

    with Transport(f"http://127.0.0.1:{port}") as transport:
        return compare(
            {
                "raw fresh buffer": fresh_buffer(port),
                "native 10 MiB": lambda: transport.request("GET", "/big").content,
                "into own buffer": into_own_buffer,
            },
            floor="raw fresh buffer",
            operations=20,
            rounds=rounds * LONG_ROUNDS,
        )


def calls_per_request(port: int) -> float:
    """Return how many functions, of Python and of C, one GET calls."""
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    with Transport(f"http://127.0.0.1:{port}") as transport:
        for _ in range(10):
            transport.request("GET", "/x")
        sys.setprofile(note)
        for _ in range(100):
            transport.request("GET", "/x")
        sys.setprofile(None)
    return count / 100


def modules_for_a_request() -> int:
    """Return how many modules a program that makes one request has loaded above a bare interpreter."""
    code = """
import sys
before = set(sys.modules)
from transport_utils import Transport
Transport("http://127.0.0.1:1").close()
print(len(set(sys.modules) - before))
"""
    return int(subprocess.check_output([sys.executable, "-c", code], cwd="/"))


def measure(rounds: int) -> list[str]:
    """Run all tables once; return what was missed."""
    missed: list[str] = []
    with serve_floor(big_bytes=BIG_BYTES, spin=True) as port:
        for title, run, bars in (
            ("single requests, times a raw GET", small_requests, SMALL_BARS),
            ("the same GET by others, times a raw GET", peers, []),
            (
                f"batch over {CONNECTIONS} connections, times raw sockets in lockstep",
                batches,
                BATCH_BARS,
            ),
            ("10 MiB, times a raw read into a fresh buffer", long_bodies, BIG_BARS),
        ):
            rows = run(port, rounds)
            if run is small_requests:
                rows = over_own_floor(rows)
            print_table(title, rows, bars)
            missed += check(rows, bars)
        calls = calls_per_request(port)
    modules = modules_for_a_request()
    for what, figure, limit in (
        ("calls per native request", calls, CALLS_LIMIT),
        ("modules loaded for it", modules, MODULES_LIMIT),
    ):
        print(f"\n{what}: {figure:g}, bar {limit}")
        if figure > limit:
            missed.append(f"{what}: {figure:g} above {limit}")
    took_ms = import_ms("transport_utils")
    print(
        f"\nimport transport_utils: {took_ms:.1f} ms above a bare interpreter, bar {IMPORT_LIMIT_MS:g} ms"
    )
    if took_ms > IMPORT_LIMIT_MS:
        missed.append(f"import: {took_ms:.1f} ms above {IMPORT_LIMIT_MS:g} ms")
    return missed


def over_own_floor(rows: list[Row]) -> list[Row]:
    """Divide the figures of POST by those of the raw POST, of asyncio's GETs in a row by those of raw GETs in a row."""
    by_name = {row.name: row for row in rows}
    for name, floor in (("native POST", "raw POST"), ("asyncio GET", "raw GETs")):
        row, raw = by_name[name], by_name[floor]
        row.wall, row.cpu = row.wall / raw.wall, row.cpu / raw.cpu
        row.spread = (row.spread[0] / raw.wall, row.spread[1] / raw.wall)
    return rows


def main() -> int:
    """Measure, print, and return 1 under ``--gate`` when a bar is missed twice in a row."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gate", action="store_true", help="exit with 1 when a bar is missed")
    parser.add_argument("--rounds", type=int, default=9, help="rounds (default %(default)s)")
    options = parser.parse_args()
    missed = measure(options.rounds)
    if missed and options.gate:
        print("\nmissed, measured again:", *missed, sep="\n  ")
        missed = measure(options.rounds)
    if missed:
        print("\nmissed:", *missed, sep="\n  ")
    return 1 if missed and options.gate else 0


if __name__ == "__main__":
    sys.exit(main())
