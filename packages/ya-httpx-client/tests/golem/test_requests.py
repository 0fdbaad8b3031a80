"""What httpx users know holds for URLs served by providers."""

import asyncio
import json

import httpx
import httpx2
import pytest


def parsed(response):
    head, _, body = response.content.partition(b"\n")
    return json.loads(head), body


async def test_requests_as_httpx_users_make_them(golem, running, nothing_left):
    async with running(2) as run:
        client = run.client
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            head, body = parsed(
                await client.request(method, "http://calc/echo?a=1&b=%20&a=2", content=b"\xff\x00")
            )
            assert (head["method"], head["path"], body) == (
                method,
                "/echo?a=1&b=%20&a=2",
                b"\xff\x00",
            )
        head = await client.head("http://calc/echo")
        assert (head.status_code, head.content) == (200, b"")
        assert int(head.headers["content-length"]) > 0

        fields = [("X-Twice", "1"), ("X-Twice", "2")]
        head, _ = parsed(
            await client.get("http://calc/echo", headers=fields, auth=("user", "secret"))
        )
        assert [value for name, value in head["headers"] if name.lower() == "x-twice"] == ["1", "2"]
        names = {name.lower(): value for name, value in head["headers"]}
        assert names["host"] == "calc"
        assert names["authorization"].startswith("Basic ")

        answer = await client.get("http://calc/cookies")
        assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
        head, _ = parsed(await client.get("http://calc/echo"))
        assert dict(map(tuple, head["headers"]))["Cookie"] == "a=1; b=2"

        moved = await client.get("http://calc/redirect", follow_redirects=True)
        assert [response.status_code for response in moved.history] == [302]
        assert parsed(moved)[0]["path"] == "/echo"

        assert (await client.get("http://calc/gzip")).text == "plain" * 100
        assert (await client.get("http://calc/close")).text == "until the end"
        assert (await client.get("http://calc/nothing")).status_code == 404
        assert (await client.get("http://calc/status?code=503")).status_code == 503
        assert (await client.get("http://calc/status?code=204")).content == b""
        answer = await client.post(
            "http://calc/echo", files={"f": ("n.bin", b"\x00\x01")}, data={"k": "v"}
        )
        assert b"\x00\x01" in parsed(answer)[1]
        assert answer.extensions["http_version"] == b"HTTP/1.1"
    nothing_left(golem)


async def test_bodies_are_streamed_both_ways(golem, running):
    async def pieces():
        for number in range(50):
            yield bytes([number]) * 10_000

    async with running(1, slots=4) as run:
        head, body = parsed(await run.client.post("http://calc/echo", content=pieces()))
        assert body == b"".join([bytes([number]) * 10_000 for number in range(50)])
        assert {name.lower(): value for name, value in head["headers"]}[
            "transfer-encoding"
        ] == "chunked"

        big = bytes(300_000)
        head, body = parsed(await run.client.post("http://calc/echo", content=big))
        assert body == big

        async with run.client.stream("GET", "http://calc/stream?n=3&s=0.2") as response:
            started = asyncio.get_running_loop().time()
            clock = asyncio.get_running_loop().time
            arrived = [(piece, clock() - started) async for piece in response.aiter_raw()]
        assert b"".join(piece for piece, _ in arrived) == b"piece 0\npiece 1\npiece 2\n"
        assert arrived[0][1] < 0.15 < arrived[-1][1]

        async with run.client.stream("GET", "http://calc/big?n=5000000") as response:
            total = 0
            async for piece in response.aiter_raw():
                total += len(piece)
        assert total == 5_000_000


async def test_connections_are_kept_and_used_again(golem, running):
    async with running(1) as run:
        for _ in range(20):
            assert (await run.client.get("http://calc/echo")).status_code == 200
        assert run.session.stats()["http://calc"].providers[0].connections == 1
        async with run.client.stream("GET", "http://calc/big?n=5000000"):
            pass  # left unread: its connection cannot be used again
        await run.until(lambda: run.cluster.in_flight == 0)
        assert (await run.client.get("http://calc/echo")).status_code == 200


async def test_timeouts_are_httpx_own(golem, running):
    async with running(1, slots=2) as run:
        await run.client.get("http://calc/echo")
        with pytest.raises(httpx.ReadTimeout) as late:
            await run.client.get("http://calc/slow?s=5", timeout=httpx.Timeout(5, read=0.2))
        assert late.value.request.url == "http://calc/slow?s=5"
        assert "no data from the provider for 0.2 s" in str(late.value)
        slow = [asyncio.create_task(run.client.get("http://calc/slow?s=1.5")) for _ in range(2)]
        await run.until(lambda: run.cluster.in_flight == 2)
        with pytest.raises(httpx.PoolTimeout, match="busy"):
            await run.client.get("http://calc/echo", timeout=httpx.Timeout(5, pool=0.1))
        assert [response.status_code for response in await asyncio.gather(*slow)] == [200, 200]


async def test_cancelled_request_frees_its_slot(golem, running):
    async with running(1) as run:
        await run.client.get("http://calc/echo")
        for path in ("slow?s=10", "stream?n=100&s=0.1"):
            task = asyncio.create_task(run.client.get(f"http://calc/{path}"))
            await run.until(lambda: run.cluster.in_flight == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert run.cluster.in_flight == 0
        waiting = [asyncio.create_task(run.client.get("http://calc/slow?s=0.3")) for _ in range(3)]
        await run.until(lambda: run.cluster.request_queue.qsize() == 2)
        waiting[1].cancel()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result).__name__ for result in results] == [
            "Response",
            "CancelledError",
            "Response",
        ]


async def test_requests_are_spread_over_all_providers(golem, running):
    async with running(3) as run:
        await run.ready(3)
        # As long as a provider works on one, the others get theirs, however slow this machine is.
        url = "http://calc/pid?s=0.1"
        answers = await asyncio.gather(*(run.client.get(url) for _ in range(30)))
        per_process = {}
        for answer in answers:
            per_process[answer.text] = per_process.get(answer.text, 0) + 1
        assert len(per_process) == 3
        assert max(per_process.values()) <= 14


async def test_httpx2_works_through_the_same_session(golem, running):
    async with running(1) as run, httpx2.AsyncClient(mounts=run.session.mounts()) as client:
        answer = await client.post("http://calc/echo", content=b"two")
        assert type(answer) is httpx2.Response
        assert parsed(answer)[1] == b"two"
        with pytest.raises(httpx2.ReadTimeout):
            await client.get("http://calc/slow?s=5", timeout=httpx2.Timeout(5, read=0.2))
