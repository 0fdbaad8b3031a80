"""Further workloads of the chaos suite: children that are forked, a disk that is full, and Loud ML writes.

Each runs in a thread between ``start`` and ``stop``; ``check`` returns a line for every promise that was broken.
"""

import contextlib
import faulthandler
import itertools
import json
import os
import resource
import signal
import threading
import warnings

from infi.ramen_client.errors import QueueError
from loudml import Loud, NativeHttpConnection
from loudml.errors import JobFailed, JobTimeout
from loudml.errors import TransportError as LoudError
from transport_utils.errors import TransportError
from v3io.errors import HttpResponseError
from v3io.expressions import increment

FULL_DISK_BYTES = 16384
CHILD_LIMIT_S = 25


class Task(threading.Thread):
    """A thread that repeats a step until it is told to stop; an error it does not expect is a broken promise."""

    expected: tuple = ()

    def __init__(self):
        super().__init__(name=type(self).__name__)
        self.ending = threading.Event()
        self.failure = None

    def run(self):
        """Repeat the step."""
        try:
            while not self.ending.is_set():
                try:
                    self.step()
                except self.expected:
                    self.ending.wait(0.02)
        except BaseException as error:
            self.failure = error

    def stop(self):
        """End the thread."""
        self.ending.set()
        self.join()
        if self.failure is not None:
            raise self.failure


class Children(Task):
    """Forks while all other threads work; a child uses its parent's clients, every third one on a full disk.

    Args:
        v3io: Client whose connections other threads use.
        writer: Queue that other threads push to.
        folder: Where children leave their ledgers: ``{"called": N, "counted": N, "pushed": [name, ...]}``.
    """

    def __init__(self, v3io, writer, folder):
        super().__init__()
        self._v3io = v3io
        self._writer = writer
        self._folder = folder
        self._numbers = itertools.count()
        self.ledgers = []
        self.hung = []

    def step(self):
        """Fork one child and take over its ledger."""
        number = next(self._numbers)
        ledger, stack = self._folder / f"child-{number}", self._folder / f"stack-{number}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads is the point
            pid = os.fork()
        if pid == 0:
            self._live(number, ledger, stack)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            self.hung.append(f"signal {os.WTERMSIG(status)}: {stack.read_text()}")
        else:
            self.ledgers.append(json.loads(ledger.read_text()))
            ledger.unlink()
        stack.unlink(missing_ok=True)
        self.ending.wait(0.3)

    def _live(self, number, ledger, stack):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(CHILD_LIMIT_S)
        faulthandler.dump_traceback_later(CHILD_LIMIT_S - 3, file=stack.open("w"))
        found = {"called": 0, "counted": 0, "pushed": []}
        try:
            for _ in range(3):
                found["called"] += 1
                with contextlib.suppress(TransportError, HttpResponseError):
                    self._v3io.kv.update("bigdata", "t", "forked", expression=increment("count"))
                    found["counted"] += 1
            if number % 3 == 2:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_DISK_BYTES, resource.RLIM_INFINITY))
            for index in range(5):
                name = f"child-{number}-{index}"
                with contextlib.suppress(QueueError):
                    self._writer.push("m", "t", "v1", {"n": name})
                    found["pushed"].append(name)
        except BaseException as error:
            found["error"] = repr(error)
        finally:
            no_limit = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.setrlimit(resource.RLIMIT_FSIZE, no_limit)
            ledger.write_text(json.dumps(found))
            os._exit(0)

    def check(self, v3io, arrived):
        """Compare counter and messages with the ledgers of all children.

        Args:
            v3io: Client that reaches the server.
            arrived: Names of the messages the Ramen server has.
        """
        broken = [f"a child did not end: {reason}" for reason in self.hung]
        broken += [f"a child failed: {one['error']}" for one in self.ledgers if "error" in one]
        lost = [name for one in self.ledgers for name in one["pushed"] if name not in arrived]
        if lost:
            broken.append(f"messages of children lost: {lost[:5]}")
        low = sum(one["counted"] for one in self.ledgers)
        high = sum(one["called"] for one in self.ledgers)
        count = v3io.kv.get("bigdata", "t", "forked").output.item["count"]
        if not low <= count <= high:
            broken.append(f"children counted {count}, expected {low} to {high}")
        return broken


class Points(Task):
    """Writes batches of points to Loud ML and waits for each job; every finished batch is complete.

    Args:
        address: ``host:port`` of the proxy.
        limit_s: Limit of a call, seconds.
    """

    expected = (LoudError, JobFailed, JobTimeout)
    SIZE = 10
    BUCKET = {
        "name": "chaos",
        "type": "influxdb",
        "addr": "localhost",
        "database": "chaos",
        "measurement": "chaos",
    }

    def __init__(self, address, limit_s):
        super().__init__()
        self._loud = Loud(
            [address], timeout=limit_s, connection_class=NativeHttpConnection, max_retries=2
        )
        self._loud.buckets.create(self.BUCKET)
        self._numbers = itertools.count(1)
        self.finished = []
        self.last = 0

    def step(self):
        """Write one batch, a minute of its own."""
        self.last = number = next(self._numbers)
        points = [{"timestamp": number * 60 + index, "v": index} for index in range(self.SIZE)]
        for job_id in self._loud.buckets.write("chaos", points, batch_size=self.SIZE):
            self._loud.jobs.id(job_id).wait(0.03, timeout=3, check=True)
        self.finished.append(number)

    def stop(self):
        """End the thread and close the client."""
        super().stop()
        self._loud.close()

    def check(self, address):
        """Read back how many points each batch has.

        Args:
            address: ``host:port`` of the server.
        """
        with Loud([address], connection_class=NativeHttpConnection) as loud:
            reading = loud.buckets.read(
                "chaos", _from=0, _to=self.last * 60 + 60, bucket_interval=60, features="count(v)"
            )
            job = loud.jobs.id(reading)
            job.wait(0.05, timeout=20, check=True)
            result = job.fetch_result()
        counts = dict(zip(result["timestamps"], result["observed"]["count_v"], strict=True))
        short = [number for number in self.finished if counts.get(number * 60) != self.SIZE]
        broken = [f"finished batches are not complete: {short[:5]}"] if short else []
        return broken if self.finished else ["points: nothing succeeded"]
