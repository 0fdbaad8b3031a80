"""The measuring frame shared by the benchmarks: a floor server, raw loops, alternating rounds, ratios, gates.

A benchmark describes its subjects as callables that do *one* operation and gives them to :func:`compare`. Every round
runs each subject for the same number of operations, in rotating order; a subject's figure is the median over the rounds
of its time divided by the floor's time of the same round, so that noise that lasts longer than a round cancels out.
Used by the scripts beside it, which run as ``python tools/benchmarks/<name>.py [--gate] [--rounds N]``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence

__all__ = [
    "BODY",
    "Bar",
    "Figure",
    "Row",
    "check",
    "compare",
    "import_ms",
    "print_table",
    "raw_exchange",
    "record",
    "serve_floor",
]

BODY = b'{"name":"cpu utilization of the group","id":4711,"values":[1.5,2.25,3.125,4],"ok":true,"note":"'
BODY += b"x" * (198 - len(BODY)) + b'"}'
"""200 bytes of JSON, the answer of the small requests."""


@contextlib.contextmanager
def serve_floor(
    body: bytes = BODY,
    content_type: str = "application/json",
    big_bytes: int = 10 * 1024 * 1024,
    *,
    spin: bool = False,
) -> Iterator[int]:
    """Build and run the C server; yield its port on 127.0.0.1.

    Raises:
        SystemExit: There is no C compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SystemExit("benchmarks need a C compiler (cc, gcc or clang) for the floor server")
    source = pathlib.Path(__file__).with_name("floor_server.c")
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder, "floor_server")
        subprocess.run([compiler, "-O2", "-o", program, source], check=True)
        answer = pathlib.Path(folder, "body")
        answer.write_bytes(body)
        process = subprocess.Popen(
            [program, answer, content_type, str(big_bytes), "1" if spin else "0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.communicate()


def raw_exchange(
    port: int, request: bytes, *, answer_bytes: int | None = None
) -> Callable[[], bytes]:
    """Return the floor: one operation of a blocking socket loop that knows the answer's length beforehand."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def exchange() -> bytes:
        sock.sendall(request)
        data = sock.recv(65536)
        while len(data) < expected:
            data += sock.recv(65536)
        return data

    if answer_bytes is None:
        sock.sendall(request)
        first = sock.recv(65536)
        answer_bytes = len(first)
    expected = answer_bytes
    return exchange


@dataclasses.dataclass
class Row:
    """Figures of one subject: ratios to the floor of the same rounds, and its own time.

    Args:
        name: As given.
        wall: Median over rounds of its wall time per operation over the floor's.
        cpu: The same for user and system time of this process; ``None`` when it was not measured.
        wall_us: Median wall time of one operation in microseconds.
        spread: Lowest and highest ratio of a round.
    """

    name: str
    wall: float
    cpu: float | None
    wall_us: float
    spread: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Bar:
    """A promise: the subject's figure must not exceed the limit.

    Args:
        subject: Name of a row.
        figure: ``"wall"`` or ``"cpu"``.
        limit: Highest ratio.
    """

    subject: str
    figure: str
    limit: float


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure that is no ratio to a floor.

    Args:
        what: What was measured.
        value: Ours, with its unit.
        bar: The promise, such as ``<= 16 MiB``.
        holds: Whether ours is within it.
        others: The same of others, by name.
    """

    what: str
    value: str
    bar: str
    holds: bool
    others: dict[str, str] = dataclasses.field(default_factory=dict)


def compare(
    subjects: dict[str, Callable[[], object]],
    *,
    floor: str,
    operations: int,
    rounds: int,
    per_operation: dict[str, int] | None = None,
    quantile: float = 0.5,
) -> list[Row]:
    """Measure all subjects against the one called ``floor``.

    Args:
        subjects: Name to a callable that does one operation.
        floor: Name of the subject that the others are divided by.
        operations: Calls per subject and round, except for slow subjects, which get fewer.
        rounds: Rounds; the order rotates.
        per_operation: Requests in one call of a subject, 1 where not given.
        quantile: Which of a round's sorted times counts, from 0 to 1; 0.5 for the median. Less for operations as long
            as a time slice, which nearly always include another process's turn on a busy machine.

    Returns:
        One row per subject, in the order given.
    """
    counts: dict[str, int] = {}
    for name, run in subjects.items():
        for _ in range(20 if operations > 20 else 1):
            run()
        began = time.perf_counter()
        run()
        one_s = max(time.perf_counter() - began, 1e-6)
        counts[name] = (
            max(1, min(operations, int(1.0 / one_s))) // (per_operation or {}).get(name, 1) or 1
        )
    names = list(subjects)
    walls: dict[str, list[float]] = {name: [] for name in names}
    cpus: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            run, count = subjects[name], counts[name]
            samples = []
            cpu = time.process_time()
            for _ in range(count):
                began = time.perf_counter()
                run()
                samples.append(time.perf_counter() - began)
            cpu = time.process_time() - cpu
            requests = (per_operation or {}).get(name, 1)
            walls[name].append(sorted(samples)[int(len(samples) * quantile)] / requests)
            cpus[name].append(cpu / count / requests)
    rows = []
    for name in names:
        ratios = [mine / base for mine, base in zip(walls[name], walls[floor], strict=True)]
        work = [mine / max(base, 1e-9) for mine, base in zip(cpus[name], cpus[floor], strict=True)]
        rows.append(
            Row(
                name,
                statistics.median(ratios),
                statistics.median(work),
                statistics.median(walls[name]) * 1e6,
                (min(ratios), max(ratios)),
            )
        )
    return rows


RESULTS_VARIABLE = "BENCHMARK_RESULTS"
"""Environment variable with a file to which every table is also appended as a line of JSON, for ``tools/bench.py``."""


def record(
    title: str,
    rows: Sequence[Row] = (),
    bars: Sequence[Bar] = (),
    figures: Sequence[Figure] = (),
) -> None:
    """Write a table down for ``tools/bench.py``; nothing happens when it did not start this script."""
    path = os.environ.get(RESULTS_VARIABLE)
    if path:
        table = {
            "title": title,
            "rows": [dataclasses.asdict(row) for row in rows],
            "bars": [dataclasses.asdict(bar) for bar in bars],
            "figures": [dataclasses.asdict(figure) for figure in figures],
        }
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(table) + "\n")


def print_table(title: str, rows: Sequence[Row], bars: Sequence[Bar] = ()) -> None:
    """Print the rows for a person, with the bars beside them."""
    record(title, rows, bars)
    width = max(len(row.name) for row in rows)
    print(f"\n{title}")
    print(f"  {'':{width}}  {'wall':>7} {'spread':>13} {'cpu':>7} {'us':>9}  bars")
    for row in rows:
        marks = []
        for bar in bars:
            if bar.subject == row.name:
                value = getattr(row, bar.figure)
                marks.append(
                    f"{bar.figure} <= {bar.limit:g} {'ok' if value <= bar.limit else 'MISSED'}"
                )
        print(
            f"  {row.name:{width}}  {row.wall:7.2f} {row.spread[0]:6.2f}-{row.spread[1]:<6.2f} {row.cpu:7.2f}"
            f" {row.wall_us:9.1f}  {', '.join(marks)}"
        )


def check(rows: Sequence[Row], bars: Sequence[Bar]) -> list[str]:
    """Return a line for every bar that is missed."""
    by_name = {row.name: row for row in rows}
    missed = []
    for bar in bars:
        row = by_name.get(bar.subject)
        if row is None:
            missed.append(f"{bar.subject}: not measured")
        elif getattr(row, bar.figure) > bar.limit:
            missed.append(
                f"{bar.subject}: {bar.figure} {getattr(row, bar.figure):.2f} above {bar.limit:g}"
            )
    return missed


if __name__ == "__main__":
    sys.exit("a module of the benchmarks beside it, not a script")


def import_ms(module: str, times: int = 15) -> float:
    """Return the least processor time of importing ``module`` above a bare interpreter, in milliseconds.

    Processor time, since on a machine with other work the clock mostly measures that; from compiled modules, as in
    every installation, whatever this process's environment says about writing them.
    """
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)

        def least(code: str) -> float:
            took = []
            for _ in range(times + 1):
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                subprocess.run([sys.executable, "-c", code], check=True, cwd="/", env=environment)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            return min(took[1:]) * 1000

        return least(f"import {module}") - least("pass")
