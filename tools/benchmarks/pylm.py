"""Speed of pylm against raw pyzmq, the original 0.14.4, rpyc, zerorpc and Pyro5, in the same rounds.

``python tools/benchmarks/pylm.py [--gate] [--rounds N] [--only ROW ...] [--scale F]``. Every role is a process of its
own (:mod:`pylm_worker`); originals and peers run in environments made on first use. A figure is the median over the
rounds of the ratio to another contender in the *same* round. The releases before 0.14 are not on the package index, so
the first API is measured against raw pyzmq and the peers only.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import pathlib
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from floor import Figure, Row, record
from mock_servers import originals

sys.path.pop(0)  # this folder: it has a pylm.py, this script

WORKER = pathlib.Path(__file__).with_name("pylm_worker.py")
PEERS = originals.Original(
    "Pyro5==5.17", ("rpyc==6.0.2", "serpent", "zerorpc==0.6.3", "pyzmq>=26", "setuptools<81")
)


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One group of contenders that do the same work.

    Args:
        name: Of the row group.
        families: Who takes part, as ``family:scenario of the worker``; the first is the floor.
        roles: Server processes per contender, in the order of their starts.
        operations: Per round.
        bars: ``(contender, other, limit)``: the median of time over time in one round must not exceed it.
    """

    name: str
    families: tuple[str, ...]
    roles: tuple[str, ...]
    operations: int
    bars: tuple[tuple[str, str, float], ...]
    slow_operations: int | None = None


def workers(count: int) -> tuple[str, ...]:
    return ("master", *(f"worker:{index}" for index in range(count)))


SCENARIOS = [
    Scenario(
        "round trip 100 B",
        (
            "raw:pub",
            "raw:req",
            "ours:pub",
            "old:req",
            "plain:req",
            "original:pub",
            "rpyc:req",
            "zerorpc:req",
            "pyro:req",
        ),
        ("server",),
        1000,
        (
            ("ours:pub", "raw:pub", 1.5),
            ("ours:pub", "original:pub", 0.75),
            ("ours:pub", "raw:req", 1.5),
            ("old:req", "raw:req", 1.25),
            ("ours:pub", "zerorpc:req", 1.0),
            ("old:req", "zerorpc:req", 1.0),
            ("old:req", "rpyc:req", 1.0),
            ("ours:pub", "rpyc:req", 1.3),
            ("old:req", "pyro:req", 1.3),
            ("plain:req", "rpyc:req", 1.0),
            ("plain:req", "pyro:req", 1.0),
        ),
        300,
    ),
    Scenario(
        "1 MiB",
        ("raw:mib", "ours:mib", "original:mib", "rpyc:mib", "zerorpc:mib", "pyro:mib"),
        ("server",),
        60,
        (
            ("ours:mib", "raw:mib", 2.6),
            ("ours:mib", "rpyc:mib", 1.0),
            ("ours:mib", "zerorpc:mib", 1.0),
            ("ours:mib", "pyro:mib", 1.0),
        ),
        5,
    ),
    Scenario(
        "10 MiB",
        ("raw:mib10", "ours:mib10", "original:mib10", "rpyc:mib10", "zerorpc:mib10", "pyro:mib10"),
        ("server",),
        8,
        (
            ("ours:mib10", "raw:mib10", 2.6),
            ("ours:mib10", "rpyc:mib10", 1.0),
            ("ours:mib10", "zerorpc:mib10", 1.0),
            ("ours:mib10", "pyro:mib10", 1.0),
        ),
        1,
    ),
    Scenario(
        "jobs through a server",
        ("raw:jobs", "ours:jobs", "original:jobs"),
        ("server",),
        10000,
        (("ours:jobs", "raw:jobs", 3.3), ("ours:jobs", "original:jobs", 0.25)),
        3000,
    ),
    Scenario(
        "three stages",
        ("raw:pipeline", "ours:pipeline", "original:pipeline"),
        ("stage3", "stage2", "server"),
        10000,
        (("ours:pipeline", "raw:pipeline", 1 / 0.45), ("ours:pipeline", "original:pipeline", 0.25)),
        900,
    ),
    *[
        Scenario(
            f"master, {count} empty workers",
            ("raw:empty", "push:empty", "ours:empty", "original:empty"),
            workers(count),
            6000,
            (
                ("push:empty", "raw:empty", 1 / 0.35),
                ("push:empty", "original:empty", 1 / 12),
                ("ours:empty", "original:empty", 1 / 6),
            ),
            600,
        )
        for count in (1, 2, 4)
    ],
    Scenario(
        "master, 4 workers of 1 ms",
        ("raw:slow", "push:slow", "ours:slow", "original:slow"),
        workers(4),
        1000,
        (("ours:slow", "raw:slow", 1.15),),
    ),
]


