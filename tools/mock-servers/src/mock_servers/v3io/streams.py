"""Stream functions: CreateStream, UpdateStream, DescribeStream, SeekShard, PutRecords, GetRecords.

A stream is a directory with a shard count; a shard is an object of its number, made by its first record. Called by
:mod:`mock_servers.v3io.app` with the decoded JSON body.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Callable
from typing import Any

import orjson

from mock_servers.v3io.errors import (
    ServiceError,
    illegal_location,
    invalid_argument,
    invalid_shard_count,
    not_a_stream,
    resource_in_use,
    resource_not_found,
    shard_out_of_range,
)
from mock_servers.v3io.reply import JSON, Reply
from mock_servers.v3io.store import SHARD, STREAM, Node, Store, split_path

__all__ = ["Streams"]

LOCATION = struct.Struct("<QQ")
MAX_RECORDS = 1000
MAX_RECORD_BYTES = 2 * 1024 * 1024
MAX_REPLY_BYTES = 10 * 1024 * 1024
HOUR_NS = 3600 * 1_000_000_000
NS = 1_000_000_000


class Streams:
    """The stream functions over a store; remembers whose turn it is for records without shard and key."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turns: dict[int, int] = {}
        self.functions: dict[str, Callable[[int, str, dict[str, Any]], Reply]] = {
            "CreateStream": self.create,
            "DescribeStream": self.describe,
            "GetRecords": self.get_records,
            "PutRecords": self.put_records,
            "Seek": self.seek,
            "SeekShard": self.seek,
            "UpdateStream": self.update,
        }

    def _stream(self, container: int, path: str) -> Node:
        node = self._store.find(container, path)
        if node is None:
            raise resource_not_found(path)
        if node.kind != STREAM:
            raise not_a_stream(path)
        return node

    def create(self, container: int, path: str, body: dict[str, Any]) -> Reply:
        """Make a stream.

        Raises:
            ServiceError: 409 when the path exists, 400 for a bad count or retention.
        """
        count = _whole(body.get("ShardCount"), "ShardCount", 1)
        hours = _whole(body.get("RetentionPeriodHours", 24), "RetentionPeriodHours", 1)
        if not path or self._store.find(container, path) is not None:
            raise resource_in_use(path)
        self._store.make_folders(container, split_path(path)[0])
        self._store.insert(container, path, STREAM, shard_count=count, retention_hours=hours)
        return Reply(204)

    def update(self, container: int, path: str, body: dict[str, Any]) -> Reply:
        """Give a stream more shards.

        Raises:
            ServiceError: 404, or 400 unless the count grows.
        """
        stream = self._stream(container, path)
        count = body.get("ShardCount")
        present = stream.shard_count or 0
        if not isinstance(count, int) or isinstance(count, bool) or count <= present:
            raise invalid_shard_count(count, present)
        self._store.sql.execute(
            "UPDATE nodes SET shard_count = ?, mtime_ns = ? WHERE id = ?",
            (count, self._store.next_mtime(stream), stream.id),
        )
        return Reply(204)

    def describe(self, container: int, path: str, body: dict[str, Any]) -> Reply:
        """Return shard count and retention."""
        stream = self._stream(container, path)
        shown = {
            "ShardCount": stream.shard_count,
            "RetentionPeriodHours": stream.retention_hours,
        }
        return Reply(200, orjson.dumps(shown), (JSON,))

    def put_records(self, container: int, path: str, body: dict[str, Any]) -> Reply:
        """Append records, each to its shard; the reply tells of each, in order.

        Raises:
            ServiceError: 404, or 400 when the request as a whole is refused.
        """
        stream = self._stream(container, path)
        records = body.get("Records")
        if not isinstance(records, list):
            raise invalid_argument("Records: expected a list")
        if len(records) > MAX_RECORDS:
            raise invalid_argument(f"{len(records)} records, at most {MAX_RECORDS} in one request")
        results: list[dict[str, Any]] = []
        shards: dict[int, _ShardWriter] = {}
        for record in records:
            try:
                number = self._shard_of(stream, record)
                writer = shards.get(number)
                if writer is None:
                    writer = shards[number] = _ShardWriter(self._store, stream, number)
                results.append({"SequenceNumber": writer.add(record), "ShardId": number})
            except ServiceError as error:
                results.append({"ErrorCode": error.code, "ErrorMessage": error.message})
        for writer in shards.values():
            writer.finish()
        failed = sum("ErrorCode" in result for result in results)
        reply = {"FailedRecordCount": failed, "Records": results}
        return Reply(200, orjson.dumps(reply), (JSON,))

    def _shard_of(self, stream: Node, record: Any) -> int:
        count = stream.shard_count or 1
        if not isinstance(record, dict):
            raise invalid_argument("record: expected an object")
        number = record.get("ShardId")
        if number is not None:
            if not isinstance(number, int) or not 0 <= number < count:
                raise shard_out_of_range(number, count)
            return number
        key = record.get("PartitionKey")
        if key is not None:
            return zlib.crc32(str(key).encode()) % count
        turn = self._turns.get(stream.id, 0)
        self._turns[stream.id] = turn + 1
        return turn % count

    def _shard(self, container: int, path: str, body: dict[str, Any]) -> Node:
        """Return a shard that has had a record."""
        if "ShardId" in body:
            path = f"{path}/{body['ShardId']}"
        stream_path, number = split_path(path)
        stream = self._stream(container, stream_path)
        count = stream.shard_count or 0
        if not number.isdecimal() or int(number) >= count:
            raise shard_out_of_range(number, count)
        shard = self._store.find(container, f"{stream_path}/{int(number)}")
        if shard is None:
            raise resource_not_found(f"shard {path}")
        return shard

    def _oldest(self, shard: Node) -> int:
        row = self._store.sql.execute(
            "SELECT min(sequence) FROM records WHERE node = ?", (shard.id,)
        ).fetchone()
        return shard.next_sequence if row[0] is None else int(row[0])

    def seek(self, container: int, path: str, body: dict[str, Any]) -> Reply:
        """Return the location of a position in a shard.

        Raises:
            ServiceError: 404 for a shard out of range or without records so far, 400 for anything else.
        """
        shard = self._shard(container, path, body)
        kind = body.get("Type")
        if kind == "EARLIEST":
            sequence = self._oldest(shard)
        elif kind == "LATEST":
            sequence = shard.next_sequence
        elif kind == "SEQUENCE":
            sequence = _whole(body.get("StartingSequenceNumber"), "StartingSequenceNumber", 0)
            if not self._oldest(shard) <= sequence <= shard.next_sequence:
                raise invalid_argument(f"sequence number {sequence} is not in shard {path}")
        elif kind == "TIME":
            seconds = _whole(body.get("TimestampSec"), "TimestampSec", 0)
            nanoseconds = _whole(body.get("TimestampNSec") or 0, "TimestampNSec", 0)
            row = self._store.sql.execute(
                "SELECT min(sequence) FROM records WHERE node = ? AND arrival_ns >= ?",
                (shard.id, seconds * NS + nanoseconds),
            ).fetchone()
            sequence = shard.next_sequence if row[0] is None else int(row[0])
        else:
            raise invalid_argument(f"Type {kind!r}: expected EARLIEST, LATEST, SEQUENCE or TIME")
        return Reply(200, orjson.dumps({"Location": _location(shard, sequence)}), (JSON,))

    def get_records(self, container: int, path: str, body: dict[str, Any]) -> Reply:
        """Return the records from a location on, and the next location.

        Raises:
            ServiceError: 404 as for seek, 400 for a location that is none, or whose records have expired.
        """
        shard = self._shard(container, path, body)
        sequence = _parse_location(shard, body.get("Location"))
        if sequence < self._oldest(shard):
            raise illegal_location(f"sequence number {sequence} has expired")
        limit = _whole(body.get("Limit", MAX_RECORDS), "Limit", 1)
        rows = self._store.sql.execute(
            "SELECT sequence, arrival_ns, data, client_info, partition_key FROM records"
            " WHERE node = ? AND sequence >= ? ORDER BY sequence LIMIT ?",
            (shard.id, sequence, min(limit, MAX_RECORDS)),
        )
        records: list[dict[str, Any]] = []
        size = 0
        arrival = 0
        for number, arrival_ns, data, client_info, partition_key in rows:
            size += len(data)
            if records and size > MAX_REPLY_BYTES:
                break
            record = {
                "ArrivalTimeSec": arrival_ns // NS,
                "ArrivalTimeNSec": arrival_ns % NS,
                "SequenceNumber": number,
                "Data": data,
            }
            if client_info is not None:
                record["ClientInfo"] = client_info
            if partition_key is not None:
                record["PartitionKey"] = partition_key
            records.append(record)
            sequence, arrival = number + 1, arrival_ns
        newest = self._store.sql.execute(
            "SELECT arrival_ns FROM records WHERE node = ? AND sequence = ?",
            (shard.id, shard.next_sequence - 1),
        ).fetchone()
        behind = shard.next_sequence - sequence
        late_ns = newest[0] - arrival if behind and newest and records else 0
        reply = {
            "NextLocation": _location(shard, sequence),
            "MSecBehindLatest": late_ns // 1_000_000,
            "RecordsBehindLatest": behind,
            "Records": records,
        }
        return Reply(200, orjson.dumps(reply), (JSON,))


