"""Servers, masters and clients of the first API, over TCP."""

import logging
import threading
import time

import pytest
import zmq
from pylm import _wire, chained, errors, standalone
from pylm._oldmaster import OldBaseMaster
from pylm._probe import probe
from pylm.config import ServerOptions
from pylm.servers import Server
from pylm.standalone.clients import SubscribedClient

CALM = {"debug_level": logging.CRITICAL}
QUIET = {"log_level": logging.CRITICAL}


class Hand(standalone.Worker):
    def foo(self, message):
        return b"w" + message

    def fails(self, message):
        raise KeyError("missing")

    def keep(self, message):
        return self.set(message, "kept")


@pytest.fixture
def addresses(address):
    return [address() for _ in range(5)]


def build(running, addresses, kind=standalone.Master, channel="auto", **options):
    _, _, wpull, wpush, db = addresses
    master = running(kind("m", *addresses, **CALM, options=ServerOptions(**options)))
    running(Hand("w", wpush, wpull, db, **CALM, options=ServerOptions(channel=channel)))
    return master


@pytest.fixture
def parallel(addresses):
    pull, push, _, _, db = addresses
    with standalone.ParallelClient(push, pull, db, "m", timeout=10) as one:
        yield one


@pytest.mark.parametrize("channel", ["router", "push"])
def test_jobs_and_failures_come_back_on_both_channels(running, addresses, parallel, channel):
    build(running, addresses, channel=channel)
    assert (
        sorted(parallel.job("foo", [b"%d" % each for each in range(50)], messages=50))[0] == b"w0"
    )
    with pytest.raises(errors.RemoteError, match="KeyError"):
        list(parallel.job("fails", [b"x"], messages=1))
    with pytest.raises(errors.UnknownFunction):
        list(parallel.job("unknown", [b"x"], messages=1))
    assert list(parallel.job("keep", [b"value"], messages=1)) == [b"kept"]
    assert parallel.get("kept") == b"value"
    assert parallel.delete("kept") == b"kept"


def test_scatter_gather_and_change_call_see_serialized_messages(running, addresses, parallel):
    class Scattering(standalone.Master):
        def scatter(self, message):
            for each in (b"1", b"2"):
                yield self.change_payload(message, each)

        def gather(self, message):
            if _wire.decode_old(message)[1] == b"w2":
                return
            yield self.change_payload(message, b"gathered")

    build(running, addresses, kind=Scattering)
    assert list(parallel.job("foo", [b"x"], messages=1)) == [b"gathered"]


def test_the_same_tag_twice_is_renamed_and_logged(running, addresses, parallel, caplog):
    master = running(standalone.Master("m", *addresses, debug_level=logging.ERROR))
    results = []
    parallel.pipeline = "P"
    thread = threading.Thread(
        target=lambda: results.extend(parallel.job("foo", [b"1", b"2"], cache="tag", messages=2))
    )
    thread.start()
    while master.stats.received < 2:
        time.sleep(0.005)
    running(Hand("w", addresses[3], addresses[2], addresses[4], **CALM))
    thread.join(10)
    assert sorted(results) == [b"w1", b"w2"]
    assert "Message key _Ptag found, changed to" in caplog.text


def test_helpers_change_envelopes_and_broker_messages():
    envelope = _wire.OldPalmMessage(pipeline="p", client="c", stage=0, function="a.f", payload=b"x")
    changed = OldBaseMaster.change_call(envelope.SerializeToString(), "b", "g")
    assert _wire.OldPalmMessage.FromString(changed).function == "b.g"
    broker = _wire.BrokerMessage(key="k", payload=b"x", instruction="f", pipeline="p")
    changed = OldBaseMaster.change_payload(broker.SerializeToString(), b"y")
    assert _wire.BrokerMessage.FromString(changed).payload == b"y"


