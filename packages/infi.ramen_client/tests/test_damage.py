"""Every class of damage to the queue's files: the queue opens, keeps what can be read, and goes on."""

from __future__ import annotations

import os
import pathlib
import random
import shutil
import sqlite3
import subprocess
import sys
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from infi.ramen_client.diskqueue import DeadLetters, DiskQueue, Outcome, QueueFiles
from infi.ramen_client.diskqueue.pages import rows as rows_of_pages
from infi.ramen_client.errors import QueueError, QueueFull

PAGE = 4096


def message(number, size=300):
    data = random.Random(number).randbytes(size)
    return ("m", "t", "v1", f"r{number}", zlib.compress(b"%d " % number + data))


def whole(row):
    number = int(row["reqid"][1:])
    return row["data"] in (message(number)[4], message(number, 9000)[4])


def ids(queue):
    return [row["reqid"] for row in queue.read(limit=100_000)]


@pytest.fixture
def filled(files):
    """A closed queue of 400 messages, every tenth of several pages, everything in the database."""
    queue = DiskQueue(files)
    queue.push_many([message(n, 9000 if n % 10 == 0 else 300) for n in range(400)])
    queue.remove([5, 6], Outcome.ACCEPTED)
    queue.close()
    return pathlib.Path(files.database)


def overwrite(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def damage(name, path):
    size = path.stat().st_size
    middle = size // 2 // PAGE * PAGE
    match name:
        case "header":
            overwrite(path, 0, b"not a database at all" * 4)
        case "first page":
            overwrite(path, 0, os.urandom(PAGE))
        case "root page":
            overwrite(path, 2 * PAGE, b"\xff" * PAGE)
        case "a page in the middle":
            overwrite(path, middle, b"\xff" * PAGE)
        case "zeros in the middle":
            overwrite(path, middle, bytes(8 * PAGE))
        case "cut in the middle":
            os.truncate(path, middle)
        case "cut inside a page":
            os.truncate(path, middle + 1000)
        case "zeros at the end":
            overwrite(path, size - 4 * PAGE, bytes(4 * PAGE))
        case "many pages":
            for page in random.Random(1).sample(range(size // PAGE), size // PAGE // 3):
                overwrite(path, page * PAGE, os.urandom(PAGE))
        case "text":
            path.write_text("this was a queue once\n" * 50)
        case "empty":
            path.write_bytes(b"")


SAVED = {
    "header": 398,
    "first page": 398,
    "root page": 398,
    "a page in the middle": 350,
    "zeros in the middle": 330,
    "cut in the middle": 100,
    "cut inside a page": 100,
    "zeros at the end": 350,
    "many pages": 50,
    "text": 0,
    "empty": 0,
}


@pytest.mark.parametrize(("kind", "least"), SAVED.items())
def test_damage_costs_no_more_than_what_it_hit(files, filled, make_queue, kind, least):
    events = []
    damage(kind, filled)
    queue = make_queue(on_event=lambda name, **facts: events.append((name, facts)))
    rows = queue.read(limit=1000)  # opening alone looks at both ends only
    assert all(whole(row) for row in rows)
    found = ids(queue)
    assert len(found) == len(set(found)) == len(rows) >= least
    assert found == sorted(found, key=lambda reqid: int(reqid[1:]))
    assert queue.size() == len(found)
    queue.push(message(1000))
    assert ids(queue) == [*found, "r1000"]
    assert queue.check() == []
    if kind != "empty":
        (facts,) = [facts for name, facts in events if name == "damage"]
        assert facts["saved"] == len(found)
        assert os.path.exists(os.path.join(facts["kept"], "imx_1099.db"))
        assert queue.counters()["salvaged"] == len(found)


def test_numbers_are_not_given_out_again_after_a_salvage(files, filled, make_queue):
    damage("zeros at the end", filled)
    queue = make_queue()
    queue.read(limit=1000)
    queue.push(message(1000))
    assert queue.read(limit=1000)[-1]["id"] > 350


def test_a_log_that_is_damaged_loses_only_what_follows(files, make_queue):
    first = make_queue()
    for number in range(30):
        first.push(message(number))
    copies = {path: path + ".copy" for path in (files.database, files.wal)}
    for path, copy in copies.items():
        shutil.copyfile(path, copy)
    first.close()
    for path, copy in copies.items():
        os.replace(copy, path)
    os.unlink(files.shm) if os.path.exists(files.shm) else None
    overwrite(files.wal, 20 * (PAGE + 24) + 32 + 100, b"\xff" * 50)
    queue = make_queue()
    found = ids(queue)
    assert 0 < len(found) < 30
    assert found == [f"r{number}" for number in range(len(found))]
    queue.push(message(99))
    assert ids(queue)[-1] == "r99"


def test_an_open_queue_is_salvaged_when_it_meets_damage(files, make_queue):
    queue = make_queue()
    queue.push_many([message(number) for number in range(400)])
    queue.tidy()
    queue._database.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    queue._database.connection().execute("PRAGMA cache_size = 0")
    overwrite(files.database, 40 * PAGE, b"\xff" * (2 * PAGE))
    found = [row["reqid"] for row in queue.read(limit=1000)]
    assert 300 < len(found) < 400
    queue.push(message(999))
    assert ids(queue) == [*found, "r999"]


def test_two_objects_salvage_once(files, filled, make_queue):
    damage("header", filled)
    one, two = make_queue(), make_queue()
    assert ids(one) == ids(two)
    assert len(os.listdir(files.quarantine)) == 1


def test_pages_give_the_rows_without_header_and_index(filled):
    damage("first page", filled)
    found = {row[5]: row[6] for row in rows_of_pages(str(filled))}
    for number in range(400):
        if number not in (4, 5):
            assert found[f"r{number}"] == message(number, 9000 if number % 10 == 0 else 300)[4]


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    writes=st.lists(
        st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=200)), min_size=1, max_size=8
    ),
    cut=st.one_of(st.none(), st.floats(0.01, 1)),
)
def test_random_damage_never_keeps_the_queue_from_opening(tmp_path_factory, pristine, writes, cut):
    folder = tmp_path_factory.mktemp("fuzz")
    files = QueueFiles(folder, "imx", 1099)
    shutil.copyfile(pristine, files.database)
    size = os.path.getsize(files.database)
    for at, data in writes:
        overwrite(files.database, int(at * (size - 1)), data)
    if cut is not None:
        os.truncate(files.database, int(cut * size))
    queue = DiskQueue(files)
    try:
        rows = queue.read(limit=1000)
        assert len(rows) == queue.count_rows()
        queue.push(message(999))
        assert queue.read(limit=1000)[-1]["reqid"] == "r999"
        queue.remove([row["id"] for row in rows], Outcome.ACCEPTED)
        assert ids(queue) == ["r999"]
    finally:
        queue.close()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    files = QueueFiles(tmp_path_factory.mktemp("pristine"), "imx", 1099)
    queue = DiskQueue(files)
    queue.push_many([message(n, 9000 if n % 10 == 0 else 300) for n in range(60)])
    queue.close()
    return files.database


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=3 * PAGE), wal=st.binary(max_size=PAGE + 100))
def test_nonsense_is_no_rows_and_no_crash(tmp_path_factory, data, wal):
    path = tmp_path_factory.mktemp("pages") / "x.db"
    path.write_bytes(data)
    pathlib.Path(f"{path}-wal").write_bytes(wal)
    for row in rows_of_pages(str(path)):
        assert isinstance(row[6], bytes)


