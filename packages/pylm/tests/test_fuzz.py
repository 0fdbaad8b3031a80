"""Malformed frames and random bytes on every socket of every kind of server, worker and client.

No crash, no hang, no more memory: whoever asks properly afterwards gets the answer.
"""

import contextlib
import logging
import pathlib
import random
import socket
import time

import pytest
import zmq
from pylm import _wire, standalone
from pylm._proto.palm_new_pb2 import WorkerReady
from pylm.chained import LastServer, LoopClient
from pylm.clients import Client
from pylm.config import ServerOptions
from pylm.servers import Server, Worker
from pylm.standalone import ParallelClient

pytestmark = pytest.mark.timeout(120)

QUIET = {"timeout": 8, "logging_level": logging.CRITICAL}
GROWTH_KIB = 40_000
ROUNDS = 300
PLAIN = {"client": "c" * 36, "stage": 0, "function": "server.foo", "cache": "tag"}
KNOWN = [
    _wire.PalmMessage(**PLAIN, payload=b"x" * 200).SerializeToString(),
    _wire.OldPalmMessage(pipeline="p" * 36, **PLAIN, payload=b"x" * 200).SerializeToString(),
    _wire.BrokerMessage(key="k" * 36, payload=b"x", instruction="foo").SerializeToString(),
    b"W" + WorkerReady(name="w", credit=1, identity=b"i", heartbeat_ms=1).SerializeToString(),
    *(each + b"\0" * 8 for each in (b"R", b"P", b"D", b"H", b"B", b"X", b"Q", b"J")),
]


def noise(rng):
    """Yield messages of one to four parts: random bytes, and what is nearly a message."""
    for _ in range(ROUNDS):
        parts = []
        for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
            part = bytearray(rng.choice(KNOWN))
            choice = rng.random()
            if choice < 0.4:
                part = bytearray(rng.randbytes(rng.choice((0, 1, 9, 40, 300, 70_000))))
            elif choice < 0.8:
                for _ in range(rng.randint(1, 4)):
                    part[rng.randrange(len(part))] = rng.randrange(256)
            elif choice < 0.9:
                del part[rng.randrange(len(part)) :]
            parts.append(bytes(part))
        yield parts


def attack(where, kind, rng, *, bind=False, head=()):
    """Send noise to an address, or to who connects to it."""
    with zmq.Context.instance().socket(kind) as peer:
        peer.linger = 300
        peer.sndtimeo = 100
        if bind:
            peer.bind(where)
            time.sleep(0.3)  # peers must have connected
        else:
            peer.connect(where)
        for parts in noise(rng):
            for frames in (parts, [*head, *parts]) if head else (parts,):
                with contextlib.suppress(zmq.ZMQError):
                    peer.send_multipart(frames, zmq.DONTWAIT)


def attack_raw(where, rng):
    """Send bytes that are no ZeroMQ at all, and a greeting that breaks off."""
    _, _, rest = where.partition("://")
    host, _, port = rest.rpartition(":")
    for start in (b"", b"\xff" + b"\0" * 8 + b"\x7f\x03", b"GET / HTTP/1.1\r\n\r\n"):
        with (
            contextlib.suppress(OSError),
            socket.create_connection((host, int(port))) as raw,
        ):
            raw.sendall(start + rng.randbytes(500))


PUSH, DEALER, XSUB = zmq.PUSH, zmq.DEALER, zmq.XSUB
KINDS = {
    # name: roles, sockets to attack, client, route.
    "server": (
        [("server", "db pull pub")],
        {"db": DEALER, "pull": PUSH, "pub": XSUB},
        lambda at: Client("server", at("db"), **QUIET),
        "server.foo",
    ),
    "master": (
        [("master", "pull pub wpull wpush db"), ("worker", "db")],
        {"db": DEALER, "pull": PUSH, "pub": XSUB, "wpull": PUSH, "wpush": DEALER},
        lambda at: Client("master", at("db"), **QUIET),
        "master.foo",
    ),
    "template": (
        [("template", "db pull pub wpull wpush"), ("worker", "db")],
        {"db": DEALER, "pull": PUSH, "pub": XSUB, "wpull": PUSH},
        lambda at: Client("template", at("db"), **QUIET),
        "template.foo",
    ),
    "request": (
        [("request", "rep")],
        {"rep": DEALER},
        lambda at: standalone.Client(at("rep"), "request", timeout=8),
        "foo",
    ),
    "old master": (
        [("old_master", "pull push wpull wpush db"), ("old_worker", "wpush wpull db")],
        {"db": DEALER, "pull": PUSH, "push": PUSH, "wpull": PUSH, "wpush": DEALER},
        lambda at: ParallelClient(at("push"), at("pull"), at("db"), "old", timeout=8),
        "foo",
    ),
    "chain": (
        [("step", "=step pull pull2 =last.foo db"), ("last", "pull2 push db2")],
        {"db": DEALER, "pull": PUSH, "pull2": PUSH, "push": PUSH, "db2": DEALER},
        lambda at: LoopClient(at("push"), at("pull"), at("db"), "step", timeout=8),
        "foo",
    ),
    "chained master": (
        [
            ("chained_master", "pull pull2 wpull wpush db"),
            ("old_worker", "wpush wpull db"),
            ("last", "pull2 push db2"),
        ],
        {"db": DEALER, "pull": PUSH, "wpull": PUSH, "wpush": DEALER},
        lambda at: LoopClient(at("push"), at("pull"), at("db"), "chained", timeout=8),
        "foo",
    ),
}


