"""Applications at work while everything between and behind them breaks; what was promised is checked at the end.

``hatch run chaos [--seed N] [--runs N] [--seconds S]``. Three servers and a pylm cluster (``chaos_pylm``) run as
processes, with their data on disk; fault proxies stand in front of them. A thread with a seeded generator stalls,
slows, cuts, half-opens and refuses connections, answers 503, loses answers after the work was done, steps the wall
clock, and kills and restarts the servers. Meanwhile workloads keep a ledger of what was acknowledged, what failed in a
way that may have been applied, and what surely was not; some of them fork, and write to a disk that is full. What runs
on Golem providers has a suite of its own, ``golem/golem_chaos.py``.

Invariants: nothing acknowledged is lost; nothing that is not idempotent is done twice; every call ends within its limit
with a result or a typed error; no thread, socket, file or memory stays behind.
"""

from __future__ import annotations

import collections
import json
import logging
import pathlib
import random
import resource
import sys
import tempfile
import threading
import time
import urllib.request

from infi.ramen_client.config import QueueReaderConfig
from infi.ramen_client.queue_reader import QueueReader
from infi.ramen_client.queue_writer import QueueWriter
from loudml import Loud, NativeHttpConnection
from loudml.errors import LoudMLException
from mock_servers.leaks import Resources, leaked
from mock_servers.process import ServerProcess
from mock_servers.proxy import Conditions, FaultProxy
from transport_utils.errors import SentState, TransportError
from v3io.dataplane import Client as V3ioClient
from v3io.errors import HttpResponseError, Overloaded
from v3io.expressions import increment
from v3io.streams import Consumer, GroupSettings, Producer

sys.path.append(__file__.rpartition("/")[0])
from chaos_pylm import Crew
from chaos_seeds import run_seeds
from chaos_tasks import Children, Points

CALL_LIMIT_S = 2.0
SLACK_S = 1.5  # a loaded machine, and pauses of the interpreter
SETTLE_S = 60.0
MEMORY_KIB = 128 * 1024
OURS = ("loudml.sqlite", "pylm", "queue", "ramen", "v3io")


