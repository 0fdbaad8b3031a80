"""Recorded conversations of the originals, replayed: their peers get their bytes from us, and ours send theirs."""

import json
import logging
import pathlib
import re
import threading

import pytest
import zmq
from pylm import chained, standalone
from pylm.clients import Client
from pylm.config import ServerOptions
from pylm.servers import Hub, Pipeline, Server, Worker

VECTORS = json.loads((pathlib.Path(__file__).parent / "wire" / "vectors.json").read_text("utf-8"))
UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
QUIET = {"log_level": logging.CRITICAL}
CALM = {"debug_level": logging.CRITICAL}


def steps(example, generation, **wanted):
    (recording,) = [
        each
        for each in VECTORS["recordings"]
        if (each["example"], each["generation"]) == (example, generation)
        and "SESSION" not in each["call"]
    ]
    return [
        [bytes.fromhex(frame) for frame in step["frames_hex"]]
        for step in recording["steps"]
        if all(step[key] == value for key, value in wanted.items())
    ]


def blank(frame):
    return UUID.sub(b"U" * 36, frame)


@pytest.fixture
def raw():
    """Make raw sockets; all are closed at the end."""
    made = []

    def make(kind, *, connect=None, bind=None, subscribe=None):
        socket = zmq.Context.instance().socket(kind)
        made.append(socket)
        socket.linger = 0
        socket.rcvtimeo = 10_000
        if subscribe is not None:
            socket.subscribe(subscribe)
        if bind:
            socket.bind(bind)
        if connect:
            socket.connect(connect)
        return socket

    yield make
    for socket in made:
        socket.close(0)


@pytest.mark.parametrize("generation", ["OA", "OB"])
def test_an_old_client_gets_the_recorded_answer(raw, address, running, generation):
    class MyServer(standalone.Server):
        def foo(self, message):
            return b"you sent me " + message

    where = address()
    running(MyServer("my_server", where, **QUIET))
    (request,) = steps("standalone_single", generation, role="client", op="send")
    (answer,) = steps("standalone_single", generation, role="server", op="send")
    req = raw(zmq.REQ, connect=where)
    req.send_multipart(request)
    assert req.recv_multipart() == answer


def test_an_old_client_gets_the_recorded_answers_of_set_get_and_delete(raw, address, running):
    class Srv(standalone.Server):
        def foo(self, message):
            return message

        def cached(self, message, tag):
            return message + tag.encode()

    where = address()
    running(Srv("srv", where, **QUIET))
    requests = steps("services", "OB", role="client", socket="REQ", op="send")
    answers = steps("services", "OB", role="oserver", socket="REP", op="send")
    req = raw(zmq.REQ, connect=where)
    got = []
    for request in requests:
        req.send_multipart(request)
        got.append(blank(req.recv()))
    assert got == [blank(answer[0]) for answer in answers]


def test_an_old_chain_passes_the_recorded_frames(raw, address, running):
    class Step1(chained.Server):
        def foo(self, message):
            return b"you sent me " + message

    class Step2(chained.Server):
        def bar(self, message):
            return b"got it too, after " + message

    class Last(chained.LastServer):
        def baz(self, message):
            return b"ACK: " + message

    sent = {
        role: steps("chained_single", "OA", role=role, op="send")[0]
        for role in ("client", "step1", "step2", "last")
    }
    one, two, three, out = (address() for _ in range(4))
    spy = raw(zmq.PULL, bind=two)
    running(Step1("step1", one, two, "step2.bar", address(), **CALM))
    push = raw(zmq.PUSH, connect=one)
    push.send_multipart(sent["client"])
    assert spy.recv_multipart() == sent["step1"]
    step2_in = address()
    spy2 = raw(zmq.PULL, bind=three)
    running(Step2("step2", step2_in, three, "last.baz", address(), **CALM))
    raw(zmq.PUSH, connect=step2_in).send_multipart(sent["step1"])
    assert spy2.recv_multipart() == sent["step2"]
    last_in = address()
    running(Last("last", last_in, out, address(), **CALM))
    answers = raw(zmq.PULL, connect=out)
    raw(zmq.PUSH, connect=last_in).send_multipart(sent["step2"])
    assert answers.recv_multipart() == sent["last"]


