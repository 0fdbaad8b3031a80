"""Faults of 1.40 in what it trusts, shows and understands (27 to 38), each a test by its number."""

from __future__ import annotations

import datetime
import logging
import sqlite3
import subprocess
import sys
import time

import pytest
from infi.ramen_client.config import QueueReaderConfig, QueueWriterConfig
from infi.ramen_client.diskqueue import DiskQueue
from infi.ramen_client.errors import DataError
from infi.ramen_client.queue_reader import QueueReader
from infi.ramen_client.queue_writer import QueueWriter
from infi.ramen_client.serialization import dump_json


def test_fault_28_the_environment_is_trusted_only_on_demand(
    fill, ramen_server, make_pair, monkeypatch, tmp_path
):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login u password p")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    monkeypatch.delenv("no_proxy", raising=False)
    reader, writer = make_pair(ramen_server)
    fill(writer, 1)
    assert reader.consume_one() == reader.ACCEPTED
    headers = dict(ramen_server.store.messages()[0]["headers"])
    assert "authorization" not in headers
    reader, _ = make_pair("127.0.0.1:1")
    fill(writer, 1)
    assert reader.consume_one() == reader.RETRY
    assert "http_proxy is set but not used" in reader.stats.last_error
    reader, _ = make_pair(ramen_server, trust_env=True)
    assert reader._wire.proxy("host") == "http://127.0.0.1:1/"
    assert reader._wire._authorization("127.0.0.1")["Authorization"].startswith("Basic ")
    reader, _ = make_pair(ramen_server, trust_env=True, proxy="http://mine/")
    assert reader._wire.proxy("host") == "http://mine/"


def test_fault_29_files_are_for_the_owner(fill, make_pair, ramen_server):
    reader, writer = make_pair(ramen_server)
    fill(writer, 1)
    reader.run(blocking=False)
    assert list(writer._queue.disk.files.loose_modes()) == []


@pytest.mark.parametrize("name", ["ab\n", "\n", "a\n\n"])
def test_fault_30_a_trailing_newline_is_no_name(writer_values, name):
    with pytest.raises(DataError):
        QueueWriterConfig({**writer_values, "sender": name}).validate()
    with (
        QueueWriter(QueueWriterConfig(writer_values)) as writer,
        pytest.raises(AssertionError, match="Invalid characters"),
    ):
        writer.push(name, "t", "v1", {})


def test_fault_31_logs_hold_a_kilobyte_of_a_reply_and_no_token(fill, recorder, make_pair, caplog):
    caplog.set_level(logging.DEBUG)
    recorder.answers = [recorder.reply(500, b"x" * 5_000_000)]
    reader, writer = make_pair(recorder, auth_token="s3cret")
    fill(writer, 1)
    reader.consume_one()
    texts = [record.getMessage() for record in caplog.records if record.name == "ramen_client"]
    assert texts[0].startswith("POST http://")
    assert texts[1].startswith("HTTP 500 xxx")
    assert max(map(len, texts)) < 1200
    assert "s3cret" not in caplog.text
    assert len(reader.stats.last_error) < 400


def test_fault_32_real_gzip_may_be_chosen(fill, ramen_server, make_pair):
    ramen_server.knobs.strict_encoding = True
    reader, writer = make_pair(ramen_server, encoding="gzip")
    fill(writer, 1)
    assert reader.consume_one() == reader.ACCEPTED
    assert reader.test_connection() is True


def test_fault_33_nothing_but_the_standard_library_and_ours_is_imported():
    code = (
        "import sys, infi.ramen_client.queue_reader, infi.ramen_client.queue_writer\n"
        "bad = {'pkg_resources', 'requests', 'schematics', 'six', 'future', 'transport_utils', 'click', 'rich'}\n"
        "assert not bad & set(sys.modules), bad & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_fault_34_aware_datetimes_are_the_moment_they_say():
    zone = datetime.timezone(datetime.timedelta(hours=-5))
    moment = datetime.datetime(2024, 7, 1, 12, 0, 0, 250000, zone)
    assert dump_json(moment) == str(int(moment.timestamp() * 1000))


def test_fault_35_versions_arrive_as_they_were_given(ramen_server, make_pair):
    reader, writer = make_pair(ramen_server)
    versions = ["008", 8, "8", "1e2", "9" * 30, 2**63, "-0", "v1"]
    for version in versions:
        writer.push("m", "t", version, {})
    assert reader.run(blocking=False) == len(versions)
    assert [message["data_version"] for message in ramen_server.store.messages()] == [
        str(version) for version in versions
    ]


@pytest.mark.parametrize("version", [1, "1", "v1", "008"])
def test_fault_37_versions_are_compared_as_text(ramen_server, make_pair, version):
    reader, writer = make_pair(ramen_server)
    for _ in range(5):
        writer.push("m", "t", version, {})
    ramen_server.rules.add({"data_version": str(version)})
    assert reader.run(blocking=False) == 5
    assert ramen_server.store.stats()["attempts"] == {"dropped": 1}
    assert len(reader.get_blacklist()) == 1


def test_fault_37_equal_rules_replace_each_other(make_pair, ramen_server):
    reader, _ = make_pair(ramen_server)
    for _ in range(3000):
        reader._delivery.take_rule({"category": "other"})
    assert len(reader.get_blacklist()) == 1


def test_fault_38_waiting_for_a_foreign_lock_is_bounded(files):
    queue = DiskQueue(files, busy_timeout_s=0.1)
    queue.push(("m", "t", "v1", "r", b""))
    holder = sqlite3.connect(files.database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        queue.push(("m", "t", "v1", "r", b""))
    assert time.monotonic() - begun < 5
    holder.close()
    queue.close()


def test_reader_and_writer_configurations_share_one_queue(reader_values):
    config = QueueReaderConfig({**reader_values, "hostname": "h"})
    reader, writer = QueueReader(config), QueueWriter(config)
    assert reader._queue._path == writer._queue._path
    reader.close()
    writer.close()