class Ledger:
    """What became of the attempts of one workload; written by its thread only."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []
        self.ambiguous: list[int] = []
        self.refused = 0
        self.slowest_s = 0.0
        self.errors: collections.Counter[str] = collections.Counter()

    def attempt(self, number: int, call) -> None:
        """Make one call and book it."""
        began = time.monotonic()
        try:
            call()
        except (TransportError, HttpResponseError, LoudMLException) as error:
            self.errors[type(error).__name__] += 1
            if surely_not_applied(error):
                self.refused += 1
            else:
                self.ambiguous.append(number)
        else:
            self.acknowledged.append(number)
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)


def surely_not_applied(error: Exception) -> bool:
    """Return whether an error says that the server did not do it."""
    if isinstance(error, TransportError):
        return error.sent is SentState.NOT_SENT
    return isinstance(error, Overloaded)


class Servers:
    """The servers, the proxies before them, and what can be done to both."""

    def __init__(self, folder: pathlib.Path, seed: int) -> None:
        self.processes = {
            name: ServerProcess(name, "--port", "0", "--data", str(folder / name))
            for name in ("v3io", "ramen")
        }
        database = str(folder / "loudml.sqlite")
        self.processes["loudml"] = ServerProcess(
            "loudml", "--port", "0", "--tick-s", "0.05", "--data", database
        )
        self.proxies: dict[str, FaultProxy] = {}
        self._seed = seed

    def start(self) -> None:
        """Run everything."""
        for name, process in self.processes.items():
            process.start()
            address = process.url.rpartition("/")[2]
            self.proxies[name] = FaultProxy(address, seed=self._seed).start()

    def heal(self) -> None:
        """End every fault."""
        for name, process in self.processes.items():
            self.proxies[name].up = self.proxies[name].down = Conditions()
            self.clear_faults(process.url)

    def stop(self) -> None:
        """End everything."""
        for proxy in self.proxies.values():
            proxy.stop()
        for process in self.processes.values():
            process.stop()

    def add_fault(self, name: str, **fault: object) -> None:
        """Ask a server for a fault."""
        self._control(self.processes[name].url, "POST", json.dumps(fault).encode())

    def clear_faults(self, url: str) -> None:
        """End the faults of a server."""
        self._control(url, "DELETE", None)

    @staticmethod
    def _control(url: str, method: str, body: bytes | None) -> None:
        base = url if "://" in url else f"http://{url}"
        request = urllib.request.Request(f"{base}/_mock/faults", body, method=method)
        with urllib.request.urlopen(request, timeout=10):
            pass


class Chaos(threading.Thread):
    """Breaks one thing after the other until stopped; the same seed breaks the same things in the same order."""

    def __init__(self, servers: Servers, seed: int) -> None:
        super().__init__(name="chaos")
        self._servers = servers
        self._random = random.Random(seed)
        self._ending = threading.Event()
        self.done: collections.Counter[str] = collections.Counter()
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Break things, one at a time, each for a short while."""
        actions = [
            self.slow, self.slow, self.stall, self.cut, self.cut, self.half_open, self.refuse,
            self.cut_midway, self.overload, self.lose_answers, self.lose_answers, self.kill, self.pause,
            self.step_clock,
        ]  # fmt: skip
        try:
            while not self._ending.is_set():
                name = self._random.choice(sorted(self._servers.processes))
                action = self._random.choice(actions)
                self.done[action.__name__] += 1
                action(name, self._servers.proxies[name])
                self._ending.wait(self._random.uniform(0.02, 0.3))
        except BaseException as error:
            self.failure = error

    def stop(self) -> None:
        """End the thread."""
        self._ending.set()
        self.join()
        if self.failure is not None:
            raise self.failure

    def _for_a_while(self, longest_s: float) -> None:
        self._ending.wait(self._random.uniform(0.05, longest_s))

    def slow(self, name: str, proxy: FaultProxy) -> None:
        """Add latency and narrow the way."""
        proxy.up = Conditions(latency_s=self._random.uniform(0, 0.1), jitter_s=0.05)
        proxy.down = Conditions(bandwidth_bytes_s=self._random.choice([20_000, 1_000_000]))
        self._for_a_while(0.6)
        proxy.up = proxy.down = Conditions()

    def stall(self, name: str, proxy: FaultProxy) -> None:
        """Swallow what is sent."""
        proxy.up = Conditions(blackhole=self._random.random() < 0.5)
        proxy.down = Conditions(blackhole=True)
        self._for_a_while(0.5)
        proxy.up = proxy.down = Conditions()
        proxy.cut()

    def cut(self, name: str, proxy: FaultProxy) -> None:
        """End all connections."""
        proxy.cut(reset=self._random.random() < 0.7)

    def cut_midway(self, name: str, proxy: FaultProxy) -> None:
        """Reset connections after some bytes."""
        proxy.down = Conditions(reset_after=self._random.randrange(0, 400))
        self._for_a_while(0.3)
        proxy.down = Conditions()

    def half_open(self, name: str, proxy: FaultProxy) -> None:
        """Lose the servers' side of the connections."""
        proxy.half_open()

    def refuse(self, name: str, proxy: FaultProxy) -> None:
        """Refuse new connections."""
        proxy.refuse()
        self._for_a_while(0.4)
        proxy.accept()

    def overload(self, name: str, proxy: FaultProxy) -> None:
        """Answer a few requests with 503."""
        self._servers.add_fault(name, action="status", status=503, times=self._random.randint(1, 6))

    def lose_answers(self, name: str, proxy: FaultProxy) -> None:
        """Do the work and end the connection without an answer."""
        action = self._random.choice(["reset", "drop", "truncate"])
        self._servers.add_fault(name, action=action, apply=True, times=self._random.randint(1, 3))

    def kill(self, name: str, proxy: FaultProxy) -> None:
        """Kill the server and start it again."""
        process = self._servers.processes[name]
        process.kill()
        self._for_a_while(0.3)
        process.start()

    def pause(self, name: str, proxy: FaultProxy) -> None:
        """Stop the server's process for a while."""
        process = self._servers.processes[name]
        process.pause()
        self._for_a_while(0.8)
        process.resume()

    def step_clock(self, name: str, proxy: FaultProxy) -> None:
        """Step the wall clock of this process, as an administrator or a time server does."""
        real = time.time
        step_s = self._random.choice([-3600.0, 3600.0, 86400.0])
        time.time = lambda: real() + step_s
        try:
            self._for_a_while(0.5)
        finally:
            time.time = real


