"""What an asynchronous exchange awaits: continued at once, in the task's own context, and cancellable."""

import asyncio
import contextvars
import gc

import pytest
from transport_utils import AsyncTransport, Timeout, WriteTimeout
from transport_utils.aio.connection import Answer

WHO = contextvars.ContextVar("WHO", default="nobody")


async def wait_for(answer, seen):
    WHO.set("waiter")
    value = await answer
    seen.append((value, WHO.get(), asyncio.current_task()))
    return value


async def started(answer, seen):
    task = asyncio.ensure_future(wait_for(answer, seen))
    await asyncio.sleep(0)
    return task


async def test_result_continues_the_task_before_it_returns():
    answer, seen = Answer(asyncio.get_running_loop()), []
    task = await started(answer, seen)
    asyncio.get_running_loop().call_soon(answer.set_result, ("head", b"body"))
    await asyncio.sleep(0)
    assert seen == [(("head", b"body"), "waiter", task)]
    assert await task == ("head", b"body")


async def test_result_that_was_there_first_is_not_waited_for():
    answer = Answer(asyncio.get_running_loop())
    answer.set_result(("head", None))
    assert await answer == ("head", None)


async def test_answer_that_was_taken_serves_the_next_exchange_and_keeps_nothing_of_the_last():
    answer = Answer(asyncio.get_running_loop())
    for body in (b"one", b"two"):
        task = await started(answer, [])
        assert not answer.done()
        asyncio.get_running_loop().call_soon(answer.set_result, ("head", body))
        assert await task == ("head", body)
        assert not any(isinstance(kept, tuple) for kept in gc.get_referents(answer))


async def test_error_is_raised_in_the_task():
    answer = Answer(asyncio.get_running_loop())
    task = await started(answer, [])
    answer.set_exception(OSError("broken"))
    with pytest.raises(OSError, match="broken"):
        await task


async def test_cancelled_task_ends_and_a_late_result_harms_nobody():
    answer, seen = Answer(asyncio.get_running_loop()), []
    task = await started(answer, seen)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert answer.done()
    assert not answer.cancel()
    assert seen == []


async def test_timeout_around_it_works():
    answer = Answer(asyncio.get_running_loop())
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(wait_for(answer, []), 0.01)


async def test_asking_too_early_is_an_error():
    with pytest.raises(asyncio.InvalidStateError):
        Answer(asyncio.get_running_loop()).result()


async def test_answer_before_the_request_is_sent_leaves_the_write_limit_in_force():
    finished = asyncio.Event()

    async def refuse(reader, writer):
        await reader.read(1)
        reader._transport.pause_reading()
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await finished.wait()
        writer.transport.abort()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    limits = Timeout(read=30.0, write=0.2)
    async with AsyncTransport(f"http://127.0.0.1:{port}", timeout=limits, retry=0) as client:
        with pytest.raises(WriteTimeout):
            await asyncio.wait_for(client.request("PUT", "/", body=b"x" * 32 * 1024 * 1024), 10)
    finished.set()
    server.close()
    await server.wait_closed()
