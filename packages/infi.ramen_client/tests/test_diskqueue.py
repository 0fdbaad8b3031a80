"""The queue on disk: what is pushed is there, in order, whoever pushed it and whatever happened in between."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import shutil
import sqlite3
import stat
import threading
import zlib

import pytest
from infi.ramen_client.diskqueue import DiskQueue, Outcome, QueueFiles
from infi.ramen_client.errors import QueueBusy, QueueError

fork = multiprocessing.get_context("fork")

# Forking beside threads is what these tests are about; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def message(number, *, size=0, version="v1"):
    return ("m", "t", version, f"r{number}", zlib.compress(b"%d" % number + b"x" * size))


def numbers(queue, limit=100_000):
    return [int(row["reqid"][1:]) for row in queue.read(limit=limit)]


def fdatasyncs(monkeypatch):
    calls = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (calls.append(fd), real(fd)))
    return calls


def test_messages_come_out_as_they_went_in_and_in_order(queue):
    for number in range(5):
        queue.push(message(number))
    rows = queue.read(limit=10)
    assert [row["id"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[0].keys() == [
        "id",
        "ts",
        "category",
        "data_type",
        "data_version",
        "reqid",
        "data",
    ]
    assert tuple(rows[3])[2:] == message(3)


def test_each_push_is_synced_before_it_returns(queue, monkeypatch):
    queue.push(message(0))
    calls = fdatasyncs(monkeypatch)
    for number in range(3):
        queue.push(message(number))
    assert len(calls) == 3


def test_push_many_is_one_transaction_and_one_sync(queue, monkeypatch):
    queue.push(message(0))
    calls = fdatasyncs(monkeypatch)
    queue.push_many([message(number) for number in range(1, 1000)])
    assert len(calls) == 1
    assert numbers(queue) == list(range(1000))


def test_push_many_stores_nothing_when_one_message_cannot_be_stored(queue):
    with pytest.raises(QueueError):
        queue.push_many([message(1), (None, "t", "v1", "r2", b""), message(3)])
    assert queue.size() == 0


def test_interval_durability_syncs_later_and_on_close(make_queue, monkeypatch):
    queue = make_queue(durability="interval")
    queue.push(message(0))
    synced = threading.Event()
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (real(fd), synced.set()))
    queue.push(message(1))
    assert synced.wait(5)
    queue.close()
    assert numbers(queue) == [0, 1]


def test_unknown_durability_is_refused(files):
    with pytest.raises(ValueError, match="'fsync' or 'interval'"):
        DiskQueue(files, durability="off")


def test_threads_share_commits_and_lose_nothing(queue, monkeypatch):
    queue.push(message(10_000))
    calls = fdatasyncs(monkeypatch)

    def write(start):
        for number in range(start, start + 100):
            queue.push(message(number))

    threads = [threading.Thread(target=write, args=(start,)) for start in range(0, 800, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = numbers(queue)[1:]
    assert sorted(found) == list(range(800))
    for start in range(0, 800, 100):
        own = [number for number in found if start <= number < start + 100]
        assert own == sorted(own)
    assert len(calls) < 800


def test_push_nowait_keeps_the_order_of_its_thread_and_tells_when_durable(queue):
    futures = [queue.push_nowait(message(number)) for number in range(200)]
    for future in futures:
        future.result(timeout=10)
    assert numbers(queue) == list(range(200))


def test_push_nowait_tells_of_a_failure(queue):
    with pytest.raises(QueueError):
        queue.push_nowait((None, "t", "v1", "r", b"")).result(timeout=10)


def _push_from_process(directory, start, count):
    queue = DiskQueue(QueueFiles(directory, "imx", 1099))
    for number in range(start, start + count):
        queue.push(message(number))
    queue.close()


def test_eight_processes_set_up_a_fresh_folder_and_lose_nothing(files):
    processes = [
        fork.Process(target=_push_from_process, args=(files.directory, start, 50))
        for start in range(0, 400, 50)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    queue = DiskQueue(files)
    assert sorted(numbers(queue)) == list(range(400))
    assert queue.counters()["rows"] == 400
    queue.close()


def test_a_forked_child_uses_a_connection_of_its_own(queue):
    queue.push(message(1))
    connection = queue._database.connection()

    def child():
        assert queue._database._connection is None
        queue.push(message(2))
        os._exit(0 if queue._database.connection() is not connection else 1)

    process = fork.Process(target=child)
    process.start()
    process.join(10)
    assert process.exitcode == 0
    queue.push(message(3))
    assert numbers(queue) == [1, 2, 3]


def test_removing_by_number_touches_no_other_message(queue):
    queue.push_many([message(number) for number in range(5)])
    assert queue.remove([2, 4], Outcome.ACCEPTED) == 2
    assert numbers(queue) == [0, 2, 4]
    counters = queue.counters()
    assert (counters["rows"], counters["accepted"], counters["pushed"]) == (3, 2, 5)


def test_removing_what_somebody_else_removed_is_reported(make_queue):
    events = []
    queue = make_queue(on_event=lambda name, **facts: events.append((name, facts)))
    queue.push(message(1))
    assert queue.remove([1, 7], Outcome.ACCEPTED) == 1
    assert events == [("vanished", {"count": 1})]


def test_reading_leaves_out_paths(queue):
    queue.push(("m", "a", "v1", "r0", b""))
    queue.push(("m", "b", 2, "r1", b""))
    queue.push(("m", "c", "v1", "r2", b""))
    assert [row["data_type"] for row in queue.read(limit=5, without=[("m", "b", "2")])] == [
        "a",
        "c",
    ]
    assert [row["data_type"] for row in queue.read(1, 5, [("m", "a", "v1")])] == ["b", "c"]


@pytest.mark.parametrize(
    "version", ["008", "1e2", "9" * 30, "-0", "7", 7, "v1", "0x1A", str(2**63), -1]
)
def test_versions_come_back_as_they_were_given(queue, version):
    queue.push(message(1, version=version))
    assert str(queue.read()[0]["data_version"]) == str(version)
    queue.remove([1], Outcome.ACCEPTED)
    connection = sqlite3.connect(queue.files.database)
    assert connection.execute("SELECT count(*) FROM ramen_versions").fetchone() == (0,)
    connection.close()


def test_files_and_folder_are_for_the_owner_alone(files, make_queue):
    old = os.umask(0)
    try:
        queue = make_queue()
        queue.push(message(1))
        queue.tidy()
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(files.directory).st_mode) == 0o700
    for name in os.listdir(files.directory):
        assert stat.S_IMODE(os.stat(os.path.join(files.directory, name)).st_mode) == 0o600, name


@pytest.mark.parametrize("how", ["remove", "rename"])
def test_a_removed_or_replaced_folder_loses_no_later_push(files, make_queue, how):
    events = []
    queue = make_queue(on_event=lambda name, **facts: events.append(name))
    queue.push(message(1))
    if how == "remove":
        shutil.rmtree(files.directory)
    else:
        os.rename(files.directory, files.directory + ".old")
    queue.push(message(2))
    assert events == ["replaced"]
    other = DiskQueue(files)
    assert numbers(other) == [2]
    other.close()


def test_a_half_created_database_works_again(files, make_queue):
    files.make_directory()
    open(files.database, "w").close()
    queue = make_queue()
    queue.push(message(1))
    assert numbers(queue) == [1]


def test_a_log_without_its_database_is_kept_and_its_messages_come_back(files, make_queue):
    first = make_queue()
    first.push_many([message(number) for number in range(20)])
    copy = files.wal + ".copy"
    shutil.copyfile(files.wal, copy)
    first.close()
    os.unlink(files.database)
    os.rename(copy, files.wal)
    queue = make_queue()
    queue.push(message(99))
    assert sorted(numbers(queue))[-1] == 99
    kept = os.path.join(files.quarantine, os.listdir(files.quarantine)[0])
    assert os.listdir(kept) == ["imx_1099.db-wal"]


def test_waiting_for_a_stopped_writer_ends(files, make_queue):
    make_queue().push(message(1))
    holder = sqlite3.connect(files.database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    queue = make_queue(busy_timeout_s=0.05)
    with pytest.raises(QueueBusy, match="nothing was stored"):
        queue.push(message(2))
    holder.execute("ROLLBACK")
    queue.push(message(3))
    assert numbers(queue) == [1, 3]
    holder.close()


def test_waiting_for_the_turn_ends(files, make_queue):
    first = make_queue()
    first.push(message(1))
    with first._turn.taken():
        queue = make_queue(busy_timeout_s=0.05)
        with pytest.raises(QueueBusy, match="another process"):
            queue.push(message(2))


def test_the_oldest_are_dropped_beyond_the_limit_and_never_the_newest(make_queue, caplog):
    events = []
    queue = make_queue(
        durability="interval",
        limit=lambda: 200_000,
        on_event=lambda name, **facts: events.append((name, facts)),
    )
    for number in range(300):
        data = os.urandom(2000)
        queue.push(("m", "t", "v1", f"r{number}", data))
    found = numbers(queue)
    assert found == list(range(found[0], 300))
    assert 0 < found[0] < 250
    assert queue.bytes_on_disk() <= 200_000
    assert queue.counters()["trimmed"] == found[0]
    assert sum(facts["count"] for name, facts in events if name == "trimmed") == found[0]
    assert caplog.records[0].getMessage().startswith("Dropping")


def test_a_single_message_beyond_the_limit_stays(make_queue):
    queue = make_queue(limit=lambda: 10_240)
    queue.push(("m", "t", "v1", "r1", os.urandom(1_000_000)))
    assert numbers(queue) == [1]


def test_trimming_spares_the_message_being_sent(files, make_queue):
    queue = make_queue(limit=lambda: 20_000)
    queue.push(("m", "t", "v1", "r0", os.urandom(2000)))
    with open(files.reader, "wb") as file:
        file.write(b"1 1")
    for number in range(1, 40):
        queue.push(("m", "t", "v1", f"r{number}", os.urandom(2000)))
    assert numbers(queue)[0] == 0


def test_tidying_shrinks_the_file_in_steps(files, queue):
    queue.push_many([("m", "t", "v1", f"r{n}", os.urandom(4000)) for n in range(2000)])
    queue.tidy()
    large = os.stat(files.database).st_size
    queue.remove(range(1, 2000), Outcome.ACCEPTED)
    sizes = []
    for _ in range(12):
        queue.tidy()
        sizes.append(os.stat(files.database).st_size)
    assert sizes[-1] < large / 4
    assert all(before - after <= 2 * 1024 * 1024 for before, after in itertools.pairwise(sizes))


def test_a_closed_queue_opens_again(queue):
    queue.push(message(1))
    queue.close()
    queue.close()
    queue.push(message(2))
    assert numbers(queue) == [1, 2]


def test_a_foreign_writer_and_a_foreign_reader_are_counted(files, queue):
    queue.push(message(1))
    with contextlib.closing(sqlite3.connect(files.database)) as foreign, foreign:
        foreign.execute(
            "INSERT INTO queue(category, data_type, data_version, data) VALUES ('m','t','v1',x'00')"
        )
    assert queue.counters()["rows"] == 2
    with contextlib.closing(sqlite3.connect(files.database)) as foreign, foreign:
        foreign.execute("DELETE FROM queue WHERE id = 1")
    assert queue.counters()["rows"] == 1
    assert queue.read()[0]["reqid"] is None


def test_an_unusable_folder_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    queue = DiskQueue(QueueFiles(tmp_path / "file" / "queue", "imx", 1099))
    with pytest.raises(QueueError, match="cannot open the queue"):
        queue.push(message(1))
    queue.close()


def test_the_log_grows_to_four_megabytes_and_not_beyond(files, make_queue):
    queue = make_queue(durability="interval")
    for number in range(700):
        queue.push(message(number, size=10))
    size = os.stat(files.wal).st_size
    assert 3_000_000 < size < 5_000_000
    for number in range(700):
        queue.push(message(number, size=10))
    assert os.stat(files.wal).st_size < 5_000_000


def test_a_log_that_cannot_grow_does_not_fail_a_push_that_is_stored(queue, monkeypatch):
    queue.push(message(0))
    connection = queue._database.connection()

    class Locked:
        def __getattr__(self, name):
            return getattr(connection, name)

        def execute(self, statement, *arguments):
            if statement.startswith("BEGIN"):
                raise sqlite3.OperationalError("database is locked")
            return connection.execute(statement, *arguments)

    monkeypatch.setattr(queue._database, "_connection", Locked())
    for number in range(1, 100):
        queue.push(message(number))
    monkeypatch.undo()
    assert numbers(queue) == list(range(100))


def test_recount_and_check_of_a_sound_queue(files, queue):
    queue.push_many([message(number) for number in range(50)])
    assert queue.check() == []
    with contextlib.closing(sqlite3.connect(files.database)) as foreign, foreign:
        foreign.execute("UPDATE ramen_counters SET base = 7")
    queue.recount()
    assert queue.size() == 50


def test_size_is_fast_at_any_length(queue):
    queue.push_many([message(number) for number in range(20_000)])
    steps = []
    connection = queue._database.connection()
    connection.set_progress_handler(lambda: steps.append(1), 100)
    assert queue.size() == 20_000
    connection.set_progress_handler(None, 0)
    assert len(steps) < 2