class Workloads:
    """The applications; each runs in a thread of its own until told to end."""

    def __init__(self, servers: Servers, folder: pathlib.Path) -> None:
        self.ending = threading.Event()
        self.folder = folder
        endpoint = f"http://{servers.proxies['v3io'].address}"
        self.v3io = V3ioClient(
            endpoint=endpoint, access_key="k", timeout=CALL_LIMIT_S, logger_verbosity="CRITICAL"
        )
        self.loud = Loud(
            [f"http://{servers.proxies['loudml'].address}"],
            connection_class=NativeHttpConnection,
            timeout=CALL_LIMIT_S,
            max_retries=2,
        )
        self.config = QueueReaderConfig(
            {
                "sender": "chaos",
                "system_serial": 1,
                "system_version": "1",
                "hostname": servers.proxies["ramen"].address,
                "auth_token": "good-token",
                "ssl": False,
                "queue_dir": str(folder / "queue"),
                "retry_delay": 1,
                "server_timeout": 2,
            }
        )
        self.writer = QueueWriter(self.config)
        self.reader = QueueReader(self.config, max_retry_delay=1.0)
        self.ledgers = {
            name: Ledger() for name in ("count", "put", "append", "produce", "push", "list")
        }
        self.consumed: collections.Counter[int] = collections.Counter()
        self.failures: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=work.__name__)
            for work in (
                self.count,
                self.put,
                self.append,
                self.produce,
                self.consume,
                self.push,
                self.read_models,
            )
        ]
        self._threads.append(threading.Thread(target=self.reader.run_forever, name="ramen-reader"))

    def prepare(self) -> None:
        """Create what the workloads need, before anything breaks."""
        for counter in ("counter", "forked"):
            self.v3io.kv.put("bigdata", "t", counter, {"count": 0})
        self.v3io.object.put("bigdata", "log", body=b"")
        self.v3io.stream.create("bigdata", "s", 2)
        # What a first push imports: Python cannot fork in the middle of another thread's import.
        self.ledgers["push"].attempt(0, lambda: self.writer.push("m", "t", "v1", {"n": 0}))

    def start(self) -> None:
        """Run all workloads."""
        for thread in self._threads:
            thread.start()

    def _guarded(self, work) -> None:
        try:
            work()
        except BaseException as error:
            self.failures.append(error)

    def _until_the_end(self, name: str, call) -> None:
        number = 0
        while not self.ending.is_set():
            number += 1
            self.ledgers[name].attempt(number, lambda number=number: call(number))
            self.ending.wait(0.003)

    def count(self) -> None:
        """Count by an expression, which must never be repeated."""
        self._until_the_end(
            "count",
            lambda _: self.v3io.kv.update("bigdata", "t", "counter", expression=increment("count")),
        )

    def put(self) -> None:
        """Write an item again and again, which may be repeated."""
        self._until_the_end("put", lambda n: self.v3io.kv.put("bigdata", "t", "item", {"n": n}))

    def append(self) -> None:
        """Append lines, which must never be repeated."""
        self._until_the_end(
            "append",
            lambda n: self.v3io.object.put("bigdata", "log", body=f"{n}\n", append=True),
        )

    def produce(self) -> None:
        """Put records on a stream."""

        def produce(number: int) -> None:
            with Producer(self.v3io, "bigdata", "s", attempts=3) as producer:
                producer.put(str(number), shard_id=number % 2)

        self._until_the_end("produce", produce)

    def consume(self) -> None:
        """Read the stream as the only member of a group, joining again after failures."""
        settings = GroupSettings(
            1, fetch_records=100, poll_s=0.02, commit_s=0.5, heartbeat_s=0.3, session_timeout_s=1.5,
        )  # fmt: skip
        while not self.ending.is_set():
            try:
                self.read_stream(settings)
            except (TransportError, HttpResponseError, RuntimeError):
                self.ending.wait(0.1)

    def read_stream(self, settings: GroupSettings, *, to_the_end: bool = False) -> None:
        """Take note of every record read until told to end, or until there is no more."""
        with Consumer(
            self.v3io, "bigdata", "s", group="g", settings=settings, stop_when_idle=to_the_end
        ) as consumer:
            stopper = threading.Timer(0, lambda: None)
            if not to_the_end:
                stopper = threading.Thread(target=self._stop_at_the_end, args=(consumer,))
            stopper.start()
            try:
                for record in consumer:
                    self.consumed[int(record.data)] += 1
            finally:
                consumer.stop()
                stopper.join()

    def _stop_at_the_end(self, consumer: Consumer) -> None:
        while not self.ending.wait(0.05) and not consumer.stopped:
            pass
        consumer.stop()

    def push(self) -> None:
        """Push messages; every push that returns must arrive once."""
        self._until_the_end("push", lambda n: self.writer.push("m", "t", "v1", {"n": n}))

    def read_models(self) -> None:
        """Ask Loud ML for its templates, which may be repeated."""
        self._until_the_end("list", lambda _: self.loud.templates.get())

    def stop(self) -> None:
        """End the workloads, the reader last, once the queue is empty."""
        self.ending.set()
        for thread in self._threads[:-1]:
            thread.join(30)
        deadline = time.monotonic() + SETTLE_S
        while self.writer.queue_size() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.reader.stop()
        self._threads[-1].join(10)
        if self.failures:
            raise self.failures[0]

    def close(self) -> None:
        """Release what the clients hold."""
        self.writer.close()
        self.reader.close()
        self.loud.close()
        self.v3io.close()


