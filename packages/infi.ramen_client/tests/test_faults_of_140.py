"""Each fault found in 1.40 is a test by its number, which fails when the fault comes back."""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import logging
import multiprocessing
import os
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import zlib

import pytest
from infi.ramen_client.config import QueueReaderConfig, QueueWriterConfig
from infi.ramen_client.diskqueue import DiskQueue, Outcome
from infi.ramen_client.errors import AutheticationError, DataError, EncodingError, QueueFull
from infi.ramen_client.queue import DefaultQueue
from infi.ramen_client.queue_reader import QueueReader
from infi.ramen_client.queue_writer import QueueWriter
from infi.ramen_client.serialization import dump_json
from mock_servers.faults import Fault

fork = multiprocessing.get_context("fork")

# Forking beside threads is what these tests are about; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
JSON = "application/json"


def bodies(server):
    return [json.loads(message["body"]) for message in server.store.messages()]


def fill(writer, count, path=("m", "t", "v1")):
    writer.push_many([(*path, {"i": number}) for number in range(count)])


def rule(server, rule):
    return server.rules.add(rule)


# Lost messages


def test_fault_01_what_is_removed_is_what_was_sent(ramen_server, make_pair):
    reader, writer = make_pair(ramen_server)
    fill(writer, 20)
    row = reader._delivery.next(0.0)
    writer._queue.disk.remove([1, 2], Outcome.DROPPED)  # a trim, or a reader of 1.40
    assert reader._deliver(row)[0] == reader.ACCEPTED
    reader._delivery.flush()
    assert [row["id"] for row in writer._queue.disk.read(limit=99)] == list(range(3, 21))
    queue = DefaultQueue(writer._config)
    assert queue.peek()["id"] == 3
    queue.disk.remove([3], Outcome.DROPPED)
    assert queue.pop() is None
    assert queue.pop()["id"] == 4
    queue.close()


def test_fault_02_two_readers_take_turns_and_neither_repeats_nor_loses(
    ramen_server, make_pair, running
):
    first, writer = make_pair(ramen_server)
    second, _ = make_pair(ramen_server)
    threads = [running(reader) for reader in (first, second)]
    for number in range(300):
        writer.push("m", "t", "v1", {"i": number})
    assert ramen_server.store.wait(300, 20)
    first.stop()
    threads[0].join()
    fill(writer, 10, ("m", "later", "v1"))
    assert ramen_server.store.wait(310, 20)
    stats = ramen_server.store.stats()
    assert (stats["messages"], stats["attempts"]) == (310, {"accepted": 310})
    second.stop()
    threads[1].join()
    assert first.stats.accepted + second.stats.accepted == 310


@pytest.mark.parametrize("status", [200, 204, 304, 405, 408, 409, 410, 418, 422, 425, 451])
def test_fault_03_no_other_status_loses_a_message(ramen_server, make_pair, status):
    ramen_server.faults.add(Fault("status", status=status, times=1))
    reader, writer = make_pair(ramen_server)
    fill(writer, 1)
    assert reader.consume_one() == reader.RETRY
    assert writer.queue_size() == 1
    assert reader.consume_one() == reader.ACCEPTED


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_fault_04_and_27_redirects_are_not_followed_and_carry_no_token(
    ramen_server, recorder, make_pair, status
):
    target = f"http://{recorder.hostname}/ramen/v1/m/1099/imx.t.v1/"
    ramen_server.faults.add(Fault("status", status=status, headers={"Location": target}, times=1))
    reader, writer = make_pair(ramen_server)
    fill(writer, 1)
    assert reader.consume_one() == reader.RETRY
    assert recorder.requests == []
    assert recorder.connections == 0
    assert writer.queue_size() == 1


@pytest.mark.parametrize("empty", [{}, None, []])
def test_fault_05_an_empty_rule_drops_that_message_alone(ramen_server, make_pair, empty):
    reader, writer = make_pair(ramen_server)
    fill(writer, 10)
    number = rule(ramen_server, empty)
    assert reader.consume_one() == reader.DROPPED
    ramen_server.rules.remove(number)
    assert reader.run(blocking=False) == 9
    assert ramen_server.store.count() == 9
    assert reader.get_blacklist() == []


