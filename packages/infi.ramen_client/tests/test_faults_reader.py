"""Faults of 1.40 that repeated messages or stopped its reader (11 to 20), each a test by its number."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import resource
import socket
import sqlite3
import threading
import time
import zlib

import pytest
from infi.ramen_client.config import QueueWriterConfig
from infi.ramen_client.errors import AutheticationError, QueueFull
from infi.ramen_client.queue import DefaultQueue
from infi.ramen_client.queue_writer import QueueWriter
from mock_servers.faults import Fault

fork = multiprocessing.get_context("fork")

# Forking beside threads is what these tests are about; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def test_fault_11_a_push_whose_trim_fails_has_succeeded(fill, make_pair, ramen_server, monkeypatch):
    _, writer = make_pair(ramen_server, max_queue_size=10_240)
    fill(writer, 3)

    def locked(*_):
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr("infi.ramen_client.diskqueue.space.trim", locked)
    writer.push("m", "t", "v1", {"big": "x" * 50_000})
    assert writer.queue_size() == 4


def test_fault_12_request_ids_are_escaped(ramen_server, make_pair):
    reader, writer = make_pair(ramen_server)
    wanted = ["#a", "#b", "a&reqid=b", "%41", "A", "é/?"]
    for reqid in wanted:
        writer.push("m", "t", "v1", {"r": reqid}, reqid=reqid)
    assert reader.run(blocking=False) == len(wanted)
    assert [message["reqid"] for message in ramen_server.store.messages()] == wanted
    assert ramen_server.store.conflicts() == []


@pytest.mark.parametrize("status", [401, 403])
def test_fault_13_a_refused_token_is_told_and_tried_again(
    fill, ramen_server, make_pair, running, status
):
    events = []
    told = threading.Event()
    reader, writer = make_pair(ramen_server, max_retry_delay=0.02)
    reader._delivery._on_event = lambda name, **facts: (events.append(name), told.set())
    ramen_server.faults.add(
        Fault("status", status=status, body='{"code":"UNAUTHORIZED","details":"d"}', times=2)
    )
    fill(writer, 3)
    thread = running(reader)
    assert ramen_server.store.wait(3, 10)
    assert thread.is_alive()
    assert events.count("refused") == 2


def test_fault_13_and_36_in_the_callers_thread_it_is_raised_with_a_text(
    fill, ramen_server, make_pair
):
    reader, writer = make_pair(ramen_server, auth_token="bad")
    fill(writer, 1)
    for call in (reader.consume_one, lambda: reader.run(blocking=False), reader.run):
        with pytest.raises(
            AutheticationError, match=r"^UNAUTHORIZED - Credentials missing or invalid$"
        ):
            call()
    assert writer.queue_size() == 1
    assert reader.test_connection() is False


NONSENSE = [
    b"HTTP/1.1 202 OK\r\nContent-Length: 5\r\n\r\n<html",
    b"HTTP/1.1 401 No\r\nContent-Length: 5\r\n\r\n<html",
    b"HTTP/1.1 202 OK\r\nContent-Length: 2\r\n\r\n[]",
    b"HTTP/1.1 202 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 202 OK\r\nContent-Length: 99\r\n\r\n{",
    b"HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 202 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
    b"HTTP/1.1 20",
    b"HTTP/1.1 202 OK\r\nContent-",
    b"\x00\x01\x02garbage\r\n\r\n",
    b"",
]


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_fault_14_no_reply_ends_the_reader(fill, recorder, make_pair, running, nonsense):
    def answer(connection):
        connection.sendall(nonsense)
        connection.shutdown(socket.SHUT_RDWR)

    recorder.answers = [answer, answer]
    reader, writer = make_pair(recorder, max_retry_delay=0.02)
    fill(writer, 2)
    thread = running(reader)
    deadline = time.monotonic() + 10
    while writer.queue_size() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert thread.is_alive()
    assert writer.queue_size() == 0
    assert reader.stats.accepted == 2


@pytest.mark.parametrize(
    "values",
    [
        {"hostname": ""},
        {"hostname": "host:bad"},
        {"hostname": " "},
        {"auth_token": "a\nb"},
        {"auth_token": "\u05e9"},
        {"hostname": "127.0.0.1:1"},
        {"hostname": "name.invalid"},
    ],
)
def test_fault_14_a_configuration_that_cannot_work_is_told_and_keeps_messages(
    fill, make_pair, values
):
    events = []
    values = {"hostname": "127.0.0.1:1", **values}
    reader, writer = make_pair(values.pop("hostname"), events=events, **values)
    fill(writer, 1)
    assert reader.consume_one() == reader.RETRY
    assert writer.queue_size() == 1
    assert [name for name, _ in events if name == "retry"] == ["retry"]
    assert reader.stats.last_error
    assert reader.test_connection() is False


def test_fault_15_a_poison_message_holds_up_its_own_path_only(bodies, ramen_server, make_pair):
    ramen_server.faults.add(Fault("status", path="*poison*", status=500))
    reader, writer = make_pair(ramen_server)
    for number in range(3):
        writer.push("m", "poison", "v1", {"i": number})
        writer.push("m", "good", "v1", {"i": number})
    assert reader.run(blocking=False) == 3
    assert bodies(ramen_server) == [{"i": 0}, {"i": 1}, {"i": 2}]
    ramen_server.faults.clear()
    assert reader.run(blocking=False) == 3
    assert bodies(ramen_server)[3:] == [{"i": 0}, {"i": 1}, {"i": 2}]


def test_fault_15_a_poison_message_may_be_set_aside_after_some_attempts(ramen_server, make_pair):
    ramen_server.faults.add(Fault("status", path="*poison*", status=500))
    reader, writer = make_pair(ramen_server, dead_after=2)
    writer.push("m", "poison", "v1", {})
    assert [reader.consume_one() for _ in range(2)] == [reader.RETRY, reader.DROPPED]
    assert "2 attempts" in reader._dead.list()[0]["reason"]


@contextlib.contextmanager
def file_size_limit(limit):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def push_until_it_fails(writer):
    for _ in range(2000):
        writer.push("m", "t", "v1", {"x": os.urandom(2000).hex()})


def test_fault_16_without_room_pushing_fails_cleanly_and_sending_goes_on(
    fill, ramen_server, make_pair
):
    reader, writer = make_pair(ramen_server)
    fill(writer, 300)
    size = os.stat(writer._queue.disk.files.wal).st_size
    with file_size_limit(size):
        with pytest.raises(QueueFull) as caught:
            push_until_it_fails(writer)
        assert caught.value.errno == errno.ENOSPC
        stored = writer.queue_size()
        assert stored >= 300
        assert reader.run(blocking=False) == stored
    assert ramen_server.store.count() == stored
    assert writer.queue_size() == 0
    writer.push("m", "t", "v1", {})


def test_fault_17_a_stop_before_the_thread_runs_is_not_lost(make_pair, ramen_server):
    reader, _ = make_pair(ramen_server)
    reader.stop()
    assert reader.run(blocking=True) == 0


def test_fault_17_a_stop_ends_a_request_in_flight_within_a_tenth_of_a_second(
    fill, ramen_server, make_pair, running
):
    reader, writer = make_pair(ramen_server, server_timeout=60)
    ramen_server.faults.add(Fault("hang", times=1))
    fill(writer, 1)
    thread = running(reader)
    while ramen_server.faults.shown():  # struck: the request hangs
        time.sleep(0.005)
    begun = time.monotonic()
    reader.stop()
    thread.join(5)
    assert time.monotonic() - begun < 0.5
    assert writer.queue_size() == 1
    assert reader.run(blocking=False) == 1


def test_a_late_stop_of_the_run_before_does_not_cut_off_the_next_run(
    ramen_server, make_pair, running, monkeypatch
):
    seen = {name: threading.Semaphore(0) for name in ("active", "accepted")}
    told = lambda name, **_facts: seen[name].release() if name in seen else None  # noqa: E731
    reader, writer = make_pair(ramen_server, on_event=told)
    go_on, cut = threading.Event(), threading.Event()
    real = reader._cut_off

    def late(*arguments):
        assert go_on.wait(10)
        real(*arguments)
        cut.set()

    monkeypatch.setattr(reader, "_cut_off", late)
    first = running(reader)
    assert seen["active"].acquire(timeout=10)
    reader.stop()
    first.join(10)
    running(reader)
    assert seen["active"].acquire(timeout=10)
    go_on.set()
    assert cut.wait(10)
    writer.push("m", "t", "v1", {"n": 1})
    assert seen["accepted"].acquire(timeout=10)


def test_fault_18_a_push_wakes_the_reader(ramen_server, make_pair, running):
    reader, writer = make_pair(ramen_server, polling_delay=3600)
    running(reader)
    for number in range(3):
        writer.push("m", "t", "v1", {"i": number})
        assert ramen_server.store.wait(number + 1, 10)


def test_fault_19_a_half_created_database_is_completed(writer_values):
    config = QueueWriterConfig(writer_values)
    queue = DefaultQueue(config)
    with contextlib.closing(sqlite3.connect(queue._path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA user_version = 0")
    queue.push("m", "t", "v1", zlib.compress(b"{}"))
    assert len(queue) == 1
    queue.close()


def _construct(values, barrier):
    barrier.wait()
    with QueueWriter(QueueWriterConfig(values)) as writer:
        writer.push("m", "t", "v1", {})


def test_fault_19_processes_may_all_set_up_the_folder_at_once(writer_values):
    for number in range(5):
        values = {**writer_values, "queue_dir": f"{writer_values['queue_dir']}/a/b{number}"}
        barrier = fork.Barrier(4)
        processes = [fork.Process(target=_construct, args=(values, barrier)) for _ in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(20)
            assert process.exitcode == 0
        with QueueWriter(QueueWriterConfig(values)) as writer:
            assert writer.queue_size() == 4


def test_fault_20_the_timeout_is_of_the_whole_request(fill, recorder, make_pair):
    ended = threading.Event()

    def drip(connection):
        for byte in recorder.reply():
            connection.sendall(bytes([byte]))
            if ended.wait(0.1):
                return

    recorder.answers = [drip]
    reader, writer = make_pair(recorder, server_timeout=1)
    fill(writer, 1)
    begun = time.monotonic()
    assert reader.consume_one() == reader.RETRY
    ended.set()
    assert time.monotonic() - begun < 3
    assert "Timeout" in reader.stats.last_error


def test_fault_20_a_reply_that_drips_from_the_server_is_cut_off_and_the_message_sent_again(
    fill, ramen_server, make_pair
):
    reader, writer = make_pair(ramen_server, server_timeout=1)
    fill(writer, 2)
    ramen_server.faults.add(Fault("drip", delay_s=0.2, times=1))
    begun = time.monotonic()
    assert reader.consume_one() == reader.RETRY
    assert (
        time.monotonic() - begun < 3
    )  # a byte comes every 0.2 s, the whole would take seven seconds
    assert "Timeout" in reader.stats.last_error
    assert writer.queue_size() == 2
    while writer.queue_size():
        reader.run(blocking=False)
    stats = ramen_server.store.stats()
    assert (stats["messages"], stats["conflicts"]) == (2, 0)
