"""Processes killed while a new file of the queue is half made leave nothing behind for longer than the next opening."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import signal

import pytest
from infi.ramen_client.blacklist import Blacklist
from infi.ramen_client.config import QueueReaderConfig
from infi.ramen_client.diskqueue import DiskQueue, schema
from infi.ramen_client.diskqueue.files import replacement
from infi.ramen_client.diskqueue.space import Reserve
from infi.ramen_client.queue_reader import QueueReader

fork = multiprocessing.get_context("fork")

# Forking beside threads is what these tests are about; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

ROW = ("m", "t", "v1", "r1", b"x")


def spares(files):
    return sorted(name for name in os.listdir(files.directory) if ".new" in name)


def killed_in(function_name, when, work):
    """Run ``work`` in a child that is killed instead of calling an ``os`` function on a path that ``when`` accepts."""

    def child():
        real = getattr(os, function_name)

        def deadly(path, *arguments, **options):
            if when(os.fspath(path)):
                os.kill(os.getpid(), signal.SIGKILL)
            return real(path, *arguments, **options)

        setattr(os, function_name, deadly)
        work()

    process = fork.Process(target=child)
    process.start()
    process.join(10)
    assert process.exitcode == -signal.SIGKILL


def set_up(files):
    files.make_directory()
    DiskQueue(files).push(ROW)


@pytest.mark.parametrize("function", ["link", "unlink"])
def test_a_spare_database_whose_maker_was_killed_goes_with_the_next_opening(
    files, make_queue, function
):
    killed_in(function, lambda path: path.endswith(".new"), lambda: set_up(files))
    assert len(spares(files)) == 1
    assert (files.identity() is not None) == (function == "unlink")
    queue = make_queue()
    assert queue.size() == 0
    assert spares(files) == []
    queue.push(ROW)
    assert queue.size() == 1


def test_what_sqlite_put_beside_a_spare_database_goes_too(files, make_queue):
    make_queue().push(ROW)
    for suffix in ("", "-wal", "-shm", "-journal"):
        open(f"{files.database}.{os.getpid()}.0123abcd.new{suffix}", "w").close()
    assert make_queue().size() == 1
    assert spares(files) == []


def test_unfinished_reserves_rules_and_reports_go_with_the_next_opening(
    files, make_queue, reader_values
):
    make_queue().push(ROW)
    config = QueueReaderConfig({**reader_values, "hostname": "127.0.0.1:1"})

    def reserve():
        Reserve(files).free()
        Reserve(files).hold()

    def rules():
        Blacklist(config, files.blacklist).add({"data_type": "t"})

    def report():
        with contextlib.closing(QueueReader(config)) as reader:
            reader.stats.accepted += 1
            reader._status.note(reader._delivery, idle=True)

    for work in (reserve, rules, report):
        killed_in("replace", lambda path: path.endswith(".new"), work)
        (left,) = spares(files)
        assert left.startswith(files.stem + ".")
        assert make_queue().size() == 1
        assert spares(files) == []


def test_a_file_that_is_being_made_is_left_alone(files, make_queue):
    make_queue().push(ROW)
    with replacement(files.status) as fd:
        os.write(fd, b"{}")
        assert make_queue().size() == 1
        assert len(spares(files)) == 1
    assert spares(files) == []
    with open(files.status, encoding="utf-8") as file:
        assert file.read() == "{}"


def test_a_spare_database_is_left_alone_while_its_maker_has_the_turn(files, make_queue):
    first = make_queue()
    first.push(ROW)
    with first._turn.taken(), schema.spare_database(files) as spare:
        late = make_queue(busy_timeout_s=0.05)
        assert late.size() == 1  # opened all the same
        assert os.path.exists(spare)
    assert spares(files) == []


def test_a_new_file_taken_for_that_of_a_dead_process_is_made_once_more(files, monkeypatch):
    files.make_directory()
    real = fcntl.flock

    def late(fd, operation):
        monkeypatch.setattr(fcntl, "flock", real)
        assert files.remove_spares() == 1
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with replacement(files.reserve) as fd:
        os.write(fd, b"room")
    assert os.path.getsize(files.reserve) == 4
    assert spares(files) == []


def test_a_file_that_cannot_be_finished_is_removed_at_once(files):
    files.make_directory()
    with pytest.raises(RuntimeError), replacement(files.status):
        raise RuntimeError("in between")
    assert os.listdir(files.directory) == []


def test_files_of_other_queues_in_the_folder_are_not_touched(files, make_queue):
    make_queue().push(ROW)
    for name in (
        "imx_10990.db.1.0a.new",
        "imx_109.db.1.0a.new",
        "other_1.status.json.1.0a.new",
        "new",
    ):
        open(os.path.join(files.directory, name), "w").close()
    before = spares(files)
    assert make_queue().size() == 1
    assert spares(files) == before


def test_opening_looks_at_the_folder_once_and_takes_no_turn_when_nothing_is_left(
    files, make_queue, monkeypatch
):
    make_queue().push(ROW)
    looks = []
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: (looks.append(path), real(path))[1])
    queue = make_queue()
    monkeypatch.setattr(queue._turn, "take", lambda: pytest.fail("the turn was taken"))
    assert queue.size() == 1
    assert looks == [files.directory]
