"""Whatever the server does, it ends up with every message once, whole, and in the order of its path."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from infi.ramen_client.aio import AsyncQueueReader
from infi.ramen_client.config import QueueReaderConfig
from mock_servers.faults import Fault

BURST = {"status": 500, "times": 7}
FAULTS = {
    "reply lost after the message is stored": Fault("reset", apply=True, times=3),
    "connection closed after the message is stored": Fault("drop", apply=True, times=3),
    "reset before anything is stored": Fault("reset", times=3),
    "closed without a reply": Fault("drop", times=3),
    "closed in the middle of the reply": Fault("truncate", times=3),
    "silence": Fault("hang", times=1),
    "silence after the message is stored": Fault("hang", apply=True, times=1),
    "a slow reply": Fault("delay", delay_s=0.2, times=2),
    "a slow reply after the message is stored": Fault("delay", delay_s=0.2, apply=True, times=2),
    "a dripping reply": Fault("drip", delay_s=0.1, times=1),
    "a burst of 500": Fault("status", **BURST),
    "a burst of 500 although the messages are stored": Fault("status", apply=True, **BURST),
    "a burst of 502 from a proxy": Fault("status", status=502, body="<html>", times=7),
    "overload": Fault("status", status=503, headers={"Retry-After": "0"}, times=5),
    "a limit": Fault("status", status=429, headers={"Retry-After": "0"}, times=5),
    "a sign-in page": Fault("status", status=200, body="<html>sign in</html>", times=3),
}
PATHS = ("a", "b", "c")
COUNT = 60


def fill(writer):
    for number in range(COUNT):
        data_type = PATHS[number % len(PATHS)]
        writer.push("m", data_type, "v1", {"r": f"r{number}"}, f"r{number}")


def drain(reader, writer, limit=200):
    while writer.queue_size():
        reader.run(blocking=False)
        limit -= 1
        assert limit, "the queue does not become empty"


def check(server):
    expected = [
        {
            "path": f"/ramen/v1/m/1099/imx.{PATHS[number % len(PATHS)]}.v1",
            "reqid": f"r{number}",
            "writer": "w",
        }
        for number in range(COUNT)
    ]
    report = server.store.check(expected)
    assert (report["missing"], report["out_of_order"]) == ([], [])
    assert server.store.conflicts() == []
    messages = server.store.messages()
    assert len(messages) == COUNT
    assert all(json.loads(message["body"]) == {"r": message["reqid"]} for message in messages)


@pytest.mark.parametrize("name", FAULTS)
def test_every_message_arrives_once_and_in_order_after(ramen_server, make_pair, name):
    reader, writer = make_pair(ramen_server, server_timeout=1)
    fill(writer)
    ramen_server.faults.add(FAULTS[name])
    drain(reader, writer)
    assert ramen_server.faults.shown() == []  # it struck
    check(ramen_server)


@pytest.mark.parametrize("seed", range(3))
def test_every_message_arrives_once_and_in_order_in_a_storm_of_faults(
    ramen_server, make_pair, running, seed
):
    for number, fault in enumerate(
        (
            Fault("reset", apply=True, probability=0.1),
            Fault("drop", probability=0.1),
            Fault("truncate", probability=0.1),
            Fault("status", status=500 + seed, probability=0.2),
            Fault("delay", delay_s=0.01, apply=True, probability=0.2),
        )
    ):
        if number != seed:
            ramen_server.faults.add(fault)
    reader, writer = make_pair(ramen_server, max_retry_delay=0.02)
    other, _ = make_pair(ramen_server, max_retry_delay=0.02)
    running(reader)
    running(other)
    fill(writer)
    assert ramen_server.store.wait(COUNT * 3 // 4, 30)
    ramen_server.faults.clear()
    assert ramen_server.store.wait(COUNT, 30)
    reader.stop()
    other.stop()
    check(ramen_server)


async def test_the_asyncio_reader_passes_through_the_same(ramen_server, make_pair, reader_values):
    _, writer = make_pair(ramen_server)
    await asyncio.to_thread(fill, writer)
    for name in (
        "reply lost after the message is stored",
        "closed without a reply",
        "closed in the middle of the reply",
        "a burst of 500 although the messages are stored",
        "overload",
    ):
        ramen_server.faults.add(FAULTS[name])
    config = QueueReaderConfig({**reader_values, "hostname": ramen_server.hostname})
    async with AsyncQueueReader(config, max_retry_delay=0.02) as reader:
        for _ in range(200):
            if not await asyncio.to_thread(writer.queue_size):
                break
            await reader.run(blocking=False)
    assert ramen_server.faults.shown() == []
    check(ramen_server)


def test_a_server_that_dies_and_comes_back_gets_everything_once(ramen_server, make_pair, running):
    reader, writer = make_pair(ramen_server, max_retry_delay=0.02)
    running(reader)
    threads = [threading.Thread(target=fill, args=(writer,))]
    threads[0].start()
    assert ramen_server.store.wait(5, 10)
    ramen_server.kill()
    ramen_server.start()
    threads[0].join()
    assert ramen_server.store.wait(COUNT, 30)
    check(ramen_server)
