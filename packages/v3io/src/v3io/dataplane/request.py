"""Requests of the web API: one ``encode_*`` function per API, and the object that transports carry.

An encoder takes the container and the API's own arguments and returns ``(method, path, query, function, headers,
body)``: ``path`` unescaped, ``function`` the value of ``X-v3io-function`` or ``None``, ``body`` bytes, a dict (sent as
JSON) or a stream. It checks its arguments, so that bad input is refused before anything is sent. Called by the models,
the flat client methods and the batch, sync and async alike; the bytes are those of v3io 0.7.2.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import orjson

from v3io import attributes as typed
from v3io import base64_codec
from v3io.paths import encode_query, object_path, quote_path, url_join, with_trailing_slash

__all__ = [
    "MAX_RECORDS",
    "MAX_RECORD_BYTES",
    "OBJECT_TYPE",
    "Encoded",
    "EncoderArgs",
    "JsonBody",
    "Request",
    "encode_create_schema",
    "encode_create_stream",
    "encode_delete_item",
    "encode_delete_object",
    "encode_describe_stream",
    "encode_get_container_contents",
    "encode_get_containers",
    "encode_get_item",
    "encode_get_items",
    "encode_get_object",
    "encode_get_records",
    "encode_head_object",
    "encode_put_item",
    "encode_put_object",
    "encode_put_records",
    "encode_seek_shard",
    "encode_update_item",
    "encode_update_stream",
    "hidden_key",
]

Encoded: TypeAlias = (
    "tuple[str, str, dict[str, str | int] | None, str | None, dict[str, str] | None, Any]"
)
Encoder: TypeAlias = Callable[..., Encoded]
EncoderArgs: TypeAlias = "Mapping[str, Any] | tuple[Any, ...]"
"""An encoder's arguments besides the container: by name, or in its order, which is sooner."""

MAX_RECORDS = 1000
"""Most records of one PutRecords call."""

MAX_RECORD_BYTES = 2 * 1024 * 1024
"""Largest data of one record."""

OBJECT_TYPE = {"Content-Type": "application-octet-stream"}
"""Own headers of object writes; compat: as 0.7.2 spells it."""
_SEEK_TYPES = ("SEQUENCE", "TIME", "EARLIEST", "LATEST")


class JsonBody:
    """A body that is JSON already, in pieces: built faster than by way of a dict, and copied only once.

    Args:
        pieces: Bytes whose concatenation is the body.
    """

    __slots__ = ("pieces",)

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    def __len__(self) -> int:
        return sum(map(len, self.pieces))

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces)


class Request:
    """One encoded request, as transports and their test doubles see it.

    Args:
        container: Container name or number; ``None`` for calls about all containers.
        access_key: Sent as ``X-v3io-session-key``; ``None`` sends none.
        raise_for_status: The call's own policy; ``None`` leaves it to the caller of the transport.
        encoder: One of the ``encode_*`` functions.
        encoder_args: Arguments of the encoder besides the container, by name or in its order.
        output: Class of the parsed answer; ``None`` when the API has none.

    Attributes:
        encoded: What the encoder returned; the properties below are its parts.
        transport: Free for the transport that carries the request.
    """

    __slots__ = (
        "_encoder_args",
        "access_key",
        "container",
        "encoded",
        "encoder",
        "output",
        "raise_for_status",
        "transport",
    )

    def __init__(
        self,
        container: str | None,
        access_key: str | None,
        raise_for_status: Any,
        encoder: Encoder,
        encoder_args: EncoderArgs,
        output: Callable[[Any], Any] | None = None,
    ) -> None:
        self.container = container
        self.access_key = access_key
        self.raise_for_status = raise_for_status
        self.encoder = encoder
        self._encoder_args = encoder_args
        self.output = output
        if isinstance(encoder_args, tuple):
            self.encoded = encoder(container, *encoder_args)
        else:
            self.encoded = encoder(container, **encoder_args)
        self.transport: Any = None

    @property
    def encoder_args(self) -> Mapping[str, Any]:
        """Arguments of the encoder besides the container, by name."""
        if isinstance(self._encoder_args, tuple):
            names = list(inspect.signature(self.encoder).parameters)[1:]
            return dict(zip(names, self._encoder_args, strict=True))
        return self._encoder_args

    @property
    def method(self) -> str:
        """Upper-case method."""
        return self.encoded[0]

    @property
    def path(self) -> str:
        """Unescaped path."""
        return self.encoded[1]

    @property
    def query(self) -> dict[str, str | int] | None:
        """Query parameters; ``None`` for none."""
        return self.encoded[2]

    @property
    def function(self) -> str | None:
        """``X-v3io-function``; ``None`` for plain object access."""
        return self.encoded[3]

    @property
    def own_headers(self) -> dict[str, str] | None:
        """Headers of the API itself; ``None`` for none."""
        return self.encoded[4]

    @property
    def content(self) -> Any:
        """The body before encoding: a dict for JSON, bytes, a stream or ``None``."""
        return self.encoded[5]

    @property
    def headers(self) -> dict[str, str]:
        """All headers but those of the connection, in the order in which they are sent; a new dict."""
        headers = dict(self.own_headers) if self.own_headers else {}
        if self.function:
            headers["X-v3io-function"] = self.function
        if self.access_key:
            headers["X-v3io-session-key"] = self.access_key
        if isinstance(self.content, (dict, JsonBody)):
            headers.setdefault("Content-Type", "application/json")
        return headers

    @property
    def body(self) -> Any:
        """The body as sent: bytes, a stream, or ``None``."""
        content = self.content
        if isinstance(content, dict):
            return orjson.dumps(content)
        return bytes(content) if isinstance(content, JsonBody) else content

    def encode_path(self) -> str:
        """Return path and query percent-encoded, as they stand in the request line."""
        path = quote_path(self.path)
        return f"{path}?{encode_query(self.query)}" if self.query else path


