"""The flat calls of both clients (``client.put_item``, ``client.get_object``, ...).

The older form of the grouped calls, kept because file systems and feature stores are built on it, and what all forms of
a call, blocking, asyncio and queued in a batch, come down to: here it is said once which encoder and which class of
output make up the call. The grouped form of the blocking client documents the arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from v3io.dataplane import output, request
from v3io.dataplane.request import EncoderArgs

__all__ = ["FlatCalls", "Trace"]

ResponseT = TypeVar("ResponseT")
"""What a call returns: a ``Response``, or a coroutine that returns one."""

PagesT = TypeVar("PagesT")
"""What walks through a table: a cursor of the blocking or the asyncio client."""

MadeT = TypeVar("MadeT", covariant=True)
"""Likewise, of what makes it."""

Trace: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Puts a span around a transport's ``request``."""


class MakesCursors(Protocol[MadeT]):
    """What the flat form of ``new_cursor`` needs of the grouped one."""

    def new_cursor(self, *args: Any, **kwargs: Any) -> MadeT:
        """Return a cursor, see :meth:`v3io.dataplane.kv_cursor.Cursors.new_cursor`."""


class FlatCalls(Generic[ResponseT, PagesT]):
    """Mixed into the blocking client, whose calls return a response, and the asyncio client, whose calls await one."""

    create_batch: Callable[[], Any]
    kv: MakesCursors[PagesT]
    _access_key: str | None
    _trace: Trace | None = None
    _request: Callable[..., ResponseT]

    @property
    def _transport(self) -> Any:
        """What carries the calls; put another in its place and all calls go there."""
        return self._carrier

    @_transport.setter
    def _transport(self, transport: Any) -> None:
        self._carrier = transport
        send = transport.request
        self._request = send if self._trace is None else self._trace(send)

    def _send(
        self,
        container: str | None,
        access_key: str | None,
        raise_for_status: Any,
        transport_actions: int | None,
        encoder: Callable[..., Any],
        encoder_args: EncoderArgs,
        output: Callable[[Any], Any] | None = None,
    ) -> ResponseT:
        """Send the request of any encoder."""
        return self._request(
            container,
            access_key or self._access_key,
            raise_for_status,
            transport_actions,
            encoder,
            encoder_args,
            output,
        )

    def get_containers(
        self,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
    ) -> ResponseT:
        """List the containers of the tenant: ``GET /``."""
        return self._request(
            None,
            access_key or self._access_key,
            raise_for_status,
            transport_actions,
            request.encode_get_containers,
            (),
            output.GetContainersOutput,
        )

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
        """Flat form of :meth:`v3io.dataplane.container.Model.list`."""
        return self._request(
            container,
            access_key or self._access_key,
            raise_for_status,
            transport_actions,
            request.encode_get_container_contents,
            (path, get_all_attributes, directories_only, limit, marker),
            output.GetContainerContentsOutput,
        )

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
        """Flat form of :meth:`v3io.dataplane.object.Model.get`."""
        return self._request(
            container,
            access_key or self._access_key,
            raise_for_status,
            transport_actions,
            request.encode_get_object,
            (path, offset, num_bytes),
            None,
        )

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
        """Flat form of :meth:`v3io.dataplane.object.Model.put`."""
        return self._request(
            container,
            access_key or self._access_key,
            raise_for_status,
            transport_actions,
            request.encode_put_object,
            (path, body, append),
            None,
        )

    def delete_object(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
    ) -> ResponseT:
        """Flat form of :meth:`v3io.dataplane.object.Model.delete`."""
        return self._request(
            container,
            access_key or self._access_key,
            raise_for_status,
            transport_actions,
            request.encode_delete_object,
            (path,),
            None,
        )

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
        """Flat form of :meth:`v3io.dataplane.kv.Model.put`; ``path`` is table path, ``/``, key."""
        return self._request(
            container,
            access_key or self._access_key,
            raise_for_status,
            transport_actions,
            request.encode_put_item,
            (path, attributes, condition),
            None,
        )

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
        """Flat form of :meth:`v3io.dataplane.kv.Model.update`; ``path`` is table path, ``/``, key."""
        return self._request(
            container,
            access_key or self._access_key,
            raise_for_status,
            transport_actions,
            request.encode_update_item,
            (path, attributes, expression, condition, update_mode, alternate_expression),
            None,
        )

    def get_item(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
        attribute_names: str | Iterable[str] = "*",
    ) -> ResponseT:
        """Flat form of :meth:`v3io.dataplane.kv.Model.get`; ``path`` is table path, ``/``, key."""
        return self._request(
            container,
            access_key or self._access_key,
            raise_for_status,
            transport_actions,
            request.encode_get_item,
            (path, attribute_names),
            output.GetItemOutput,
        )

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
        """Flat form of :meth:`v3io.dataplane.kv.Model.scan`."""
        return self._request(
            container,
            access_key or self._access_key,
            raise_for_status,
            transport_actions,
            request.encode_get_items,
            (
                path,
                table_name,
                attribute_names,
                filter_expression,
                marker,
                sharding_key,
                limit,
                segment,
                total_segments,
                sort_key_range_start,
                sort_key_range_end,
            ),
            output.GetItemsOutput,
        )

    def delete_item(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
    ) -> ResponseT:
        """Flat form of :meth:`v3io.dataplane.kv.Model.delete`; ``path`` is table path, ``/``, key."""
        return self._request(
            container,
            access_key or self._access_key,
            raise_for_status,
            transport_actions,
            request.encode_delete_item,
            (path,),
            None,
        )

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
        """Flat form of :meth:`v3io.dataplane.stream.Model.create`."""
        return self._request(
            container,
            access_key or self._access_key,
            raise_for_status,
            transport_actions,
            request.encode_create_stream,
            (path, shard_count, retention_period_hours),
            None,
        )

    def update_stream(
        self,
        container: str,
        path: str,
        shard_count: int,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
    ) -> ResponseT:
        """Flat form of :meth:`v3io.dataplane.stream.Model.update`."""
        return self._request(
            container,
            access_key or self._access_key,
            raise_for_status,
            transport_actions,
            request.encode_update_stream,
            (path, shard_count),
            None,
        )

    def describe_stream(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
    ) -> ResponseT:
        """Flat form of :meth:`v3io.dataplane.stream.Model.describe`."""
        return self._request(
            container,
            access_key or self._access_key,
            raise_for_status,
            transport_actions,
            request.encode_describe_stream,
            (path,),
            output.DescribeStreamOutput,
        )

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
        """Flat form of :meth:`v3io.dataplane.stream.Model.seek`; ``path`` is ``<stream>/<shard>``."""
        return self._request(
            container,
            access_key or self._access_key,
            raise_for_status,
            transport_actions,
            request.encode_seek_shard,
            (path, seek_type, starting_sequence_number, timestamp_sec, timestamp_nsec),
            output.SeekShardOutput,
        )

    def put_records(
        self,
        container: str,
        path: str,
        records: Sequence[Mapping[str, Any]],
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
    ) -> ResponseT:
        """Flat form of :meth:`v3io.dataplane.stream.Model.put_records`."""
        return self._request(
            container,
            access_key or self._access_key,
            raise_for_status,
            transport_actions,
            request.encode_put_records,
            (path, records),
            output.PutRecordsOutput,
        )

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
        """Flat form of :meth:`v3io.dataplane.stream.Model.get_records`; ``path`` is ``<stream>/<shard>``."""
        return self._request(
            container,
            access_key or self._access_key,
            raise_for_status,
            transport_actions,
            request.encode_get_records,
            (path, location, limit),
            output.GetRecordsOutput,
        )

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
        """Flat form of :meth:`v3io.dataplane.kv.Model.create_schema`."""
        return self._request(
            container,
            access_key or self._access_key,
            raise_for_status,
            transport_actions,
            request.encode_create_schema,
            (path, key, fields),
            None,
        )

    def new_items_cursor(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        attribute_names: str | Iterable[str] = "*",
        filter_expression: object = None,
        marker: str | None = None,
        sharding_key: str | None = None,
        limit: int | None = None,
        segment: int | str | None = None,
        total_segments: int | str | None = None,
        sort_key_range_start: str | None = None,
        sort_key_range_end: str | None = None,
    ) -> PagesT:
        """Flat form of :meth:`v3io.dataplane.kv_cursor.Cursors.new_cursor` (0.7.2 shifted its arguments)."""
        return self.kv.new_cursor(
            container,
            path,
            None,
            access_key,
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
