"""Requests through an HTTP proxy."""

from __future__ import annotations

import asyncio
import base64
import re
import time
import zlib

import pytest
from infi.ramen_client.aio import AsyncQueueReader
from infi.ramen_client.config import QueueReaderConfig


@pytest.fixture
def proxied(reader_values, recorder):
    proxy = f"http://{recorder.hostname}/"
    return QueueReaderConfig({**reader_values, "hostname": "ramen.example", "proxy": proxy})


def test_a_message_goes_to_the_proxy_in_absolute_form_with_its_credentials(recorder, make_pair):
    proxy = f"http://u:p@{recorder.hostname}/"
    reader, writer = make_pair("ramen.example", proxy=proxy)
    writer.push("m", "t", "v1", {"a": 1}, reqid="r")
    assert reader.consume_one() == reader.ACCEPTED
    lines, body = recorder.requests[0]
    assert re.match(
        r"POST http://ramen\.example(:80)?/ramen/v1/m/1099/imx\.t\.v1/\?version=", lines[0]
    )
    fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
    assert fields["proxy-authorization"] == "Basic " + base64.b64encode(b"u:p").decode()
    assert fields["x-api-token"] == "good-token"
    assert fields["content-encoding"] == "gzip"
    assert zlib.decompress(body) == b'{"a":1}'


def test_a_proxy_that_refuses_keeps_the_message(recorder, make_pair):
    recorder.answers = [recorder.reply(407, b"who are you?")]
    reader, writer = make_pair("ramen.example", proxy=f"http://{recorder.hostname}/")
    writer.push("m", "t", "v1", {})
    assert reader.consume_one() == reader.RETRY
    assert writer.queue_size() == 1


def test_a_proxy_that_is_not_there_keeps_the_message(make_pair):
    reader, writer = make_pair("ramen.example", proxy="http://127.0.0.1:1/")
    writer.push("m", "t", "v1", {})
    assert reader.consume_one() == reader.RETRY
    assert reader.stats.last_error


def test_a_stop_ends_a_request_through_the_proxy(recorder, make_pair, running):
    recorder.answers = [lambda connection: connection.recv(1)]
    reader, writer = make_pair("ramen.example", proxy=f"http://{recorder.hostname}/")
    writer.push("m", "t", "v1", {})
    thread = running(reader)
    while not recorder.requests:
        time.sleep(0.001)
    begun = time.monotonic()
    reader.stop()
    thread.join()
    assert (
        time.monotonic() - begun < 1.0
    )  # it is 0.05 where nothing else runs; the server's time limit is 2
    assert writer.queue_size() == 1


async def test_the_asyncio_reader_goes_through_the_proxy_too(recorder, make_pair, proxied):
    _, writer = make_pair(recorder)
    writer.push_many([("m", "t", "v1", {"i": number}) for number in range(3)])
    async with AsyncQueueReader(proxied) as reader:
        assert await reader.test_connection()
        assert await reader.run(blocking=False) == 3
    assert [zlib.decompress(body) for _, body in recorder.requests] == [
        b"{}",
        b'{"i":0}',
        b'{"i":1}',
        b'{"i":2}',
    ]
    assert recorder.requests[1][0][0].startswith("POST http://ramen.example")


async def test_cancelling_ends_a_request_through_the_proxy_and_the_message_stays(
    recorder, make_pair, proxied
):
    recorder.answers = [lambda connection: connection.recv(1)]
    _, writer = make_pair(recorder)
    writer.push("m", "t", "v1", {}, "r")
    async with AsyncQueueReader(proxied) as reader:
        task = asyncio.ensure_future(reader.run())
        while not recorder.requests:
            await asyncio.sleep(0.001)
        begun = asyncio.get_running_loop().time()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.get_running_loop().time() - begun < 1.0
        assert await reader.run(blocking=False) == 1
    assert writer.queue_size() == 0