def test_an_old_master_gives_original_workers_and_clients_the_recorded_frames(
    raw, address, running
):
    pull, push, wpull, wpush, db = (address() for _ in range(5))
    running(standalone.Master("server", pull, push, wpull, wpush, db, palm=True, **CALM))
    (job,) = steps("standalone_parallel", "OB", role="client", op="send")
    to_worker = steps(
        "standalone_parallel", "OB", role="master", at="bind tcp://127.0.0.1:5558", op="send"
    )[0]
    answer = steps(
        "standalone_parallel", "OB", role="master", at="bind tcp://127.0.0.1:5556", op="send"
    )[0]
    worker_in, worker_out = raw(zmq.PULL, connect=wpush), raw(zmq.PUSH, connect=wpull)
    client_in, client_out = raw(zmq.PULL, connect=push), raw(zmq.PUSH, connect=pull)
    client_out.send_multipart(job)
    got = worker_in.recv()
    assert blank(got) == blank(to_worker[0])
    from pylm import _wire

    broker = _wire.BrokerMessage.FromString(got)
    broker.payload = b"worker2 processed a message"
    worker_out.send(broker.SerializeToString())
    assert client_in.recv_multipart() == answer


class Foo(Server):
    def foo(self, message):
        return b"you sent me " + message


def test_a_new_client_gets_the_recorded_answer(raw, address, running):
    server = running(Foo("my_server", address(), address(), address(), **QUIET))
    requests = steps("single", "N", role="client", socket="REQ", op="send")
    req = raw(zmq.REQ, connect=server.db_address)
    got = []
    for request in requests:
        req.send_multipart(request)
        got.append(req.recv())
    assert got[0] == b"my_server"
    assert set(got[1:]) <= {server.pull_address.encode(), server.pub_address.encode()}
    (job,) = steps("single", "N", role="client", socket="PUSH", op="send")
    (answer,) = steps("single", "N", role="server", socket="PUB", op="send")
    sub = raw(zmq.SUB, connect=server.pub_address, subscribe=answer[0])
    raw(zmq.PUSH, connect=server.pull_address).send_multipart(job)
    assert sub.recv_multipart() == answer


def test_a_hub_gives_original_peers_the_recorded_frames(raw, address, running):
    pub = address()
    feed = raw(zmq.XPUB, bind=pub)
    hub = running(Hub("hub", pub, address(), address(), address(), address(), "server", **QUIET))
    (message,) = steps("server_hub", "N", role="server", socket="PUB", op="send")
    (job,) = steps("server_hub", "N", role="hub", socket="PUSH", op="send")
    (result,) = steps("server_hub", "N", role="worker", socket="PUSH", op="send")
    (answer,) = steps("server_hub", "N", role="hub", socket="PUB", op="send")
    sub = raw(zmq.SUB, connect=hub.pub_address, subscribe=answer[0])
    worker_in, worker_out = (
        raw(zmq.PULL, connect=hub.worker_push_address),
        raw(zmq.PUSH, connect=hub.worker_pull_address),
    )
    assert feed.recv() == b"\x01server"
    feed.send_multipart(message)
    assert blank(worker_in.recv()) == blank(job[0])
    worker_out.send_multipart(result)
    assert sub.recv_multipart() == answer


class OriginalServer(threading.Thread):
    """Plays the recorded original server with raw sockets, and notes what it is sent."""

    def __init__(self, raw, values, pull=None, rep=None):
        super().__init__()
        self.rep = raw(zmq.REP, bind=rep)
        self.values = values
        self.seen = []
        self.end = threading.Event()

    def run(self):
        from pylm import _wire

        while not self.end.is_set():
            if self.rep.poll(50):
                frame = self.rep.recv()
                self.seen.append(frame)
                _, payload = _wire.decode_new(frame)
                self.rep.send(self.values.get(payload.decode(), b""))


def test_our_client_sends_an_original_server_the_recorded_frames(raw, address):
    db, pull_address, pub_address = address(), address(), address()
    pull, pub = raw(zmq.PULL, bind=pull_address), raw(zmq.XPUB, bind=pub_address)
    values = {
        "name": b"my_server",
        "pull_address": pull_address.encode(),
        "pub_address": pub_address.encode(),
    }
    server = OriginalServer(raw, values, rep=db)
    server.start()
    (job,) = steps("single", "N", role="client", socket="PUSH", op="send")
    (answer,) = steps("single", "N", role="server", socket="PUB", op="send")
    results = []
    try:
        with Client("my_server", db, timeout=10, logging_level=logging.CRITICAL) as talk:
            thread = threading.Thread(
                target=lambda: results.append(talk.eval("my_server.foo", b"a message"))
            )
            thread.start()
            assert pub.recv()[:1] == b"\x01"
            got = pull.recv()
            assert blank(got) == blank(job[0])
            mine = talk.uuid.encode()
            theirs = answer[0]
            pub.send_multipart([mine, answer[1].replace(theirs, mine)])
            thread.join(10)
    finally:
        server.end.set()
        server.join()
    assert results == [b"you sent me a message"]
    recorded = [
        blank(frame[0]) for frame in steps("single", "N", role="client", socket="REQ", op="send")
    ]
    assert [blank(frame) for frame in server.seen[:3]] == recorded