def test_a_chained_master_pushes_on_to_the_next_server(running, address, capsys):
    class Calling(chained.Master):
        def gather(self, message):
            yield self.change_call(message, "last", "bar")

    class Last(chained.LastServer):
        def bar(self, message):
            return b"l" + message

    out = address()
    last = running(Last("last", address(), out, address(), **CALM))
    wpull, wpush, db = address(), address(), address()
    master = running(Calling("m", address(), last.pull_address, wpull, wpush, db, **CALM))
    running(Hand("w", wpush, wpull, db, **CALM))
    with chained.LoopClient(out, master.pull_address, db, "m", timeout=10) as talk:
        assert list(talk.job("foo", [b"x"], messages=1)) == [b"lwx"]
    assert "Listening to input from" in capsys.readouterr().out


class Step(chained.Server):
    def foo(self, message):
        return b"1" + message

    def fails(self, message):
        raise KeyError("missing")

    def none(self, message):
        return None


class Last(chained.LastServer):
    def bar(self, message):
        return b"2" + message


@pytest.fixture
def chain(running, address):
    last = running(Last("last", address(), address(), address(), **CALM))
    return running(Step("step", address(), last.pull_address, "last.bar", address(), **CALM)), last


def test_failures_pass_a_chain_to_the_client(chain):
    step, last = chain
    with chained.LoopClient(
        last.push_address, step.pull_address, step.db_address, "step", timeout=10
    ) as talk:
        assert list(talk.job("foo", [b"x"])) == [b"21x"]
        with pytest.raises(errors.RemoteError):
            list(talk.job("fails", [b"x"]))
        with pytest.raises(errors.WrongType):
            list(talk.job("none", [b"x"]))
        talk.server_name = "other"
        with pytest.raises(errors.WrongServer):
            list(talk.job("foo", [b"x"]))
    assert last.stats.answered == 1


def test_a_plain_puller_gets_the_originals_payload_for_failures(chain):
    step, last = chain
    with (
        zmq.Context.instance().socket(zmq.PUSH) as push,
        zmq.Context.instance().socket(zmq.PULL) as pull,
    ):
        pull.rcvtimeo = 5000
        pull.connect(last.push_address)
        push.connect(step.pull_address)
        plain = {"pipeline": "p", "client": "c", "stage": 0}
        push.send(
            _wire.OldPalmMessage(**plain, function="step.fails", payload=b"x").SerializeToString()
        )
        got = _wire.OldPalmMessage.FromString(pull.recv())
        push.send(b"\xff garbage")
    assert got.payload == b"20"


def test_a_one_way_client_sends_and_does_not_wait(chain):
    step, last = chain
    client = chained.Client(step.pull_address, step.db_address, "step", timeout=5)
    assert client.job("foo", [b"x"] * 5, messages=3) is None
    with pytest.raises(TypeError):
        client.job("foo", ["text"])
    deadline = time.monotonic() + 5
    while last.stats.received < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert client.set(b"v", "k") == b"k"
    assert client.get("k") == b"v"
    assert client.delete("k") == b"k"
    client.close()


def test_a_subscribed_client_reads_published_answers(running, address):
    class Echo(Server):
        def foo(self, message):
            return message

    server = running(Echo("s", address(), address(), address(), **QUIET))
    with SubscribedClient(
        server.pub_address, server.pull_address, server.db_address, "s", timeout=10
    ) as talk:
        assert list(talk.job("foo", [b"x", b"y"])) == [b"x", b"y"]


class Old(standalone.Server):
    def foo(self, message):
        return message

    def fails(self, message):
        raise KeyError("missing")

    def none(self, message):
        return None


def test_a_request_server_keeps_values_and_tells_failures(running, address):
    where = address()
    server = running(Old("o", where, **QUIET))
    with standalone.Client(where, "o", timeout=10, pipeline="P") as talk:
        assert talk.set(b"v", "k") == b"k"
        assert talk.get("k") == b"v"
        assert talk.delete("k") == b"k"
        with pytest.raises(errors.RemoteError, match="KeyError"):
            talk.get("k")
        for function, kind in (
            ("fails", errors.RemoteError),
            ("none", errors.WrongType),
            ("start", errors.UnknownFunction),
        ):
            with pytest.raises(kind):
                talk.job(function, b"x")
        with pytest.raises(TypeError):
            talk.job("foo", 1)
        assert talk.job("foo", b"z" * 200_000) == b"z" * 200_000
        talk.errors = "payload"
        assert talk.job("fails", b"x") == b"0"
    with standalone.Client(where, "other", timeout=10) as talk, pytest.raises(errors.WrongServer):
        talk.job("foo", b"x")
    with zmq.Context.instance().socket(zmq.REQ) as req:
        req.connect(where)
        req.send(b"\xff garbage")
        assert req.poll(5000)
        assert req.recv() == b""
    assert server.stats.malformed == 1


