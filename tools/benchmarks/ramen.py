"""Measure infi.ramen_client's queue and reader: ``python tools/benchmarks/ramen.py [--gate] [--rounds N] [--rows N]``.

Every figure is a ratio to appending a record and fdatasync, or to a bare keep-alive loop, in the same rounds, or an
absolute time where a person waits for it. The original release, persist-queue, litequeue and diskcache store the same
document at the same durability in the same rounds, in an environment of their own that is made on first use. All queues
are aged by 1500 pushes first: until a log has reached its full size a commit costs up to twice as much.

With ``--gate`` the exit status is 1 when a bar is missed; rows that miss are measured once more first.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import math
import os
import pathlib
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

from floor import Figure, record
from infi.ramen_client.config import QueueReaderConfig
from infi.ramen_client.diskqueue import DiskQueue, Outcome, QueueFiles, Sleeper
from infi.ramen_client.queue_reader import QueueReader
from infi.ramen_client.serialization import deflate
from mock_servers.originals import RAMEN, Original, interpreter
from ramen_worker import TEXT, config_values, resident_kib
from rich.console import Console
from rich.table import Table

WORKER = pathlib.Path(__file__).with_name("ramen_worker.py")
PEERS = Original(
    RAMEN.requirement, (*RAMEN.dependencies, "diskcache", "litequeue", "persist-queue")
)
OTHERS = ("original", "persist-queue", "litequeue", "diskcache")
AGE = 1500


class Worker:
    """A subject in a process of its own."""

    def __init__(self, subject: str, folder: pathlib.Path) -> None:
        python = str(interpreter(PEERS)) if subject in OTHERS else sys.executable
        self._process = subprocess.Popen(
            [python, str(WORKER), subject, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, what: str, **values: object) -> object:
        """Give a command and return its answer."""
        self.begin(what, **values)
        return self.end()

    def begin(self, what: str, **values: object) -> None:
        """Give a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **values}) + "\n")
        self._process.stdin.flush()

    def end(self) -> object:
        """Return the answer to the last command."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a worker has ended; its words are above")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def workers(folder: pathlib.Path, *subjects: str) -> Iterator[dict[str, Worker]]:
    """Start subjects, age their queues, and end them."""
    started = {subject: Worker(subject, folder / subject) for subject in subjects}
    try:
        for worker in started.values():
            worker.ask("push", count=AGE)
        yield started
    finally:
        for worker in started.values():
            worker.close()
        for subject in subjects:
            shutil.rmtree(folder / subject, ignore_errors=True)


def ratio(values: list[float]) -> float:
    return statistics.median(values)


def percentile(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def measure_one_writer(folder: pathlib.Path, rounds: int) -> list[Figure]:
    """One writer; short rounds, since the disk's own pace changes within a second."""
    subjects = ("floor", "ours", *OTHERS)
    found: dict[str, list[float]] = {subject: [] for subject in subjects}
    with workers(folder, *subjects) as started:
        for number in range(rounds * 4):
            order = [subjects[(number + index) % len(subjects)] for index in range(len(subjects))]
            times = {subject: started[subject].ask("push", count=60) for subject in order}
            floor = statistics.median(times["floor"])
            for subject in subjects:
                found[subject].append(statistics.median(times[subject]) / floor)
    value = ratio(found["ours"])
    others = {subject: f"{ratio(found[subject]):.2f}x" for subject in OTHERS}
    holds = value <= 1.15 and value <= ratio(found["original"])
    return [Figure("push, one writer, p50", f"{value:.2f}x", "<= 1.15x, original", holds, others)]


def measure_threads(folder: pathlib.Path, rounds: int) -> list[Figure]:
    """Eight threads, and a hundred messages in one call."""
    subjects = ("floor", "ours", *OTHERS)
    rates: dict[str, list[float]] = {subject: [] for subject in subjects[1:]}
    many: list[float] = []
    p99: list[float] = []
    with workers(folder, *subjects) as started:
        for _ in range(rounds):
            for subject in subjects[1:]:
                floor = started["floor"].ask("push", count=200)
                rate, times = started[subject].ask("threads", threads=8, count=60)
                floor += started["floor"].ask("push", count=200)
                rates[subject].append(rate * sum(floor) / len(floor))
                if subject == "ours":
                    p99.append(percentile(times, 0.99) * 1e3)
                    many.append(started["ours"].ask("many", batches=10) * sum(floor) / len(floor))
    value = ratio(rates["ours"])
    others = {subject: f"{ratio(rates[subject]):.2f}x" for subject in OTHERS}
    return [
        Figure(
            "rate of 8 threads",
            f"{value:.2f}x, p99 {statistics.median(p99):.1f} ms",
            ">= 1.6x",
            value >= max(1.6, ratio(rates["original"])),
            others,
        ),
        Figure("rate of push_many(100)", f"{ratio(many):.1f}x", ">= 10x", ratio(many) >= 10),
    ]


