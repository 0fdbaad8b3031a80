"""Speed of the v3io client against a raw socket loop and against the original 0.7.2, in the same rounds.

``python tools/benchmarks/v3io.py [--gate] [--rounds N]``. The server is written in C, so that it is never the limit.
Each contender runs in a process of its own (:mod:`v3io_worker`), the original in an environment of its own that is made
on first use. A round's time is the median of its operations; a figure is the median over the rounds of the ratio to the
other contender in the *same* round. "ours again" is a second process of ours, whose ratios show how far noise alone
goes. Calls are measured without decoding their output, which both clients do on demand; the scan and the records are
measured with it. Server and contenders share a processor, see :func:`pin`; where calls are made at once every contender
has one of its own, as a client on another machine has, since the server's work would otherwise be part of every
contender's time; the same on one processor is printed below it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from floor import Bar, Row, check, print_table
from mock_servers.originals import V3IO, interpreter

SINGLE = ("get_object", "put_object", "get_item", "put_item")
OPERATIONS = {"batch": 5, "put_records": 5, "scan": 1, "aio_8_at_once": 40}
DEFAULT_OPERATIONS = 300
APART = ("aio_8_at_once",)
"""Scenarios in which client and server work at the same time."""
SCAN_PAGES, PAGE_ITEMS, ITEM_ATTRIBUTES = 100, 1000, 10
IMPORT_LIMIT_MS = 80.0
MOCK_SERVER_RATE = 3000
"""Small requests per second of one processor that the mock server is to answer at least."""
SMALL_REQUESTS = {
    "put_object": ("PUT /users/o", "", b"x" * 200),
    "get_object": ("GET /users/o", "", b""),
    "put_item": (
        "PUT /users/t/k",
        "PutItem",
        b'{"Item":{"age":{"N":"42"},"feature":{"S":"mustache"}}}',
    ),
    "get_item": ("PUT /users/t/k", "GetItem", b'{"AttributesToGet":"*"}'),
}
OPTIONAL_LIBRARIES = ("aiohttp", "click", "dask", "numpy", "pandas", "pyarrow", "requests", "rich")

AGAINST_RAW = [
    *(Bar(f"ours {name}", "wall", 1.4) for name in SINGLE),
    *(Bar(f"ours {name}", "cpu", 2.3) for name in SINGLE),
    *(Bar(f"ours aio_{name}", "wall", 1.8) for name in SINGLE),
    *(Bar(f"ours aio_{name}", "cpu", 3.0) for name in SINGLE),
    Bar("ours batch", "wall", 1.7),
]
AGAINST_ORIGINAL = [
    *(Bar(f"ours {name}", "wall", 1 / 1.4) for name in SINGLE),
    *(Bar(f"ours {name}", "cpu", 0.45) for name in SINGLE),
    *(Bar(f"ours aio_{name}", "wall", 1 / 2) for name in SINGLE),
    Bar("ours aio_8_at_once", "wall", 1 / 4),
    Bar("ours batch", "wall", 1 / 4),
    Bar("ours put_records", "wall", 1 / 2),
    Bar("ours scan", "wall", 1 / 3),
]


def _answer(status: str, body: bytes = b"", *fields: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *fields, "Server: benchmark", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _page(head: dict[str, str]) -> bytes:
    items = [
        {
            "__name": {"S": f"key-{row}"},
            **{
                f"attribute_{column}": {"N": str(row * column)}
                if column % 2
                else {"S": f"text {row}"}
                for column in range(ITEM_ATTRIBUTES - 1)
            },
        }
        for row in range(PAGE_ITEMS)
    ]
    body = json.dumps({**head, "Items": items}, separators=(",", ":")).encode()
    return _answer("200 OK", body, "Content-Type: application/json")


def _write_answers(folder: pathlib.Path) -> None:
    verifier = "x-v3io-transaction-verifier: __mtime_secs==1795598213 and __mtime_nsecs==356972307"
    item = b'{"Item":{"age":{"N":"42"},"feature":{"S":"mustache"}}}'
    told = [{"SequenceNumber": number, "ShardId": number % 8} for number in range(1000)]
    records = json.dumps({"FailedRecordCount": 0, "Records": told}, separators=(",", ":"))
    answers = {
        "GET": _answer("200 OK", b"x" * 200, "Content-Type: application/octet-stream"),
        "PUT": _answer("200 OK"),
        "GetItem": _answer("200 OK", item, "Content-Type: application/json", verifier),
        "PutItem": _answer("200 OK", b"", verifier),
        "PutRecords": _answer("200 OK", records.encode(), "Content-Type: application/json"),
        "GetItems": _page({"LastItemIncluded": "FALSE", "NextMarker": "0" * 12}),
        "GetItems.last": _page({"LastItemIncluded": "TRUE"}),
    }
    for name, data in answers.items():
        (folder / name).write_bytes(data)


@contextlib.contextmanager
def serve() -> Iterator[int]:
    """Build and run the C server; yield its port on 127.0.0.1.

    Raises:
        SystemExit: There is no C compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SystemExit("this benchmark needs a C compiler (cc, gcc or clang) for its server")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        _write_answers(folder)
        program = folder / "v3io_server"
        source = pathlib.Path(__file__).with_name("v3io_server.c")
        subprocess.run([compiler, "-O2", "-o", program, source], check=True)
        process = subprocess.Popen(
            [program, folder, str(SCAN_PAGES)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        pin(process)
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.communicate()


def pin(process: subprocess.Popen[Any], *, apart: bool = False) -> None:
    """Keep server and contenders on one processor, where the system can; with ``apart`` move one to another.

    A call is a ping-pong: one side works while the other sleeps. Left alone, the scheduler puts both on one processor
    or on two as it likes, which changes the time of a call by a factor of two from one process to the next.
    """
    if hasattr(os, "sched_setaffinity"):
        processors = os.sched_getaffinity(0)
        os.sched_setaffinity(process.pid, {min(processors) if apart else max(processors)})


class Worker:
    """A contender in a process of its own."""

    def __init__(self, kind: str, python: str, port: int) -> None:
        script = pathlib.Path(__file__).with_name("v3io_worker.py")
        self._process = subprocess.Popen(
            [python, script, kind, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        pin(self._process)
        self.peak_kib = 0
        self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a contender died; its error is above")
        return line

    def run(self, scenario: str, operations: int) -> tuple[float, float]:
        """Return wall and processor seconds per operation."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{scenario} {operations}\n")
        self._process.stdin.flush()
        wall, cpu, peak = self._read().split()
        self.peak_kib = int(peak)
        return float(wall), float(cpu)

    def move(self, *, apart: bool) -> None:
        """Run on a processor of its own from now on, or on the server's."""
        pin(self._process, apart=apart)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def measure(
    workers: dict[str, Worker], scenario: str, rounds: int, *, apart: bool = False
) -> dict[str, list[tuple[float, float]]]:
    """Run one scenario in all contenders that have it, in rotating order, on the server's processor or ``apart``."""
    for worker in workers.values():
        worker.move(apart=apart)
    operations = OPERATIONS.get(scenario, DEFAULT_OPERATIONS)
    names = [name for name in workers if name != "raw" or _raw_has(scenario)]
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for name in names:
        workers[name].run(scenario, max(1, operations // 10))
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            samples[name].append(workers[name].run(scenario, operations))
    return samples


def _raw_has(scenario: str) -> bool:
    return scenario.removeprefix("aio_") in (*SINGLE, "batch")


def row(name: str, mine: list[tuple[float, float]], base: list[tuple[float, float]]) -> Row:
    """Return the figures of one contender relative to another's in the same rounds."""
    walls = [one[0] / other[0] for one, other in zip(mine, base, strict=True)]
    cpus = [one[1] / max(other[1], 1e-9) for one, other in zip(mine, base, strict=True)]
    own = statistics.median(one[0] for one in mine) * 1e6
    return Row(
        name, statistics.median(walls), statistics.median(cpus), own, (min(walls), max(walls))
    )


def import_row() -> tuple[float, list[str]]:
    """Return the milliseconds of processor time ``import v3io.dataplane`` takes, and optional libraries it loads."""
    names = ", ".join(repr(name) for name in OPTIONAL_LIBRARIES)
    code = (
        f"import v3io.dataplane, sys; print(*[name for name in [{names}] if name in sys.modules])"
    )
    timed = (
        "import time; began = time.process_time(); import v3io.dataplane; "
        "print((time.process_time() - began) * 1000)"
    )
    times = []
    with tempfile.TemporaryDirectory() as cache:  # compiled beforehand, as every installation is
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(8):
            run = [sys.executable, "-c", timed]
            done = subprocess.run(run, check=True, capture_output=True, text=True, env=environment)
            times.append(float(done.stdout))
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return min(times), loaded.stdout.split()


_MOCK_SERVER = """
import sys, time
from mock_servers.v3io.server import V3ioServer
with V3ioServer() as server:
    print(server.port, flush=True)
    for _ in sys.stdin:
        print(time.process_time(), flush=True)
"""


def _receive(sock: socket.socket) -> bytes:
    """Return one whole response."""
    data = b""
    while True:
        data += sock.recv(65536)
        head, ended, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        if ended and len(body) >= (int(length[1]) if length else 0):
            return data


def mock_server_rates(requests: int = 1000) -> dict[str, float]:
    """Return how many small requests per second of its processor time the Python mock server answers, by kind."""
    process = subprocess.Popen(
        [sys.executable, "-c", _MOCK_SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def spent_s() -> float:
        assert process.stdin is not None
        assert process.stdout is not None
        print(file=process.stdin, flush=True)
        return float(process.stdout.readline())

    rates = {}
    with socket.create_connection(("127.0.0.1", int(process.stdout.readline()))) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for name, (line, function, body) in SMALL_REQUESTS.items():
            head = f"{line} HTTP/1.1\r\nHost: x\r\nX-v3io-session-key: k\r\nContent-Length: {len(body)}\r\n"
            head += f"X-v3io-function: {function}\r\n" if function else ""
            request = f"{head}\r\n".encode() + body
            for counted in (requests // 10, requests):
                began_s = spent_s()
                for _ in range(counted):
                    sock.sendall(request)
                    if not _receive(sock).startswith(b"HTTP/1.1 2"):
                        raise SystemExit(f"the mock server refused {name}")
                rates[name] = counted / (spent_s() - began_s)
    process.communicate()
    return rates


def main() -> int:
    """Measure, print, and with ``--gate`` return 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--gate", action="store_true", help="exit 1 when a bar is missed")
    parser.add_argument("--rounds", type=int, default=15, help="alternating rounds")
    parser.add_argument("--only", help="scenarios whose name contains this")
    options = parser.parse_args()
    original = str(interpreter(V3IO))
    scenarios = [*SINGLE, *(f"aio_{name}" for name in SINGLE), "aio_8_at_once"]
    scenarios += ["batch", "put_records", "scan"]
    scenarios = [name for name in scenarios if (options.only or "") in name]
    to_raw: list[Row] = []
    to_original: list[Row] = []
    missed: list[str] = []
    with serve() as port, contextlib.ExitStack() as stack:
        workers = {
            "raw": Worker("raw", sys.executable, port),
            "ours": Worker("client", sys.executable, port),
            "ours again": Worker("client", sys.executable, port),
            "original": Worker("client", original, port),
        }
        for worker in workers.values():
            stack.callback(worker.close)
        for scenario in scenarios:
            before = workers["ours"].peak_kib
            samples = measure(workers, scenario, options.rounds, apart=scenario in APART)
            if "raw" in samples:
                to_raw += [
                    row(f"{name} {scenario}", samples[name], samples["raw"])
                    for name in ("ours", "ours again", "original")
                ]
            to_original += [
                row(f"{name} {scenario}", samples[name], samples["original"])
                for name in ("ours", "ours again")
            ]
            if scenario in APART:
                samples = measure(workers, scenario, options.rounds)
                to_original += [
                    row(f"{name} {scenario} on one", samples[name], samples["original"])
                    for name in ("ours", "ours again")
                ]
            if scenario == "scan":
                grown = (workers["ours"].peak_kib - before) / 1024
                print(
                    f"scan of {SCAN_PAGES * PAGE_ITEMS} items: peak memory grew by {grown:.1f} MiB"
                )
                if grown > 40:
                    missed.append(
                        f"scan: memory grew by {grown:.1f} MiB; a page is to be held, not the table"
                    )
    raw_bars = [bar for bar in AGAINST_RAW if (options.only or "") in bar.subject]
    original_bars = [bar for bar in AGAINST_ORIGINAL if (options.only or "") in bar.subject]
    if to_raw:
        print_table("against the raw loop (ratio, lower is better)", to_raw, raw_bars)
    print_table("against v3io 0.7.2 (ratio, lower is better)", to_original, original_bars)
    if not options.only:
        rates = mock_server_rates()
        shown = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
        print(
            f"\nmock server, requests per second of one processor (at least {MOCK_SERVER_RATE}): {shown}"
        )
        missed += [
            f"the mock server answers {rate:.0f} {name} per second, fewer than {MOCK_SERVER_RATE}"
            for name, rate in rates.items()
            if rate < MOCK_SERVER_RATE
        ]
    import_ms, loaded = import_row()
    print(
        f"\nimport v3io.dataplane: {import_ms:.0f} ms (limit {IMPORT_LIMIT_MS:g}), optional: {loaded}"
    )
    if import_ms > IMPORT_LIMIT_MS:
        missed.append(f"import takes {import_ms:.0f} ms, above {IMPORT_LIMIT_MS:g}")
    if loaded:
        missed.append(f"import loads {', '.join(loaded)}")
    missed += [f"to raw, {line}" for line in check(to_raw, raw_bars)]
    missed += [f"to the original, {line}" for line in check(to_original, original_bars)]
    for line in missed:
        print(f"MISSED {line}")
    return 1 if options.gate and missed else 0


if __name__ == "__main__":
    sys.exit(main())