def memory_kib(process):
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text("utf-8").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


@pytest.mark.parametrize("name", KINDS)
def test_noise_on_every_socket_of_a_server_changes_nothing(crew, address, name):
    ports = {}

    def at(word):
        if word.startswith("="):
            return word[1:]
        if word not in ports:
            ports[word] = address()
        return ports[word]

    roles, sockets, client, route = KINDS[name]
    for role, words in roles:
        crew.start(role, role, *(at(word) for word in words.split()))
    rng = random.Random(name)
    with client(at) as talk:

        def ask(payload):
            if isinstance(talk, standalone.Client):
                return talk.job(route, payload, idempotent=True)
            return next(talk.job(route, [payload], messages=1, idempotent=True))

        assert ask(b"before") == b"before"
        before = {role: memory_kib(process) for role, process in crew.processes.items()}
        for word, kind in sockets.items():
            attack(at(word), kind, rng, head=[b""] if kind == DEALER else ())
            attack_raw(at(word), rng)
        if name == "master":
            attack(talk.get("worker_router_address").decode(), DEALER, rng)
        for number in range(50):
            assert ask(b"%d" % number) == b"%d" % number
    for role, process in crew.processes.items():
        assert process.poll() is None, role
        assert memory_kib(process) - before[role] < GROWTH_KIB, role


@pytest.mark.parametrize("role", ["pipeline", "sink", "hub"])
def test_noise_from_a_publisher_changes_nothing(crew, address, role):
    pub, db, out, wpull, wpush = (address() for _ in range(5))
    rng = random.Random(role)
    where = {
        "pipeline": (db, pub, out),
        "sink": (db, out, pub),
        "hub": (pub, out, wpull, wpush, db),
    }[role]
    crew.start(role, role, *where)
    topic = b"pipeline" if role == "sink" else b"first"
    attack(pub, zmq.XPUB, rng, bind=True, head=[topic])
    with zmq.Context.instance().socket(zmq.REQ) as asking:
        asking.linger = 0
        asking.rcvtimeo = 10_000
        asking.connect(db)
        message = _wire.PalmMessage(function=f"{role}.get", payload=b"name")
        asking.send(message.SerializeToString())
        assert asking.recv() == role.encode()
    assert crew.processes[role].poll() is None


class Hand(Worker):
    def foo(self, message):
        return message


def test_noise_from_a_master_does_not_end_a_worker(crew, address, running):
    rng = random.Random("worker")
    master, push, pull, router = address(), address(), address(), address()
    crew.start("master", "master", *(address() for _ in range(4)), master)
    quiet = {"log_level": logging.CRITICAL}
    on_pair = Hand("pair", master, push, pull, **quiet)
    on_router = Hand("router", master, **quiet, options=ServerOptions(router_address=router))
    with zmq.Context.instance().socket(zmq.ROUTER) as boss:
        boss.linger = 0
        boss.router_mandatory = 1
        boss.bind(router)
        running(on_router)
        boss.rcvtimeo = 10_000
        identity, head = boss.recv_multipart()
        assert head[:1] == b"W"
        for parts in noise(rng):
            with contextlib.suppress(zmq.ZMQError):
                boss.send_multipart([identity, *parts], zmq.DONTWAIT)
        job = _wire.PalmMessage(client="c", function="m.foo", payload=b"x").SerializeToString()
        boss.send_multipart([identity, b"J12345678", job])
        while boss.recv_multipart()[1] != b"R12345678":
            pass
    running(on_pair)
    with (
        zmq.Context.instance().socket(zmq.PUSH) as pushing,
        zmq.Context.instance().socket(zmq.PULL) as pulling,
    ):
        pulling.bind(pull)
        pulling.rcvtimeo = 10_000
        attack(push, zmq.PUSH, rng, bind=True)
        pushing.linger = 0
        for _ in range(500):
            try:
                pushing.bind(push)
                break
            except zmq.ZMQError:
                time.sleep(0.01)
        pushing.send(job)
        while pulling.recv() != job:
            pass


class Echo(Server):
    def foo(self, message):
        return message


def test_noise_among_the_answers_does_not_disturb_a_client(address, running):
    rng = random.Random("client")
    server = running(Echo("server", address(), address(), address(), log_level=logging.CRITICAL))
    noisy = address()
    payloads = [b"%d" % each for each in range(50)]
    with Client("server", server.db_address, **QUIET) as talk:
        assert talk.eval("server.foo", b"x") == b"x"
        talk._connected().receiver.connect(noisy)  # beside the server's own publisher
        attack(noisy, zmq.XPUB, rng, bind=True, head=[talk.uuid.encode()])
        assert list(talk.map("server.foo", payloads)) == payloads
        assert talk._link.strays > 0


def test_noise_among_the_answers_does_not_disturb_a_client_of_the_first_api(address, running):
    class Last(LastServer):
        def foo(self, message):
            return message

    rng = random.Random("first")
    pull, push, db = address(), address(), address()
    running(Last("last", pull, push, db, debug_level=logging.CRITICAL))
    payloads = [b"%d" % each for each in range(50)]
    with ParallelClient(push, pull, db, "last", timeout=8) as talk:
        assert list(talk.job("foo", [b"x"], messages=1)) == [b"x"]
        attack(talk._reply_to, zmq.PUSH, rng)
        assert list(talk.job("foo", payloads, messages=50)) == payloads
        assert talk._link.strays > 0
