"""Replies and failures, without and with a network: whatever comes, only acceptance and DROPPED remove a message."""

from __future__ import annotations

import json
import socket

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from infi.ramen_client.blacklist import Blacklist
from infi.ramen_client.config import QueueReaderConfig
from infi.ramen_client.delivery import Delivery, reqid_of, status_of
from infi.ramen_client.diskqueue import DeadLetters, DiskQueue, QueueFiles
from infi.ramen_client.errors import DataError
from infi.ramen_client.replies import Reply, Verdicts, judge

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
BODIES = st.one_of(
    st.binary(max_size=40),
    JSON_VALUES.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {"code": st.sampled_from(["ACCEPTED", "DROPPED", "X", 5, None])},
        optional={"rule": JSON_VALUES, "details": JSON_VALUES},
    ).map(lambda value: json.dumps(value).encode()),
)


@given(status=st.integers(100, 999), body=BODIES)
@example(202, b'{"code":"ACCEPTED","details":null}')
@example(202, b"[" * 100_000)
def test_no_reply_removes_a_message_but_acceptance_and_dropped(status, body):
    verdict = judge(Reply(status, {}, body))
    answer = Reply(status, {}, body).json()
    code = answer.get("code") if isinstance(answer, dict) else None
    if verdict.kind is Verdicts.ACCEPTED:
        assert status == 202
        assert isinstance(code, str)
        assert code != "DROPPED"
    if verdict.kind is Verdicts.DROPPED:
        assert (status, code) == (202, "DROPPED")
    if verdict.kind is Verdicts.DEAD:
        assert status in (400, 413, 415) or isinstance(code, str)
    if status in (429, 503) or status in (401, 403):
        assert status_of(verdict) == 3
    assert verdict.reason


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, b"<html>not found</html>", Verdicts.HOLD),
        (404, b'{"code":"NOT_FOUND","details":"Wrong URL"}', Verdicts.DEAD),
        (409, b"", Verdicts.HOLD),
        (409, b'{"code":"CONFLICT"}', Verdicts.DEAD),
        (200, b"<html>log in</html>", Verdicts.HOLD),
        (502, b"", Verdicts.HOLD),
        (503, b"", Verdicts.PAUSE),
        (429, b"", Verdicts.PAUSE),
        (403, b"", Verdicts.REFUSED),
    ],
)
def test_a_refusal_counts_only_in_ramens_own_voice(status, body, kind):
    assert judge(Reply(status, {}, body)).kind is kind


class Clock:
    def __init__(self):
        self.now = 1000.0
        self.wall = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def config(reader_values):
    return QueueReaderConfig({**reader_values, "hostname": "h", "retry_delay": 10})


@pytest.fixture
def delivery(config, queue, files, clock):
    return Delivery(
        config,
        queue,
        Blacklist(config, clock=clock, wall=lambda: clock.wall),
        DeadLetters(files),
        clock=clock,
    )


def push(queue, *types):
    queue.push_many([("m", name, "v1", f"{name}-{n}", b"x") for n, name in enumerate(types)])


def ACCEPTED():
    return Reply(202, {}, b'{"code":"ACCEPTED","details":null}')


def work(delivery, clock, answers):
    """Send until nothing is due; ``answers`` returns the reply for a row. Return what was sent."""
    sent = []
    while (row := delivery.next(clock.now)) is not None:
        sent.append(reqid_of(row))
        delivery.settle(row, answers(row))
    delivery.flush()
    return sent


def test_a_path_waits_and_keeps_its_order(delivery, queue, clock):
    push(queue, "a", "b", "a", "b", "a")

    def fails(row):
        return Reply(500, {}, b"") if row["data_type"] == "a" else ACCEPTED()

    assert work(delivery, clock, fails) == ["a-0", "b-1", "b-3"]
    assert queue.size() == 3
    assert work(delivery, clock, lambda _: ACCEPTED()) == []
    wait_s, for_pushes = delivery.due_in_s(clock.now)
    assert (wait_s <= 10, for_pushes) == (True, True)
    clock.now += 10.1
    assert work(delivery, clock, lambda _: ACCEPTED()) == ["a-0", "a-2", "a-4"]
    assert queue.size() == 0