def test_a_missing_request_server_is_an_error_in_time(address):
    with standalone.Client(address(), "o", timeout=0.3) as talk, pytest.raises(errors.TimedOut):
        talk.job("foo", b"x")
    where = address()
    with (
        standalone.ParallelClient(address(), address(), where, "m", timeout=0.3) as talk,
        pytest.raises(errors.TimedOut),
    ):
        list(talk.job("foo", [b"x"]))


def test_a_closed_client_says_so(running, address):
    where = address()
    running(Old("o", where, **QUIET))
    talk = standalone.Client(where, "o", timeout=10)
    talk.close()
    with pytest.raises(errors.Closed):
        talk.job("foo", b"x")


def test_the_router_channel_may_be_insisted_on(address):
    with zmq.Context.instance().socket(zmq.REP) as rep:
        where = address()
        rep.bind(where)
        worker = Hand(
            "w", address(), address(), where, **CALM, options=ServerOptions(channel="router")
        )
        with pytest.raises(errors.WrongServer, match="acknowledged"):
            worker.start()


def test_a_handshake_tells_generations_apart(address, tmp_path):
    context = zmq.Context.instance()
    with context.socket(zmq.REP) as rep, context.socket(zmq.ROUTER) as router:
        one, two = address(), f"ipc://{tmp_path}/socket"
        rep.bind(one)
        router.bind(two)
        assert (probe(one).socket_type, probe(one).is_new) == ("REP", False)
        assert probe(one).local_host == "127.0.0.1"
        assert probe(two).is_new
    assert probe("inproc://anything").is_new
    for nobody in (address(), "tcp://nonsense", "udp://x", f"ipc://{tmp_path}/none"):
        assert not probe(nobody, 0.2).is_known


def test_a_peer_that_is_no_zeromq_is_unknown():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = f"tcp://127.0.0.1:{listener.getsockname()[1]}"

        def serve():
            for answer in (
                b"HTTP/1.1 400 no\r\n" + b"x" * 64,
                b"\xff" * 64 + b"\x00\x05hello",
                b"",
            ):
                one, _ = listener.accept()
                with one:
                    one.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert [probe(where, 1.0).is_known for _ in range(3)] == [False] * 3
        thread.join(5)


def test_overflow_choices_of_a_chain(running, address):
    out = address()
    options = ServerOptions(overflow="drop-oldest", backlog=5, high_water_mark=1)
    last = running(Last("last", address(), out, address(), **CALM, options=options))
    with zmq.Context.instance().socket(zmq.PUSH) as push:
        push.connect(last.pull_address)
        plain = {"pipeline": "p", "client": "c", "stage": 0, "function": "last.bar"}
        for number in range(50):
            push.send(_wire.OldPalmMessage(**plain, payload=b"%d" % number).SerializeToString())
        deadline = time.monotonic() + 10
        while last.stats.received < 50:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert last.stats.dropped >= 40
    assert last._outlet.waiting() <= 5


def test_a_chain_refuses_work_when_asked_to(running, address):
    out = address()
    options = ServerOptions(overflow="raise", backlog=1, high_water_mark=1)
    last = running(Last("last", address(), out, address(), **CALM, options=options))
    with zmq.Context.instance().socket(zmq.PUSH) as push:
        push.connect(last.pull_address)
        plain = {"pipeline": "p", "client": "c", "stage": 0, "function": "last.bar"}
        for number in range(10):
            push.send(_wire.OldPalmMessage(**plain, payload=b"%d" % number).SerializeToString())
        deadline = time.monotonic() + 10
        while last.stats.received < 10:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert last.stats.failed >= 7
