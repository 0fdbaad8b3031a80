"""The asynchronous reader and writer follow the rules of the synchronous ones."""

from __future__ import annotations

import asyncio
import inspect
import time

import pytest
from infi.ramen_client import AsyncQueueReader, AsyncQueueWriter, QueueReader, QueueWriter
from infi.ramen_client.config import QueueReaderConfig
from infi.ramen_client.errors import AutheticationError, EncodingError
from infi.ramen_client.status import StatusFile
from mock_servers.faults import Fault


@pytest.fixture
def config(reader_values, ramen_server):
    return QueueReaderConfig({**reader_values, "hostname": ramen_server.hostname})


async def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


async def test_messages_pass_through(config, ramen_server):
    async with AsyncQueueWriter(config) as writer, AsyncQueueReader(config) as reader:
        assert await reader.consume_one() == reader.EMPTY
        await asyncio.gather(*(writer.push("m", "t", "v1", {"i": n}) for n in range(20)))
        assert await writer.push_many([("m", "t", "v1", {"i": n}) for n in range(5)]) == 5
        assert await writer.queue_size() == 25
        assert await reader.consume_one() == reader.ACCEPTED
        assert await reader.run(blocking=False) == 24
        assert await reader.test_connection() is True
        assert reader.stats.accepted == 24 + 1
        assert reader.get_blacklist() == []
    assert ramen_server.store.count() == 26


async def test_a_push_that_cannot_be_written_is_an_error(config):
    async with AsyncQueueWriter(config) as writer:
        with pytest.raises(EncodingError):
            await writer.push("m", "t", "v1", object())
        with pytest.raises(AssertionError):
            await writer.push("", "t", "v1", {})


async def test_a_push_wakes_the_reader_and_stop_ends_it(config, ramen_server):
    config.polling_delay = 3600
    async with AsyncQueueWriter(config) as writer, AsyncQueueReader(config) as reader:
        task = asyncio.create_task(reader.run_forever())
        for number in range(3):
            await writer.push("m", "t", "v1", {"i": number})
            await until(lambda number=number: ramen_server.store.count() == number + 1)
        begun = time.monotonic()
        await until(lambda: reader.stats.accepted == 3)
        reader.stop()
        assert await task == 3
        assert time.monotonic() - begun < 2


@pytest.mark.parametrize("how", ["stop", "cancel"])
async def test_a_request_in_flight_is_ended_at_once_and_repeated(config, ramen_server, how):
    config.server_timeout = 60
    ramen_server.faults.add(Fault("hang", times=1))
    async with AsyncQueueWriter(config) as writer, AsyncQueueReader(config) as reader:
        await writer.push("m", "t", "v1", {})
        task = asyncio.create_task(reader.run())
        await until(lambda: not ramen_server.faults.shown())
        begun = time.monotonic()
        if how == "stop":
            reader.stop()
            assert await task == 0
        else:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert time.monotonic() - begun < 1
        assert await writer.queue_size() == 1
        assert await reader.run(blocking=False) == 1


async def test_failures_keep_messages_and_are_repeated(config, ramen_server):
    events = []
    ramen_server.faults.add(Fault("status", status=500, times=2))
    ramen_server.faults.add(Fault("drop", times=1))
    ramen_server.faults.add(Fault("status", status=400, body='{"code":"BAD"}', path="*bad*"))
    async with (
        AsyncQueueWriter(config) as writer,
        AsyncQueueReader(
            config, max_retry_delay=0.02, on_event=lambda name, **_: events.append(name)
        ) as reader,
    ):
        task = asyncio.create_task(reader.run_forever())
        await writer.push("m", "good", "v1", {})
        await writer.push("m", "bad", "v1", {})
        await until(lambda: reader.stats.accepted == 1 and reader.stats.dead == 1)
        reader.stop()
        await task
    assert events.count("retry") == 2  # a kept connection that is dropped is replaced silently
    assert "active" in events


async def test_rules_and_refusals(config, ramen_server):
    async with AsyncQueueWriter(config) as writer, AsyncQueueReader(config) as reader:
        ramen_server.rules.add({"category": "m"})
        for _ in range(3):
            await writer.push("m", "t", "v1", {})
        assert await reader.run(blocking=False) == 3
        assert ramen_server.store.stats()["attempts"] == {"dropped": 1}
        ramen_server.tokens.clear()
        await writer.push("other", "t", "v1", {})
        for call in (reader.consume_one, lambda: reader.run(blocking=False)):
            with pytest.raises(AutheticationError, match="Credentials"):
                await call()
        assert await reader.test_connection() is False


async def test_a_reader_stands_by_while_another_is_active(config, ramen_server):
    events = []
    with QueueReader(config) as first:
        assert first._lock.try_acquire()
        async with (
            AsyncQueueWriter(config) as writer,
            AsyncQueueReader(config, on_event=lambda name, **_: events.append(name)) as second,
        ):
            await writer.push("m", "t", "v1", {})
            assert await second.consume_one() == second.RETRY
            assert await second.run(blocking=False) == 0
            task = asyncio.create_task(second.run())
            await until(lambda: "standby" in events)
            first._lock.release()
            await until(lambda: ramen_server.store.count() == 1)
            second.stop()
            await task


async def test_a_busy_reader_reports_before_it_is_idle_and_leaves_no_mark(config, ramen_server):
    async with AsyncQueueWriter(config) as writer, AsyncQueueReader(config) as reader:
        await writer.push_many([("m", "t", "v1", {})] * 2)
        reader._report = lambda: None  # what an idle reader does
        files = reader._queue.disk.files
        assert await reader.consume_one() == reader.ACCEPTED
        assert StatusFile(files).read()["accepted"] == 1
        with open(files.reader, "rb") as file:
            assert file.read().split() == [b"0", b"0"]


@pytest.mark.parametrize(
    ("ours", "theirs", "names"),
    [
        (AsyncQueueReader, QueueReader, "__init__ consume_one run stop test_connection"),
        (AsyncQueueWriter, QueueWriter, "push push_many queue_size"),
    ],
)
def test_signatures_are_those_of_the_synchronous_ones(ours, theirs, names):
    for name in names.split():
        left = inspect.signature(getattr(ours, name)).parameters
        right = inspect.signature(getattr(theirs, name)).parameters
        assert [(p.name, p.kind, p.default) for p in left.values()] == [
            (p.name, p.kind, p.default) for p in right.values()
        ]
