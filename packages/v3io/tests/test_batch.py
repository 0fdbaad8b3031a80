"""Batches of both clients: order, per-item errors, windows, futures, independence."""

import asyncio
import threading

import pytest
from mock_servers.faults import Fault
from transport_utils.backends.native import Channel
from transport_utils.deadline import Timeout
from transport_utils.errors import LocalProtocolError, ReadTimeout
from transport_utils.retry import RetryPolicy
from v3io.aio import dataplane as aio_dataplane
from v3io.dataplane import Client, RaiseForStatus
from v3io.dataplane.transport import Actions
from v3io.errors import NotFound


class Quiet:
    def __getattr__(self, name):
        return lambda *args, **kwargs: None


@pytest.fixture
def client(v3io_server):
    with Client(
        logger=Quiet(), endpoint=v3io_server.url, access_key="k", max_connections=4
    ) as client:
        yield client


@pytest.fixture
async def aio(v3io_server):
    async with aio_dataplane.Client(
        logger=Quiet(), endpoint=v3io_server.url, access_key="k", max_connections=4
    ) as client:
        yield client


def test_results_come_in_the_order_of_the_calls_even_when_the_first_is_slow(client, v3io_server):
    for number in range(12):
        client.object.put("users", f"o{number}", body=str(number))
    v3io_server.faults.add(Fault("delay", path="/users/o0", delay_s=0.1))
    for number in range(12):
        client.batch.object.get("users", f"o{number}")
    assert [response.body for response in client.batch.wait()] == [b"%d" % n for n in range(12)]
    assert len(client.batch) == 0


@pytest.mark.parametrize("kind", ["httpclient", "requests"])
def test_failures_are_told_per_item_and_all_others_are_carried_out(v3io_server, kind):
    with Client(
        logger=Quiet(), endpoint=v3io_server.url, access_key="k", transport_kind=kind
    ) as client:
        for number in range(20):
            client.batch.object.put("users", f"o{number}", body="x")
            client.batch.object.get("users", f"missing{number}")
        results = client.batch.wait(return_errors=True)
        assert [type(result) is NotFound for result in results] == [False, True] * 20
        assert client.object.get("users", "o19").body == b"x"


def test_first_error_is_raised_with_what_was_done(client):
    client.batch.object.put("users", "o", body="x")
    client.batch.object.get("users", "missing")
    with pytest.raises(NotFound) as caught:
        client.batch.wait()
    done, failed = caught.value.batch_results
    assert done.status_code == 200
    assert failed is caught.value


def test_after_an_error_the_rest_is_not_sent(client, v3io_server):
    queued = [client.batch.object.get("users", f"missing{n}") for n in range(50)]
    with pytest.raises(NotFound):
        client.batch.wait()
    assert len(v3io_server.traffic.requests) <= 5
    assert not queued[-1].done
    with pytest.raises(RuntimeError, match="has not been sent"):
        queued[-1].result()


def test_policy_of_a_call_wins_over_that_of_wait(client):
    client.batch.object.get("users", "missing", raise_for_status=RaiseForStatus.never)
    client.batch.object.put("users", "o", body="x")
    statuses = [response.status_code for response in client.batch.wait(raise_for_status=[200])]
    assert statuses == [404, 200]
    client.batch.object.get("users", "missing")
    assert client.batch.wait(raise_for_status=RaiseForStatus.never)[0].status_code == 404


def test_block_waits_at_its_end_and_calls_give_their_results(client):
    with client.batch() as batch:
        put = batch.kv.put("users", "t", "k", {"a": 1})
        assert not put.done
    assert put.done
    with client.batch(return_errors=True) as batch:
        found = batch.kv.get("users", "t", "k")
        lost = batch.kv.get("users", "t", "none")
    assert found.result().output.item == {"a": 1}
    assert isinstance(lost.exception(), NotFound)
    with pytest.raises(NotFound):
        lost.result()


