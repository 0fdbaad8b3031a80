"""What the server keeps of an activity's process, at the moment it lets go of it."""

import asyncio
import os
import signal
import socket

import pytest
from mock_servers.yagna import runtime
from mock_servers.yagna.runtime import ExeUnit


async def test_descriptors_of_a_closed_unit_serve_others_at_once():
    loop = asyncio.get_running_loop()
    troubles = []
    loop.set_exception_handler(lambda loop, context: troubles.append(context["message"]))
    unit = await ExeUnit.start("activity", image=None, environment={}, isolation="ports")
    closing = asyncio.create_task(unit.close())
    await asyncio.sleep(0)  # it has let go; what it left to the loop has not run yet
    ours, theirs = socket.socketpair()  # with its numbers
    reader, writer = await asyncio.open_connection(sock=ours)
    with theirs:
        theirs.sendall(b"hello")
        assert await asyncio.wait_for(reader.readexactly(5), 5) == b"hello"
        writer.close()
        await writer.wait_closed()
    await closing
    assert troubles == []


async def test_a_unit_whose_process_reads_nothing_is_closed(monkeypatch):
    monkeypatch.setattr(runtime, "STOP_TIMEOUT_S", 0.1)
    unit = await ExeUnit.start("activity", image=None, environment={}, isolation="ports")
    os.kill(unit._process.pid, signal.SIGSTOP)
    asked = asyncio.create_task(unit.ask("signal", number=0, padding="x" * 4_000_000))
    while not unit._control.transport.get_write_buffer_size():
        await asyncio.sleep(0)
    await asyncio.wait_for(unit.close(), 10)
    assert unit._process.returncode == -signal.SIGKILL
    assert isinstance(
        (await asyncio.gather(asked, return_exceptions=True))[0], runtime.ExeUnitError
    )


@pytest.mark.parametrize("turns", range(5))
async def test_whoever_waits_for_an_answer_is_released_by_a_close_that_is_cancelled(
    monkeypatch, turns
):
    monkeypatch.setattr(runtime, "STOP_TIMEOUT_S", 0.1)
    unit = await ExeUnit.start("activity", image=None, environment={}, isolation="ports")
    os.kill(unit._process.pid, signal.SIGSTOP)
    asked = asyncio.create_task(unit.ask("usage"))
    await asyncio.sleep(0)
    closing = asyncio.create_task(unit.close())
    for _ in range(turns + 1):
        await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(runtime.ExeUnitError, match="gone"):
        await asyncio.wait_for(asked, 5)
    await asyncio.gather(closing, return_exceptions=True)
    await unit.close()


async def test_a_process_that_does_not_answer_is_an_error_in_time(monkeypatch):
    monkeypatch.setattr(runtime, "STOP_TIMEOUT_S", 0.1)
    monkeypatch.setattr(runtime, "ANSWER_TIMEOUT_S", 0.1)
    unit = await ExeUnit.start("activity", image=None, environment={}, isolation="ports")
    os.kill(unit._process.pid, signal.SIGSTOP)
    with pytest.raises(runtime.ExeUnitError, match="no answer to usage within"):
        await unit.ask("usage")
    await unit.close()