def test_our_worker_asks_an_original_master_the_recorded_questions(raw, address):
    db, wpull, wpush = address(), address(), address()
    raw(zmq.PULL, bind=wpull)
    raw(zmq.PUSH, bind=wpush)
    values = {"worker_push_address": wpush.encode(), "worker_pull_address": wpull.encode()}
    server = OriginalServer(raw, values, rep=db)
    server.start()
    try:
        Worker("w", db, **QUIET, options=ServerOptions(channel="push")).close()
    finally:
        server.end.set()
        server.join()
    (question,) = steps("server_hub", "N", role="worker", socket="REQ", op="send")
    assert blank(server.seen[0]) == blank(question[0])


def test_our_old_client_sends_an_original_server_the_recorded_frame(raw, address):
    where = address()
    rep = raw(zmq.REP, bind=where)
    (request,) = steps("standalone_single", "OA", role="client", op="send")
    (answer,) = steps("standalone_single", "OA", role="server", op="send")
    results = []
    with standalone.Client(where, "my_server", timeout=10) as talk:
        thread = threading.Thread(target=lambda: results.append(talk.job("foo", b"a message")))
        thread.start()
        assert blank(rep.recv()) == blank(request[0])
        rep.send_multipart(answer)
        thread.join(10)
    assert results == [b"you sent me a message"]


def test_our_old_clients_and_workers_send_original_masters_the_recorded_frames(raw, address):
    class MyWorker(standalone.Worker):
        def foo(self, message):
            return b"worker2 processed " + message

    pull, push, wpull, wpush, db = (address() for _ in range(5))
    raw(zmq.REP, bind=db)
    jobs, out = raw(zmq.PULL, bind=pull), raw(zmq.PUSH, bind=push)
    to_workers, from_workers = raw(zmq.PUSH, bind=wpush), raw(zmq.PULL, bind=wpull)
    (job,) = steps("standalone_parallel", "OB", role="client", op="send")
    (result,) = steps("standalone_parallel", "OB", role="worker", op="send")
    given = steps(
        "standalone_parallel", "OB", role="master", at="bind tcp://127.0.0.1:5558", op="send"
    )[0]
    answer = steps(
        "standalone_parallel", "OB", role="master", at="bind tcp://127.0.0.1:5556", op="send"
    )[0]
    worker = MyWorker("worker2", wpush, wpull, db, **CALM)
    with worker.running(), standalone.ParallelClient(push, pull, db, "server", timeout=10) as talk:
        to_workers.send_multipart(given)
        assert blank(from_workers.recv()) == blank(result[0])
        results = []
        thread = threading.Thread(
            target=lambda: results.extend(talk.job("foo", [b"a message"], messages=1))
        )
        thread.start()
        assert blank(jobs.recv()) == blank(job[0])
        theirs = UUID.findall(answer[0])[1]
        out.send(answer[0].replace(theirs, talk.uuid.encode()))
        thread.join(10)
        assert results == [b"worker2 processed a message"]


def test_a_pipeline_publishes_the_recorded_frame(raw, address, running):
    class MyPipeline(Pipeline):
        def foo(self, message):
            return b"and I pipelined " + message

    pub = address()
    feed = raw(zmq.XPUB, bind=pub)
    stage = running(MyPipeline("my_pipeline", address(), pub, address(), "my_server", **QUIET))
    (message,) = steps("pipeline", "N", role="server", socket="PUB", op="send")
    (answer,) = steps("pipeline", "N", role="pipeline", socket="PUB", op="send")
    sub = raw(zmq.SUB, connect=stage.pub_address, subscribe=answer[0])
    assert feed.recv() == b"\x01my_server"
    feed.send_multipart(message)
    assert sub.recv_multipart() == answer
