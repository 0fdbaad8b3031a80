"""The flat calls of both clients (``client.put_item``, ``client.get_object``, ...).

The older form of the grouped calls, kept because file systems and feature stores are built on it. Each sends the same
request as its grouped twin, which documents the arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from v3io.dataplane import output, request

__all__ = ["FlatCalls"]

ResponseT = TypeVar("ResponseT")
"""What a call returns: a ``Response``, or an awaitable of one."""


class FlatCalls(Generic[ResponseT]):
    """Mixed into the blocking client, whose calls return a response, and the asyncio client, whose calls await one."""

    def _send(
        self,
        container: str | None,
        access_key: str | None,
        raise_for_status: Any,
        transport_actions: int | None,
        encoder: Callable[..., Any],
        encoder_args: Mapping[str, Any],
        output: Callable[[Any], Any] | None = None,
    ) -> Any:
        raise NotImplementedError

    def get_containers(
        self,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
    ) -> ResponseT:
        """List the containers of the tenant: ``GET /``."""
        response: ResponseT = self._send(
            None,
            access_key,
            raise_for_status,
            transport_actions,
            request.encode_get_containers,
            {},
            output.GetContainersOutput,
        )
        return response

    def get_container_contents(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
        get_all_attributes: bool | None = None,
        directories_only: bool | None = None,
        limit: int | None = None,
        marker: str | None = None,
    ) -> ResponseT:
        """Flat form of ``container.list``."""
        response: ResponseT = self._send(
            container,
            access_key,
            raise_for_status,
            transport_actions,
            request.encode_get_container_contents,
            {
                "path": path,
                "get_all_attributes": get_all_attributes,
                "directories_only": directories_only,
                "limit": limit,
                "marker": marker,
            },
            output.GetContainerContentsOutput,
        )
        return response

    def get_object(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
        offset: int | None = None,
        num_bytes: int | None = None,
    ) -> ResponseT:
        """Flat form of ``object.get``."""
        response: ResponseT = self._send(
            container,
            access_key,
            raise_for_status,
            transport_actions,
            request.encode_get_object,
            {"path": path, "offset": offset, "num_bytes": num_bytes},
            None,
        )
        return response

    def put_object(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
        body: Any = None,
        append: bool | None = None,
    ) -> ResponseT:
        """Flat form of ``object.put``."""
        response: ResponseT = self._send(
            container,
            access_key,
            raise_for_status,
            transport_actions,
            request.encode_put_object,
            {"path": path, "body": body, "append": append},
            None,
        )
        return response

    def delete_object(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
    ) -> ResponseT:
        """Flat form of ``object.delete``."""
        response: ResponseT = self._send(
            container,
            access_key,
            raise_for_status,
            transport_actions,
            request.encode_delete_object,
            {"path": path},
            None,
        )
        return response

    def put_item(
        self,
        container: str,
        path: str,
        attributes: Mapping[str, Any],
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
        condition: object = None,
    ) -> ResponseT:
        """Flat form of ``kv.put``; ``path`` is table path, ``/``, key."""
        response: ResponseT = self._send(
            container,
            access_key,
            raise_for_status,
            transport_actions,
            request.encode_put_item,
            {"path": path, "attributes": attributes, "condition": condition},
            None,
        )
        return response

    def update_item(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
        attributes: Mapping[str, Any] | None = None,
        expression: object = None,
        condition: object = None,
        update_mode: str | None = None,
        alternate_expression: object = None,
    ) -> ResponseT:
        """Flat form of ``kv.update``; ``path`` is table path, ``/``, key."""
        response: ResponseT = self._send(
            container,
            access_key,
            raise_for_status,
            transport_actions,
            request.encode_update_item,
            {
                "path": path,
                "attributes": attributes,
                "expression": expression,
                "condition": condition,
                "update_mode": update_mode,
                "alternate_expression": alternate_expression,
            },
            None,
        )
        return response

    def get_item(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
        attribute_names: str | Iterable[str] = "*",
    ) -> ResponseT:
        """Flat form of ``kv.get``; ``path`` is table path, ``/``, key."""
        response: ResponseT = self._send(
            container,
            access_key,
            raise_for_status,
            transport_actions,
            request.encode_get_item,
            {"path": path, "attribute_names": attribute_names},
            output.GetItemOutput,
        )
        return response

    def get_items(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
        table_name: str | None = None,
        attribute_names: str | Iterable[str] = "*",
        filter_expression: object = None,
        marker: str | None = None,
        sharding_key: str | None = None,
        limit: int | None = None,
        segment: int | str | None = None,
        total_segments: int | str | None = None,
        sort_key_range_start: str | None = None,
        sort_key_range_end: str | None = None,
    ) -> ResponseT:
        """Flat form of ``kv.scan``."""
        response: ResponseT = self._send(
            container,
            access_key,
            raise_for_status,
            transport_actions,
            request.encode_get_items,
            {
                "path": path,
                "table_name": table_name,
                "attribute_names": attribute_names,
                "filter_expression": filter_expression,
                "marker": marker,
                "sharding_key": sharding_key,
                "limit": limit,
                "segment": segment,
                "total_segments": total_segments,
                "sort_key_range_start": sort_key_range_start,
                "sort_key_range_end": sort_key_range_end,
            },
            output.GetItemsOutput,
        )
        return response

    def delete_item(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
    ) -> ResponseT:
        """Flat form of ``kv.delete``; ``path`` is table path, ``/``, key."""
        response: ResponseT = self._send(
            container,
            access_key,
            raise_for_status,
            transport_actions,
            request.encode_delete_item,
            {"path": path},
            None,
        )
        return response

    def create_stream(
        self,
        container: str,
        path: str,
        shard_count: int,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
        retention_period_hours: int | None = None,
    ) -> ResponseT:
        """Flat form of ``stream.create``."""
        response: ResponseT = self._send(
            container,
            access_key,
            raise_for_status,
            transport_actions,
            request.encode_create_stream,
            {
                "path": path,
                "shard_count": shard_count,
                "retention_period_hours": retention_period_hours,
            },
            None,
        )
        return response

    def update_stream(
        self,
        container: str,
        path: str,
        shard_count: int,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
    ) -> ResponseT:
        """Flat form of ``stream.update``."""
        response: ResponseT = self._send(
            container,
            access_key,
            raise_for_status,
            transport_actions,
            request.encode_update_stream,
            {"path": path, "shard_count": shard_count},
            None,
        )
        return response

    def describe_stream(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
    ) -> ResponseT:
        """Flat form of ``stream.describe``."""
        response: ResponseT = self._send(
            container,
            access_key,
            raise_for_status,
            transport_actions,
            request.encode_describe_stream,
            {"path": path},
            output.DescribeStreamOutput,
        )
        return response

    def seek_shard(
        self,
        container: str,
        path: str,
        seek_type: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
        starting_sequence_number: int | None = None,
        timestamp_sec: int | None = None,
        timestamp_nsec: int | None = None,
    ) -> ResponseT:
        """Flat form of ``stream.seek``; ``path`` is ``<stream>/<shard>``."""
        response: ResponseT = self._send(
            container,
            access_key,
            raise_for_status,
            transport_actions,
            request.encode_seek_shard,
            {
                "path": path,
                "seek_type": seek_type,
                "starting_sequence_number": starting_sequence_number,
                "timestamp_sec": timestamp_sec,
                "timestamp_nsec": timestamp_nsec,
            },
            output.SeekShardOutput,
        )
        return response

    def put_records(
        self,
        container: str,
        path: str,
        records: Sequence[Mapping[str, Any]],
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
    ) -> ResponseT:
        """Flat form of ``stream.put_records``."""
        response: ResponseT = self._send(
            container,
            access_key,
            raise_for_status,
            transport_actions,
            request.encode_put_records,
            {"path": path, "records": records},
            output.PutRecordsOutput,
        )
        return response

    def get_records(
        self,
        container: str,
        path: str,
        location: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
        limit: int | None = None,
    ) -> ResponseT:
        """Flat form of ``stream.get_records``; ``path`` is ``<stream>/<shard>``."""
        response: ResponseT = self._send(
            container,
            access_key,
            raise_for_status,
            transport_actions,
            request.encode_get_records,
            {"path": path, "location": location, "limit": limit},
            output.GetRecordsOutput,
        )
        return response

    def create_schema(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
        key: str | None = None,
        fields: Sequence[Mapping[str, Any]] | None = None,
    ) -> ResponseT:
        """Flat form of ``kv.create_schema``."""
        response: ResponseT = self._send(
            container,
            access_key,
            raise_for_status,
            transport_actions,
            request.encode_create_schema,
            {"path": path, "key": key, "fields": fields},
            None,
        )
        return response
