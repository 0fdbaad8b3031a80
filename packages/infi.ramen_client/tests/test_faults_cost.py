"""Faults of 1.40 that cost time, room or descriptors (21 to 26), each a test by its number."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time

import pytest
from infi.ramen_client.config import QueueWriterConfig
from infi.ramen_client.queue_writer import QueueWriter

fork = multiprocessing.get_context("fork")

# Forking beside threads is what these tests are about; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def statements(disk, call):
    seen = []
    connection = disk._database.connection()
    connection.set_trace_callback(seen.append)
    call()
    connection.set_trace_callback(None)
    return seen


def test_fault_21_an_idle_reader_does_not_rewrite_the_file(fill, ramen_server, make_pair, running):
    reader, writer = make_pair(ramen_server, polling_delay=0.01)
    fill(writer, 1)
    disk = reader._queue.disk
    seen = []
    disk._database.connection().set_trace_callback(seen.append)
    thread = running(reader)
    assert ramen_server.store.wait(1, 10)
    time.sleep(0.2)
    reader.stop()
    thread.join()
    assert len([text for text in seen if text.startswith("SELECT q.id")]) > 5
    assert not [text for text in seen if "VACUUM" in text.upper() and "incremental" not in text]
    assert len([text for text in seen if "wal_checkpoint" in text]) == 1


def test_fault_22_trimming_is_one_short_transaction(fill, make_pair, ramen_server):
    _, writer = make_pair(ramen_server)
    fill(writer, 20_000)
    writer._config.max_queue_size = 10_240
    writer._queue.disk._pushed_bytes = 10_240
    seen = statements(writer._queue.disk, lambda: writer.push("m", "t", "v1", {}))
    assert writer._queue.disk.counters()["trimmed"] == 1000
    assert not [text for text in seen if text.upper().startswith("VACUUM")]


def test_fault_23_the_size_is_one_row(fill, make_pair, ramen_server):
    _, writer = make_pair(ramen_server)
    fill(writer, 5)
    seen = statements(writer._queue.disk, writer.queue_size)
    assert len(seen) == 1
    assert "ramen_counters" in seen[0]
    assert "count(" not in seen[0]


def test_fault_24_threads_leave_no_descriptors(make_pair, ramen_server):
    _, writer = make_pair(ramen_server)
    writer.push("m", "t", "v1", {})
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        thread = threading.Thread(target=writer.push, args=("m", "t", "v1", {}))
        thread.start()
        thread.join()
    assert len(os.listdir("/proc/self/fd")) <= before
    writer.close()
    assert len(os.listdir("/proc/self/fd")) < before


def test_fault_25_together_messages_cost_little_more_than_their_bytes(
    fill, make_pair, ramen_server
):
    _, writer = make_pair(ramen_server)
    fill(writer, 1)

    def written():
        with open("/proc/self/io", encoding="ascii") as file:
            return int(dict(line.split(": ") for line in file)["wchar"])

    messages = [("m", "t", "v1", os.urandom(400).hex()) for _ in range(1000)]
    before = written()
    writer.push_many(messages)
    assert written() - before < 1000 * 1500


def _time_pushes(values, count, results):
    with QueueWriter(QueueWriterConfig(values)) as writer:
        writer.push("m", "t", "v1", {})
        worst = 0.0
        for _ in range(count):
            begun = time.monotonic()
            writer.push("m", "t", "v1", {})
            worst = max(worst, time.monotonic() - begun)
        results.put(worst)


def test_fault_26_no_writing_process_is_starved(writer_values):
    results = fork.SimpleQueue()
    processes = [
        fork.Process(target=_time_pushes, args=(writer_values, 60, results)) for _ in range(8)
    ]
    for process in processes:
        process.start()
    worst = [results.get() for _ in processes]
    for process in processes:
        process.join(20)
    assert sorted(worst)[4] < 0.5