def hidden_key(headers: dict[str, str]) -> dict[str, str]:
    """Return headers as they may be logged: the access key replaced by ``<hidden>``."""
    if "X-v3io-session-key" in headers:
        return {**headers, "X-v3io-session-key": "<hidden>"}
    return headers


def encode_get_containers(_container: str | None) -> Encoded:
    """List the containers of the tenant: ``GET /``."""
    return "GET", "/", None, None, None, None


def encode_get_container_contents(
    container: str,
    path: str,
    get_all_attributes: bool | None,
    directories_only: bool | None,
    limit: int | None,
    marker: str | None,
) -> Encoded:
    """List one directory: ``GET /<container>?prefix=``."""
    query: dict[str, str | int] = {"prefix": path}
    if get_all_attributes:
        query["prefix-info"] = 1
    if directories_only:
        query["prefix-only"] = 1
    if limit is not None:
        query["max-keys"] = limit
    if marker:
        query["marker"] = marker
    return "GET", url_join(container), query, None, None, None


def encode_head_object(container: str, path: str) -> Encoded:
    """Ask for an object's size and date."""
    return "HEAD", object_path(container, path), None, None, None, None


def encode_get_object(
    container: str, path: str, offset: int | None, num_bytes: int | None
) -> Encoded:
    """Read an object, whole or a range of it."""
    headers = None
    if num_bytes:
        start = offset or 0
        headers = {"Range": f"bytes={start}-{start + num_bytes - 1}"}
    elif offset:
        headers = {"Range": f"bytes={offset}"}  # compat: without the dash, which the platform takes
    return "GET", object_path(container, path), None, None, headers, None


def encode_put_object(container: str, path: str, body: Any, append: bool | None) -> Encoded:
    """Write an object, or append to it."""
    if isinstance(body, str):
        body = body.encode()
    headers = {"Range": "-1"} if append else OBJECT_TYPE
    if append and isinstance(body, dict):
        body = orjson.dumps(body)
    return "PUT", object_path(container, path), None, None, headers, body


def encode_delete_object(container: str, path: str) -> Encoded:
    """Delete an object, an item or an empty directory."""
    return "DELETE", object_path(container, path), None, None, None, None


encode_delete_item = encode_delete_object


def encode_put_item(
    container: str, path: str, attributes: Mapping[str, Any], condition: str | None
) -> Encoded:
    """Replace an item: PutItem."""
    body: dict[str, Any] = {"Item": typed.encode(attributes)}
    if condition is not None:
        body["ConditionExpression"] = str(condition)
    return "PUT", object_path(container, path), None, "PutItem", None, body


