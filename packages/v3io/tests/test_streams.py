"""Producing and consuming: batches, consumer groups, commits and lag, against the mock server and without it."""

import asyncio
import contextlib
import datetime
import json
import pickle
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from v3io.aio import dataplane as aio_dataplane
from v3io.aio import streams as aio_streams
from v3io.dataplane import Client
from v3io.dataplane.output import PutRecordsOutput
from v3io.errors import NotFound
from v3io.streams import Consumer, GroupFull, GroupSettings, Producer, RecordsFailed, StateError
from v3io.streams.group_state import GroupState, Session, shard_range
from v3io.streams.producer import RecordBuffer

NOW = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.timezone.utc)
FAST = GroupSettings(1, heartbeat_s=0.05, session_timeout_s=1.0, poll_s=0.01)


def claim(state, member, *, now=NOW, members=2, shards=4):
    return state.claim(member, now, max_members=members, shard_count=shards, session_timeout_s=10)


@given(st.integers(1, 64), st.integers(1, 64))
def test_the_ranges_of_all_members_are_a_partition_of_the_shards(members, shards):
    ranges = [shard for i in range(members) for shard in shard_range(i, members, shards)]
    assert ranges == list(range(shards))


def test_members_claim_different_ranges_and_keep_them():
    state = claim(claim(GroupState(), "a"), "b")
    assert state.session("a").shards == (0, 1)
    assert state.session("b").shards == (2, 3)
    later = NOW + datetime.timedelta(seconds=5)
    renewed = claim(state, "a", now=later)
    assert renewed.session("a") == Session("a", later, (0, 1))


def test_a_full_group_refuses_a_member_until_one_leaves_or_falls_silent():
    state = claim(claim(GroupState(), "a"), "b")
    with pytest.raises(GroupFull, match="2 places"):
        claim(state, "c")
    assert claim(state.leave("a"), "c").session("c").shards == (0, 1)
    silent = NOW + datetime.timedelta(seconds=11)
    assert claim(state, "c", now=silent).session("b") is None


def test_the_state_is_written_and_read_as_the_platforms_consumers_do():
    state = claim(GroupState(), "a")
    document = json.loads(state.dumps())
    assert document == {
        "schema_version": "0.0.1",
        "session_states": [
            {"member_id": "a", "last_heartbeat_time": "2026-01-31T12:00:00Z", "shards": [0, 1]}
        ],
    }
    text = state.dumps().replace("12:00:00Z", "13:00:00.123456789+01:00")
    assert GroupState.parse(text).session("a").last_heartbeat == NOW.replace(microsecond=123456)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema_version": "9"}',
        '{"schema_version": "0.0.1", "session_states": [{}]}',
        '{"schema_version": "0.0.1", "session_states": [{"member_id": "a", "last_heartbeat_time": "x", "shards": []}]}',
    ],
)
def test_a_state_of_another_schema_is_refused(text):
    with pytest.raises(StateError):
        GroupState.parse(text)


@given(st.text(max_size=40))
def test_parsing_any_text_ends_in_a_state_or_a_state_error(text):
    with contextlib.suppress(StateError):
        assert isinstance(GroupState.parse(text), GroupState)


@pytest.mark.parametrize(
    "settings",
    [
        {"max_members": 0},
        {"max_members": 1, "start": "LATEST"},
        {"max_members": 1, "heartbeat_s": 10},
    ],
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError):
        GroupSettings(**settings)


def test_a_buffer_makes_calls_by_count_by_size_and_by_age():
    buffer = RecordBuffer(2, 5.0, 1)
    assert buffer.add(0.0, "a", None, None, None) == []
    assert buffer.add(1.0, "b", "k", 3, b"i") == [
        [{"data": "a"}, {"data": "b", "client_info": b"i", "shard_id": 3, "partition_key": "k"}]
    ]
    aged = RecordBuffer(100, 5.0, 1)
    aged.add(0.0, "a", None, None, None)
    assert len(aged.add(5.0, "b", None, None, None)[0]) == 2
    sized = RecordBuffer(100, 5.0, 1)
    for _ in range(3):
        assert sized.add(0.0, b"x" * 2_000_000, None, None, None) == []
    assert len(sized.add(0.0, b"x" * 2_000_000, None, None, None)[0]) == 3
    with pytest.raises(ValueError, match="2097152"):
        sized.add(0.0, b"x" * 2_097_153, None, None, None)


@pytest.fixture
def client(v3io_server):
    with Client(endpoint=v3io_server.url, access_key="k", logger_verbosity="ERROR") as client:
        yield client


def consume(client, **options):
    options.setdefault("settings", FAST)
    return Consumer(client, "bigdata", "/s", group="g", stop_when_idle=True, **options)


def test_what_is_produced_is_consumed_in_order_and_committed(client):
    client.stream.create("bigdata", "/s", 2)
    with Producer(client, "bigdata", "/s", max_records=3) as producer:
        for number in range(10):
            producer.put(str(number), shard_id=number % 2)
    with consume(client) as consumer:
        assert consumer.shards == (0, 1)
        records = list(consumer)
        assert [int(r.data) for r in records if r.shard_id == 0] == [0, 2, 4, 6, 8]
        assert [int(r.data) for r in records if r.shard_id == 1] == [1, 3, 5, 7, 9]
        assert [(lag.processed, lag.behind) for lag in consumer.lag()] == [(5, 0), (5, 0)]
    with consume(client) as consumer:
        assert list(consumer) == []


