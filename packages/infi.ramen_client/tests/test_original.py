"""Beside infi.ramen_client 1.40 itself: one queue, both generations, nothing lost and nothing altered."""

from __future__ import annotations

import base64
import json
import pathlib
import subprocess
import zlib

import pytest

pytestmark = [pytest.mark.originals, pytest.mark.timeout(180)]

PROGRAM = pathlib.Path(__file__).parent / "original_program.py"


@pytest.fixture(scope="session")
def original_python():
    from mock_servers.originals import RAMEN, interpreter

    return interpreter(RAMEN)


@pytest.fixture
def original(original_python, reader_values, ramen_server):
    def command(what, *arguments):
        values = {**reader_values, "hostname": ramen_server.hostname}
        return [original_python, PROGRAM, what, json.dumps(values), *map(str, arguments)]

    def run(what, *arguments):
        done = subprocess.run(
            command(what, *arguments), check=True, capture_output=True, timeout=120
        )
        return json.loads(done.stdout)

    run.start = lambda *arguments: subprocess.Popen(command(*arguments), stdout=subprocess.PIPE)
    return run


def by(server, who):
    bodies = [json.loads(message["body"]) for message in server.store.messages()]
    return [body["i"] for body in bodies if body["by"] == who]


def test_a_queue_written_by_the_original_is_drained(original, ramen_server, make_pair):
    assert original("push", 200) == 200
    reader, writer = make_pair(ramen_server)
    assert writer.queue_size() == 200
    assert reader.run(blocking=False) == 200
    assert by(ramen_server, "original") == list(range(200))
    reqids = [message["reqid"] for message in ramen_server.store.messages()]
    assert reqids == [f"o-{i}" if i % 2 == 0 else str(i + 1) for i in range(200)]


def test_the_original_writes_beside_our_writer_and_reader(
    original, ramen_server, make_pair, running
):
    reader, writer = make_pair(ramen_server)
    running(reader)
    with original.start("push", 300) as process:
        for number in range(300):
            writer.push("m", "t", "v1", {"by": "ours", "i": number})
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert ramen_server.store.wait(600, 30)
    assert by(ramen_server, "original") == by(ramen_server, "ours") == list(range(300))
    assert ramen_server.store.stats()["attempts"] == {"accepted": 600}
    reader.stop()


def test_after_a_downgrade_the_original_sends_what_we_stored(original, ramen_server, make_pair):
    reader, writer = make_pair(ramen_server)
    for number in range(100):
        writer.push("m", "t", "v1", {"by": "ours", "i": number}, reqid=f"r{number}")
    for _ in range(10):
        reader.consume_one()
    reader.close()
    writer.close()
    assert original("drain") == 90
    assert by(ramen_server, "ours") == list(range(100))
    assert ramen_server.store.stats()["attempts"] == {"accepted": 100}
    reader, writer = make_pair(ramen_server)
    assert writer.queue_size() == 0
    assert original("push", 5) == 5
    assert writer.queue_size() == 5


def test_the_original_reads_every_column_as_we_stored_it(original, ramen_server, make_pair):
    _, writer = make_pair(ramen_server)
    pushed = [
        ("m", "t", "v1", {"a": 1}, "r1"),
        ("m", "t", 7, [1, 2], "r2"),
        ("m", "t-t", "v_1", "text", "r3"),
        ("m", "t", "v1", b"raw", "r4"),
    ]
    for message in pushed:
        writer.push(*message)
    writer.close()
    rows = original("list")
    assert [tuple(row[1:5]) for row in rows] == [(*m[:3], m[4]) for m in pushed]
    assert [zlib.decompress(base64.b64decode(row[5])) for row in rows] == [
        b'{"a":1}',
        b"[1,2]",
        b"text",
        b"raw",
    ]


def test_the_original_compacts_our_database_and_we_go_on(original, ramen_server, make_pair):
    reader, writer = make_pair(ramen_server)
    writer.push_many([("m", "t", "v1", {"by": "ours", "i": n}) for n in range(500)])
    assert original("drain") == 500  # ends with VACUUM
    writer.push("m", "t", "v1", {"by": "ours", "i": 500})
    assert writer.queue_size() == 1
    assert reader.run(blocking=False) == 1
    assert by(ramen_server, "ours") == list(range(501))