def test_damaged_dead_letters_go_to_quarantine_and_new_ones_are_kept(files, make_queue, caplog):
    queue = make_queue()
    queue.push(message(1))
    queue.push(message(2))
    dead = DeadLetters(files)
    first, second = queue.read(limit=2)
    dead.add(first, reqid="r1", reason="no")
    with open(files.dead, "r+b") as file:
        file.write(b"junk" * 300)
    dead.add(second, reqid="r2", reason="no")
    assert [letter["reqid"] for letter in dead.list()] == ["r2"]
    with open(files.dead, "r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (os.path.getsize(files.dead) - 4096))
    with pytest.raises(QueueError, match="dead letters") as caught:
        dead.list()
    assert caught.value.filename == files.dead
    assert dead.count() == 0
    assert len(os.listdir(files.quarantine)) == 2
    assert caplog.text.count("The dead letters are damaged") == 2


FULL_DISK = """
import os, sys, time
from infi.ramen_client.blacklist import Blacklist
from infi.ramen_client.config import QueueReaderConfig
from infi.ramen_client.delivery import Delivery
from infi.ramen_client.diskqueue import DeadLetters, DiskQueue, Outcome, QueueFiles
from infi.ramen_client.errors import QueueFull
folder = sys.argv[1]
files = QueueFiles(folder, "imx", 1099)
queue = DiskQueue(files)
count = 0
try:
    while True:
        queue.push(("m", "t", "v1", "r%d" % count, os.urandom(3000))); count += 1
except QueueFull:
    pass
filler = os.open(os.path.join(folder, "filler"), os.O_CREAT | os.O_WRONLY)
for size in (65536, 4096, 1):
    try:
        while os.write(filler, bytes(size)): pass
    except OSError:
        pass
assert queue.size() == count, (queue.size(), count)
values = {"sender": "imx", "system_serial": 1099, "system_version": "1", "hostname": "h", "auth_token": "t"}
config = QueueReaderConfig(values)
dead = DeadLetters(files)
delivery = Delivery(config, queue, Blacklist(config), dead)
assert delivery.bury(delivery.next(time.monotonic()), "refused", None)
assert [letter["reqid"] for letter in dead.list()] == ["r0"]
left = count - 1
while rows := queue.read(limit=100):
    assert queue.remove([row["id"] for row in rows], Outcome.ACCEPTED) == len(rows)
    left -= len(rows)
assert left == 0 == queue.size()
os.close(filler)
os.unlink(os.path.join(folder, "filler"))
queue.push(("m", "t", "v1", "after", b"x"))
assert queue.check() == []
queue.close()
print("emptied", count)
"""


def test_a_full_disk_takes_a_dead_letter_and_is_emptied_message_by_message(tmp_path):
    """On a file system of 16 MiB without one free byte; needs the right to mount in a namespace of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    script = f'mount -t tmpfs -o size=16m tmpfs {folder} && exec "$0" -c "$1" {folder}'
    unshare = shutil.which("unshare")
    probe = unshare and subprocess.run(
        [unshare, "-m", "mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True
    )
    if not probe or probe.returncode:
        pytest.skip("mounting is not allowed here; the file size limit test stands in")
    done = subprocess.run(
        [unshare, "-m", "sh", "-c", script, sys.executable, FULL_DISK],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("emptied ")


def test_a_push_without_room_leaves_the_queue_as_it_was(make_queue, monkeypatch):
    queue = make_queue()
    queue.push(message(1))
    connection = queue._database.connection()

    class Full:
        def execute(self, statement, *arguments):
            if statement.startswith("INSERT"):
                raise sqlite3.OperationalError("database or disk is full")
            return connection.execute(statement, *arguments)

    monkeypatch.setattr(queue._database, "connection", Full)
    with pytest.raises(QueueFull):
        queue.push(message(2))
    monkeypatch.undo()
    assert ids(queue) == ["r1"]