def test_a_record_that_was_handed_out_but_not_finished_is_delivered_again(client):
    client.stream.create("bigdata", "/s", 1)
    with Producer(client, "bigdata", "/s") as producer:
        producer.put("a")
        producer.put("b")
    with consume(client) as consumer:
        assert next(consumer).data == b"a"
        assert next(consumer).data == b"b"
    with consume(client) as consumer:
        assert [record.data for record in consumer] == [b"b"]


def test_a_stopped_consumer_finishes_the_record_in_hand_and_keeps_its_place_until_closed(client):
    client.stream.create("bigdata", "/s", 1)
    client.stream.put_records("bigdata", "/s", [{"data": "a"}, {"data": "b"}])
    settings = GroupSettings(1, heartbeat_s=0.05, session_timeout_s=5.0, state_attempts=2)
    with Consumer(client, "bigdata", "/s", group="g", settings=settings) as consumer:
        for record in consumer:
            stopper = threading.Thread(target=consumer.stop)
            stopper.start()
            stopper.join()
            assert record.data == b"a"
            with pytest.raises(GroupFull):
                consume(client, settings=settings).open()
        assert consumer.stopped
        assert list(consumer) == []
    with consume(client) as consumer:
        assert [record.data for record in consumer] == [b"b"]


def test_stop_ends_an_iteration_that_waits_for_records(client):
    client.stream.create("bigdata", "/s", 1)
    patient = GroupSettings(1, poll_s=3600.0)
    with Consumer(client, "bigdata", "/s", group="g", settings=patient) as consumer:
        stopper = threading.Timer(0.05, consumer.stop)
        stopper.start()
        assert list(consumer) == []
        stopper.join()


def test_two_members_share_the_shards_and_a_third_finds_no_place(client):
    client.stream.create("bigdata", "/s", 4)
    settings = GroupSettings(2, heartbeat_s=0.05, session_timeout_s=5.0, state_attempts=2)
    with consume(client, settings=settings) as one, consume(client, settings=settings) as two:
        assert sorted(one.shards + two.shards) == [0, 1, 2, 3]
        with pytest.raises(GroupFull):
            consume(client, settings=settings).open()


def test_a_shard_that_appears_later_is_read_from_its_first_record(client):
    client.stream.create("bigdata", "/s", 1)
    settings = GroupSettings(1, start="latest", heartbeat_s=0.05, session_timeout_s=5.0)
    with consume(client, settings=settings) as consumer:
        assert list(consumer) == []
        client.stream.put_records("bigdata", "/s", [{"data": "first"}])
        assert [record.data for record in consumer] == [b"first"]


def test_consuming_a_missing_stream_says_so(client):
    with pytest.raises(NotFound):
        consume(client).open()


def test_a_closed_producer_refuses_records(client):
    producer = Producer(client, "bigdata", "/s")
    producer.close()
    with pytest.raises(RuntimeError, match="closed"):
        producer.put("late")


class Refusing:
    """Answers PutRecords: refuses the records whose data is in ``refused``, each as often as it says."""

    def __init__(self, refused):
        self.refused = dict(refused)
        self.calls = []

    def put_records(self, container, path, records, access_key):
        self.calls.append([record["data"] for record in records])
        results = []
        for record in records:
            left = self.refused.get(record["data"], 0)
            self.refused[record["data"]] = left - 1
            results.append(
                {"ErrorCode": -5, "ErrorMessage": "busy"} if left > 0 else {"SequenceNumber": 1}
            )
        failed = sum("ErrorCode" in result for result in results)
        answer = PutRecordsOutput({"FailedRecordCount": failed, "Records": results})
        return type("Answer", (), {"output": answer})()


def test_only_the_refused_records_are_sent_again():
    client = Refusing({"b": 2})
    with Producer(client, "c", "/s", attempts=3) as producer:
        for data in "abc":
            producer.put(data)
    assert client.calls == [["a", "b", "c"], ["b"], ["b"]]


def test_records_refused_for_good_are_named_and_pickle():
    producer = Producer(Refusing({"b": 9}), "c", "/s", attempts=1)
    producer.put("a")
    producer.put("b")
    with pytest.raises(RecordsFailed, match="busy") as caught:
        producer.close()
    copy = pickle.loads(pickle.dumps(caught.value))
    assert copy.failed == [({"data": "b"}, -5, "busy")]
    assert caught.value.records == [{"data": "a"}, {"data": "b"}]


async def test_the_asyncio_forms_produce_consume_and_commit(v3io_server):
    async with aio_dataplane.Client(
        endpoint=v3io_server.url, access_key="k", logger_verbosity="ERROR"
    ) as client:
        await client.stream.create("bigdata", "/s", 2)
        async with aio_streams.Producer(client, "bigdata", "/s", max_records=3) as producer:
            for number in range(7):
                await producer.put(str(number), partition_key="k")
        for expected in ([b"0", b"1", b"2", b"3", b"4", b"5", b"6"], []):
            async with aio_streams.Consumer(
                client, "bigdata", "/s", group="g", settings=FAST, stop_when_idle=True
            ) as consumer:
                assert [record.data async for record in consumer] == expected


async def test_the_asyncio_consumer_can_be_stopped_while_it_waits(v3io_server):
    async with aio_dataplane.Client(
        endpoint=v3io_server.url, access_key="k", logger_verbosity="ERROR"
    ) as client:
        await client.stream.create("bigdata", "/s", 1)
        patient = GroupSettings(1, poll_s=3600.0)
        async with aio_streams.Consumer(
            client, "bigdata", "/s", group="g", settings=patient
        ) as consumer:
            asyncio.get_running_loop().call_later(0.05, consumer.stop)
            assert [record async for record in consumer] == []
            assert consumer.stopped
