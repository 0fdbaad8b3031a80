"""Forking while other threads are inside SQLite."""

import contextlib
import os
import signal
import threading
import warnings

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
        # Python itself cannot fork in the middle of another thread's import, so all are done first.
        writer.push("c", "t", "v", "first")

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
        assert writer.queue_size() == len(pushed) + 26


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
