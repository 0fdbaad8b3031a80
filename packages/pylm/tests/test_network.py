"""Connections cut, and bytes that vanish on the way, between processes that live on."""

import contextlib
import logging
import socket
import threading
import time

import pytest
from pylm import errors
from pylm.clients import Client

pytestmark = pytest.mark.timeout(120)


class Proxy:
    """Passes TCP connections on; ``cut`` ends them all, ``open`` false refuses new ones, ``swallows`` eats bytes."""

    def __init__(self, target):
        self.target = ("127.0.0.1", int(target.rpartition(":")[2]))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        self.pairs = []
        self.open = True
        self.swallows = False
        self.thread = threading.Thread(target=self._accept)
        self.thread.start()
        self.threads = []

    def _accept(self):
        while True:
            try:
                one, _ = self.listener.accept()
            except OSError:
                return
            if not self.open:
                one.close()
                continue
            try:
                two = socket.create_connection(self.target, 5)
            except OSError:
                one.close()
                continue
            self.pairs += [one, two]
            for source, sink in ((one, two), (two, one)):
                self.threads.append(threading.Thread(target=self._pump, args=(source, sink)))
                self.threads[-1].start()

    def _pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not self.swallows:
                    sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def cut(self):
        pairs, self.pairs = self.pairs, []
        for each in pairs:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.open = False
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()
        self.thread.join(5)
        for thread in self.threads:
            thread.join(5)


@pytest.fixture
def proxy():
    """Make proxies that are closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(target):
            one = Proxy(target)
            stack.callback(one.close)
            return one

        yield make


def away(proxies, seconds=0.3):
    """Take the network away for a while."""
    for each in proxies:
        each.open = False
        each.cut()
    time.sleep(seconds)
    for each in proxies:
        each.open = True


def test_idempotent_jobs_survive_a_cut_network(crew, address, proxy):
    db, pull, pub = address(), address(), address()
    crew.start("server", "server", db, pull, pub)
    proxies = [proxy(each) for each in (db, pull, pub)]
    where = [each.address for each in proxies]
    with Client("server", *where, timeout=30, logging_level=logging.CRITICAL) as talk:
        assert talk.eval("server.foo", b"x", idempotent=True) == b"x"
        payloads = [b"%d" % each for each in range(5000)]
        job = talk.job("server.foo", payloads, messages=5000, idempotent=True)
        cutting = threading.Timer(0.05, away, [proxies])
        cutting.start()
        assert sorted(job) == sorted(payloads)
        cutting.join()


def routed(crew, address, proxy):
    """Start a master and a worker that is reached by the acknowledged channel through a proxy only."""
    pull, pub, wpull, wpush, db, router = (address() for _ in range(6))
    crew.start("master", "routed_master", router, pull, pub, wpull, wpush, db)
    between = proxy(router)
    crew.start("worker", "routed_worker", db, between.address)
    return Client("master", db, timeout=30, logging_level=logging.CRITICAL), between


def test_idempotent_jobs_survive_cuts_of_the_acknowledged_channel(crew, address, proxy):
    talk, between = routed(crew, address, proxy)
    with talk:
        assert talk.eval("master.foo", b"x", idempotent=True) == b"x"
        payloads = [b"%d" % each for each in range(3000)]
        job = talk.job("master.foo", payloads, messages=3000, idempotent=True)
        got = [next(job) for _ in range(100)]
        for _ in range(3):
            away([between], 0.05)
            got.append(next(job))
        got.extend(job)
        assert sorted(got) == sorted(payloads)


def test_jobs_lost_on_the_way_to_a_living_worker_do_not_occupy_it(crew, address, proxy):
    talk, between = routed(crew, address, proxy)
    with talk:
        assert talk.eval("master.foo", b"x", idempotent=True) == b"x"
        between.swallows = True
        with pytest.raises(errors.TimedOut):
            talk.eval("master.foo", b"vanishes", timeout=0.4)
        between.swallows = False
        between.cut()
        # The worker has credit for one job, which never came; the master finds out by itself.
        assert talk.eval("master.foo", b"after", timeout=15, idempotent=True) == b"after"


def test_a_job_that_vanishes_is_done_again_or_reported_lost(crew, address, proxy):
    talk, between = routed(crew, address, proxy)
    with talk:
        for idempotent in (True, False):
            assert talk.eval("master.foo", b"x", idempotent=True) == b"x"
            between.swallows = True
            healing = threading.Timer(
                0.3, lambda: (setattr(between, "swallows", False), between.cut())
            )
            healing.start()
            if idempotent:
                assert talk.eval("master.foo", b"again", idempotent=True) == b"again"
            else:
                with pytest.raises(errors.WorkerLost):
                    talk.eval("master.foo", b"once")
            healing.join()