def encode_update_item(
    container: str,
    path: str,
    attributes: Mapping[str, Any] | None,
    expression: object,
    condition: object,
    update_mode: str | None,
    alternate_expression: object,
) -> Encoded:
    """Merge attributes into an item (PutItem with UpdateMode), or run an expression on it (UpdateItem).

    Raises:
        RuntimeError: Neither attributes nor expression is given, or both are empty; or attributes are given together
            with an expression (0.7.2 dropped one of the two silently).
    """
    if not expression and not attributes:
        raise RuntimeError("One of expression or attributes must be populated for update item")
    body: dict[str, Any] = {"UpdateMode": update_mode or "CreateOrReplaceAttributes"}
    if condition is not None:
        body["ConditionExpression"] = str(condition)
    if attributes:
        if expression or alternate_expression:
            raise RuntimeError(
                "update item takes attributes or an expression, not both: "
                "send two updates, or set the attributes in the expression"
            )
        body["Item"] = typed.encode(attributes)
        return "PUT", object_path(container, path), None, "PutItem", None, body
    body["UpdateExpression"] = str(expression)
    if alternate_expression is not None:
        body["AlternateUpdateExpression"] = str(alternate_expression)
    return "POST", object_path(container, path), None, "UpdateItem", None, body


def encode_get_item(container: str, path: str, attribute_names: str | Iterable[str]) -> Encoded:
    """Read an item: GetItem."""
    if not isinstance(attribute_names, str):
        attribute_names = ",".join(attribute_names)
    body = {"AttributesToGet": attribute_names}
    return "PUT", object_path(container, path), None, "GetItem", None, body


def encode_get_items(
    container: str,
    path: str,
    table_name: str | None,
    attribute_names: str | Iterable[str],
    filter_expression: object,
    marker: str | None,
    sharding_key: str | None,
    limit: int | None,
    segment: int | str | None,
    total_segments: int | str | None,
    sort_key_range_start: str | None,
    sort_key_range_end: str | None,
) -> Encoded:
    """Read one page of a table: GetItems."""
    if not isinstance(attribute_names, str):
        attribute_names = ",".join(attribute_names)
    body: dict[str, Any] = {"AttributesToGet": attribute_names}
    if table_name:
        body["TableName"] = table_name
    if filter_expression is not None and (text := str(filter_expression)):
        body["FilterExpression"] = text
    if marker:
        body["Marker"] = marker
    if sharding_key:
        body["ShardingKey"] = sharding_key
    if limit is not None:
        body["Limit"] = limit
    if segment is not None:
        body["Segment"] = segment
    if total_segments is not None:
        body["TotalSegment"] = total_segments  # compat: singular on the wire
    if sort_key_range_start:
        body["SortKeyRangeStart"] = sort_key_range_start
    if sort_key_range_end:
        body["SortKeyRangeEnd"] = sort_key_range_end
    return "PUT", url_join(container, with_trailing_slash(path)), None, "GetItems", None, body


def encode_create_schema(
    container: str, path: str, key: str | None, fields: Sequence[Mapping[str, Any]] | None
) -> Encoded:
    """Write a table's ``.#schema`` object."""
    body = {"hashingBucketNum": 0, "key": key, "fields": fields}
    schema_path = url_join(container, with_trailing_slash(path) + ".#schema")
    return "PUT", schema_path, None, None, OBJECT_TYPE, body


def _stream(container: str, path: str) -> str:
    return url_join(container, with_trailing_slash(path))


def encode_create_stream(
    container: str, path: str, shard_count: int, retention_period_hours: int | None
) -> Encoded:
    """Create a stream: CreateStream."""
    if retention_period_hours == 0:  # compat: sent as the default, without a word
        warnings.warn("retention_period_hours=0 means the default of 24 hours", stacklevel=5)
    hours = retention_period_hours or 24
    body = {"ShardCount": shard_count, "RetentionPeriodHours": hours}
    return "POST", _stream(container, path), None, "CreateStream", None, body


def encode_update_stream(container: str, path: str, shard_count: int) -> Encoded:
    """Raise a stream's number of shards: UpdateStream."""
    body = {"ShardCount": shard_count}
    return "POST", _stream(container, path), None, "UpdateStream", None, body


def encode_describe_stream(container: str, path: str) -> Encoded:
    """Ask for a stream's shards and retention: DescribeStream."""
    return "PUT", _stream(container, path), None, "DescribeStream", None, None


