"""The next message is on its way while the last is settled, and only when nothing about the last can matter to it."""

from __future__ import annotations

import threading

import pytest
from infi.ramen_client import delivery, queue_reader
from infi.ramen_client.errors import QueueError

DROPPED = b'{"code":"DROPPED","details":"x","rule":{"data_type":"t"}}'


def fill(writer, count, data_type="t"):
    for number in range(count):
        writer.push("m", data_type, "v1", {"n": number}, f"{data_type}{number}")


def sent(recorder):
    return [head[0].split("reqid=")[1].split()[0] for head, _ in recorder.requests]


def test_the_next_request_is_sent_before_the_last_message_is_settled(recorder, make_pair):
    reader, writer = make_pair(recorder)
    fill(writer, 3)
    real = reader._delivery.settle
    seen = []

    def settle(row, *arguments):
        seen.append((row["reqid"], reader._flying and reader._flying[0]["reqid"]))
        return real(row, *arguments)

    reader._delivery.settle = settle
    assert reader.run(blocking=False) == 3
    assert seen == [("t0", "t1"), ("t1", "t2"), ("t2", None)]
    assert sent(recorder) == ["t0", "t1", "t2"]
    assert recorder.connections == 1
    assert writer.queue_size() == 0


@pytest.mark.parametrize("status", [500, 503, 302, 408])
def test_nothing_overtakes_a_message_that_failed(recorder, make_pair, status):
    reader, writer = make_pair(recorder, retry_delay=0.01, polling_delay=0.01)
    fill(writer, 3)
    recorder.answers = [recorder.reply(), recorder.reply(status, b"{}")]
    while writer.queue_size():
        reader.run(blocking=False)
    assert sent(recorder) == ["t0", "t1", "t1", "t2"]


def test_a_rule_that_comes_with_a_reply_holds_for_the_very_next_message(recorder, make_pair):
    reader, writer = make_pair(recorder)
    fill(writer, 3)
    fill(writer, 1, "other")
    recorder.answers = [recorder.reply(), recorder.reply(body=DROPPED)]
    assert reader.run(blocking=False) == 4
    assert sent(recorder) == ["t0", "t1", "other0"]


@pytest.fixture
def failing_once(monkeypatch):
    """Let the queue refuse the first removal, which comes with the first reply."""

    def fail(reader):
        real = reader._queue.disk.remove
        failures = [QueueError(5, "not now")]

        def remove(*arguments, **options):
            if failures:
                raise failures.pop()
            return real(*arguments, **options)

        monkeypatch.setattr(delivery, "FLUSH_AFTER_S", 0.0)
        monkeypatch.setattr(reader._queue.disk, "remove", remove)

    return fail


def test_a_queue_that_cannot_be_written_for_a_moment_repeats_nothing(
    recorder, make_pair, running, failing_once, monkeypatch
):
    accepted = threading.Semaphore(0)
    told = lambda name, **_facts: accepted.release() if name == "accepted" else None  # noqa: E731
    reader, writer = make_pair(recorder, on_event=told)
    fill(writer, 3)
    failing_once(reader)
    monkeypatch.setattr(queue_reader, "ERROR_PAUSE_S", 0.0)
    thread = running(reader)
    for _ in range(2):  # the first one's event fell victim to the error
        assert accepted.acquire(timeout=10)
    reader.stop()
    thread.join(10)
    assert sent(recorder) == ["t0", "t1", "t2"]
    assert writer.queue_size() == 0


def test_a_run_that_ends_with_an_error_loses_nothing(recorder, make_pair, failing_once):
    reader, writer = make_pair(recorder)
    fill(writer, 3)
    failing_once(reader)
    with pytest.raises(QueueError):
        reader.run(blocking=False)
    assert reader._flying is None
    assert reader.run(blocking=False) == 2
    assert writer.queue_size() == 0
    assert sent(recorder)[-2:] == ["t1", "t2"]


def test_stopping_waits_a_moment_for_the_request_that_was_sent_ahead(recorder, make_pair, running):
    reader, writer = make_pair(recorder, server_timeout=60)
    fill(writer, 3)
    reached, go_on = threading.Event(), threading.Event()

    def late(connection):
        reached.set()
        go_on.wait(10)
        connection.sendall(recorder.reply())

    recorder.answers = [recorder.reply(), late]
    thread = running(reader)
    assert reached.wait(10)
    reader._cut_off = lambda ended: ended.wait(10)
    reader.stop()
    go_on.set()
    thread.join(10)
    assert not thread.is_alive()
    assert writer.queue_size() == 1
    assert sent(recorder) == ["t0", "t1"]


def test_stopping_gives_back_a_message_sent_ahead_that_nobody_answers(recorder, make_pair, running):
    reader, writer = make_pair(recorder, server_timeout=60)
    fill(writer, 3)
    reached, end = threading.Event(), threading.Event()

    def never(_connection):
        reached.set()
        end.wait(10)

    recorder.answers = [recorder.reply(), never]
    thread = running(reader)
    assert reached.wait(10)
    reader.stop()
    thread.join(5)
    assert not thread.is_alive()
    end.set()
    assert writer.queue_size() == 2
    assert reader.run(blocking=False) == 2
    assert sent(recorder) == ["t0", "t1", "t1", "t2"]


def test_an_interrupt_gives_back_the_message_sent_ahead(recorder, make_pair):
    reader, writer = make_pair(recorder)
    fill(writer, 3)
    real = reader._delivery.settle

    def interrupted(*arguments):
        real(*arguments)
        raise KeyboardInterrupt

    reader._delivery.settle = interrupted
    with pytest.raises(KeyboardInterrupt):
        reader.run(blocking=False)
    reader._delivery.settle = real
    assert reader._flying is None
    assert reader.consume_one() == reader.ACCEPTED
    assert reader.run(blocking=False) == 1
    assert writer.queue_size() == 0
    assert set(sent(recorder)) == {"t0", "t1", "t2"}


def test_a_connection_closed_behind_a_reply_is_replaced_for_the_request_sent_ahead(
    recorder, make_pair
):
    reader, writer = make_pair(recorder)
    fill(writer, 4)

    def answer_and_close(connection):
        connection.sendall(recorder.reply())

    recorder.answers = [recorder.reply(), answer_and_close]
    assert reader.run(blocking=False) == 4
    assert writer.queue_size() == 0
    assert set(sent(recorder)) == {"t0", "t1", "t2", "t3"}
