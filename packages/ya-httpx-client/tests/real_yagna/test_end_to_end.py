"""ya-httpx-client on the real daemon: market, VPN, requests, payment."""

import asyncio
import importlib.util
import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).parent
IMAGE_HASH = "ab" * 28
SERVER = (HERE.parent / "golem/provider_server.py").read_text()


def load(name):
    """Import a module that lies beside this one."""
    specification = importlib.util.spec_from_file_location(
        f"real_yagna_{name}", HERE / f"{name}.py"
    )
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def image(tmp_path):
    folder = tmp_path / "image"
    (folder / "golem/run").mkdir(parents=True)
    (folder / "golem/run/server.py").write_text(SERVER)
    return folder


async def test_two_hundred_requests_through_the_real_daemon(
    make_real_yagna, make_yagna, call, image, monkeypatch
):
    bus_module, stack_module, provider_module = load("bus"), load("vpn_stack"), load("bus_provider")
    from ya_httpx_client import Session

    registry = make_yagna(0, images={IMAGE_HASH: image})
    provider = None

    async def handle(*arguments):
        return await provider.handle(*arguments)

    bus = bus_module.Bus(handle)
    port = await bus.start()
    daemon = await asyncio.to_thread(make_real_yagna, port)
    provider = provider_module.BusProvider(
        call, daemon, daemon.requestor_id, image, stack_module.Stack
    )
    provider.bus = bus
    provider.start()
    monkeypatch.setenv("YAGNA_API_URL", daemon.url)
    monkeypatch.setenv("YAGNA_APPKEY", "requestor-key")
    command = (
        "/bin/sh",
        "-c",
        f"{sys.executable} /golem/run/server.py 0.0.0.0:80 >/dev/null 2>&1 &",
    )
    session = Session({"budget": 1, "subnet_tag": "public"}, repository_url=registry.url, slots=4)
    session.add_url("http://calc", IMAGE_HASH, command)
    try:
        async with session.client(timeout=60) as client:
            big = os.urandom(300_000)
            answer = await client.post("http://calc/echo", content=big)
            assert answer.content.partition(b"\n")[2] == big
            answers = []
            for start in range(0, 200, 20):
                answers += await asyncio.gather(
                    *(
                        client.get(f"http://calc/echo?n={number}")
                        for number in range(start, start + 20)
                    )
                )
            assert [answer.status_code for answer in answers] == [200] * 200
            assert b"n=199" in answers[-1].content
        assert session.stats()["http://calc"].reexecuted == 0
    finally:
        await session.close()
        invoices = await asyncio.to_thread(
            call, daemon.url, "requestor-key", "GET", "/payment-api/v1/invoices"
        )
        await provider.close()
        await bus.close()
    # the daemon holds both sides of the one invoice; the requestor's was accepted
    assert "ACCEPTED" in {invoice["status"] for invoice in invoices[1]}