def check(work: Workloads, children: Children, servers: Servers) -> list[str]:
    """Return a line for every promise that was broken."""
    broken: list[str] = []

    def promise(holds: bool, text: str) -> None:
        if not holds:
            broken.append(text)

    ledgers = work.ledgers
    endpoint = servers.processes["v3io"].url
    with V3ioClient(endpoint=endpoint, access_key="k", logger_verbosity="CRITICAL") as v3io:
        count = v3io.kv.get("bigdata", "t", "counter").output.item["count"]
        low = len(ledgers["count"].acknowledged)
        high = low + len(ledgers["count"].ambiguous)
        promise(low <= count <= high, f"counted {count}, expected {low} to {high}")

        last = v3io.kv.get("bigdata", "t", "item").output.item["n"]
        acknowledged = ledgers["put"].acknowledged[-1]
        promise(
            last == acknowledged or last in ledgers["put"].ambiguous,
            f"the item holds {last}, the last write acknowledged was {acknowledged}",
        )

        lines = collections.Counter(map(int, v3io.object.get("bigdata", "log").body.split()))
        appended = ledgers["append"]
        lost = [n for n in appended.acknowledged if lines[n] == 0]
        twice = [n for n, times in lines.items() if times > 1]
        promise(not lost, f"appends lost: {lost[:5]}")
        promise(not twice, f"appended twice: {twice[:5]}")

        work.v3io = v3io
        work.read_stream(GroupSettings(1, fetch_records=1000, start="earliest"), to_the_end=True)
        missing = [n for n in ledgers["produce"].acknowledged if n not in work.consumed]
        promise(not missing, f"records never delivered: {missing[:5]}")

    with urllib.request.urlopen(
        f"{servers.processes['ramen'].url}/_mock/messages", timeout=30
    ) as reply:
        messages = json.load(reply)
    found = messages["messages"] if isinstance(messages, dict) else messages
    arrived = collections.Counter(
        json.loads(one["body"])["n"] if isinstance(one["body"], str) else one["body"]["n"]
        for one in found
    )
    with V3ioClient(endpoint=endpoint, access_key="k", logger_verbosity="CRITICAL") as v3io:
        broken += children.check(v3io, arrived)
    lost = [n for n in ledgers["push"].acknowledged if arrived[n] == 0]
    twice = [n for n, times in arrived.items() if times > 1]
    promise(not lost, f"messages lost: {len(lost)}, the first {lost[:5]}")
    promise(not twice, f"messages stored twice: {twice[:5]}")
    promise(not work.writer.queue_size(), "the queue was not drained")

    for name, ledger in ledgers.items():
        promise(bool(ledger.acknowledged), f"{name}: nothing succeeded")
        if name not in ("produce", "push"):  # several calls in one, and the disk's time
            limit = CALL_LIMIT_S * 1.1 + 0.05 + SLACK_S
            promise(ledger.slowest_s <= limit, f"{name}: a call took {ledger.slowest_s:.1f} s")
    return broken


