"""Writers and readers killed at random points: every acknowledged message arrives, whole and in order.

A share of the points by default; ``RAMEN_CRASH_POINTS=2000 hatch run tests -k killed`` runs the whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import sqlite3
import subprocess
import sys

import pytest

PROGRAM = pathlib.Path(__file__).parent / "crash_program.py"
POINTS = int(os.environ.get("RAMEN_CRASH_POINTS", "100"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1] if POINTS <= 200 else range(1, 5))
def test_no_acknowledged_message_is_lost_when_processes_are_killed(
    ramen_server, make_pair, reader_values, seed
):
    points = POINTS if POINTS <= 200 else -(-POINTS // 4)
    values = {**reader_values, "hostname": ramen_server.hostname}
    arguments = [json.dumps(values), str(points), str(seed), str(90 if POINTS <= 200 else 120)]
    done = subprocess.run(
        [sys.executable, PROGRAM, *arguments], check=True, capture_output=True, timeout=300
    )
    result = json.loads(done.stdout)
    # The whole must be the whole; the share of every day may end early on a machine that is busy.
    assert result["killed"] >= (min(points, 60) if POINTS <= 200 else points)

    reader, writer = make_pair(ramen_server)
    with contextlib.closing(sqlite3.connect(writer._queue._path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = database.execute("SELECT count(*) FROM queue").fetchone()[0]
    assert writer.queue_size() == rows
    reader.run(blocking=False)
    assert writer.queue_size() == 0

    expected = [
        {"path": f"/ramen/v1/m/1099/imx.{line.split()[1]}.v1", "reqid": reqid, "writer": line}
        for line, reqids in result["acknowledged"].items()
        for reqid in reqids
    ]
    assert len(expected) > points
    assert not [name for name in os.listdir(values["queue_dir"]) if ".new" in name]
    report = ramen_server.store.check(expected)
    assert (report["missing"], report["out_of_order"]) == ([], [])
    assert ramen_server.store.conflicts() == []
    for message in ramen_server.store.messages():
        assert json.loads(message["body"]) == {"r": message["reqid"]}
