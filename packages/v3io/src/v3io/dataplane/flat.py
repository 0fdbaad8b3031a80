"""The flat calls of the blocking client (``client.put_item``, ``client.get_object``, ...).

The older form of the grouped calls, kept because file systems and feature stores are built on it. Each sends the same
request as its grouped twin, which documents the arguments.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from v3io.dataplane import output, request
from v3io.dataplane.kv_cursor import Cursor
from v3io.dataplane.response import Response, Responses
from v3io.dataplane.stream_deletion import delete_steps, send_steps
from v3io.paths import item_path

__all__ = ["FlatCalls"]


class FlatCalls:
    """Mixed into :class:`v3io.dataplane.client.Client`."""

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
    ) -> Response:
        """List the containers of the tenant: ``GET /``."""
        response: Response = self._send(
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
    ) -> Response:
        """Flat form of ``container.list``."""
        response: Response = self._send(
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
    ) -> Response:
        """Flat form of ``object.get``."""
        response: Response = self._send(
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
    ) -> Response:
        """Flat form of ``object.put``."""
        response: Response = self._send(
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
    ) -> Response:
        """Flat form of ``object.delete``."""
        response: Response = self._send(
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
        condition: str | None = None,
    ) -> Response:
        """Flat form of ``kv.put``; ``path`` is table path, ``/``, key."""
        response: Response = self._send(
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
        expression: str | None = None,
        condition: str | None = None,
        update_mode: str | None = None,
        alternate_expression: str | None = None,
    ) -> Response:
        """Flat form of ``kv.update``; ``path`` is table path, ``/``, key."""
        response: Response = self._send(
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
    ) -> Response:
        """Flat form of ``kv.get``; ``path`` is table path, ``/``, key."""
        response: Response = self._send(
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
        filter_expression: str | None = None,
        marker: str | None = None,
        sharding_key: str | None = None,
        limit: int | None = None,
        segment: int | str | None = None,
        total_segments: int | str | None = None,
        sort_key_range_start: str | None = None,
        sort_key_range_end: str | None = None,
    ) -> Response:
        """Flat form of ``kv.scan``."""
        response: Response = self._send(
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
    ) -> Response:
        """Flat form of ``kv.delete``; ``path`` is table path, ``/``, key."""
        response: Response = self._send(
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
    ) -> Response:
        """Flat form of ``stream.create``."""
        response: Response = self._send(
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
    ) -> Response:
        """Flat form of ``stream.update``."""
        response: Response = self._send(
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
    ) -> Response:
        """Flat form of ``stream.describe``."""
        response: Response = self._send(
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
    ) -> Response:
        """Flat form of ``stream.seek``; ``path`` is ``<stream>/<shard>``."""
        response: Response = self._send(
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
    ) -> Response:
        """Flat form of ``stream.put_records``."""
        response: Response = self._send(
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
    ) -> Response:
        """Flat form of ``stream.get_records``; ``path`` is ``<stream>/<shard>``."""
        response: Response = self._send(
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
    ) -> Response:
        """Flat form of ``kv.create_schema``."""
        response: Response = self._send(
            container,
            access_key,
            raise_for_status,
            transport_actions,
            request.encode_create_schema,
            {"path": path, "key": key, "fields": fields},
            None,
        )
        return response

    def put_items(
        self,
        container: str,
        path: str,
        items: Mapping[str, Mapping[str, Any]],
        access_key: str | None = None,
        raise_for_status: Any = None,
        condition: str | None = None,
    ) -> Responses:
        """Put several items of one table, one request each, in order.

        Args:
            container: Container name or number.
            path: Directory of the table.
            items: Key -> attributes.
            access_key: As for ``kv.put``.
            raise_for_status: As for ``kv.put``, for each request.
            condition: Checked for each item.
        """
        responses = Responses()
        for key, attributes in items.items():
            responses.add_response(
                self.put_item(
                    container,
                    item_path(path, key),
                    attributes,
                    access_key,
                    raise_for_status,
                    condition=condition,
                )
            )
        return responses

    def new_items_cursor(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        attribute_names: str | Iterable[str] = "*",
        filter_expression: str | None = None,
        marker: str | None = None,
        sharding_key: str | None = None,
        limit: int | None = None,
        segment: int | str | None = None,
        total_segments: int | str | None = None,
        sort_key_range_start: str | None = None,
        sort_key_range_end: str | None = None,
    ) -> Cursor:
        """Flat form of ``kv.new_cursor`` (0.7.2 passed its arguments one position off)."""
        return Cursor(
            self,
            container,
            access_key,
            path,
            None,
            raise_for_status,
            attribute_names,
            filter_expression,
            marker,
            sharding_key,
            limit,
            segment,
            total_segments,
            sort_key_range_start,
            sort_key_range_end,
        )

    def delete_stream(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
    ) -> Response:
        """Flat form of ``stream.delete``."""
        return send_steps(self, container, access_key, raise_for_status, delete_steps(path))