def test_a_path_that_is_due_again_does_not_hide_older_messages_of_others(delivery, queue, clock):
    push(queue, "b", "b", "a", "b")

    def first(row):
        after = {"Retry-After": "60"} if row["data_type"] == "a" else {}
        return Reply(500, after, b"")

    assert work(delivery, clock, first) == ["b-0", "a-2"]
    clock.now += 11
    row = delivery.next(clock.now)
    assert reqid_of(row) == "b-0"
    delivery.settle(row, ACCEPTED())
    clock.now += 60  # "a", read later than what still waits of "b", is due now
    assert work(delivery, clock, lambda _: ACCEPTED()) == ["b-1", "a-2", "b-3"]
    assert queue.size() == 0


ANSWERS = {
    "accepted": ACCEPTED(),
    "failed": Reply(500, {}, b""),
    "failed for long": Reply(500, {"Retry-After": "60"}, b""),
    "busy": Reply(503, {}, b""),
    "refused": Reply(401, {}, b"{}"),
    "dead": Reply(400, {}, b"{}"),
    "dropped": Reply(202, {}, b'{"code":"DROPPED","rule":{}}'),
    "no answer": None,
}


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    types=st.lists(st.sampled_from("abc"), min_size=1, max_size=12),
    steps=st.lists(
        st.tuples(st.sampled_from(sorted(ANSWERS)), st.sampled_from([0.0, 1.0, 11.0, 61.0])),
        max_size=40,
    ),
)
def test_whatever_is_answered_no_message_is_forgotten_or_overtaken(
    tmp_path_factory, reader_values, types, steps
):
    clock = Clock()
    folder = str(tmp_path_factory.mktemp("queue"))
    config = QueueReaderConfig(
        {**reader_values, "queue_dir": folder, "hostname": "h", "retry_delay": 10}
    )
    files = QueueFiles(folder, "imx", 1099)
    queue = DiskQueue(files, durability="interval")
    gone = []
    try:
        rules = Blacklist(config, clock=clock, wall=lambda: clock.wall)
        delivery = Delivery(config, queue, rules, DeadLetters(files), clock=clock)
        push(queue, *types)
        todo = [*steps, *([("accepted", 700.0)] * (len(types) + 3))]
        for answer, passed_s in todo:
            clock.now += passed_s
            row = delivery.next(clock.now)
            if row is None:
                continue
            reply = ANSWERS[answer]
            if reply is None:
                delivery.fail(row, OSError("no answer"), sent=True)
                continue
            kind = delivery.settle(row, reply).kind
            if kind in (Verdicts.ACCEPTED, Verdicts.DROPPED, Verdicts.DEAD):
                gone.append(reqid_of(row))
        delivery.flush()
        assert queue.size() == 0
    finally:
        queue.close()
    assert sorted(gone) == sorted(f"{name}-{n}" for n, name in enumerate(types))
    for name in set(types):
        own = [int(reqid.split("-")[1]) for reqid in gone if reqid.startswith(name)]
        assert own == sorted(own)


def test_pauses_grow_to_the_cap_and_end_with_success(delivery, queue, clock):
    push(queue, "a")
    waits = []
    for _ in range(9):
        row = delivery.next(clock.now)
        delivery.settle(row, Reply(503, {}, b""))
        assert delivery.next(clock.now) is None
        wait_s, for_pushes = delivery.due_in_s(clock.now)
        assert not for_pushes
        waits.append(wait_s)
        clock.now += wait_s + 0.001
    assert all(5 * 2**n <= wait_s <= 10 * 2**n for n, wait_s in enumerate(waits[:6]))
    assert all(300 <= wait_s <= 600 for wait_s in waits[7:])
    assert work(delivery, clock, lambda _: ACCEPTED()) == ["a-0"]


