"""Key-value calls of the asyncio client; see :mod:`v3io.dataplane.kv`."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any

from v3io.aio.dataplane.kv_cursor import Cursor
from v3io.aio.dataplane.kv_scan import AsyncScanResponse
from v3io.dataplane.kv_cursor import Cursors
from v3io.dataplane.response import Response
from v3io.paths import item_path

__all__ = ["Model"]


class Model(Cursors[Coroutine[Any, Any, Response], Cursor]):
    """Key-value calls: ``client.kv``."""

    _cursor_type = Cursor

    async def put(
        self,
        container: str,
        table_path: str,
        key: str,
        attributes: Mapping[str, Any],
        access_key: str | None = None,
        raise_for_status: Any = None,
        condition: object = None,
    ) -> Response:
        """Replace an item; see :meth:`v3io.dataplane.kv.Model.put`."""
        return await self._client.put_item(
            container,
            item_path(table_path, key),
            attributes,
            access_key,
            raise_for_status,
            None,
            condition,
        )

    async def update(
        self,
        container: str,
        table_path: str,
        key: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        attributes: Mapping[str, Any] | None = None,
        expression: object = None,
        condition: object = None,
        update_mode: str | None = None,
        alternate_expression: object = None,
    ) -> Response:
        """Merge attributes into an item, or run an expression on it; see :meth:`v3io.dataplane.kv.Model.update`."""
        return await self._client.update_item(
            container,
            item_path(table_path, key),
            access_key,
            raise_for_status,
            None,
            attributes,
            expression,
            condition,
            update_mode,
            alternate_expression,
        )

    async def get(
        self,
        container: str,
        table_path: str,
        key: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        attribute_names: str | Iterable[str] = "*",
    ) -> Response:
        """Read an item; see :meth:`v3io.dataplane.kv.Model.get`."""
        return await self._client.get_item(
            container,
            item_path(table_path, key),
            access_key,
            raise_for_status,
            None,
            attribute_names,
        )

    async def scan(
        self,
        container: str,
        table_path: str,
        table_name: str | None = None,
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
    ) -> AsyncScanResponse:
        """Read a table; see :meth:`v3io.dataplane.kv.Model.scan`."""
        cursor = self.new_cursor(
            container,
            table_path,
            table_name,
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
        return AsyncScanResponse(await cursor._send(), cursor)

    async def delete(
        self,
        container: str,
        table_path: str,
        key: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
    ) -> Response:
        """Delete an item (a missing one is 404); see :meth:`v3io.dataplane.kv.Model.delete`."""
        del transport_actions  # compat: a leftover of the sync signature, without effect
        return await self._client.delete_item(
            container, item_path(table_path, key), access_key, raise_for_status, None
        )

    async def create_schema(
        self,
        container: str,
        table_path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        key: str | None = None,
        fields: Sequence[Mapping[str, Any]] | None = None,
    ) -> Response:
        """Write the table's ``.#schema`` object; see :meth:`v3io.dataplane.kv.Model.create_schema`."""
        return await self._client.create_schema(
            container, table_path, access_key, raise_for_status, None, key, fields
        )
