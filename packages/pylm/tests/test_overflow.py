"""What happens at each high-water mark, by policy: what waits is bounded, what is dropped is counted."""

import itertools
import logging
import threading
import time

import pytest
import zmq
from pylm import _wire
from pylm.chained import LastServer
from pylm.clients import Client
from pylm.config import ServerOptions
from pylm.servers import Master, MuxWorker, Server, Worker
from pylm.testing import FakeClock, Kit

QUIET = {"log_level": logging.CRITICAL}
BACKLOG = 20
SENT = 300


class Echo(Server):
    def foo(self, message):
        return message


class Last(LastServer):
    def foo(self, message):
        return message


def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def frame(number, kind=_wire.PalmMessage, server="s"):
    fields = {"pipeline": "p"} if kind is _wire.OldPalmMessage else {}
    message = kind(client="slow", stage=0, function=f"{server}.foo", **fields)
    message.ext = _wire.MessageIds().next()[1]
    return _wire.encode(message, b"%d" % number)


class Flood:
    """A sender that never reads, and a reader that reads when told to, on sockets with room for five messages."""

    def __init__(self, kit, into, out, kind):
        self.push = kit.manage(kit.context.socket(zmq.PUSH))
        self.push.set_hwm(5)
        self.push.linger = 0
        self.push.sndtimeo = 500
        self.push.connect(into)
        self.reader = kit.manage(kit.context.socket(kind))
        self.reader.set_hwm(5)
        self.reader.rcvtimeo = 1000
        if kind == zmq.SUB:
            self.reader.subscribe(b"slow")
        self.reader.connect(out)

    def send(self, make):
        """Send until all are sent or there is no room for half a second; return how many left."""
        for number in range(SENT):
            try:
                self.push.send(make(number))
            except zmq.Again:
                return number
        return SENT

    def read(self):
        """Return all that is waiting."""
        got = []
        try:
            while True:
                got.append(self.reader.recv_multipart()[-1])
        except zmq.Again:
            return got


def publishing(kit, options):
    server = kit.run(Echo("s", *kit.addresses(3), **QUIET, options=options))
    flood = Flood(kit, server.pull_address, server.pub_address, zmq.SUB)
    return server, flood, frame, _wire.decode_new


def pushing(kit, options):
    where = kit.addresses(3)
    server = kit.run(Last("s", *where, debug_level=logging.CRITICAL, options=options))
    flood = Flood(kit, where[0], where[1], zmq.PULL)
    return server, flood, lambda number: frame(number, _wire.OldPalmMessage), _wire.decode_old


@pytest.mark.parametrize("make", [publishing, pushing])
@pytest.mark.parametrize("overflow", ["block", "drop-oldest", "raise"])
def test_answers_of_a_reader_that_does_not_read(kit, make, overflow):
    options = kit.options(high_water_mark=5, backlog=BACKLOG, overflow=overflow)
    server, flood, encode, decode = make(kit, options)
    sent = flood.send(encode)
    if overflow == "block":
        assert sent < 100  # then nobody could send any more
    else:
        assert sent == SENT
        until(lambda: server.stats.received == SENT)
    assert server._outlet.waiting() <= BACKLOG * (2 if overflow == "raise" else 1)
    got = [decode(each) for each in flood.read()]
    failures = [each for each, _ in got if _wire.has_more(each.ext) and b"Overloaded" in each.ext]
    assert len(got) + server.stats.dropped == sent
    if overflow == "block":
        assert [payload for _, payload in got] == [b"%d" % each for each in range(sent)]
    elif overflow == "drop-oldest":
        assert got[-1][1] == b"%d" % (SENT - 1)
        assert not failures
    else:
        assert len(got) - len(failures) == server.stats.answered < 100
        assert server.stats.failed == SENT - server.stats.answered