def measure_processes(folder: pathlib.Path, rounds: int) -> list[Figure]:
    """Eight processes writing into one queue."""
    rates: dict[str, list[float]] = {}
    worst: dict[str, list[float]] = {}
    floor = Worker("floor", folder / "floor")
    try:
        floor.ask("push", count=AGE)
        for subject in ("ours", "original"):
            group = [Worker(subject, folder / subject)]
            try:
                # 1.40 often fails when several set a folder up at once.
                group[0].ask("push", count=1)
                group += [Worker(subject, folder / subject) for _ in range(7)]
                for worker in group:
                    worker.ask("push", count=AGE // 8)
                for _ in range(rounds):
                    base = floor.ask("push", count=300)
                    began = time.perf_counter()
                    for worker in group:
                        worker.begin("push", count=80)
                    times = [worker.end() for worker in group]
                    rate = 640 / (time.perf_counter() - began)
                    base += floor.ask("push", count=300)
                    rates.setdefault(subject, []).append(rate * sum(base) / len(base))
                    worst.setdefault(subject, []).append(
                        max(percentile(each, 0.99) for each in times) * 1e3
                    )
            finally:
                for worker in group:
                    worker.close()
                shutil.rmtree(folder / subject, ignore_errors=True)
    finally:
        floor.close()
    value, late = ratio(rates["ours"]), statistics.median(worst["ours"])
    theirs = f"{ratio(rates['original']):.2f}x, {statistics.median(worst['original']):.0f} ms"
    return [
        Figure(
            "rate of 8 processes; worst p99",
            f"{value:.2f}x, {late:.1f} ms",
            ">= 0.75x, <= 30 ms",
            value >= max(0.75, ratio(rates["original"])) and late <= 30,
            {"original": theirs},
        )
    ]


def measure_drain(folder: pathlib.Path, rounds: int) -> list[Figure]:
    """Send what is queued to a local server that answers at once."""
    ours: list[float] = []
    speedup: list[float] = []
    server, client = Worker("server", folder), Worker("client", folder)
    try:
        port = server.ask("serve")
        with workers(folder, "ours", "original") as started:
            hostname = f"127.0.0.1:{port}"
            started["ours"].ask("drain", hostname=hostname)
            started["original"].ask("drain", hostname=hostname)
            for _ in range(rounds):
                started["ours"].ask("push", count=1000)
                started["original"].ask("push", count=300)
                base = client.ask("bare", port=port, count=2000)
                rate = started["ours"].ask("drain", hostname=hostname)
                base = (base + client.ask("bare", port=port, count=2000)) / 2
                theirs = started["original"].ask("drain", hostname=hostname)
                ours.append(rate / base)
                speedup.append(rate / theirs)
    finally:
        server.close()
        client.close()
    value, faster = ratio(ours), ratio(speedup)
    theirs_text = {"original": f"{value / faster:.2f}x"}
    return [
        Figure(
            "drain, of a bare loop",
            f"{value:.2f}x",
            ">= 0.45x",
            value >= 0.45,
            theirs_text,
        ),
        Figure("drain, of the original", f"{faster:.1f}x", ">= 6x", faster >= 6),
    ]


def fill(folder: pathlib.Path, rows: int) -> QueueFiles:
    """Make a queue of many messages, quickly."""
    files = QueueFiles(folder, "bench", 1)
    queue = DiskQueue(files)
    queue.push(("m", "t", "v1", "r", b"x"))
    queue.close()
    body = deflate(TEXT)
    with contextlib.closing(sqlite3.connect(files.database, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous = OFF")
        for start in range(0, rows, 50_000):
            database.execute("BEGIN")
            database.executemany(
                "INSERT INTO queue (category, data_type, data_version, reqid, data) "
                "VALUES ('m', 't', 'v1', ?, ?)",
                ((f"r{number}", body) for number in range(start, min(rows, start + 50_000))),
            )
            database.execute("COMMIT")
    os.sync()
    return files


def measure_length(folder: pathlib.Path, rounds: int, rows: int) -> list[Figure]:
    """The same operations on a short and on a long queue."""
    body = deflate(TEXT)
    message = ("m", "t", "v1", "r", body)
    short = DiskQueue(fill(folder / "short", 1000))
    long_files = fill(folder / "long", rows)
    before = resident_kib()
    opened = []
    for _ in range(5):
        long = DiskQueue(long_files)
        began = time.perf_counter()
        long.size()
        opened.append((time.perf_counter() - began) * 1e3)
        long.close()
    long = DiskQueue(long_files)
    try:
        for queue in (short, long):
            for _ in range(AGE):
                queue.push(message)
        pushes: list[float] = []
        pops: list[float] = []
        for number in range(rounds * 8):
            pair = {}
            order = (short, long) if number % 2 else (long, short)
            for queue in order:
                times = []
                for _ in range(40):
                    began = time.perf_counter()
                    queue.push(message)
                    times.append(time.perf_counter() - began)
                began = time.perf_counter()
                taken = queue.read(limit=40)
                queue.remove([row["id"] for row in taken], Outcome.ACCEPTED)
                pair[queue] = (statistics.median(times), time.perf_counter() - began)
            pushes.append(pair[long][0] / pair[short][0])
            pops.append(pair[long][1] / pair[short][1])
        sizes = []
        for _ in range(200):
            began = time.perf_counter()
            long.size()
            sizes.append((time.perf_counter() - began) * 1e3)
        grown = (resident_kib() - before) / 1024
        trims = measure_trimming(long, message, rounds)
    finally:
        short.close()
        long.close()
        shutil.rmtree(folder / "short")
        shutil.rmtree(folder / "long")
    push, pop = ratio(pushes), ratio(pops)
    size, trim, start = statistics.median(sizes), statistics.median(trims), min(opened)
    shown = f"10^{round(math.log10(rows))}"
    return [
        Figure(f"push at {shown} of 10^3", f"{push:.2f}x", "<= 1.10x", push <= 1.10),
        Figure(f"take 40 at {shown} of 10^3", f"{pop:.2f}x", "<= 1.10x", pop <= 1.10),
        Figure(f"queue_size at {shown}", f"{size:.3f} ms", "<= 0.2 ms", size <= 0.2),
        Figure(f"trimming push at {shown}, extra", f"{trim:.1f} ms", "<= 10 ms", trim <= 10),
        Figure(f"open at {shown}", f"{start:.2f} ms", "<= 5 ms", start <= 5),
        Figure(f"memory grown at {shown}", f"{grown:.1f} MiB", "<= 6 MiB", grown <= 6),
    ]


def measure_trimming(queue: DiskQueue, message: tuple, rounds: int) -> list[float]:
    """Return by how many milliseconds a push that trims takes longer than one that does not."""
    trims = []
    for _ in range(rounds):
        queue._limit = lambda: None
        began = time.perf_counter()
        queue.push(message)
        plain = time.perf_counter() - began
        queue._limit = lambda: 10_240
        queue._pushed_bytes = 10_240
        began = time.perf_counter()
        queue.push(message)
        trims.append((time.perf_counter() - began - plain) * 1e3)
    queue._limit = lambda: None
    return trims


def measure_waking(folder: pathlib.Path, rounds: int) -> list[Figure]:
    """From a push in one process to the reader of another having the message in hand."""
    files = QueueFiles(folder / "wake", "bench", 1)
    queue = DiskQueue(files)
    queue.push(("m", "t", "v1", "r", b"x"))
    times = []
    for _ in range(rounds * 6):
        source, sink = os.pipe()
        ready_source, ready_sink = os.pipe()
        pid = os.fork()
        if pid == 0:
            sleeper = Sleeper(files)
            sleeper.sleep(0.0)
            queue.read()
            os.write(ready_sink, b"!")
            sleeper.sleep(10.0)
            queue.read()
            os.write(sink, repr(time.monotonic()).encode())
            os._exit(0)
        os.read(ready_source, 1)
        time.sleep(0.01)
        began = time.monotonic()
        queue.ring()
        times.append((float(os.read(source, 100)) - began) * 1e3)
        os.waitpid(pid, 0)
        for fd in (source, sink, ready_source, ready_sink):
            os.close(fd)
    queue.close()
    value = statistics.median(times)
    return [
        Figure(
            "wake-up in another process",
            f"{value:.2f} ms",
            "<= 1 ms",
            value <= 1,
            {"original": "polling_delay / 2"},
        )
    ]


def measure_stopping(folder: pathlib.Path, rounds: int) -> list[Figure]:
    """``stop()`` to the end of ``run()``, idle and in the middle of a request that is not answered."""
    import socket

    logging.getLogger("ramen_client").setLevel(logging.CRITICAL)  # requests are cut off on purpose
    silent = socket.create_server(("127.0.0.1", 0))
    hostname = f"127.0.0.1:{silent.getsockname()[1]}"
    times: dict[str, list[float]] = {"idle": [], "in flight": []}
    for _ in range(rounds):
        for state in times:
            config = QueueReaderConfig(config_values(str(folder / "stop"), hostname))
            reader = QueueReader(config)
            if state == "in flight":
                reader._queue.disk.push(("m", "t", "v1", "r", deflate(b"{}")))
            thread = threading.Thread(target=reader.run_forever)
            thread.start()
            if state == "in flight":
                silent.accept()[0].recv(10)
            else:
                time.sleep(0.05)
            began = time.perf_counter()
            reader.stop()
            thread.join()
            times[state].append((time.perf_counter() - began) * 1e3)
            reader.close()
            shutil.rmtree(folder / "stop")
    silent.close()
    return [
        Figure(
            f"stop(), {state}",
            f"{max(values):.0f} ms",
            "<= 100 ms",
            max(values) <= 100,
            {"original": "0 ms" if state == "idle" else "up to server_timeout"},
        )
        for state, values in times.items()
    ]


def measure_import(folder: pathlib.Path, rounds: int) -> list[Figure]:
    """Import of writer and reader in a fresh interpreter."""
    code = (
        "import time; t = time.perf_counter(); import infi.ramen_client.queue_writer, "
        "infi.ramen_client.queue_reader; print((time.perf_counter() - t) * 1e3)"
    )
    # Compiled once, as after an installation: the first round writes the bytecode and is not counted.
    surroundings = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    surroundings.pop("PYTHONDONTWRITEBYTECODE", None)
    times: dict[str, list[float]] = {"ours": [], "original": []}
    for number in range(rounds * 3 + 1):
        for name, python in (("ours", sys.executable), ("original", interpreter(PEERS))):
            command = [str(python), "-W", "ignore", "-c", code]
            done = subprocess.run(
                command, check=True, capture_output=True, text=True, env=surroundings
            )
            if number:
                times[name].append(float(done.stdout))
    value = statistics.median(times["ours"])
    theirs = f"{statistics.median(times['original']):.0f} ms"
    return [
        Figure(
            "import of writer and reader",
            f"{value:.0f} ms",
            "<= 60 ms",
            value <= 60,
            {"original": theirs},
        )
    ]


def print_figures(figures: list[Figure]) -> None:
    """Print the table."""
    table = Table(title="infi.ramen_client; x is of append + fdatasync where nothing else is said")
    for name in ("what", "ours", "bar", *OTHERS):
        table.add_column(name, justify="left" if name == "what" else "right")
    for figure in figures:
        style = "green" if figure.holds else "bold red"
        others = [figure.others.get(name, "") for name in OTHERS]
        table.add_row(figure.what, f"[{style}]{figure.value}[/]", figure.bar, *others)
    Console(width=130).print(table)
    record(table.title, figures=figures)


def main() -> int:
    """Measure everything, print the table, and say whether the bars hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gate", action="store_true", help="exit with 1 when a bar is missed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000, help="length of the long queue")
    parser.add_argument("--only", help="measure only the parts whose name holds this")
    options = parser.parse_args()
    parts: dict[str, Callable[[pathlib.Path, int], list[Figure]]] = {
        "one writer": measure_one_writer,
        "threads": measure_threads,
        "processes": measure_processes,
        "drain": measure_drain,
        "length": lambda folder, rounds: measure_length(folder, rounds, options.rows),
        "waking": measure_waking,
        "stopping": measure_stopping,
        "import": measure_import,
    }
    console = Console(stderr=True)
    figures = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("RAMEN_BENCHMARK_DIR", ".")) as name:
        for part, run in parts.items():
            if options.only and options.only not in part:
                continue
            with console.status(part):
                measured = run(pathlib.Path(name), options.rounds)
            if options.gate and not all(figure.holds for figure in measured):
                with console.status(f"{part}, once more"):
                    measured = run(pathlib.Path(name), options.rounds)
            figures += measured
    print_figures(figures)
    missed = [figure.what for figure in figures if not figure.holds]
    if missed:
        print("missed:", "; ".join(missed))
    return 1 if options.gate and missed else 0


if __name__ == "__main__":
    sys.exit(main())