def test_fault_05_a_rule_for_all_must_say_so(ramen_server, make_pair):
    reader, writer = make_pair(ramen_server)
    fill(writer, 10)
    rule(ramen_server, {"all": True})
    assert reader.run(blocking=False) == 10
    assert ramen_server.store.stats()["attempts"] == {"dropped": 1}


def test_fault_06_a_new_folder_does_not_repeat_request_ids(ramen_server, make_pair):
    for _ in range(2):
        reader, writer = make_pair(ramen_server)
        fill(writer, 3)
        assert reader.run(blocking=False) == 3
        reader.close()
        writer.close()
        shutil.rmtree(writer._config.queue_dir)
    assert ramen_server.store.stats()["attempts"] == {"accepted": 6}
    assert ramen_server.store.conflicts() == []


def test_fault_06_forked_processes_do_not_share_request_ids(make_pair, ramen_server):
    _, writer = make_pair(ramen_server)
    writer.push("m", "t", "v1", {})

    def child():
        for _ in range(10):
            writer.push("m", "t", "v1", {})
        os._exit(0)

    processes = [fork.Process(target=child) for _ in range(2)]
    for process in processes:
        process.start()
    for _ in range(10):
        writer.push("m", "t", "v1", {})
    for process in processes:
        process.join(20)
        assert process.exitcode == 0
    reqids = [row["reqid"] for row in writer._queue.disk.read(limit=99)]
    assert len(reqids) == len(set(reqids)) == 31


def test_fault_07_a_removed_folder_is_made_again(ramen_server, make_pair):
    reader, writer = make_pair(ramen_server)
    fill(writer, 1)
    shutil.rmtree(writer._config.queue_dir)
    writer.push("m", "t", "v1", {"i": "after"})
    reader._queue.disk._database._checked_at = 0.0
    assert reader.run(blocking=False) == 1
    assert bodies(ramen_server) == [{"i": "after"}]


def test_fault_08_unknown_types_are_an_error(make_pair, ramen_server):
    _, writer = make_pair(ramen_server)
    with pytest.raises(EncodingError, match=r"data\['a'\]"):
        writer.push("m", "t", "v1", {"a": object()})
    assert writer.queue_size() == 0


def test_fault_09_trimming_drops_what_is_needed_and_no_more(make_pair, ramen_server):
    _, writer = make_pair(ramen_server, max_queue_size=200_000)
    disk = writer._queue.disk
    disk.push_many([("m", "t", "v1", f"r{n}", os.urandom(2000)) for n in range(500)])
    while disk.bytes_on_disk() > 200_000:
        writer.push("m", "t", "v1", {})
    assert writer.queue_size() > 60
    writer._config.max_queue_size = 100_000
    for _ in range(20):
        writer.push("m", "t", "v1", {})
    assert 20 < writer.queue_size() < 60
    assert disk.bytes_on_disk() <= 100_000


def test_fault_09_numbers_far_apart_do_not_confuse_trimming(make_pair, ramen_server):
    _, writer = make_pair(ramen_server, max_queue_size=200_000)
    disk = writer._queue.disk
    disk.push(("m", "t", "v1", "old", os.urandom(2000)))
    with contextlib.closing(sqlite3.connect(disk.files.database)) as database, database:
        database.execute("UPDATE sqlite_sequence SET seq = 1000000")
    for number in range(150):
        disk.push(("m", "t", "v1", f"r{number}", os.urandom(2000)))
    assert disk.bytes_on_disk() <= 200_000


@pytest.mark.parametrize("status", [400, 404, 413, 415])
def test_fault_10_what_is_refused_for_good_is_kept_with_the_reply(ramen_server, make_pair, status):
    body = json.dumps({"code": "BAD", "details": "no"})
    ramen_server.faults.add(
        Fault("status", status=status, body=body, headers={"X-Why": "w"}, times=1)
    )
    reader, writer = make_pair(ramen_server)
    writer.push("m", "t", "v1", {"a": 1}, reqid="mine")
    assert reader.consume_one() == reader.DROPPED
    (dead,) = reader._dead.list()
    assert (dead["status"], dead["body"], dead["reqid"]) == (status, body.encode(), "mine")
    assert json.loads(dead["headers"])["x-why"] == "w"
    assert zlib.decompress(dead["data"]) == b'{"a":1}'
    assert reader._queue.disk.counters()["dead"] == 1