def test_answers_for_readers_that_never_come_are_bounded_over_all_topics():
    clock = FakeClock()
    rules = Kit.publisher()
    for number in range(12_000):
        assert not rules.offer(b"topic %d" % number, b"x", clock(), per_call=False)
    assert rules.waiting == 10_000
    assert rules.dropped == 2_000
    assert rules.on_event(b"\x01topic 1999") == []
    assert rules.on_event(b"\x01topic 2000") == [(b"topic 2000", b"x")]
    assert rules.on_time(clock.advance(5.1)) == []
    assert (rules.waiting, rules.dropped, rules.held) == (0, 11_999, {})
    assert rules.next_due() is None


def test_what_is_dropped_for_want_of_a_reader_is_counted(kit):
    server = kit.run(Echo("s", *kit.addresses(3), **QUIET, options=kit.options(hold_s=0.2)))
    push = kit.manage(kit.context.socket(zmq.PUSH))
    push.connect(server.pull_address)
    for number in range(1500):
        push.send(frame(number))
    until(lambda: server.stats.received == server.stats.dropped == 1500)


@pytest.mark.parametrize("channel", ["push", "router"])
def test_a_master_full_on_both_sides_goes_on_when_its_reader_does(kit, channel):
    class Hand(Worker):
        def foo(self, message):
            return message

    options = {"high_water_mark": 2, "channel": channel}
    master = kit.run(
        Master(
            "s",
            *kit.addresses(5),
            **QUIET,
            options=kit.options(high_water_mark=2, backlog=4, queue_limit=60),
        )
    )
    kit.run(Hand("w", master.db_address, **QUIET, options=kit.options(**options)))
    flood = Flood(kit, master.pull_address, master.pub_address, zmq.SUB)
    sent = flood.send(frame)
    assert sent < SENT
    assert len(master._dispatcher.queue) <= 61
    payloads = [_wire.decode_new(each)[1] for each in flood.read()]
    assert sorted(payloads, key=int) == [b"%d" % each for each in range(sent)]
    assert master.stats.dropped == 0


def test_a_worker_with_endless_results_is_held_back_by_a_slow_reader(kit):
    ending = threading.Event()

    class Endless(MuxWorker):
        made = 0

        def foo(self, message):
            for number in itertools.count():
                if ending.is_set():
                    return
                self.made = number
                yield b"%d" % number

    options = kit.options(high_water_mark=5, backlog=BACKLOG)
    master = kit.run(Master("s", *kit.addresses(5), **QUIET, options=options))
    worker = kit.run(Endless("w", master.db_address, **QUIET, options=options))
    flood = Flood(kit, master.pull_address, master.pub_address, zmq.SUB)
    flood.push.send(frame(0))
    until(lambda: master._outlet.is_full())
    time.sleep(0.5)  # more than three heartbeats, which the master cannot hear now
    made = worker.made
    time.sleep(0.1)
    assert worker.made == made
    assert master._outlet.waiting() <= BACKLOG + 128
    assert [each.name for each in master._dispatcher.workers.values()] == ["w"]
    for number in range(made):
        assert _wire.decode_new(flood.reader.recv_multipart()[1])[1] == b"%d" % number
    ending.set()
    flood.read()


def test_a_generator_waits_while_its_answers_are_not_read(address, running):
    server = running(Echo("s", address(), address(), address(), **QUIET, options=ServerOptions()))
    taken = itertools.count()
    with Client("s", server.db_address, timeout=10, logging_level=logging.CRITICAL) as talk:
        job = talk.job("s.foo", (b"%d" % each for each in taken))
        assert next(job) == b"0"
        stop = threading.Event()

        def busy():  # another call reads for all
            while not stop.is_set():
                talk.eval("s.foo", b"x")

        thread = threading.Thread(target=busy)
        thread.start()
        until(lambda: server.stats.received > 1000)
        time.sleep(0.5)
        count = next(taken)
        time.sleep(0.2)
        assert next(taken) - count == 1
        stop.set()
        thread.join()
        job.close()
