"""Key-value calls of the blocking client; see :mod:`v3io.dataplane.request` for the bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from v3io.dataplane.kv_cursor import Cursor, Cursors
from v3io.dataplane.kv_scan import ScanResponse
from v3io.dataplane.response import Response
from v3io.paths import item_path

__all__ = ["Model"]


class Model(Cursors[Response, Cursor]):
    """Key-value calls: ``client.kv``."""

    _cursor_type = Cursor

    def put(
        self,
        container: str,
        table_path: str,
        key: str,
        attributes: Mapping[str, Any],
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
        condition: object = None,
    ) -> Response:
        """Replace an item.

        Args:
            container: Container name or number.
            table_path: Directory of the table.
            key: Item name; an absolute one (``/a/b``) replaces the table path.
            attributes: Attribute name -> value; see :mod:`v3io.attributes` for the types.
            access_key: Overrides the client's key for this call; ``None`` uses it.
            raise_for_status: ``None`` raises from status 300 up, ``RaiseForStatus.never`` never, a list raises for
                every status that is not in it.
            transport_actions: What the transport does with the request; ``None`` sends it and waits (used by batches).
            condition: Expression that must hold for the present item; ``None`` for none.

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``PUT``, function PutItem.
        """
        return self._client.put_item(
            container,
            item_path(table_path, key),
            attributes,
            access_key,
            raise_for_status,
            transport_actions,
            condition,
        )

    def update(
        self,
        container: str,
        table_path: str,
        key: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
        attributes: Mapping[str, Any] | None = None,
        expression: object = None,
        condition: object = None,
        update_mode: str | None = None,
        alternate_expression: object = None,
    ) -> Response:
        """Merge attributes into an item, or run an expression on it.

        Args:
            container: Container name or number.
            table_path: Directory of the table.
            key: Item name; an absolute one (``/a/b``) replaces the table path.
            access_key: Overrides the client's key for this call; ``None`` uses it.
            raise_for_status: ``None`` raises from status 300 up, ``RaiseForStatus.never`` never, a list raises for
                every status that is not in it.
            transport_actions: What the transport does with the request; ``None`` sends it and waits (used by batches).
            attributes: Attribute name -> value; see :mod:`v3io.attributes` for the types.
            expression: Update expression, such as ``age = age + 1``; not together with attributes.
            condition: Expression that must hold for the present item; ``None`` for none.
            update_mode: ``None`` means ``CreateOrReplaceAttributes``; also ``OverWriteAttributes`` and
                ``CreateNewItemOnly``.
            alternate_expression: Run instead when the condition is false.

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``PUT``, function PutItem, or ``POST``, function UpdateItem.
        """
        return self._client.update_item(
            container,
            item_path(table_path, key),
            access_key,
            raise_for_status,
            transport_actions,
            attributes,
            expression,
            condition,
            update_mode,
            alternate_expression,
        )

    def get(
        self,
        container: str,
        table_path: str,
        key: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
        attribute_names: str | Iterable[str] = "*",
    ) -> Response:
        """Read an item.

        Args:
            container: Container name or number.
            table_path: Directory of the table.
            key: Item name; an absolute one (``/a/b``) replaces the table path.
            access_key: Overrides the client's key for this call; ``None`` uses it.
            raise_for_status: ``None`` raises from status 300 up, ``RaiseForStatus.never`` never, a list raises for
                every status that is not in it.
            transport_actions: What the transport does with the request; ``None`` sends it and waits (used by batches).
            attribute_names: List of names, or a str sent as it is: ``*`` user attributes, ``**`` all, ``a,b`` some.

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``PUT``, function GetItem.
        """
        return self._client.get_item(
            container,
            item_path(table_path, key),
            access_key,
            raise_for_status,
            transport_actions,
            attribute_names,
        )

    def scan(
        self,
        container: str,
        table_path: str,
        table_name: str | None = None,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
        attribute_names: str | Iterable[str] = "*",
        filter_expression: object = None,
        marker: str | None = None,
        sharding_key: str | None = None,
        limit: int | None = None,
        segment: int | str | None = None,
        total_segments: int | str | None = None,
        sort_key_range_start: str | None = None,
        sort_key_range_end: str | None = None,
    ) -> ScanResponse:
        """Read a table: the response is its first page, iterating it goes through all items.

        Args:
            container: Container name or number.
            table_path: Directory of the table.
            table_name: Appended to the path by the platform; ``None`` for none.
            access_key: Overrides the client's key for this call; ``None`` uses it.
            raise_for_status: ``None`` raises from status 300 up, ``RaiseForStatus.never`` never, a list raises for
                every status that is not in it.
            transport_actions: What the transport does with the request; ``None`` sends it and waits (used by batches).
            attribute_names: List of names, or a str sent as it is: ``*`` user attributes, ``**`` all, ``a,b`` some.
            filter_expression: Only items for which it holds; ``None`` for all.
            marker: Where to go on, from the previous page; ``None`` for the start.
            sharding_key: Only items named ``<sharding_key>.<sorting key>``; not with segments.
            limit: Most items, of the first page and of the iteration; ``None`` for all.
            segment: Which part of the table, 0-based; with ``total_segments``.
            total_segments: Number of parts, 1..1024; ``None`` for the whole table.
            sort_key_range_start: First sorting key, inclusive.
            sort_key_range_end: End of the sorting keys, exclusive.

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``PUT``, function GetItems.
        """
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
        response = cursor._send(transport_actions)
        if not isinstance(response, Response):
            return response  # type: ignore[no-any-return]  # a batch queues the request itself
        return ScanResponse(response, cursor)

    def delete(
        self,
        container: str,
        table_path: str,
        key: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
    ) -> Response:
        """Delete an item; a missing one is 404.

        Args:
            container: Container name or number.
            table_path: Directory of the table.
            key: Item name; an absolute one (``/a/b``) replaces the table path.
            access_key: Overrides the client's key for this call; ``None`` uses it.
            raise_for_status: ``None`` raises from status 300 up, ``RaiseForStatus.never`` never, a list raises for
                every status that is not in it.
            transport_actions: What the transport does with the request; ``None`` sends it and waits (used by batches).

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``DELETE``.
        """
        return self._client.delete_item(
            container, item_path(table_path, key), access_key, raise_for_status, transport_actions
        )

    def create_schema(
        self,
        container: str,
        table_path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
        key: str | None = None,
        fields: Sequence[Mapping[str, Any]] | None = None,
    ) -> Response:
        """Write the table's ``.#schema`` object.

        Args:
            container: Container name or number.
            table_path: Directory of the table.
            access_key: Overrides the client's key for this call; ``None`` uses it.
            raise_for_status: ``None`` raises from status 300 up, ``RaiseForStatus.never`` never, a list raises for
                every status that is not in it.
            transport_actions: What the transport does with the request; ``None`` sends it and waits (used by batches).
            key: Name of the key attribute.
            fields: List of ``{'name', 'type', 'nullable'}``.

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``PUT <table>/.#schema``.
        """
        return self._client.create_schema(
            container, table_path, access_key, raise_for_status, transport_actions, key, fields
        )