def test_retry_after_is_honoured_up_to_the_cap(delivery, queue, clock):
    push(queue, "a")
    for asked, expected in (("120", 120), ("99999", 600)):
        row = delivery.next(clock.now)
        delivery.settle(row, Reply(429, {"retry-after": asked}, b""))
        assert delivery.due_in_s(clock.now)[0] == pytest.approx(expected, abs=0.01)
        clock.now += expected + 1


def test_one_broken_connection_holds_a_path_and_two_pause_everything(delivery, queue, clock):
    push(queue, "a", "b", "c")
    row = delivery.next(clock.now)
    delivery.fail(row, OSError("reset"), sent=True)
    row = delivery.next(clock.now)
    assert row["data_type"] == "b"
    delivery.fail(row, OSError("reset"), sent=True)
    assert delivery.next(clock.now) is None
    assert delivery.due_in_s(clock.now)[1] is False


def test_a_connection_that_cannot_be_opened_pauses_everything(delivery, queue, clock):
    push(queue, "a", "b")
    delivery.fail(delivery.next(clock.now), OSError("refused"), sent=False)
    assert delivery.next(clock.now) is None
    assert delivery.is_held()


def test_a_refused_token_waits_for_the_longest_pause(delivery, queue, clock):
    push(queue, "a")
    delivery.settle(delivery.next(clock.now), Reply(401, {}, b"{}"))
    assert delivery.due_in_s(clock.now)[0] == pytest.approx(600)


def test_without_delays_the_defaults_hold(delivery, config, queue, clock):
    config.retry_delay = config.polling_delay = None
    assert delivery.due_in_s(clock.now)[0] == 5
    push(queue, "a")
    delivery.settle(delivery.next(clock.now), Reply(503, {}, b""))
    assert 15 <= delivery.due_in_s(clock.now)[0] <= 30


def test_what_vanished_is_noticed_and_nothing_else_is_removed(delivery, queue, clock, caplog):
    from infi.ramen_client.diskqueue import Outcome

    push(queue, "a", "a", "a")
    row = delivery.next(clock.now)
    queue.remove([row["id"]], Outcome.DROPPED)
    delivery.settle(row, ACCEPTED())
    delivery.flush()
    assert "left the queue" in caplog.text
    assert queue.size() == 2


def test_numbers_of_a_replaced_database_remove_nothing(delivery, queue, files, clock):
    import shutil

    push(queue, "a", "a")
    row = delivery.next(clock.now)
    shutil.rmtree(files.directory)
    push(queue, "b", "b")
    delivery.settle(row, ACCEPTED())
    delivery.flush()
    assert queue.size() == 2
    assert work(delivery, clock, lambda _: ACCEPTED()) == ["b-0", "b-1"]


# Rules and clocks


@pytest.fixture
def blacklist(config, tmp_path, clock):
    def make():
        return Blacklist(config, str(tmp_path / "rules.json"), clock=clock, wall=lambda: clock.wall)

    return make


ITEM = {"category": "m", "data_type": "t", "data_version": 1}


@pytest.mark.parametrize(
    ("rule", "matched"),
    [
        ({"category": "m"}, True),
        ({"category": "M"}, False),
        ({"category": ""}, False),
        ({"system_serial": "1099", "sender": "imx", "system_version": "3.0.0.1"}, True),
        ({"data_version": "1"}, True),
        ({"data_version": 2}, False),
        ({"all": True}, True),
        ({"category": None, "data_type": "t"}, True),
    ],
)
def test_rules_match_by_all_their_fields(blacklist, rule, matched):
    rules = blacklist()
    rules.add(rule)
    assert rules.matches(ITEM) is matched


