"""Faults of 1.40 that lost messages (1 to 10), each a test by its number, which fails when the fault comes back."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import sqlite3
import zlib

import pytest
from infi.ramen_client.diskqueue import Outcome
from infi.ramen_client.errors import EncodingError
from infi.ramen_client.queue import DefaultQueue
from mock_servers.faults import Fault

fork = multiprocessing.get_context("fork")

# Forking beside threads is what these tests are about; Python 3.12 and later warn of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def test_fault_01_what_is_removed_is_what_was_sent(fill, ramen_server, make_pair):
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
    fill, ramen_server, make_pair, running
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
def test_fault_03_no_other_status_loses_a_message(fill, ramen_server, make_pair, status):
    ramen_server.faults.add(Fault("status", status=status, times=1))
    reader, writer = make_pair(ramen_server)
    fill(writer, 1)
    assert reader.consume_one() == reader.RETRY
    assert writer.queue_size() == 1
    assert reader.consume_one() == reader.ACCEPTED


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_fault_04_and_27_redirects_are_not_followed_and_carry_no_token(
    fill, ramen_server, recorder, make_pair, status
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
def test_fault_05_an_empty_rule_drops_that_message_alone(fill, ramen_server, make_pair, empty):
    reader, writer = make_pair(ramen_server)
    fill(writer, 10)
    number = ramen_server.rules.add(empty)
    assert reader.consume_one() == reader.DROPPED
    ramen_server.rules.remove(number)
    assert reader.run(blocking=False) == 9
    assert ramen_server.store.count() == 9
    assert reader.get_blacklist() == []


def test_fault_05_a_rule_for_all_must_say_so(fill, ramen_server, make_pair):
    reader, writer = make_pair(ramen_server)
    fill(writer, 10)
    ramen_server.rules.add({"all": True})
    assert reader.run(blocking=False) == 10
    assert ramen_server.store.stats()["attempts"] == {"dropped": 1}


def test_fault_06_a_new_folder_does_not_repeat_request_ids(fill, ramen_server, make_pair):
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


def test_fault_07_a_removed_folder_is_made_again(fill, bodies, ramen_server, make_pair):
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


def test_fault_10_what_a_rule_drops_is_counted_and_told(fill, ramen_server, make_pair):
    events = []
    reader, writer = make_pair(ramen_server, events=events)
    fill(writer, 5)
    ramen_server.rules.add({"category": "m"})
    assert reader.run(blocking=False) == 5
    assert [rule.dropped for rule in reader.get_blacklist()] == [4]
    assert len([1 for name, _ in events if name == "dropped"]) == 5
    assert reader._queue.disk.counters()["dropped"] == 5
