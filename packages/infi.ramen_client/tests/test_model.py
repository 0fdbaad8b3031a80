"""Random sequences of operations on the queue, compared with a list."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import zlib

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from infi.ramen_client.diskqueue import DiskQueue, Outcome, QueueFiles

VERSIONS = st.sampled_from(["v1", 1, "1", "008", "1e2", "-0"])
SIZES = st.sampled_from([0, 10, 500, 5000])


class QueueMachine(RuleBasedStateMachine):
    """The model is ``self.model``: (request id, path, data) of every message that must be there, in order."""

    @initialize(durability=st.sampled_from(["fsync", "interval"]))
    def make(self, durability):
        self.folder = tempfile.mkdtemp()
        self.durability = durability
        self.model = []
        self.count = 0
        self.generation = 0
        self.pushed = 0
        self.open()

    def open(self):
        path = os.path.join(self.folder, str(self.generation))
        self.queue = DiskQueue(QueueFiles(path, "imx", 1099), durability=self.durability)

    def message(self, version, size):
        self.count += 1
        self.pushed += 1
        data = zlib.compress(os.urandom(size))
        row = ("m", f"t{self.count % 3}", version, f"r{self.count}", data)
        self.model.append((row[3], (row[0], row[1], str(version)), data))
        return row

    @rule(version=VERSIONS, size=SIZES)
    def push(self, version, size):
        self.queue.push(self.message(version, size))

    @rule(versions=st.lists(st.tuples(VERSIONS, SIZES), max_size=70))
    def push_many(self, versions):
        self.queue.push_many([self.message(*each) for each in versions])

    @rule(versions=st.lists(VERSIONS, min_size=1, max_size=5))
    def push_nowait(self, versions):
        futures = [self.queue.push_nowait(self.message(version, 20)) for version in versions]
        for future in futures:
            future.result(10)

    @rule()
    def foreign_push(self):
        self.queue.size()
        with contextlib.closing(sqlite3.connect(self.queue.files.database)) as database, database:
            database.execute(
                "INSERT INTO queue (category, data_type, data_version, reqid, data) VALUES (?,?,?,?,?)",
                self.message("v1", 30),
            )

    @rule(data=st.data())
    def remove(self, data):
        rows = self.queue.read(limit=1000)
        chosen = data.draw(st.lists(st.sampled_from(range(len(rows))), unique=True)) if rows else []
        numbers = [rows[index]["id"] for index in chosen]
        assert self.queue.remove(numbers, Outcome.ACCEPTED) == len(numbers)
        for index in sorted(chosen, reverse=True):
            del self.model[index]

    @rule(held=st.sampled_from(["t0", "t1", "t2"]), after=st.integers(0, 50))
    def read_without_a_path(self, held, after):
        paths = {path for _, path, _ in self.model if path[1] == held}
        numbers = {row["reqid"]: row["id"] for row in self.queue.read(limit=1000)}
        expected = [
            reqid for reqid, path, _ in self.model if path not in paths and numbers[reqid] > after
        ]
        assert [row["reqid"] for row in self.queue.read(after, 1000, paths)] == expected

    @rule()
    def tidy(self):
        self.queue.tidy()

    @rule()
    def reopen(self):
        self.queue.close()
        if self.count % 2:
            self.open()

    @rule()
    def die(self):
        """What a killed process leaves is what the files hold at that moment."""
        self.queue.size()
        old = self.queue
        source = self.queue.files.directory
        self.generation += 1
        target = os.path.join(self.folder, str(self.generation))
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.wake"))
        self.open()
        self.queue.size()
        old.close()

    @invariant()
    def holds_what_the_model_holds(self):
        rows = self.queue.read(limit=2000)
        found = [
            (
                row["reqid"],
                (row["category"], row["data_type"], str(row["data_version"])),
                row["data"],
            )
            for row in rows
        ]
        assert found == self.model
        counters = self.queue.counters()
        assert counters["rows"] == len(self.model)
        assert counters["pushed"] == self.pushed
        assert counters["pushed"] - counters["removed"] == len(self.model)

    def teardown(self):
        if hasattr(self, "queue"):
            self.queue.close()
            shutil.rmtree(self.folder)


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