def test_rules_end_after_their_time_on_either_clock(blacklist, clock):
    for name in ("now", "wall"):
        rules = blacklist()
        rules.add({"category": "m"})
        setattr(clock, name, getattr(clock, name) + 3599)
        assert rules.matches(ITEM)
        setattr(clock, name, getattr(clock, name) + 2)
        assert not rules.matches(ITEM)
        assert rules.get_list() == []


def test_a_clock_set_back_does_not_prolong_a_rule_over_a_restart(blacklist, clock):
    blacklist().add({"category": "m"})
    clock.wall -= 1_000_000
    rules = blacklist()
    assert rules.matches(ITEM)
    clock.now += 3601
    assert not rules.matches(ITEM)


def test_a_clock_set_forward_ends_it_and_loses_nothing_else(blacklist, clock):
    blacklist().add({"category": "m"})
    clock.wall += 1_000_000
    assert not blacklist().matches(ITEM)


def test_rules_survive_a_restart_with_their_counts(blacklist):
    rules = blacklist()
    rules.add({"category": "m"}).dropped = 7
    rules.save()
    (rule,) = blacklist().get_list()
    assert (str(rule), rule.dropped) == ("Rule(category=m)", 7)
    assert rule.to_primitive()["added"].count(":") == 2


@pytest.mark.parametrize("content", ["", "nonsense", "[]", '{"rules": [5]}', '{"rules": [{}]}'])
def test_a_damaged_file_of_rules_is_no_rules(blacklist, tmp_path, content):
    (tmp_path / "rules.json").write_text(content)
    assert blacklist().get_list() == []


def test_a_rule_that_is_over_when_it_comes_is_over(blacklist):
    rules = blacklist()
    rules.add({"category": "m", "last_seen": "2001-01-01T00:00:00Z"})
    assert not rules.matches(ITEM)
    with pytest.raises(DataError):
        rules.add({"category": "m", "last_seen": "soon"})


def test_the_order_of_messages_does_not_depend_on_the_clock(queue, monkeypatch):
    for number in range(5):
        queue.push(("m", "t", "v1", f"r{number}", b""))
    import contextlib
    import sqlite3

    with contextlib.closing(sqlite3.connect(queue.files.database)) as database, database:
        database.execute("UPDATE queue SET ts = '1999-01-01 00:00:00' WHERE id > 3")
    assert [row["id"] for row in queue.read(limit=9)] == [1, 2, 3, 4, 5]


# On the wire


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    answer=st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda status, head, body: b"HTTP/1.1 %d X\r\n%s\r\n\r\n%s" % (status, head, body),
            st.integers(100, 999),
            st.sampled_from(
                [
                    b"Content-Length: 3",
                    b"Content-Length: 9999",
                    b"Content-Length: -1",
                    b"Transfer-Encoding: chunked",
                    b"Content-Encoding: gzip\r\nContent-Length: 3",
                    b"Location: http://127.0.0.1:1/\r\nContent-Length: 0",
                    b"A: b",
                ]
            ),
            st.binary(max_size=60),
        ),
    )
)
def test_no_bytes_from_a_server_lose_a_message_or_raise(recorder, make_pair, answer):
    def send(connection):
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_RDWR)

    reader, writer = make_pair(recorder)
    with reader, writer:
        reader.run(blocking=False)
        recorder.answers = [send]
        writer.push("m", "t", "v1", {})
        try:
            status = reader.consume_one()
        except Exception as error:
            assert type(error).__name__ == "AutheticationError"
            status = reader.RETRY
        assert status in (reader.RETRY, reader.DROPPED) or b" 202 " in answer
        if status == reader.RETRY:
            assert writer.queue_size() == 1
        elif status == reader.DROPPED:
            assert writer.queue_size() == 0
            assert reader.dead_letters.count() > 0 or b"DROPPED" in answer
        recorder.answers = []
        reader.run(blocking=False)
        assert writer.queue_size() == 0
