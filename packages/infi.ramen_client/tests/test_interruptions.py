"""What comes between a reader and its message: interrupts, callbacks, files that cannot be written, a new folder."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading

import pytest
from infi.ramen_client.aio import AsyncQueueReader
from infi.ramen_client.config import QueueReaderConfig
from infi.ramen_client.errors import QueueError
from infi.ramen_client.queue_reader import QueueReader
from infi.ramen_client.queue_writer import QueueWriter
from mock_servers.faults import Fault

BAD = '{"code":"BAD_REQUEST","details":null}'


def reqids(server):
    return [message["reqid"] for message in server.store.messages()]


def push(writer, count):
    writer.push_many([("m", "t", "v1", {}, f"r{number}") for number in range(count)])


def until(condition):
    """Wait for something that another thread does; fail when it does not come."""
    waiting = threading.Event()
    for _ in range(1000):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not happen")


@pytest.fixture
def async_config(ramen_server, reader_values):
    return QueueReaderConfig({**reader_values, "hostname": ramen_server.hostname})


@pytest.mark.parametrize("place", ["prepare", "begin", "end"])
def test_an_interrupted_message_is_the_next_one_again(ramen_server, make_pair, monkeypatch, place):
    reader, writer = make_pair(ramen_server)
    push(writer, 5)
    real, calls = getattr(reader._session, place), []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(reader._session, place, interrupted)
    with pytest.raises(KeyboardInterrupt):
        reader.run(blocking=False)
    reader.run(blocking=False)
    assert list(dict.fromkeys(reqids(ramen_server))) == [f"r{number}" for number in range(5)]
    assert writer.queue_size() == 0


def test_an_interrupted_consume_one_loses_nothing(ramen_server, make_pair, monkeypatch):
    reader, writer = make_pair(ramen_server)
    push(writer, 2)
    with monkeypatch.context() as patch:
        patch.setattr(reader._session, "end", lambda call: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            reader.consume_one()
    assert [reader.consume_one() for _ in range(3)] == [1, 1, 0]
    assert writer.queue_size() == 0


async def test_a_cancelled_task_gives_back_what_it_had_just_taken(
    ramen_server, make_pair, async_config, monkeypatch
):
    _, writer = make_pair(ramen_server)
    push(writer, 5)
    async with AsyncQueueReader(async_config) as reader:
        loop = asyncio.get_running_loop()
        real = reader._delivery.next

        def cancelled(*arguments, **options):
            row = real(*arguments, **options)
            loop.call_soon_threadsafe(task.cancel)
            return row

        with monkeypatch.context() as patch:
            patch.setattr(reader._delivery, "next", cancelled)
            task = asyncio.ensure_future(reader.run(blocking=False))
            with pytest.raises(asyncio.CancelledError):
                await task
        await reader.run(blocking=False)
    assert list(dict.fromkeys(reqids(ramen_server))) == [f"r{number}" for number in range(5)]


def test_a_callback_that_raises_ends_no_reader_and_fails_no_push(
    ramen_server, make_pair, running, caplog
):
    def callback(name, **facts):
        raise RuntimeError(name)

    reader, _ = make_pair(ramen_server, on_event=callback)
    with QueueWriter(reader._config, on_event=callback) as writer:
        running(reader)
        push(writer, 3)
        writer._queue.disk._on_event("full", path="")
        until(lambda: writer.queue_size() == 0)
    assert "on_event has failed on 'accepted'" in caplog.text


async def test_a_callback_that_raises_ends_no_asyncio_reader(ramen_server, make_pair, async_config):
    def callback(name, **facts):
        raise RuntimeError(name)

    _, writer = make_pair(ramen_server)
    push(writer, 3)
    async with AsyncQueueReader(async_config, on_event=callback) as reader:
        assert await reader.run(blocking=False) == 3


def test_a_dead_letter_that_cannot_be_written_holds_its_path_only(ramen_server, make_pair):
    ramen_server.faults.add(Fault("status", path="*poison*", status=400, body=BAD))
    reader, writer = make_pair(ramen_server)
    writer.push("m", "poison", "v1", {}, "poison")
    writer.push("m", "t", "v1", {}, "good")
    os.mkdir(reader.dead_letters._files.dead)
    assert reader.run(blocking=False) == 1
    assert reqids(ramen_server) == ["good"]
    assert "cannot use the dead letters" in reader.stats.last_error
    assert writer.queue_size() == 1
    os.rmdir(reader.dead_letters._files.dead)
    assert reader.run(blocking=False) == 1
    assert [letter["reqid"] for letter in reader.dead_letters.list()] == ["poison"]
    assert writer.queue_size() == 0


def test_messages_behind_a_long_held_path_are_found_in_steps_that_a_stop_ends(
    ramen_server, make_pair, monkeypatch
):
    monkeypatch.setattr("infi.ramen_client.delivery.SCAN", 10)
    ramen_server.faults.add(Fault("status", path="*poison*", status=500))
    reader, writer = make_pair(ramen_server, retry_delay=3600)
    writer.push_many([("m", "poison", "v1", {}, f"p{number}") for number in range(250)])
    writer.push("m", "t", "v1", {}, "behind")
    reads = []
    real = reader._queue.disk.read

    def read(*arguments, **options):
        reads.append(arguments[0])
        if len(reads) == stop_at:
            reader._stop.set()
        return real(*arguments, **options)

    monkeypatch.setattr(reader._queue.disk, "read", read)
    stop_at = 5
    assert reader.run(blocking=False) == 0
    assert len(reads) == 5
    reads.clear()
    stop_at = 0
    assert reader.run(blocking=False) == 1
    assert len(reads) > 5
    assert reqids(ramen_server) == ["behind"]
    assert writer.queue_size() == 250


def test_a_reader_whose_folder_was_replaced_is_still_the_only_active_one(
    ramen_server, make_pair, running
):
    events, later = [], []
    reader, writer = make_pair(ramen_server, events=events)
    running(reader)
    push(writer, 1)
    until(lambda: writer.queue_size() == 0)
    shutil.rmtree(writer._queue.disk.files.directory)
    push(writer, 2)
    until(lambda: writer.queue_size() == 0 and reader._lock.is_current())
    second, _ = make_pair(ramen_server, events=later)
    running(second)
    until(lambda: later)
    assert later[0][0] == "standby"
    reader.stop()
    until(lambda: "active" in [name for name, _ in later])


def test_a_push_into_a_replaced_folder_rings_the_bell_that_is_there_now(ramen_server, make_pair):
    reader, writer = make_pair(ramen_server)
    push(writer, 1)
    shutil.rmtree(writer._queue.disk.files.directory)
    push(writer, 1)
    push(writer, 1)
    writer.close()
    fifo = os.open(writer._queue.disk.files.wake, os.O_RDONLY | os.O_NONBLOCK)
    os.close(fifo)
    assert reader.run(blocking=False) == 2


def test_a_reader_that_cannot_lock_tries_again_in_the_background_and_raises_in_the_foreground(
    ramen_server, make_pair, running, monkeypatch
):
    monkeypatch.setattr("infi.ramen_client.queue_reader.ERROR_PAUSE_S", 0.01)
    events = []
    reader, writer = make_pair(ramen_server, events=events)
    push(writer, 1)
    os.mkdir(writer._queue.disk.files.reader)
    with pytest.raises(QueueError, match="cannot lock"):
        reader.run(blocking=False)
    running(reader)
    until(lambda: events)
    assert events[0][0] == "queue-error"
    os.rmdir(writer._queue.disk.files.reader)
    until(lambda: writer.queue_size() == 0)


async def test_the_asyncio_reader_tries_to_lock_again_too(
    ramen_server, make_pair, async_config, monkeypatch
):
    monkeypatch.setattr("infi.ramen_client.aio.ERROR_PAUSE_S", 0.01)
    _, writer = make_pair(ramen_server)
    push(writer, 1)
    os.mkdir(writer._queue.disk.files.reader)
    async with AsyncQueueReader(async_config) as reader:
        task = asyncio.ensure_future(reader.run_forever())
        while reader.stats.last_error is None:
            await asyncio.sleep(0.001)
        os.rmdir(writer._queue.disk.files.reader)
        while writer.queue_size():
            await asyncio.sleep(0.001)
        reader.stop()
        await task


async def test_an_asyncio_reader_keeps_its_place_in_a_new_folder(
    ramen_server, make_pair, async_config, monkeypatch
):
    monkeypatch.setattr("infi.ramen_client.aio.PLACE_CHECK_S", 0.0)
    _, writer = make_pair(ramen_server)
    async with AsyncQueueReader(async_config) as reader:
        task = asyncio.ensure_future(reader.run_forever())
        await asyncio.to_thread(push, writer, 1)
        while writer.queue_size():
            await asyncio.sleep(0.001)
        shutil.rmtree(writer._queue.disk.files.directory)
        await asyncio.to_thread(push, writer, 1)
        while writer.queue_size() or not reader._lock.is_current():
            await asyncio.sleep(0.001)
        with QueueReader(async_config) as second:
            assert second.run(blocking=False) == 0
            assert second._lock.try_acquire_current() is False
        reader.stop()
        await task
