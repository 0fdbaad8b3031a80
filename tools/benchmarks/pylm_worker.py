"""One process of a pylm benchmark: ``pylm_worker.py FAMILY SCENARIO ROLE BASE_PORT [INDEX]``.

Started by :mod:`pylm` (the script beside it) in the environment of its family: ``raw`` is pyzmq alone, ``ours`` this
release, ``push`` this release on the original's worker channel, ``old`` its first API, ``plain`` that over a plain
socket, ``original`` 0.14.4; ``rpyc``, ``zerorpc`` and ``pyro`` are peers. Servers print ``ready`` and run until killed.
The client reads ``run COUNT`` lines and prints the seconds that took.
"""

from __future__ import annotations

import itertools
import logging
import sys
import threading
import time

sys.path.pop(0)  # this folder: it has a pylm.py, the benchmark

FAMILY, SCENARIO, ROLE, BASE = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
INDEX = int(sys.argv[5]) if len(sys.argv) > 5 else 0
SIZES = {"mib": 2**20, "mib10": 10 * 2**20}
PAYLOAD = b"x" * SIZES.get(SCENARIO, 100)


def at(offset: int) -> str:
    return f"tcp://127.0.0.1:{BASE + offset}"


def ready() -> None:
    print("ready", flush=True)


def serve_client(run) -> None:
    """Answer ``run COUNT`` lines with the seconds that many operations took."""
    run(3)
    ready()
    for line in sys.stdin:
        count = int(line.split()[1])
        began = time.perf_counter()
        run(count)
        print(time.perf_counter() - began, flush=True)


def work(message: bytes) -> bytes:
    if SCENARIO == "slow":
        time.sleep(0.001)
    return message


# Raw pyzmq


def raw_socket(kind, bind=None, connect=None):
    import zmq

    socket = zmq.Context.instance().socket(kind)
    socket.linger = 0
    if bind:
        socket.bind(bind)
    if connect:
        socket.connect(connect)
    return socket


def raw() -> None:
    import zmq

    if ROLE == "server" and SCENARIO in ("req", "mib", "mib10"):
        rep = raw_socket(zmq.REP, at(0))
        ready()
        while True:
            rep.send(rep.recv())
    if ROLE == "client" and SCENARIO in ("req", "mib", "mib10"):
        req = raw_socket(zmq.REQ, connect=at(0))

        def run(count):
            for _ in range(count):
                req.send(PAYLOAD)
                req.recv()

        serve_client(run)
    if SCENARIO == "pub":
        raw_pub(zmq)
    if ROLE in ("server", "stage2", "stage3"):
        first = {"server": 0, "stage2": 1, "stage3": 2}[ROLE]
        pull = raw_socket(zmq.PULL, at(first))
        last = {"jobs": 0, "pipeline": 2}[SCENARIO]
        push = (
            raw_socket(zmq.PUSH, bind=at(9))
            if first == last
            else raw_socket(zmq.PUSH, connect=at(first + 1))
        )
        ready()
        while True:
            push.send(pull.recv())
    if ROLE == "master":
        raw_master(zmq)
    if ROLE == "worker":
        pull, push = raw_socket(zmq.PULL, connect=at(2)), raw_socket(zmq.PUSH, connect=at(3))
        ready()
        while True:
            push.send(work(pull.recv()))
    push, pull = raw_socket(zmq.PUSH, connect=at(0)), raw_socket(zmq.PULL, connect=at(9))

    def run(count):
        sent = got = 0
        while got < count:
            while sent < count and sent - got < 1000:
                push.send(PAYLOAD)
                sent += 1
                if sent % 64 == 0:
                    break
            while True:
                try:
                    pull.recv(zmq.DONTWAIT if sent < count else 0)
                except zmq.Again:
                    break
                got += 1
                if got == count or (sent - got < 500 and sent < count):
                    break

    serve_client(run)


def raw_pub(zmq) -> None:
    if ROLE == "server":
        pull, pub = raw_socket(zmq.PULL, at(0)), raw_socket(zmq.PUB, at(1))
        ready()
        while True:
            pub.send_multipart([b"topic", pull.recv()])
    push, sub = raw_socket(zmq.PUSH, connect=at(0)), raw_socket(zmq.SUB, connect=at(1))
    sub.subscribe(b"topic")
    time.sleep(0.3)

    def run(count):
        for _ in range(count):
            push.send(PAYLOAD)
            sub.recv_multipart()

    serve_client(run)


def raw_master(zmq) -> None:
    pull, out = raw_socket(zmq.PULL, at(0)), raw_socket(zmq.PUSH, at(9))
    wpush, wpull = raw_socket(zmq.PUSH, at(2)), raw_socket(zmq.PULL, at(3))
    poller = zmq.Poller()
    poller.register(pull, zmq.POLLIN)
    poller.register(wpull, zmq.POLLIN)
    ready()
    routes = {pull: wpush, wpull: out}
    while True:
        for socket, _ in poller.poll():
            target = routes[socket]
            for _ in range(100):
                try:
                    target.send(socket.recv(zmq.DONTWAIT))
                except zmq.Again:
                    break