class _ShardWriter:
    """Collects the records of one request for one shard, and writes them at once."""

    def __init__(self, store: Store, stream: Node, number: int) -> None:
        self._store = store
        path = f"{stream.path}/{number}"
        self._shard = store.find(stream.container, path) or store.insert(
            stream.container, path, SHARD
        )
        self._now = store.clock()
        self._expiry = self._now - (stream.retention_hours or 24) * HOUR_NS
        self._rows: list[tuple[Any, ...]] = []
        self._bytes = 0

    def add(self, record: dict[str, Any]) -> int:
        """Check a record and return its sequence number.

        Raises:
            ServiceError: The record is malformed or too large.
        """
        data = record.get("Data", "")
        info = record.get("ClientInfo")
        size = _base64_size(data, "Data")
        if info is not None:
            _base64_size(info, "ClientInfo")
        if size > MAX_RECORD_BYTES:
            raise invalid_argument(f"record of {size} bytes, at most {MAX_RECORD_BYTES}")
        sequence = self._shard.next_sequence + len(self._rows)
        self._rows.append(
            (self._shard.id, sequence, self._now, data, info, record.get("PartitionKey"))
        )
        self._bytes += size
        return sequence

    def finish(self) -> None:
        """Drop what has expired and write the rest."""
        sql = self._store.sql
        sql.execute(
            "DELETE FROM records WHERE node = ? AND arrival_ns < ?", (self._shard.id, self._expiry)
        )
        sql.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)", self._rows)
        sql.execute(
            "UPDATE nodes SET size = size + ?, mtime_ns = ?, next_sequence = ? WHERE id = ?",
            (
                self._bytes,
                self._store.next_mtime(self._shard),
                self._shard.next_sequence + len(self._rows),
                self._shard.id,
            ),
        )


def _base64_size(text: Any, name: str) -> int:
    """Return how many bytes a base64 text stands for."""
    try:
        return len(base64.b64decode(text, validate=True))
    except (TypeError, ValueError, binascii.Error):
        raise invalid_argument(f"{name}: expected base64") from None


def _whole(value: Any, name: str, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise invalid_argument(f"{name}={value!r}: expected a whole number of {least} or more")
    return value


def _location(shard: Node, sequence: int) -> str:
    return base64.b64encode(LOCATION.pack(sequence, shard.id)).decode()


def _parse_location(shard: Node, text: Any) -> int:
    try:
        sequence, salt = LOCATION.unpack(base64.b64decode(text, validate=True))
    except (TypeError, ValueError, binascii.Error, struct.error):
        raise illegal_location(f"{text!r:.80} is not one this server gave") from None
    if salt != shard.id or sequence > shard.next_sequence:
        raise illegal_location("it belongs to another shard")
    return int(sequence)