def test_fault_10_what_a_rule_drops_is_counted_and_told(ramen_server, make_pair):
    events = []
    reader, writer = make_pair(ramen_server, events=events)
    fill(writer, 5)
    rule(ramen_server, {"category": "m"})
    assert reader.run(blocking=False) == 5
    assert [rule.dropped for rule in reader.get_blacklist()] == [4]
    assert len([1 for name, _ in events if name == "dropped"]) == 5
    assert reader._queue.disk.counters()["dropped"] == 5


# Duplicates


def test_fault_11_a_push_whose_trim_fails_has_succeeded(make_pair, ramen_server, monkeypatch):
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


# The reader dies or stalls


@pytest.mark.parametrize("status", [401, 403])
def test_fault_13_a_refused_token_is_told_and_tried_again(ramen_server, make_pair, running, status):
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


def test_fault_13_and_36_in_the_callers_thread_it_is_raised_with_a_text(ramen_server, make_pair):
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
def test_fault_14_no_reply_ends_the_reader(recorder, make_pair, running, nonsense):
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
def test_fault_14_a_configuration_that_cannot_work_is_told_and_keeps_messages(make_pair, values):
    events = []
    values = {"hostname": "127.0.0.1:1", **values}
    reader, writer = make_pair(values.pop("hostname"), events=events, **values)
    fill(writer, 1)
    assert reader.consume_one() == reader.RETRY
    assert writer.queue_size() == 1
    assert [name for name, _ in events if name == "retry"] == ["retry"]
    assert reader.stats.last_error
    assert reader.test_connection() is False


def test_fault_15_a_poison_message_holds_up_its_own_path_only(ramen_server, make_pair):
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


def test_fault_16_without_room_pushing_fails_cleanly_and_sending_goes_on(ramen_server, make_pair):
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
    ramen_server, make_pair, running
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


def test_fault_20_the_timeout_is_of_the_whole_request(recorder, make_pair):
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
    ramen_server, make_pair
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


# Cost


def statements(disk, call):
    seen = []
    connection = disk._database.connection()
    connection.set_trace_callback(seen.append)
    call()
    connection.set_trace_callback(None)
    return seen


def test_fault_21_an_idle_reader_does_not_rewrite_the_file(ramen_server, make_pair, running):
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


def test_fault_22_trimming_is_one_short_transaction(make_pair, ramen_server):
    _, writer = make_pair(ramen_server)
    fill(writer, 20_000)
    writer._config.max_queue_size = 10_240
    writer._queue.disk._pushed_bytes = 10_240
    seen = statements(writer._queue.disk, lambda: writer.push("m", "t", "v1", {}))
    assert writer._queue.disk.counters()["trimmed"] == 1000
    assert not [text for text in seen if text.upper().startswith("VACUUM")]


def test_fault_23_the_size_is_one_row(make_pair, ramen_server):
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


def test_fault_25_together_messages_cost_little_more_than_their_bytes(make_pair, ramen_server):
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


# Security and hygiene


def test_fault_28_the_environment_is_trusted_only_on_demand(
    ramen_server, make_pair, monkeypatch, tmp_path
):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login u password p")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    monkeypatch.delenv("no_proxy", raising=False)
    reader, writer = make_pair(ramen_server)
    fill(writer, 1)
    assert reader.consume_one() == reader.ACCEPTED
    headers = dict(ramen_server.store.messages()[0]["headers"])
    assert "authorization" not in headers
    reader, _ = make_pair("127.0.0.1:1")
    fill(writer, 1)
    assert reader.consume_one() == reader.RETRY
    assert "http_proxy is set but not used" in reader.stats.last_error
    reader, _ = make_pair(ramen_server, trust_env=True)
    assert reader._wire.proxy("host") == "http://127.0.0.1:1/"
    assert reader._wire._authorization("127.0.0.1")["Authorization"].startswith("Basic ")
    reader, _ = make_pair(ramen_server, trust_env=True, proxy="http://mine/")
    assert reader._wire.proxy("host") == "http://mine/"


