"""The asyncio client and servers."""

import asyncio
import logging
import threading

import pytest
from pylm import aio, errors
from pylm.config import ConfigurationError

QUIET = {"log_level": logging.CRITICAL}


class Echo(aio.Server):
    async def foo(self, message):
        await asyncio.sleep(0)
        return b"s" + message

    async def wait(self, message):
        await asyncio.to_thread(self.gate.wait, 10)
        return message

    async def fails(self, message):
        raise KeyError("missing")

    def plain(self, message):
        return message


@pytest.fixture
def server(address, running):
    server = Echo("s", address(), address(), address(), **QUIET)
    server.gate = threading.Event()
    yield running(server)
    server.gate.set()


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


async def test_a_thousand_calls_in_flight_need_no_threads(server):
    async with aio.AsyncClient("s", server.db_address) as client:
        assert await client.eval("s.foo", b"x") == b"sx"
        before = threading.active_count()
        blocked = asyncio.create_task(client.eval("s.wait", b"x"))
        calls = [asyncio.create_task(client.eval("s.foo", b"%d" % each)) for each in range(1000)]
        while server.stats.received < 2:  # the server works on the blocked call
            await asyncio.sleep(0.001)
        # One is the server's own, which waits for the gate.
        assert threading.active_count() <= before + 1
        assert not any(call.done() for call in (blocked, *calls))
        server.gate.set()
        assert await asyncio.gather(blocked, *calls) == [b"x"] + [
            b"s%d" % each for each in range(1000)
        ]


async def test_a_cancelled_call_ends_at_once_and_the_next_get_their_own_answers(server):
    async with aio.AsyncClient("s", server.db_address) as client:
        calls = [asyncio.create_task(client.eval("s.wait", b"%d" % each)) for each in range(10)]
        while server.stats.received < 1:
            await asyncio.sleep(0.001)
        for call in calls[:5]:
            call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calls[0]
        server.gate.set()
        assert await asyncio.gather(*calls[5:]) == [b"%d" % each for each in range(5, 10)]
        assert await client.eval("s.foo", b"x") == b"sx"


async def test_a_call_without_an_answer_times_out_and_others_go_on(server):
    async with aio.AsyncClient("s", server.db_address) as client:
        with pytest.raises(errors.TimedOut, match="no answer for"):
            await client.eval("s.wait", b"x", timeout=0.1)
        server.gate.set()
        assert await client.eval("s.foo", b"x", idempotent=True) == b"sx"


async def test_closing_ends_the_calls_in_progress(server):
    client = aio.AsyncClient("s", server.db_address)
    call = asyncio.create_task(client.eval("s.wait", b"x"))
    while server.stats.received < 1:
        await asyncio.sleep(0.001)
    await client.aclose()
    with pytest.raises(errors.Closed):
        await call


async def test_evaluations_beyond_the_limit_wait_their_turn(server):
    async with aio.AsyncClient("s", server.db_address, max_calls=2) as client:
        calls = [asyncio.create_task(client.eval("s.wait", b"x")) for _ in range(5)]
        while server.stats.received < 1:
            await asyncio.sleep(0.001)
        server.gate.set()
        assert await asyncio.gather(*calls) == [b"x"] * 5
    with pytest.raises(ConfigurationError):
        aio.AsyncClient("s", server.db_address, max_calls=0)


async def test_payloads_may_come_from_an_asynchronous_iterator(server):
    async def numbers():
        for each in range(30):
            await asyncio.sleep(0)
            yield b"%d" % each

    async with aio.AsyncClient("s", server.db_address) as client:
        expected = [b"s%d" % each for each in range(30)]
        assert [each async for each in client.job("s.foo", numbers(), 30)] == expected
        assert [each async for each in client.map("s.foo", numbers(), progress=True)] == expected


async def test_a_generator_may_block_until_the_answers_it_causes_are_there(server):
    answered = threading.Semaphore(0)

    def careful():
        for each in range(20):
            yield b"%d" % each
            assert answered.acquire(timeout=10)

    async with aio.AsyncClient("s", server.db_address) as client:
        got = []
        async for answer in client.job("s.foo", careful(), 20):
            got.append(answer)
            answered.release()
        assert got == [b"s%d" % each for each in range(20)]


async def test_a_generator_that_raises_raises_in_the_task(server):
    def failing():
        yield b"x"
        raise OSError("disk")

    async with aio.AsyncClient("s", server.db_address) as client:
        with pytest.raises(OSError, match="disk"):
            async for _ in client.job("s.foo", failing(), 5):
                pass
        with pytest.raises(TypeError):
            async for _ in client.job("s.foo", [1], 1):
                pass


async def test_a_slow_reader_holds_the_sender_back(server):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield b"x"

    async with aio.AsyncClient("s", server.db_address) as client:
        job = client.job("s.foo", endless())
        assert await anext(job) == b"sx"
        for _ in range(200):  # the answers come, and nobody reads them
            await asyncio.sleep(0.005)
        count = taken
        await asyncio.sleep(0.1)
        assert taken == count < 20_000
        await job.aclose()
        assert await client.eval("s.foo", b"x") == b"sx"


async def test_what_a_full_queue_does_is_a_choice(address, server):
    dead = address()
    for overflow, timeout_s, expected in (
        ("raise", 30, errors.Overloaded),
        ("drop-oldest", 30, errors.Overloaded),
        ("block", 0.2, errors.TimedOut),
    ):
        client = aio.AsyncClient(
            "s", server.db_address, dead, server.pub_address, timeout=timeout_s, overflow=overflow
        )
        async with client:
            with pytest.raises(expected):
                await asyncio.gather(*(client.eval("s.foo", b"x") for _ in range(1500)))


def test_a_client_says_that_it_belongs_to_another_event_loop(server):
    client = aio.AsyncClient("s", server.db_address)
    assert asyncio.run(client.eval("s.foo", b"x")) == b"sx"
    with pytest.raises(ConfigurationError, match="event loop"):
        asyncio.run(client.eval("s.foo", b"x"))
    asyncio.run(client.aclose())


async def test_a_lookup_cancelled_midway_leaves_nothing_open(address):
    client = aio.AsyncClient("s", address(), timeout=0.5)
    lookup = asyncio.create_task(client.connect())
    await asyncio.sleep(0.05)
    lookup.cancel()
    with pytest.raises(asyncio.CancelledError):
        await lookup
    with pytest.raises(errors.TimedOut):
        await client.connect()
    await client.aclose()