def run(seed: int, seconds: float) -> tuple[list[str], str]:
    """Run once; return the broken promises and a table of what happened."""
    before = Resources.now()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        servers = Servers(folder, seed)
        servers.start()
        work = Workloads(servers, folder)
        chaos = Chaos(servers, seed)
        children = Children(work.v3io, work.writer, folder)
        points = Points(servers.proxies["loudml"].address, CALL_LIMIT_S)
        crew = Crew(folder, seed)
        tasks = (children, points, crew)
        memory_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            work.prepare()
            work.start()
            for task in tasks:
                task.start()
            chaos.start()
            time.sleep(seconds)
            chaos.stop()
            servers.heal()
            for task in tasks:
                task.stop()
            work.stop()
            client = work.v3io
            broken = check(work, children, servers)
            work.v3io = client
            broken += points.check(servers.processes["loudml"].url.rpartition("/")[2])
            broken += crew.check()
            grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_kib
            if grown_kib > MEMORY_KIB:
                broken.append(f"memory grew by {grown_kib} KiB")
            strangers = sorted(
                path.name for path in folder.iterdir() if not path.name.startswith(OURS)
            )
            if strangers:
                broken.append(f"files left behind: {strangers}")
        finally:
            work.ending.set()
            for task in tasks:
                task.ending.set()
            crew.close()
            work.close()
            servers.stop()
    if found := leaked(before):
        broken.append(found)
    lines = [f"seed {seed}, {seconds:g} s: {dict(chaos.done)}"]
    for kind, ledger in work.ledgers.items():
        lines.append(
            f"  {kind:8} acknowledged {len(ledger.acknowledged):6}  ambiguous {len(ledger.ambiguous):5}  "
            f"refused {ledger.refused:5}  slowest {ledger.slowest_s:4.1f} s  {dict(ledger.errors)}"
        )
    lines.append(f"  children {len(children.ledgers)}, batches of points {len(points.finished)}")
    lines.append(f"  {crew.report()}")
    return broken, "\n".join(lines)


def main() -> int:
    """Run the seeds asked for; return 1 when a promise was broken."""
    logging.getLogger("ramen_client").setLevel(logging.CRITICAL)
    logging.getLogger("loudml").setLevel(logging.CRITICAL)
    return run_seeds(__doc__.partition("\n")[0], run)


if __name__ == "__main__":
    sys.exit(main())