# pylm, this release and the original


def palm() -> None:
    quiet = {"log_level": logging.CRITICAL}
    from pylm.servers import Master, Pipeline, Server, Worker

    class Echo(Server):
        def foo(self, message):
            return message

    class Stage(Pipeline):
        def foo(self, message):
            return message

    class Jobs(Worker):
        def foo(self, message):
            return work(message)

    if ROLE == "server":
        server = Echo("server", at(8), at(0), at(1), pipelined=SCENARIO == "pipeline", **quiet)
    elif ROLE == "stage2":
        server = Stage("stage2", at(7), at(1), at(2), "server", to_client=False, **quiet)
    elif ROLE == "stage3":
        server = Stage("stage3", at(6), at(2), at(9), "stage2", **quiet)
    elif ROLE == "master":
        server = Master("server", at(0), at(9), at(3), at(2), at(8), **quiet)
    elif ROLE == "worker":
        more = {}
        if FAMILY == "push":
            from pylm.config import ServerOptions

            more["options"] = ServerOptions(channel="push")
        server = Jobs(f"worker{INDEX}", at(8), **quiet, **more)
    else:
        palm_client()
        return
    ready()
    server.start()


def palm_client() -> None:
    from pylm.clients import Client

    route = "server.foo"
    more = {}
    if SCENARIO == "pipeline":
        route = ["server.foo", "stage2.foo", "stage3.foo"]
        more["sub_address"] = at(9)
    client = Client("server", at(8), logging_level=logging.CRITICAL, **more)
    if FAMILY == "original":
        window = 1 if SCENARIO in ("pub", "mib", "mib10", "req") else 400
        serve_client(fed_job(client, route, window))
    if SCENARIO in ("pub", "mib", "mib10", "req"):

        def run(count):
            for _ in range(count):
                assert len(client.eval(route, PAYLOAD)) == len(PAYLOAD)

    else:

        def run(count):
            got = sum(
                1 for _ in client.job(route, itertools.repeat(PAYLOAD, count), messages=count)
            )
            assert got == count

    serve_client(run)


def fed_job(client, route, window):
    """Return a runner that feeds one endless job: each job or eval of the original loses its first answers."""
    import queue

    feed = queue.SimpleQueue()
    job = client.job(route, iter(feed.get, None))
    # One message a moment until the first answer shows that the subscription has arrived.
    arrived = threading.Event()

    def knock():
        while not arrived.wait(0.3):
            feed.put(PAYLOAD)

    threading.Thread(target=knock, daemon=True).start()
    next(job)
    arrived.set()
    time.sleep(0.5)

    def run(count):
        sent = 0
        for got in range(count):
            while sent < count and sent - got < window:
                feed.put(PAYLOAD)
                sent += 1
            next(job)

    return run


def old() -> None:
    if ROLE == "server":
        from pylm.standalone import Server

        class Echo(Server):
            def foo(self, message):
                return message

        server = Echo("server", at(0), log_level=logging.CRITICAL)
        ready()
        server.start()
        return
    from pylm.standalone import Client

    client = Client(at(0), "server", plain_socket=FAMILY == "plain")

    def run(count):
        for _ in range(count):
            client.job("foo", PAYLOAD)

    serve_client(run)


# Peers


def rpyc() -> None:
    import rpyc as library
    from rpyc.utils.server import ThreadedServer

    class Service(library.Service):
        def exposed_foo(self, message):
            return message

    if ROLE == "server":
        server = ThreadedServer(Service, hostname="127.0.0.1", port=BASE)
        ready()
        server.start()
        return
    connection = library.connect("127.0.0.1", BASE, config={"sync_request_timeout": 60})
    call = connection.root.foo

    def run(count):
        for _ in range(count):
            call(PAYLOAD)

    serve_client(run)


def zerorpc() -> None:
    import zerorpc as library

    class Service:
        def foo(self, message):
            return message

    if ROLE == "server":
        server = library.Server(Service())
        server.bind(at(0))
        ready()
        server.run()
        return
    client = library.Client(timeout=60, heartbeat=None)
    client.connect(at(0))

    def run(count):
        for _ in range(count):
            client.foo(PAYLOAD)

    serve_client(run)


def pyro() -> None:
    import Pyro5.api

    Pyro5.config.SERIALIZER = "marshal"

    @Pyro5.api.expose
    class Service:
        def foo(self, message):
            return message

    if ROLE == "server":
        daemon = Pyro5.api.Daemon(host="127.0.0.1", port=BASE)
        daemon.register(Service(), "service")
        ready()
        daemon.requestLoop()
        return
    proxy = Pyro5.api.Proxy(f"PYRO:service@127.0.0.1:{BASE}")

    def run(count):
        for _ in range(count):
            proxy.foo(PAYLOAD)

    serve_client(run)


if __name__ == "__main__":
    {
        "raw": raw,
        "ours": palm,
        "push": palm,
        "original": palm,
        "old": old,
        "plain": old,
        "rpyc": rpyc,
        "zerorpc": zerorpc,
        "pyro": pyro,
    }[FAMILY]()