def encode_seek_shard(
    container: str,
    path: str,
    seek_type: str,
    starting_sequence_number: int | None,
    timestamp_sec: int | None,
    timestamp_nsec: int | None,
) -> Encoded:
    """Get a position in a shard: SeekShard.

    Raises:
        ValueError: ``seek_type`` is none of SEQUENCE, TIME, EARLIEST, LATEST (case-sensitive).
    """
    if seek_type not in _SEEK_TYPES:
        raise ValueError(
            f"Unsupported seek_type ({seek_type}) for seek_shard. "
            f"Must be one of {', '.join(_SEEK_TYPES)}"
        )
    body: dict[str, Any] = {"Type": seek_type}
    if seek_type == "SEQUENCE":
        body["StartingSequenceNumber"] = starting_sequence_number
    elif seek_type == "TIME":
        body["TimestampSec"] = timestamp_sec
        body["TimestampNSec"] = timestamp_nsec
    return "PUT", _stream(container, path), None, "SeekShard", None, body


def _encode_fields(record: Mapping[str, Any]) -> bytes:
    """Return what follows the data of a record as JSON, closing brace included."""
    text = b""
    if "client_info" in record:
        info = record["client_info"]
        info = info.encode() if isinstance(info, str) else info
        text += b',"ClientInfo":"%b"' % base64_codec.encode(info)
    if "shard_id" in record:
        text += b',"ShardId":%b' % orjson.dumps(record["shard_id"])
    if "partition_key" in record:
        text += b',"PartitionKey":%b' % orjson.dumps(record["partition_key"])
    return text + b"}"


def encode_put_records(container: str, path: str, records: Sequence[Mapping[str, Any]]) -> Encoded:
    """Append records to a stream: PutRecords.

    Raises:
        KeyError: A record has no ``data``.
        TypeError: ``records`` is no list of dicts, or data is neither str nor bytes.
        ValueError: More than :data:`MAX_RECORDS` records, or every record is larger than :data:`MAX_RECORD_BYTES`
            (when some are not, the platform tells of each).
    """
    if len(records) > MAX_RECORDS:
        raise ValueError(
            f"put_records got {len(records)} records; the platform takes at most {MAX_RECORDS} in one call"
        )
    # Large data is copied once only, when the pieces are joined: memory is what this call waits for.
    encode = base64_codec.encode
    pieces: list[bytes] = []
    opening = b'{"Records":[{"Data":"'
    smallest = MAX_RECORD_BYTES
    try:
        for record in records:
            data = record["data"]
            encoded = encode(data.encode() if type(data) is str else data)
            smallest = min(smallest, len(encoded))
            shard = record.get("shard_id")
            if type(shard) is int and len(record) == 2:
                pieces += (opening, encoded, b'","ShardId":%d}' % shard)
            elif len(record) == 1:
                pieces += (opening, encoded, b'"}')
            else:
                pieces += (opening, encoded, b'"', _encode_fields(record))
            opening = b',{"Data":"'
    except (AttributeError, LookupError, TypeError):
        _explain(records)
        raise
    if records and smallest == MAX_RECORD_BYTES:
        _refuse_large(records)
    pieces.append(b"]}" if records else b'{"Records":[]}')
    return "POST", _stream(container, path), None, "PutRecords", None, JsonBody(pieces)


def _explain(records: Any) -> None:
    """Raise an error that names the first record which is none."""
    if isinstance(records, (str, bytes, Mapping)):
        raise TypeError(f"put_records got a {type(records).__name__}: expected a list of dicts")
    for number, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise TypeError(
                f"record {number} is a {type(record).__name__}: expected a dict with 'data'"
            )
        if not isinstance(record["data"], (str, bytes, bytearray, memoryview)):
            kind = type(record["data"]).__name__
            raise TypeError(f"data of record {number} is a {kind}: expected str or bytes")


def _refuse_large(records: Sequence[Mapping[str, Any]]) -> None:
    sizes = [len(data.encode() if isinstance(data := r["data"], str) else data) for r in records]
    if min(sizes) > MAX_RECORD_BYTES:
        raise ValueError(
            f"put_records got a record of {min(sizes)} bytes; the platform takes at most {MAX_RECORD_BYTES} in a record"
        )


def encode_get_records(container: str, path: str, location: str, limit: int | None) -> Encoded:
    """Read records of a shard from a location on: GetRecords."""
    body: dict[str, Any] = {"Location": location}
    if limit:
        body["Limit"] = limit
    return "PUT", _stream(container, path), None, "GetRecords", None, body