def test_block_that_raises_sends_nothing(client, v3io_server):
    def block():
        with client.batch() as batch:
            batch.object.put("users", "o", body="x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        block()
    assert v3io_server.traffic.requests == []


def test_bad_input_is_refused_when_it_is_queued(client):
    with pytest.raises(AttributeError, match="unsupported type"):
        client.batch.kv.put("users", "t", "k", {"a": None})
    with pytest.raises(AttributeError, match="cannot queue"):
        client.batch.kv.new_cursor("users", "t")
    assert client.batch.wait() == []


def test_batches_of_several_threads_share_few_connections_and_end(client):
    failures = []

    def work(name):
        batch = client.create_batch()
        try:
            for _ in range(5):
                for number in range(40):
                    batch.object.put("users", f"{name}/{number}", body=name)
                batch.wait()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert client._transport._channel.pool.open_count <= 4
    assert len(client.container.list("users", "t3").output.contents) == 40


def test_window_keeps_no_more_than_max_connections_on_their_way(client, v3io_server):
    v3io_server.faults.add(Fault("delay", delay_s=0.02))
    for number in range(16):
        client.batch.object.put("users", f"o{number}", body="x")
    client.batch.wait()
    assert client._transport._channel.pool.open_count == 4


def test_interrupted_batch_gives_its_connections_back(client, v3io_server, monkeypatch):
    v3io_server.faults.add(Fault("delay", delay_s=0.05))

    begin = Channel.begin
    begun = []

    def interrupt(channel, payload, *arguments, **options):
        if len(begun) == 3:
            raise KeyboardInterrupt
        begun.append(payload)
        return begin(channel, payload, *arguments, **options)

    for number in range(8):
        client.batch.object.put("users", f"o{number}", body="x")
    monkeypatch.setattr(Channel, "begin", interrupt)
    with pytest.raises(KeyboardInterrupt):
        client.batch.wait()
    assert client._transport._channel.pool.open_count == 0
    monkeypatch.undo()
    v3io_server.faults.clear()
    client.object.put("users", "after", body="x")
    assert client._transport._channel.pool.open_count <= 4


def test_batch_interrupted_between_two_answers_gives_its_connections_back(
    client, v3io_server, monkeypatch
):
    end = Channel.end
    ended = []

    def interrupt(channel, *arguments, **options):
        if ended:
            channel.abandon(arguments[0])  # as an exchange that is interrupted does
            raise KeyboardInterrupt
        ended.append(end(channel, *arguments, **options))
        return ended[0]

    for number in range(8):
        client.batch.object.put("users", f"o{number}", body="x")
    monkeypatch.setattr(Channel, "end", interrupt)
    with pytest.raises(KeyboardInterrupt):
        client.batch.wait()
    monkeypatch.undo()
    pool = client._transport._channel.pool
    assert pool.open_count == pool.idle_count


def test_slow_call_holds_up_no_other_and_its_limit_holds(client, v3io_server):
    client = client.with_options(timeout=Timeout(read=1.0))
    for number in range(30):
        client.object.put("users", f"o{number}", body=str(number))
    v3io_server.faults.add(Fault("hang", path="/users/o0", times=1))
    before = v3io_server.traffic.total
    for number in range(30):
        client.batch.object.get("users", f"o{number}")
    hung, *others = client.batch.wait(return_errors=True)
    assert isinstance(hung, ReadTimeout)
    assert [response.body for response in others] == [b"%d" % n for n in range(1, 30)]
    sent = {exchange.path: exchange.started_at for exchange in v3io_server.traffic.since(before)}
    assert max(sent.values()) < sent["/users/o0"] + 1.0


def test_lost_connections_are_replaced_and_repeatable_calls_sent_again(client, v3io_server):
    v3io_server.faults.add(Fault("reset", times=3, skip=4))
    for number in range(30):
        client.batch.object.put("users", f"o{number}", body="x")
    assert [response.status_code for response in client.batch.wait()] == [200] * 30
    assert len(client.container.list("users", "").output.contents) == 30


def test_call_that_cannot_be_written_fails_in_its_place(client):
    client.batch.object.put("users", "a", body="x")
    client.batch.object.put("users", "b", access_key="no\nheader", body="x")
    client.batch.object.put("users", "c", body="x")
    first, refused, last = client.batch.wait(return_errors=True)
    assert (first.status_code, last.status_code) == (200, 200)
    assert isinstance(refused, LocalProtocolError)


def test_batch_to_a_server_that_is_gone_ends_every_call_with_its_error(v3io_server):
    retry = RetryPolicy(max_retries=0)
    with Client(
        logger=Quiet(), endpoint=v3io_server.url, access_key="k", max_connections=4, retry=retry
    ) as client:
        for number in range(8):  # two bursts: connections stay open
            client.batch.object.put("users", f"o{number}", body="x")
        client.batch.wait()
        v3io_server.close()
        for number in range(8):
            client.batch.object.put("users", f"o{number}", body="x")
        results = client.batch.wait(return_errors=True)
        assert all(isinstance(result, ConnectionError) for result in results), results
        assert client._transport._channel.pool.open_count == 0


def test_streamed_body_is_sent_in_its_place(client):
    client.batch.object.put("users", "a", body=iter([b"1", b"2"]))
    client.batch.object.put("users", "b", body=b"x" * 300_000)
    client.batch.object.get("users", "a")
    assert client.batch.wait()[2].body == b"12"


def test_request_can_be_sent_and_waited_for_apart(client):
    request = client.object.put("users", "o", body="x", transport_actions=Actions.encode_only)
    assert (
        client._transport.wait_response(client._transport.send_request(request)).status_code == 200
    )
    sent = client.object.put("users", "o", body="y", transport_actions=Actions.encode_and_send)
    other = client.object.put("users", "p", body="y", transport_actions=Actions.encode_and_send)
    client._transport.abandon(other)
    client._transport.wait_response(sent)
    assert client.object.get("users", "o").body == b"y"


async def test_asyncio_batch_has_the_same_surface(aio):
    async with aio.batch() as batch:
        for number in range(30):
            batch.kv.put("users", "t", f"k{number}", {"n": number})
    for number in range(30):
        aio.batch.get_item("users", f"t/k{number}")
    items = [response.output.item for response in await aio.batch.wait()]
    assert items == [{"n": number} for number in range(30)]
    async with aio.batch(return_errors=True) as batch:
        lost = batch.kv.get("users", "t", "none")
        stream = batch.stream.create("users", "st", 1)
    assert isinstance(lost.exception(), NotFound)
    assert stream.done
    async with aio.batch() as batch:
        batch.stream.delete("users", "st")
    assert aio._transport._channel.pool.open_count <= 4


async def test_asyncio_batch_raises_the_first_error_and_drops_the_rest(aio, v3io_server):
    queued = [aio.batch.object.get("users", f"missing{n}") for n in range(50)]
    with pytest.raises(NotFound) as caught:
        await aio.batch.wait()
    assert len(caught.value.batch_results) == 50
    assert len(v3io_server.traffic.requests) <= 8
    assert not queued[-1].done


async def test_asyncio_batch_that_is_cancelled_leaves_the_client_whole(aio, v3io_server):
    v3io_server.faults.add(Fault("hang"))
    for number in range(20):
        aio.batch.object.put("users", f"o{number}", body="x")
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(aio.batch.wait(), 0.1)
    v3io_server.faults.clear()
    assert (await aio.object.put("users", "after", body="x")).status_code == 200


async def test_asyncio_block_that_raises_sends_nothing(aio, v3io_server):
    async def block():
        async with aio.batch() as batch:
            batch.object.put("users", "o", body="x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await block()
    assert v3io_server.traffic.requests == []