def test_fault_29_files_are_for_the_owner(make_pair, ramen_server):
    reader, writer = make_pair(ramen_server)
    fill(writer, 1)
    reader.run(blocking=False)
    assert list(writer._queue.disk.files.loose_modes()) == []


@pytest.mark.parametrize("name", ["ab\n", "\n", "a\n\n"])
def test_fault_30_a_trailing_newline_is_no_name(writer_values, name):
    with pytest.raises(DataError):
        QueueWriterConfig({**writer_values, "sender": name}).validate()
    with (
        QueueWriter(QueueWriterConfig(writer_values)) as writer,
        pytest.raises(AssertionError, match="Invalid characters"),
    ):
        writer.push(name, "t", "v1", {})


def test_fault_31_logs_hold_a_kilobyte_of_a_reply_and_no_token(recorder, make_pair, caplog):
    caplog.set_level(logging.DEBUG)
    recorder.answers = [recorder.reply(500, b"x" * 5_000_000)]
    reader, writer = make_pair(recorder, auth_token="s3cret")
    fill(writer, 1)
    reader.consume_one()
    texts = [record.getMessage() for record in caplog.records if record.name == "ramen_client"]
    assert texts[0].startswith("POST http://")
    assert texts[1].startswith("HTTP 500 xxx")
    assert max(map(len, texts)) < 1200
    assert "s3cret" not in caplog.text
    assert len(reader.stats.last_error) < 400


def test_fault_32_real_gzip_may_be_chosen(ramen_server, make_pair):
    ramen_server.knobs.strict_encoding = True
    reader, writer = make_pair(ramen_server, encoding="gzip")
    fill(writer, 1)
    assert reader.consume_one() == reader.ACCEPTED
    assert reader.test_connection() is True


def test_fault_33_nothing_but_the_standard_library_and_ours_is_imported():
    code = (
        "import sys, infi.ramen_client.queue_reader, infi.ramen_client.queue_writer\n"
        "bad = {'pkg_resources', 'requests', 'schematics', 'six', 'future', 'transport_utils', 'click', 'rich'}\n"
        "assert not bad & set(sys.modules), bad & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_fault_34_aware_datetimes_are_the_moment_they_say():
    zone = datetime.timezone(datetime.timedelta(hours=-5))
    moment = datetime.datetime(2024, 7, 1, 12, 0, 0, 250000, zone)
    assert dump_json(moment) == str(int(moment.timestamp() * 1000))


def test_fault_35_versions_arrive_as_they_were_given(ramen_server, make_pair):
    reader, writer = make_pair(ramen_server)
    versions = ["008", 8, "8", "1e2", "9" * 30, 2**63, "-0", "v1"]
    for version in versions:
        writer.push("m", "t", version, {})
    assert reader.run(blocking=False) == len(versions)
    assert [message["data_version"] for message in ramen_server.store.messages()] == [
        str(version) for version in versions
    ]


@pytest.mark.parametrize("version", [1, "1", "v1", "008"])
def test_fault_37_versions_are_compared_as_text(ramen_server, make_pair, version):
    reader, writer = make_pair(ramen_server)
    for _ in range(5):
        writer.push("m", "t", version, {})
    rule(ramen_server, {"data_version": str(version)})
    assert reader.run(blocking=False) == 5
    assert ramen_server.store.stats()["attempts"] == {"dropped": 1}
    assert len(reader.get_blacklist()) == 1


def test_fault_37_equal_rules_replace_each_other(make_pair, ramen_server):
    reader, _ = make_pair(ramen_server)
    for _ in range(3000):
        reader._delivery.take_rule({"category": "other"})
    assert len(reader.get_blacklist()) == 1


def test_fault_38_waiting_for_a_foreign_lock_is_bounded(files):
    queue = DiskQueue(files, busy_timeout_s=0.1)
    queue.push(("m", "t", "v1", "r", b""))
    holder = sqlite3.connect(files.database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        queue.push(("m", "t", "v1", "r", b""))
    assert time.monotonic() - begun < 5
    holder.close()
    queue.close()


def test_reader_and_writer_configurations_share_one_queue(reader_values):
    config = QueueReaderConfig({**reader_values, "hostname": "h"})
    reader, writer = QueueReader(config), QueueWriter(config)
    assert reader._queue._path == writer._queue._path
    reader.close()
    writer.close()
