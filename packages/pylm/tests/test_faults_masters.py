"""Faults of the originals in masters and workers, numbered E-1 to E-38."""

import logging
import signal
import subprocess
import sys
import threading
import time

import pytest
from pylm import errors
from pylm.clients import Client
from pylm.config import ServerOptions
from pylm.parts.servers import ServerTemplate
from pylm.servers import Master, MuxWorker, Worker

QUIET = {"log_level": logging.CRITICAL}
CALM = {"debug_level": logging.CRITICAL}


class Hand(Worker):
    def foo(self, message):
        return b"w" + message

    def slow(self, message):
        time.sleep(0.02)
        return self.name.encode()


@pytest.fixture
def master(kit):
    return kit.run(Master("m", *kit.addresses(5), **QUIET, options=kit.options()))


@pytest.fixture
def boss(kit, master):
    return kit.client("m", master.db_address, logging_level=logging.CRITICAL)


def hire(kit, master, name="w", kind=Hand, **options):
    return kit.run(kind(name, master.db_address, **QUIET, options=kit.options(**options)))


def test_e08_an_exception_in_gather_or_scatter_is_answered(kit):
    class Failing(Master):
        def scatter(self, message):
            if message.payload == b"scatter":
                raise RuntimeError("in scatter")
            yield message

        def gather(self, message):
            if message.payload == b"wgather":
                raise RuntimeError("in gather")
            yield message

    master = kit.run(Failing("m", *kit.addresses(5), **QUIET, options=kit.options()))
    hire(kit, master)
    boss = kit.client("m", master.db_address)
    for where in ("scatter", "gather"):
        with pytest.raises(errors.RemoteError, match=f"in {where}"):
            boss.eval("m.foo", where.encode())
    assert boss.eval("m.foo", b"x") == b"wx"


def test_e09_an_exception_in_a_mux_worker_is_one_answer_and_the_worker_lives(kit, master, boss):
    class Mux(MuxWorker):
        def fails(self, message):
            raise KeyError("missing")

        def foo(self, message):
            return [message]

    hire(kit, master, kind=Mux)
    with pytest.raises(errors.RemoteError):
        boss.eval("m.fails", b"x")
    assert boss.eval("m.foo", b"x") == b"x"


DIES = """
import os, sys, logging
from pylm.config import ServerOptions
from pylm.servers import Worker

class Dies(Worker):
    def foo(self, message):
        os.kill(os.getpid(), 9)

Dies("dies", sys.argv[1], log_level=logging.CRITICAL, options=ServerOptions(heartbeat_s=0.1)).start()
"""


def test_e10_jobs_of_a_killed_worker_run_elsewhere(address, running, client):
    master = running(
        Master("m", *(address() for _ in range(5)), **QUIET, options=ServerOptions(heartbeat_s=0.1))
    )
    boss = client("m", master.db_address, logging_level=logging.CRITICAL)
    victim = subprocess.Popen([sys.executable, "-c", DIES, master.db_address])
    results = []
    thread = threading.Thread(
        target=lambda: results.extend(
            boss.job("m.foo", [b"x"] * 40, messages=40, idempotent=True, timeout=20)
        )
    )
    thread.start()
    assert victim.wait(20) == -signal.SIGKILL
    running(Hand("w", master.db_address, **QUIET))
    thread.join(25)
    assert results == [b"wx"] * 40


def test_e11_a_busy_worker_gets_fewer_jobs(kit, master, boss):
    class Quick(Hand):
        def slow(self, message):
            return self.name.encode()

    hire(kit, master, "slow", credit=1)
    hire(kit, master, "quick", kind=Quick, credit=1)
    got = list(boss.job("m.slow", [b"x"] * 60, messages=60))
    assert got.count(b"quick") > 3 * got.count(b"slow")


def test_e12_a_late_worker_takes_its_share_of_what_waits(kit, master, boss):
    first = hire(kit, master, "first")
    results = []
    thread = threading.Thread(
        target=lambda: results.extend(boss.job("m.slow", [b"x"] * 60, messages=60))
    )
    thread.start()
    while first.stats.received < 2:
        time.sleep(0.002)
    hire(kit, master, "late")
    thread.join(20)
    assert results.count(b"late") >= 15


def test_e14_more_workers_do_more_work(kit, master, boss):
    def duration():
        began = time.monotonic()
        assert len(list(boss.job("m.slow", [b"x"] * 40, messages=40))) == 40
        return time.monotonic() - began

    hire(kit, master, "w0", credit=1)
    alone = duration()
    for number in range(3):
        hire(kit, master, f"w{number + 1}", credit=1)
    assert duration() < alone / 2


def test_e16_constructors_without_a_server_end_in_time(address):
    with pytest.raises(errors.TimedOut):
        Client("s", address(), timeout=0.2)
    with pytest.raises(errors.TimedOut):
        Hand("w", address(), options=ServerOptions(connect_s=0.2))


def test_e19_two_masters_and_two_templates_live_in_one_process(kit):
    for name in ("a", "b"):
        master = kit.run(Master(name, *kit.addresses(5), **QUIET, options=kit.options()))
        hire(kit, master)
        assert kit.client(name, master.db_address).eval(f"{name}.foo", b"x") == b"wx"
    templates = [ServerTemplate(logging.CRITICAL) for _ in range(2)]
    for each in templates:
        each.close()


def test_e20_every_master_has_a_cache_of_its_own(kit):
    one, two = (Master(name, *kit.addresses(5), **QUIET, options=kit.options()) for name in "ab")
    one.cache.set("key", b"value")
    assert two.cache.get("key") is None
    one.close()
    two.close()
