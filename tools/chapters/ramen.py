"""Ramen: the server is down, messages pile up, the program is killed, the server comes back, all arrive once."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

from infi.ramen_client.config import QueueReaderConfig
from infi.ramen_client.diskqueue import DiskQueue, QueueFiles
from infi.ramen_client.queue_reader import QueueReader
from infi.ramen_client.queue_writer import QueueWriter
from mock_servers.faults import Fault
from mock_servers.ramen.server import RamenServer
from stage import Stage

TITLE = "Ramen: server down, program killed, server back, every message once"

WRITERS = 3
PROGRAM = """
import json, os, sys
from infi.ramen_client.config import QueueReaderConfig
from infi.ramen_client.utils import create_queue_reader_and_writer

reader, writer = create_queue_reader_and_writer(QueueReaderConfig(json.loads(sys.argv[1])))
for number in range(1_000_000):
    reqid = f"{sys.argv[2]}-{number}"
    writer.push("metrics", "volumes", "v1", {"writer": sys.argv[2], "number": number}, reqid=reqid)
    os.write(1, f"{reqid}\\n".encode())
"""


def run(stage: Stage) -> None:
    """Walk through the job of infi.ramen_client."""
    logging.getLogger("ramen_client").addHandler(logging.NullHandler())  # the steps tell the tale
    folder = pathlib.Path(stage.enter(tempfile.TemporaryDirectory()))
    server = stage.enter(RamenServer(data=folder / "server"))
    stage.address("Ramen", server.url)
    values = {
        "sender": "demo",
        "system_serial": 1099,
        "system_version": "3.0.0.1",
        "hostname": server.hostname,
        "auth_token": "good-token",
        "ssl": False,
        "queue_dir": str(folder / "queue"),
        "retry_delay": 0.05,
    }
    config = QueueReaderConfig(values)

    with stage.step("Ask the server whether it takes messages of ours") as step:
        with QueueReader(config) as reader:
            step.check(reader.test_connection(), "the test message was not accepted")
        server.reset()

    server.kill()
    acknowledged: dict[str, list[str]] = {}
    with stage.step(f"The server is down; {WRITERS} programs push, each with a reader") as step:
        programs = [
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM, json.dumps(values), f"w{number}"],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for number in range(WRITERS)
        ]
        for program in programs:
            stage.enter(contextlib.ExitStack()).callback(program.kill)
        for name, program in enumerate(programs):
            assert program.stdout is not None
            acknowledged[f"w{name}"] = [program.stdout.readline().strip() for _ in range(200)]
            step.progress(name + 1, WRITERS)
        step.note(f"{200 * WRITERS} pushes have returned")

    with stage.step("Kill all of them with SIGKILL, in the middle of a push") as step:
        for program in programs:
            os.kill(program.pid, signal.SIGKILL)
        for name, program in enumerate(programs):
            rest, _ = program.communicate()
            acknowledged[f"w{name}"] += rest.split()
        queue = DiskQueue(QueueFiles(folder / "queue", "demo", 1099))
        waiting, sound = queue.size(), queue.check() == []
        queue.close()
        total = sum(map(len, acknowledged.values()))
        step.note(f"{waiting} messages on disk, {total} were acknowledged")
        step.check(sound, "the database is damaged")
        step.check(waiting >= total, "acknowledged messages are missing")

    with stage.step("The server is back, at first with lost replies and failures") as step:
        server.start()
        server.faults.add(Fault("reset", apply=True, probability=0.02))
        server.faults.add(Fault("status", status=503, probability=0.02))
        with QueueReader(config, max_retry_delay=0.05) as reader:
            for _ in range(200):
                reader.run(blocking=False)
                if not (left := reader.queue_size()):
                    break
                step.progress(waiting - left, waiting)
            retries = reader.stats.retries
        step.note(f"{retries} attempts had to be repeated")

    with stage.step("Every message has arrived, once and in order") as step:
        expected = [
            {"path": "/ramen/v1/metrics/1099/demo.volumes.v1", "reqid": reqid, "writer": writer}
            for writer, reqids in acknowledged.items()
            for reqid in reqids
        ]
        report = server.store.check(expected)
        stats = server.store.stats()
        rows = [
            ("acknowledged by push", total),
            ("arrived", stats["messages"]),
            ("missing", len(report["missing"])),
            ("out of order", len(report["out_of_order"])),
            ("same request id, other content", stats["conflicts"]),
            ("sent again and recognized", stats["attempts"].get("duplicate", 0)),
        ]
        step.table(["", "messages"], rows)
        step.check(stats["messages"] == waiting, f"{waiting} were on disk")
        step.check(not report["missing"] and not report["out_of_order"], "see the table")
        step.check(stats["conflicts"] == 0, "a request id was used twice")

    with stage.step("A message the server refuses becomes a dead letter") as step:
        server.faults.clear()
        with QueueWriter(config) as writer, QueueReader(config) as reader:
            writer.push("metrics", "volumes", "v1", "this is not JSON")
            reader.run(blocking=False)
            (letter,) = reader.dead_letters.list()
            step.note(f"HTTP {letter['status']}: {json.loads(letter['body'])['details']}")
            step.check(letter["status"] == 415, "another status was expected")
