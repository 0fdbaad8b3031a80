"""Providers, connections and the daemon fail: every request has one outcome, and what must not run twice does not."""

import asyncio
import os
import random
import time

import httpx
import pytest

SOAK_S = float(os.environ.get("YA_HTTPX_SOAK_S", "15"))
BIG = 400_000


async def body():
    for _ in range(8):
        yield bytes(BIG // 8)


# When the provider dies: unnoticed before, when the connection opens, in the head of the request, in its body, before
# the answer, in its head, in its body, after it.
PHASES = {
    "before": None,
    "connect": {"sent_bytes": 0},
    "headers": {"sent_bytes": 20},
    "body": {"sent_bytes": BIG // 2},
    "response": {"received_bytes": 0},
    "response head": {"received_bytes": 30},
    "response body": {"received_bytes": BIG // 2},
    "after": None,
}
KINDS = {
    "GET": {"method": "GET", "url": f"http://calc/big?n={BIG}"},
    "POST": {"method": "POST", "url": f"http://calc/big?n={BIG}", "content": bytes(BIG)},
    "streamed": {"method": "POST", "url": f"http://calc/big?n={BIG}", "content": body},
}


async def kill_in(phase, run, golem):
    """Arm the provider that serves now, or kill it at once."""
    await run.ready(1)
    (provider,) = [
        found.provider
        for found in run.session.stats()["http://calc"].providers
        if found.state == "ready"
    ]
    if PHASES[phase] is None and phase == "before":
        golem.kill(provider)
    elif PHASES[phase] is not None:
        golem.change(provider, trigger={"action": "kill", **PHASES[phase]})
    return provider


@pytest.mark.parametrize("kind", KINDS)
async def test_provider_killed_in_every_phase(golem, running, executions, nothing_left, kind):
    async with running(1) as run:
        for phase in PHASES:
            if kind == "GET" and phase == "body":
                continue  # it has none
            lost = len(run.seen("InstanceLost"))
            provider = await kill_in(phase, run, golem)
            settings = dict(KINDS[kind])
            if callable(settings.get("content")):
                settings["content"] = settings["content"]()
            identifier = f"{kind} {phase}"
            call = run.client.request(**settings, headers={"X-Id": identifier}, timeout=30)
            (outcome,) = await asyncio.gather(call, return_exceptions=True)
            count = executions().get(identifier, 0)
            if phase == "after":
                golem.kill(provider)
            answered = isinstance(outcome, httpx.Response)
            assert answered or isinstance(outcome, httpx.TransportError), outcome
            if answered:
                assert len(outcome.content) == BIG
            if kind != "GET":
                assert count <= 1, (identifier, count)
                assert answered == (phase in ("before", "after")), (identifier, outcome)
            elif phase == "response body":
                assert not answered  # the head had been handed out: what follows cannot be replaced
            else:
                assert answered, (identifier, outcome)
            await run.until(lambda lost=lost: len(run.seen("InstanceLost")) > lost)
            golem.revive(provider)
    nothing_left(golem)


async def test_small_answers_survive_the_loss_of_their_body(golem, running, executions):
    async with running(1) as run:
        await run.ready(1)
        (provider,) = [found.provider for found in run.session.stats()["http://calc"].providers]
        golem.change(provider, trigger={"action": "kill", "received_bytes": 8000})
        answer = await run.client.get("http://calc/big?n=20000", headers={"X-Id": "small"})
        assert len(answer.content) == 20000
        assert executions()["small"] == 2


async def test_caller_may_allow_repeating_what_is_not_idempotent(golem, running, executions):
    async with running(1) as run:
        await kill_in("response", run, golem)
        answer = await run.client.post(
            "http://calc/echo",
            headers={"X-Id": "p"},
            extensions={"ya_httpx_client": {"reexecute": True}},
        )
        assert answer.status_code == 200
        assert executions()["p"] == 2
        assert len(run.seen("ExecutionRepeated")) == 1


async def test_request_that_kills_its_provider_is_given_up(golem, running, executions):
    async with running(3) as run:
        await run.ready(3)
        with pytest.raises(
            httpx.RemoteProtocolError, match="given up after 3 executions"
        ) as caught:
            await run.client.get("http://calc/die", headers={"X-Id": "poison"})
        assert executions()["poison"] == 3
        assert len(caught.value.attempts) == 3
        # everybody else is served again
        assert (await run.client.get("http://calc/echo", timeout=30)).status_code == 200


async def test_crashed_server_on_a_living_node_is_replaced(golem, running):
    async with running(1) as run:
        await run.client.get("http://calc/echo")
        (provider,) = [found.provider for found in run.session.stats()["http://calc"].providers]
        golem.crash(provider)
        assert (await run.client.get("http://calc/echo", timeout=30)).status_code == 200
        assert run.seen("InstanceLost")


async def test_idle_dead_provider_is_noticed_and_replaced(golem, running):
    async with running(1) as run:
        await run.client.get("http://calc/echo")
        (provider,) = [found.provider for found in run.session.stats()["http://calc"].providers]
        golem.kill(provider)
        await run.until(lambda: run.seen("InstanceLost"), 5)
        await run.until(lambda: len(run.seen("InstanceReady")) == 2)


async def test_vanished_node_counts_as_lost_after_unanswered_questions(golem, running):
    async with running(1) as run:
        await run.client.get("http://calc/echo")
        (provider,) = [found.provider for found in run.session.stats()["http://calc"].providers]
        golem.vanish(provider)
        await run.until(lambda: run.seen("InstanceLost"), 10)
        assert "cannot be read" in run.seen("InstanceLost")[0].reason


async def test_frozen_provider_loses_its_work_after_read_timeouts(golem, running):
    async with running(1, ready_path="/echo", probe_timeout_s=0.5) as run:
        await run.client.get("http://calc/echo")
        (provider,) = [found.provider for found in run.session.stats()["http://calc"].providers]
        golem.freeze(provider)
        for _ in range(3):
            with pytest.raises(httpx.ReadTimeout):
                await run.client.get("http://calc/echo", timeout=httpx.Timeout(30, read=0.2))
        answer = await run.client.get("http://calc/echo", timeout=httpx.Timeout(60))
        assert answer.status_code == 200
        assert "does not answer" in run.seen("InstanceLost")[0].reason


async def test_cut_websockets_repeat_get_and_refuse_post(golem, running, executions):
    async with running(1, slots=4) as run:
        await run.client.get("http://calc/echo")
        calls = [
            run.client.request(
                method, "http://calc/slow?s=0.7", headers={"X-Id": method}, timeout=30
            )
            for method in ("GET", "POST")
        ]
        tasks = [asyncio.create_task(call) for call in calls]
        await run.until(lambda: len(executions()) == 2)
        golem.cut_connections()
        got, posted = await asyncio.gather(*tasks, return_exceptions=True)
        assert got.status_code == 200
        assert isinstance(posted, httpx.RemoteProtocolError)
        assert executions() == {"GET": 2, "POST": 1}


async def test_restarted_daemon_is_survived(golem, running, nothing_left):
    async with running(2) as run:
        await run.ready(2)
        golem.restart()
        answers = await asyncio.gather(
            *(run.client.get("http://calc/echo", timeout=60) for _ in range(5))
        )
        assert [answer.status_code for answer in answers] == [200] * 5
        assert run.seen("NetworkRebuilt")
        await run.ready(2)
    nothing_left(golem)


@pytest.mark.timeout(120)
async def test_all_providers_dead_for_20_seconds_and_back(golem, running):
    names = [f"provider-{number}" for number in (1, 2, 3)]
    async with running(3) as run:
        await run.ready(3)
        for name in names:
            golem.kill(name)
        tasks = [
            asyncio.create_task(run.client.get("http://calc/echo", timeout=90)) for _ in range(10)
        ]
        await asyncio.sleep(20)
        assert not any(task.done() for task in tasks)
        for name in names:
            golem.revive(name)
        answers = await asyncio.gather(*tasks)
        assert [answer.status_code for answer in answers] == [200] * 10


async def test_close_answers_what_runs_and_refuses_the_rest(golem, running):
    async with running(1, drain=0.5) as run:
        await run.client.get("http://calc/echo")
        slow = asyncio.create_task(run.client.get("http://calc/slow?s=30"))
        waiting = asyncio.create_task(run.client.get("http://calc/echo"))
        await run.until(lambda: run.cluster.in_flight and run.cluster.request_queue.qsize())
    outcomes = await asyncio.gather(slow, waiting, return_exceptions=True)
    assert isinstance(outcomes[0], httpx.RemoteProtocolError)
    assert isinstance(outcomes[1], httpx.ConnectError)
    assert "closed" in str(outcomes[1])


async def test_close_lets_requests_finish(golem, running):
    async with running(1, drain=10) as run:
        await run.client.get("http://calc/echo")
        tasks = [asyncio.create_task(run.client.get("http://calc/slow?s=0.3")) for _ in range(3)]
        await run.until(lambda: run.cluster.request_queue.qsize() == 2)
    assert [answer.status_code for answer in await asyncio.gather(*tasks)] == [200] * 3


async def test_scaling_down_drains_and_to_zero_waits_for_the_next(golem, running, nothing_left):
    async with running(3) as run:
        await run.ready(3)
        tasks = [asyncio.create_task(run.client.get("http://calc/slow?s=0.5")) for _ in range(3)]
        await run.until(lambda: run.cluster.in_flight == 3)
        run.session.set_cluster_size("http://calc", 0)
        assert [answer.status_code for answer in await asyncio.gather(*tasks)] == [200] * 3
        await run.until(lambda: not run.cluster.instances)
        assert len(run.seen("InstanceStopped")) == 3
        with pytest.raises(httpx.PoolTimeout, match="size of http://calc is 0"):
            await run.client.get("http://calc/echo", timeout=httpx.Timeout(5, pool=0.1))
        cold = asyncio.create_task(run.client.get("http://calc/echo", timeout=30))
        run.session.set_cluster_size("http://calc", 1)
        assert (await cold).status_code == 200
    nothing_left(golem)


async def test_restart_can_be_switched_off(golem, running):
    async with running(1, restart="never") as run:
        await run.client.get("http://calc/echo")
        (provider,) = [found.provider for found in run.session.stats()["http://calc"].providers]
        golem.kill(provider)
        await run.until(lambda: run.seen("InstanceLost"), 5)
        await run.until(lambda: run.session.stats()["http://calc"].wanted == 0)


async def test_replacing_for_long_leaks_neither_demands_nor_addresses(golem, running):
    async with running(1) as run:
        for _ in range(4):
            await run.ready(1)
            (found,) = [i for i in run.cluster.instances if i.provider_name]
            golem.kill(found.provider_name)
            await run.until(lambda found=found: found not in run.cluster.instances)
            golem.revive(found.provider_name)
        await run.ready(1)
        assert len(golem.left_behind()["demands"]) == 1
        assert {instance.address for instance in run.cluster.instances} <= {
            "192.168.0.2",
            "192.168.0.3",
        }


@pytest.mark.timeout(200)
async def test_resizing_under_load_loses_nothing(make_golem, running, executions, nothing_left):
    golem = make_golem(5)
    outcomes = {"answered": 0, "failed": []}
    numbers = iter(range(10**9))

    async def one(run, method):
        identifier = f"{method}-{next(numbers)}"
        try:
            answer = await run.client.request(
                method, "http://calc/echo", headers={"X-Id": identifier}, timeout=90
            )
            assert answer.status_code == 200
            outcomes["answered"] += 1
        except httpx.TransportError as error:
            outcomes["failed"].append((identifier, error))

    async with running(1, slots=16) as run:
        await run.ready(1)
        tasks = set()
        started = time.monotonic()
        sizes = iter([(0.1, 5), (0.45, 0), (0.55, 2)])
        coming = next(sizes)
        while (elapsed := time.monotonic() - started) < SOAK_S:
            if coming and elapsed > coming[0] * SOAK_S:
                run.session.set_cluster_size("http://calc", coming[1])
                coming = next(sizes, None)
            method = random.choice(("GET", "POST"))
            tasks.add(asyncio.create_task(one(run, method)))
            await asyncio.sleep(max(0.0, started + len(tasks) / 200 - time.monotonic()))
        await asyncio.gather(*tasks)
    assert outcomes["failed"] == []
    assert outcomes["answered"] == len(tasks)
    posts = [count for identifier, count in executions().items() if identifier.startswith("POST")]
    assert set(posts) == {1}
    nothing_left(golem)
