"""The asyncio client and servers."""

import asyncio
import logging

import pytest
from pylm import aio, errors

QUIET = {"log_level": logging.CRITICAL}


class Echo(aio.Server):
    async def foo(self, message):
        await asyncio.sleep(0)
        return b"s" + message

    async def fails(self, message):
        raise KeyError("missing")

    def plain(self, message):
        return message


@pytest.fixture
def server(address, running):
    return running(Echo("s", address(), address(), address(), **QUIET))


async def test_coroutine_functions_answer(server):
    async with aio.AsyncClient("s", server.db_address) as client:
        assert await client.eval("s.foo", b"x") == b"sx"
        assert await client.eval("s.plain", b"x") == b"x"
        with pytest.raises(errors.RemoteError, match="KeyError"):
            await client.eval("s.fails", b"x")


async def test_many_calls_at_once_get_their_own_answers(server):
    async with aio.AsyncClient("s", server.db_address) as client:
        calls = [client.eval("s.foo", b"%d" % number) for number in range(100)]
        assert await asyncio.gather(*calls) == [b"s%d" % number for number in range(100)]


async def test_jobs_and_maps_are_asynchronous_iterators(server):
    async with aio.AsyncClient("s", server.db_address) as client:
        assert [each async for each in client.job("s.foo", [b"1"] * 50, 50)] == [b"s1"] * 50
        payloads = [b"%d" % number for number in range(20)]
        assert [each async for each in client.map("s.foo", payloads)] == [
            b"s" + each for each in payloads
        ]
        with pytest.raises(errors.RemoteError):
            async for _ in client.job("s.fails", [b"x"]):
                pass


async def test_a_job_may_be_left_early(server):
    async with aio.AsyncClient("s", server.db_address) as client:
        job = client.job("s.foo", [b"1"] * 5000)
        async for _ in job:
            break
        await job.aclose()
        assert await client.eval("s.foo", b"x") == b"sx"


async def test_the_cache_is_awaited(server):
    async with aio.AsyncClient("s", server.db_address) as client:
        assert await client.set(b"v", "k") == "k"
        assert await client.get("k") == b"v"
        assert await client.delete("k") == "k"


async def test_a_closed_client_says_so(server):
    client = aio.AsyncClient("s", server.db_address)
    await client.aclose()
    with pytest.raises(errors.Closed):
        await client.eval("s.foo", b"x")


async def test_serve_runs_until_cancelled(address):
    server = Echo("s", address(), address(), address(), **QUIET)
    task = asyncio.create_task(server.serve())
    async with aio.AsyncClient("s", server.db_address) as client:
        assert await client.eval("s.foo", b"x") == b"sx"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
