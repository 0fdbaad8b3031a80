"""What each API answered, as attributes: one class per API.

Constructed by :class:`v3io.dataplane.response.Response` on first use of ``output``, from the parsed JSON or the XML
root. An element the platform left out is an absent attribute, as in 0.7.2: downstream file systems tell files from
directories by ``hasattr``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from v3io import attributes, base64_codec

if TYPE_CHECKING:
    from xml.etree import ElementTree

__all__ = [
    "Container",
    "ContainerCommonPrefix",
    "ContainerContent",
    "DescribeStreamOutput",
    "GetContainerContentsOutput",
    "GetContainersOutput",
    "GetItemOutput",
    "GetItemsOutput",
    "GetRecordsOutput",
    "GetRecordsResult",
    "Output",
    "PutRecordsOutput",
    "PutRecordsResult",
    "SeekShardOutput",
]

Json: TypeAlias = Mapping[str, Any]


class Output:
    """Base of all outputs.

    Args:
        decoded_body: Parsed JSON object, or the root of the XML document.
    """

    def __init__(self, decoded_body: Any) -> None:
        del decoded_body

    @staticmethod
    def _decode_typed_attributes(typed_attributes: Json) -> dict[str, Any]:
        return attributes.decode(typed_attributes)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({fields})"


class Container:
    """One container of the tenant.

    Attributes:
        name: Its name.
        creation_date: ISO 8601 text as sent.
        identifier: Its number, which may be used in paths instead of the name.
    """

    def __init__(self, name: str | None, creation_date: str | None, identifier: int) -> None:
        self.name = name
        self.creation_date = creation_date
        self.identifier = identifier


class GetContainersOutput(Output):
    """Answer of ``GET /``.

    Attributes:
        containers: list of :class:`Container`; absent when the answer is an error.
        error: The error's JSON; absent when the answer is a list.
    """

    def __init__(self, decoded_body: ElementTree.Element | Json) -> None:
        if isinstance(decoded_body, Mapping):
            self.error = decoded_body
            return
        self.containers = [
            Container(
                bucket.findtext("Name"),
                bucket.findtext("CreationDate"),
                int(bucket.findtext("Id") or 0),
            )
            for bucket in decoded_body.findall("Buckets/*")
        ]


class _Entry(Output):
    """An entry of a listing; ``_FIELDS`` maps XML elements to attributes and how to read them."""

    _FIELDS: ClassVar[Mapping[str, tuple[str, Callable[[str], Any]]]] = {}

    def __init__(self, decoded_body: ElementTree.Element) -> None:
        for element in decoded_body:
            if element.tag in self._FIELDS:
                name, read = self._FIELDS[element.tag]
                setattr(self, name, read(element.text) if element.text is not None else None)


class ContainerContent(_Entry):
    """A file of a listing.

    Attributes:
        key: Path relative to the container, without leading slash.
        size: Bytes.
        last_sequence_id: Last sequence number of a shard; only on shards.
        last_modified, access_time, creating_time: ISO 8601 text.
        mode: Octal text; gid, uid: hexadecimal text; inode_number: int. Only with ``get_all_attributes``.
    """

    _FIELDS: ClassVar[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
        "Key": ("key", str),
        "Size": ("size", int),
        "LastSequenceID": ("last_sequence_id", int),
        "LastSequenceId": ("last_sequence_id", int),
        "LastModified": ("last_modified", str),
        "Mode": ("mode", str),
        "AccessTime": ("access_time", str),
        "CreatingTime": ("creating_time", str),
        "GID": ("gid", str),
        "UID": ("uid", str),
        "InodeNumber": ("inode_number", int),
    }


class ContainerCommonPrefix(_Entry):
    """A directory of a listing.

    Attributes:
        prefix: Path relative to the container, ending in a slash.
        last_modified, access_time, creating_time, mode, gid, uid, inode_number: As for
            :class:`ContainerContent`; only with ``get_all_attributes``.
    """

    _FIELDS: ClassVar[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
        "Prefix": ("prefix", str),
        "LastModified": ("last_modified", str),
        "AccessTime": ("access_time", str),
        "CreatingTime": ("creating_time", str),
        "Mode": ("mode", str),
        "GID": ("gid", str),
        "UID": ("uid", str),
        "InodeNumber": ("inode_number", int),
    }


class GetContainerContentsOutput(Output):
    """Answer of a listing.

    Attributes:
        name: The container.
        next_marker: Where the next page starts; ``None`` when the page is empty.
        max_keys, is_truncated: Text as sent (``"true"``/``"false"``), kept for 0.7 callers.
        truncated: ``is_truncated`` as a bool.
        contents: list of :class:`ContainerContent`.
        common_prefixes: list of :class:`ContainerCommonPrefix`.
        error: The error's JSON; then all others are absent.
    """

    def __init__(self, decoded_body: ElementTree.Element | Json) -> None:
        if isinstance(decoded_body, Mapping):
            self.error = decoded_body
            return
        self.name = decoded_body.findtext("Name")
        self.next_marker = decoded_body.findtext("NextMarker") or None
        self.max_keys = decoded_body.findtext("MaxKeys")
        self.is_truncated = decoded_body.findtext("IsTruncated")
        self.truncated = self.is_truncated == "true"
        self.contents = [ContainerContent(child) for child in decoded_body.findall("Contents")]
        self.common_prefixes = [
            ContainerCommonPrefix(child) for child in decoded_body.findall("CommonPrefixes")
        ]


class GetItemOutput(Output):
    """Answer of GetItem.

    Attributes:
        item: Attribute name -> Python value; empty for an error or when none of the names exist.
    """

    def __init__(self, decoded_body: Json) -> None:
        self.item = self._decode_typed_attributes(decoded_body.get("Item", {}))


class GetItemsOutput(Output):
    """One page of GetItems.

    Attributes:
        last: Whether no page follows.
        next_marker: Opaque marker of the next page; ``None`` when the server sent none.
        items: list of dicts, attribute name -> Python value; may be empty although pages follow.
    """

    def __init__(self, decoded_body: Json) -> None:
        items = [attributes.decode(item) for item in decoded_body.get("Items", ())]
        self._take(decoded_body, items)

    def _take(self, decoded_body: Json, items: list[dict[str, Any]]) -> None:
        self.last = decoded_body.get("LastItemIncluded") == "TRUE"
        self.next_marker = decoded_body.get("NextMarker")
        self.items = items

    @classmethod
    def from_body(cls, body: bytes) -> GetItemsOutput | None:
        """Return the output of an undecoded body the fast way; ``None`` when it has to be decoded step by step."""
        decoded = attributes.decode_page(body)
        if decoded is None:
            return None
        page = cls.__new__(cls)
        page._take(decoded, decoded["Items"])
        return page


class DescribeStreamOutput(Output):
    """Answer of DescribeStream.

    Attributes:
        shard_count: Number of shards; ``None`` for an error.
        retention_period_hours: Hours that records are kept; ``None`` for an error.
    """

    def __init__(self, decoded_body: Json) -> None:
        self.shard_count = decoded_body.get("ShardCount")
        self.retention_period_hours = decoded_body.get("RetentionPeriodHours")


class SeekShardOutput(Output):
    """Answer of SeekShard.

    Attributes:
        location: Opaque position for ``get_records``; ``None`` for an error.
    """

    def __init__(self, decoded_body: Json) -> None:
        self.location = decoded_body.get("Location")


class PutRecordsResult:
    """What became of one record.

    Attributes:
        sequence_number, shard_id: Where it was written; ``None`` when it was not.
        error_code, error_message: Why not; ``None`` when it was.
    """

    def __init__(self, decoded_body: Json) -> None:
        self.sequence_number = decoded_body.get("SequenceNumber")
        self.shard_id = decoded_body.get("ShardId")
        self.error_code = decoded_body.get("ErrorCode")
        self.error_message = decoded_body.get("ErrorMessage")


class PutRecordsOutput(Output):
    """Answer of PutRecords.

    Attributes:
        failed_record_count: How many records were not written.
    """

    def __init__(self, decoded_body: Json) -> None:
        self.failed_record_count = decoded_body.get("FailedRecordCount")
        self._told = decoded_body.get("Records", ())
        self._records: list[PutRecordsResult] | None = None

    @property
    def records(self) -> list[PutRecordsResult]:
        """One :class:`PutRecordsResult` per record, in order; made on first use."""
        if self._records is None:
            self._records = [PutRecordsResult(record) for record in self._told]
        return self._records


class GetRecordsResult:
    """One record of a shard.

    Attributes:
        arrival_time_sec, arrival_time_nsec: When the platform took it.
        sequence_number: Its number within the shard, from 1.
        client_info: Bytes given by the producer; ``None`` without.
        partition_key: As given by the producer; ``None`` without.
        data: The payload, bytes.
    """

    def __init__(self, decoded_body: Json) -> None:
        self.arrival_time_sec = decoded_body.get("ArrivalTimeSec")
        self.arrival_time_nsec = decoded_body.get("ArrivalTimeNSec")
        self.sequence_number = decoded_body.get("SequenceNumber")
        client_info = decoded_body.get("ClientInfo")
        self.client_info = None if client_info is None else base64_codec.decode(client_info)
        self.partition_key = decoded_body.get("PartitionKey")
        self.data = base64_codec.decode(decoded_body.get("Data") or b"")


class GetRecordsOutput(Output):
    """Answer of GetRecords.

    Attributes:
        next_location: Where to go on; ``None`` for an error.
        msec_behind_latest, records_behind_latest: Distance to the end of the shard.
        records: list of :class:`GetRecordsResult`, oldest first; empty at the end and for an error.
    """

    def __init__(self, decoded_body: Json) -> None:
        self.next_location = decoded_body.get("NextLocation")
        self.msec_behind_latest = decoded_body.get("MSecBehindLatest")
        self.records_behind_latest = decoded_body.get("RecordsBehindLatest")
        self.records = [GetRecordsResult(record) for record in decoded_body.get("Records", ())]
