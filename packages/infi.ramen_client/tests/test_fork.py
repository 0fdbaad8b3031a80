"""Forking while other threads are inside SQLite."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import warnings

import pytest
from infi.ramen_client.config import QueueWriterConfig
from infi.ramen_client.queue_writer import QueueWriter


def test_children_push_although_they_were_forked_in_the_middle_of_a_push(tmp_path):
    config = QueueWriterConfig(
        {
            "sender": "fork",
            "system_serial": 1,
            "system_version": "1",
            "queue_dir": str(tmp_path),
        }
    )
    stop = threading.Event()
    pushed = []
    with contextlib.closing(QueueWriter(config)) as writer:

        def push_on():
            while not stop.is_set():
                writer.push("c", "t", "v", {"n": len(pushed)})
                pushed.append(1)

        threads = [threading.Thread(target=push_on) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            endings = [_child(writer) for _ in range(25)]
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert endings == [0] * 25
        assert writer.queue_size() == len(pushed) + 25


def _child(writer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork: it is the point
        pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(10)
        status = 1
        try:
            writer.push("c", "t", "v", "child")
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


_FORK_IN_AN_IMPORT = """
import contextlib, faulthandler, importlib.abc, os, signal, sys, threading, time

reached, go_on = threading.Event(), threading.Event()

class Slow(importlib.abc.MetaPathFinder):
    # Keeps the first thread that imports the module in the middle of it, until somebody forks.
    def find_spec(self, name, path, target=None):
        if name == sys.argv[2] and not reached.is_set():
            reached.set()
            assert go_on.wait(10)
            time.sleep(0.2)
        return None

sys.meta_path.insert(0, Slow())
from infi.ramen_client.config import QueueReaderConfig
from infi.ramen_client.queue_reader import QueueReader
from infi.ramen_client.queue_writer import QueueWriter

values = {"sender": "fork", "system_serial": 1, "system_version": "1", "queue_dir": sys.argv[1],
          "hostname": "127.0.0.1:1", "auth_token": "t", "ssl": False}
config = QueueReaderConfig(values)
writer, reader = QueueWriter(config), QueueReader(config)

def use():
    writer.push("c", "t", "v", {"a": 1})
    with contextlib.suppress(OSError):
        reader.consume_one()

os.register_at_fork(before=go_on.set)
thread = threading.Thread(target=use)
thread.start()
assert reached.wait(10)
pid = os.fork()
if pid == 0:
    faulthandler.dump_traceback_later(8)
    signal.alarm(10)
    use()
    os._exit(0)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
thread.join()
size = writer.queue_size()
reader.close(), writer.close()
assert status == 0, f"the child ended with {status}"
assert size == 2, size
"""


@pytest.mark.parametrize("module", ["orjson", "isal.isal_zlib", "transport_utils.backends.native"])
def test_a_child_forked_in_the_middle_of_the_first_import_works(tmp_path, module):
    program = [sys.executable, "-W", "ignore", "-c", _FORK_IN_AN_IMPORT, str(tmp_path), module]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
