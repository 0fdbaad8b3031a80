"""Malformed frames and random bytes on every socket of every kind of server: nothing crashes, nothing hangs."""

import contextlib
import logging
import random
import socket

import pytest
import zmq
from pylm.clients import Client

pytestmark = pytest.mark.timeout(120)


def test_random_bytes_on_every_socket_change_nothing(crew, address):
    ports = [address() for _ in range(5)]
    crew.start("master", "master", *ports)
    pull, pub, wpull, wpush, db = ports
    crew.start("worker", "worker", db)
    rng = random.Random(4711)
    context = zmq.Context.instance()
    with Client("master", db, timeout=20, logging_level=logging.CRITICAL) as talk:
        assert talk.eval("master.foo", b"x") == b"x"
        router = talk.get("worker_router_address").decode()
        for kind, where in (
            (zmq.PUSH, pull),
            (zmq.PUSH, wpull),
            (zmq.DEALER, db),
            (zmq.DEALER, router),
            (zmq.XSUB, pub),
            (zmq.DEALER, wpush),
        ):
            with context.socket(kind) as peer:
                peer.linger = 300
                peer.connect(where)
                for _ in range(200):
                    parts = [
                        rng.randbytes(rng.choice((0, 1, 9, 40, 300)))
                        for _ in range(rng.randint(1, 4))
                    ]
                    if kind == zmq.DEALER and rng.random() < 0.5:
                        parts[0] = (
                            rng.choice((b"", b"R", b"W", b"H", b"J", b"B", b"X", b"P", b"D"))
                            + parts[0]
                        )
                    with contextlib.suppress(zmq.Again):
                        peer.send_multipart(parts, zmq.DONTWAIT)
        for where in ports:
            host, _, port = where.partition("://")[2].rpartition(":")
            with socket.create_connection((host, int(port))) as raw, contextlib.suppress(OSError):
                raw.sendall(rng.randbytes(500))
        for number in range(50):
            assert talk.eval("master.foo", b"%d" % number, idempotent=True) == b"%d" % number
    assert crew.processes["master"].poll() is None
