import asyncio

import pytest
from transport_utils.errors import NoNodeAvailable, PoolTimeout, TransportClosed
from ya_httpx_client.request_queue import RequestQueue


class Slots:
    """A number of slots to reserve; remembers how many were given back."""

    def __init__(self, free=0):
        self.free = free
        self.returned = 0

    def reserve(self):
        if not self.free:
            return None
        self.free -= 1
        return self

    def give_back(self):
        self.returned += 1
        self.free += 1


def make(free=0, maxsize=10):
    slots = Slots(free)
    return slots, RequestQueue(slots.reserve, maxsize, lambda: "nobody is here")


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_free_slot_is_taken_without_waiting():
    _, queue = make(1)
    await queue.acquire(timeout_s=0)
    assert queue.empty()


async def test_waiting_requests_are_served_in_order():
    slots, queue = make()
    order = []

    async def wait(name):
        await queue.acquire(timeout_s=5)
        order.append(name)

    tasks = [asyncio.create_task(wait(name)) for name in "abc"]
    await settle()
    assert queue.qsize() == 3
    for _ in tasks:
        slots.free += 1
        queue.serve()
        await settle()
    await asyncio.gather(*tasks)
    assert order == ["a", "b", "c"]


async def test_repeated_request_goes_first():
    slots, queue = make()
    order = []

    async def wait(name, first):
        await queue.acquire(timeout_s=5, first=first)
        order.append(name)

    tasks = [asyncio.create_task(wait(*item)) for item in (("new", False), ("repeated", True))]
    await settle()
    slots.free = 2
    queue.serve()
    await asyncio.gather(*tasks)
    assert order[0] == "repeated"


async def test_full_queue_holds_further_requests_back():
    slots, queue = make(maxsize=2)
    tasks = [asyncio.create_task(queue.acquire(timeout_s=5)) for _ in range(4)]
    await settle()
    assert queue.qsize() == 2
    assert queue.full()
    slots.free = 1
    queue.serve()
    await settle()
    assert queue.qsize() == 2
    slots.free = 3
    queue.serve()
    await asyncio.gather(*tasks)
    assert queue.empty()


async def test_wait_that_lasts_too_long_says_why():
    _, queue = make()
    with pytest.raises(PoolTimeout, match=r"within 0\.01 s: nobody is here"):
        await queue.acquire(timeout_s=0.01)
    assert queue.empty()


async def test_cancelled_waiter_leaves_no_trace():
    slots, queue = make()
    task = asyncio.create_task(queue.acquire(timeout_s=5))
    await settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert queue.empty()
    slots.free = 1
    queue.serve()
    assert slots.free == 1


async def test_slot_given_to_a_waiter_that_is_cancelled_at_that_moment_is_returned():
    slots, queue = make()
    task = asyncio.create_task(queue.acquire(timeout_s=5))
    await settle()
    slots.free = 1
    queue.serve()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (slots.returned, slots.free) == (1, 1)


async def test_closed_queue_fails_everybody():
    _, queue = make(maxsize=1)
    tasks = [asyncio.create_task(queue.acquire(timeout_s=5)) for _ in range(3)]
    await settle()
    queue.close(TransportClosed("closed"))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [TransportClosed] * 3
    with pytest.raises(TransportClosed):
        await queue.acquire(timeout_s=0)
    queue.open()
    with pytest.raises(PoolTimeout):
        await queue.acquire(timeout_s=0)


async def test_waiters_can_be_failed_while_the_queue_stays_open():
    slots, queue = make()
    task = asyncio.create_task(queue.acquire(timeout_s=5))
    await settle()
    assert queue.fail("no image") == 1
    with pytest.raises(NoNodeAvailable, match="no image"):
        await task
    slots.free = 1
    await queue.acquire(timeout_s=0)


async def test_delay_follows_the_waits():
    slots, queue = make()
    task = asyncio.create_task(queue.acquire(timeout_s=5))
    await asyncio.sleep(0.05)
    slots.free = 1
    queue.serve()
    await task
    delay = queue.delay_s
    assert delay > 0
    slots.free = 1
    await queue.acquire(timeout_s=0)
    assert queue.delay_s < delay