class Contender:
    """The processes of one family in one scenario."""

    def __init__(self, label: str, roles: tuple[str, ...], stack: contextlib.ExitStack) -> None:
        self.label = label
        family, _, scenario = label.partition(":")
        self._base = free_ports()
        self._command = [interpreter(family), "-u", str(WORKER), family, scenario]
        self._stack = stack
        for role in roles:
            name, _, index = role.partition(":")
            self._start(name, index)
        self._client = self._start("client", "")

    def _start(self, role: str, index: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*self._command, role, str(self._base), *([index] if index else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
            if "original" in self.label
            else None,
        )
        self._stack.callback(end, process)
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "ready":
                return process
        raise SystemExit(f"{self.label} {role} did not start")

    def run(self, count: int) -> float:
        """Return the seconds one of ``count`` operations took."""
        assert self._client.stdin is not None
        assert self._client.stdout is not None
        self._client.stdin.write(f"run {count}\n")
        self._client.stdin.flush()
        return float(self._client.stdout.readline()) / count


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def free_ports() -> int:
    """Return the first of ten free consecutive ports."""
    while True:
        with contextlib.ExitStack() as stack:
            base = random.randint(20000, 32000)  # below the ports the system hands out by itself
            with contextlib.suppress(OSError):
                for offset in range(10):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", base + offset))
                return base


def interpreter(family: str) -> str:
    if family == "original":
        return str(originals.interpreter(originals.PYLM))
    if family in ("rpyc", "zerorpc", "pyro"):
        return str(originals.interpreter(PEERS))
    return sys.executable


def measure(scenario: Scenario, rounds: int, scale: float) -> dict[str, list[float]]:
    """Return the seconds per operation of every contender in every round."""
    times: dict[str, list[float]] = {label: [] for label in scenario.families}
    with contextlib.ExitStack() as stack:
        contenders = [Contender(label, scenario.roles, stack) for label in scenario.families]
        for turn in range(rounds):
            shift = turn % len(contenders)
            for contender in contenders[shift:] + contenders[:shift]:
                slow = contender.label.partition(":")[0] in ("original", "rpyc", "zerorpc", "pyro")
                count = (
                    scenario.slow_operations
                    if slow and scenario.slow_operations
                    else scenario.operations
                )
                times[contender.label].append(contender.run(max(1, int(count * scale))))
    return times


def report(scenario: Scenario, times: dict[str, list[float]]) -> list[str]:
    """Print the group; return a line per missed bar."""
    floor = scenario.families[0]
    print(f"\n{scenario.name}", flush=True)
    for label in scenario.families:
        ratios = ratio(times, label, floor)
        print(
            f"  {label:18} {statistics.median(times[label]) * 1e6:10.1f} us"
            f"  {statistics.median(ratios):7.2f} of {floor}  ({min(ratios):.2f}-{max(ratios):.2f})"
        )
    missed, figures = [], []
    for label, other, limit in scenario.bars:
        value = statistics.median(ratio(times, label, other))
        figures.append(
            Figure(f"{label} / {other}", f"{value:.3f}", f"<= {limit:.3f}", value <= limit)
        )
        verdict = "ok" if value <= limit else "MISSED"
        print(f"    {label} / {other} = {value:.3f}, at most {limit:.3f}: {verdict}")
        if value > limit:
            missed.append(f"{scenario.name}: {label} / {other} = {value:.3f} above {limit:.3f}")
    rows = []
    for label in scenario.families:
        ratios = ratio(times, label, floor)
        median_us = statistics.median(times[label]) * 1e6
        spread = min(ratios), max(ratios)
        rows.append(Row(label, statistics.median(ratios), None, median_us, spread))
    record(scenario.name, rows, figures=figures)
    return missed


def note(what: str, value: str, bar: str, holds: bool) -> None:
    """Write a figure down that belongs to no scenario."""
    record(what, figures=[Figure(what, value, bar, holds)])


def ratio(times: dict[str, list[float]], label: str, other: str) -> list[float]:
    return [mine / base for mine, base in zip(times[label], times[other], strict=True)]


def import_time() -> list[str]:
    """Print the processor time ``import pylm.clients`` costs; return a line when it is too much.

    An installed package has bytecode, so the interpreter may write it, and a first import does.
    """
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run([sys.executable, "-c", "import pylm.clients"], env=environment, check=True)

    def best(code: str) -> float:
        samples = []
        for _ in range(7):
            process = subprocess.Popen([sys.executable, "-c", code], env=environment)
            _, _, usage = os.wait4(process.pid, 0)
            process.returncode = 0
            samples.append(usage.ru_utime + usage.ru_stime)
        return min(samples)

    cost_ms = (best("import pylm.clients") - best("pass")) * 1000
    print(f"\nimport pylm.clients: {cost_ms:.0f} ms of processor time, at most 100 ms")
    note("import pylm.clients", f"{cost_ms:.0f} ms of processor time", "<= 100 ms", cost_ms <= 100)
    return [f"import pylm.clients: {cost_ms:.0f} ms above 100 ms"] if cost_ms > 100 else []


def lost_jobs(count: int) -> list[str]:
    """Run idempotent jobs while a worker is killed every second; return a line when one is lost."""
    with contextlib.ExitStack() as stack, crew() as (base, start):
        master = start("master", 0)
        stack.callback(end, master)
        alive = [start("worker", index) for index in range(3)]
        from pylm.clients import Client

        talk = stack.enter_context(Client("server", f"tcp://127.0.0.1:{base + 8}"))
        next_kill = time.monotonic() + 1
        kills = got = 0
        began = time.monotonic()
        for _ in talk.job(
            "server.foo", [b"x" * 100] * count, messages=count, idempotent=True, timeout=60
        ):
            got += 1
            if time.monotonic() >= next_kill:
                victim = alive.pop(0)
                end(victim)
                alive.append(start("worker", 10 + kills))
                kills += 1
                next_kill = time.monotonic() + 1
        for process in alive:
            end(process)
    print(
        f"\n{got} of {count} idempotent jobs answered, {kills} workers killed, {time.monotonic() - began:.0f} s"
    )
    note(
        f"of {count} idempotent jobs lost, a worker killed every second",
        f"{count - got}",
        "<= 0",
        got == count,
    )
    return [] if got == count else [f"{count - got} idempotent jobs lost"]


@contextlib.contextmanager
def crew() -> Iterator[tuple[int, object]]:
    base = free_ports()

    def start(role: str, index: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-u", str(WORKER), "ours", "empty", role, str(base), str(index)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.readline()
        return process

    yield base, start


def memory_growth(count: int) -> list[str]:
    """Send ``count`` messages through a server of this process; return a line when memory grew."""
    import itertools
    import logging
    import resource

    from pylm.clients import Client
    from pylm.servers import Server

    class Echo(Server):
        def foo(self, message: bytes) -> bytes:
            return message

    base = free_ports()
    addresses = [f"tcp://127.0.0.1:{base + offset}" for offset in range(3)]
    server = Echo("server", *addresses, log_level=logging.CRITICAL)
    with (
        server.running(),
        Client("server", addresses[0], logging_level=logging.CRITICAL) as talk,
    ):

        def run(number: int) -> None:
            payloads = itertools.repeat(b"x" * 100, number)
            assert sum(1 for _ in talk.job("server.foo", payloads, number)) == number

        run(max(1000, count // 10))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        run(count)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"\nmemory after {count} messages: {grown:+.1f} MiB, at most 10 MiB")
    note(f"memory after {count} messages", f"{grown:.1f} MiB", "<= 10 MiB", grown <= 10)
    return [f"memory grew by {grown:.1f} MiB over {count} messages"] if grown > 10 else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gate", action="store_true", help="exit with 1 when a bar is missed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", help="parts of row names")
    parser.add_argument("--scale", type=float, default=1.0, help="of the operations per round")
    arguments = parser.parse_args()
    chosen = arguments.only

    def wanted(name: str) -> bool:
        return not chosen or any(part in name for part in chosen)

    missed = []
    for scenario in SCENARIOS:
        if wanted(scenario.name):
            missed += report(scenario, measure(scenario, arguments.rounds, arguments.scale))
    if wanted("import"):
        missed += import_time()
    if wanted("failover"):
        missed += lost_jobs(int(100_000 * arguments.scale))
    if wanted("memory"):
        missed += memory_growth(int(1_000_000 * arguments.scale))
    for line in missed:
        print(f"MISSED {line}")
    return 1 if missed and arguments.gate else 0


if __name__ == "__main__":
    sys.exit(main())
