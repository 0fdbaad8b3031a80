"""Speed of ``Loud.models.get`` against a raw socket loop, the original 1.6.3 and elasticsearch-py, in the same rounds.

``python tools/benchmarks/loudml.py [--gate] [--rounds N]``. The server polls without sleeping: a sleeping one would
hide most of a client's cost behind the scheduler. Each contender runs in a process of its own (:mod:`loudml_worker`),
the others' releases in environments of their own that are made on first use. A figure is the median over the rounds of
a contender's median time over the raw loop's of the same round. Then ``import loudml`` is measured above a bare
interpreter, and that it loads nothing optional.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import subprocess
import sys

from floor import Bar, Figure, Row, check, import_ms, print_table, record, serve_floor
from mock_servers.originals import LOUDML, Original, interpreter

ELASTICSEARCH = Original("elasticsearch==9.5.1", ("elasticsearch==9.5.1",))

OPERATIONS = 400
CONTENDERS = (
    "raw",
    "native",
    "native fields",
    "urllib3",
    "requests",
    "original urllib3",
    "original requests",
    "elasticsearch",
)
BARS = [Bar("native", "wall", 1.9), Bar("urllib3", "wall", 7.0)]
IMPORT_LIMIT_MS = 90.0
OPTIONAL_LIBRARIES = "asyncio click dateutil h2 httpx matplotlib numpy opentelemetry pandas requests rich urllib3 yaml"


class Worker:
    """A contender in a process of its own."""

    def __init__(self, kind: str, port: int) -> None:
        python = sys.executable
        if kind.startswith("original"):
            python = str(interpreter(LOUDML))
        elif kind == "elasticsearch":
            python = str(interpreter(ELASTICSEARCH))
        script = pathlib.Path(__file__).with_name("loudml_worker.py")
        self._process = subprocess.Popen(
            [python, script, kind, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a contender died; its error is above")
        return line

    def run(self, operations: int) -> tuple[float, float]:
        """Return median wall and processor seconds of an operation."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{operations}\n")
        self._process.stdin.flush()
        wall, cpu = self._read().split()
        return float(wall), float(cpu)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def measure(rounds: int) -> list[Row]:
    """Return one row per contender."""
    with serve_floor(spin=True) as port:
        workers = {kind: Worker(kind, port) for kind in CONTENDERS}
        figures: dict[str, list[tuple[float, float]]] = {kind: [] for kind in CONTENDERS}
        for turn in range(rounds):
            at = turn % len(CONTENDERS)
            for kind in CONTENDERS[at:] + CONTENDERS[:at]:
                figures[kind].append(workers[kind].run(OPERATIONS))
        for worker in workers.values():
            worker.close()
    rows = []
    for kind, mine in figures.items():
        pairs = list(zip(mine, figures["raw"], strict=True))
        walls = [one[0] / base[0] for one, base in pairs]
        cpus = [one[1] / base[1] for one, base in pairs]
        rows.append(
            Row(
                kind,
                statistics.median(walls),
                statistics.median(cpus),
                statistics.median(one[0] for one in mine) * 1e6,
                (min(walls), max(walls)),
            )
        )
    return rows


def loaded_libraries() -> list[str]:
    """Return the optional libraries that ``import loudml`` loads."""
    code = f"import sys, loudml; print(*set({OPTIONAL_LIBRARIES!r}.split()) & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd="/"
    )
    return sorted(result.stdout.split())


def main() -> int:
    """Measure, print, and return 1 under ``--gate`` when a bar is missed twice in a row."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gate", action="store_true", help="exit with 1 when a bar is missed")
    parser.add_argument("--rounds", type=int, default=9, help="rounds (default %(default)s)")
    options = parser.parse_args()
    for attempt in (1, 2):
        rows = measure(options.rounds)
        print_table("Loud.models.get of 200 B, times the raw socket loop", rows, BARS)
        missed = check(rows, BARS)
        took_ms, loaded = import_ms("loudml"), loaded_libraries()
        print(
            f"\nimport loudml: {took_ms:.0f} ms above a bare interpreter (<= {IMPORT_LIMIT_MS:g})"
        )
        imported = f"{took_ms:.0f} ms above a bare interpreter"
        bar = f"<= {IMPORT_LIMIT_MS:g} ms"
        figure = Figure("import loudml", imported, bar, took_ms <= IMPORT_LIMIT_MS)
        record("import loudml", figures=[figure])
        print(f"optional libraries it loads: {', '.join(loaded) or 'none'}")
        if took_ms > IMPORT_LIMIT_MS:
            missed.append(f"import loudml: {took_ms:.0f} ms above {IMPORT_LIMIT_MS:g}")
        if loaded:
            missed.append(f"import loudml loads {', '.join(loaded)}")
        for line in missed:
            print(f"missed: {line}", file=sys.stderr)
        if not missed or not options.gate or attempt == 2:
            break
        print("once more, since noise may have missed it", file=sys.stderr)
    return 1 if missed and options.gate else 0


if __name__ == "__main__":
    sys.exit(main())
