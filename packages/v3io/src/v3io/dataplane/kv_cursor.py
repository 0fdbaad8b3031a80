"""Iterating over all items of a table, page after page.

Returned by ``kv.new_cursor`` and ``new_items_cursor``; :class:`Pages` is the part without I/O that the asyncio cursor
shares. Unlike 0.7.2 the ``marker`` argument is honoured, an empty page is not the end, and a marker that does not
advance is an error instead of an endless loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

from v3io.dataplane.flat import FlatCalls, ResponseT
from v3io.dataplane.model import Model
from v3io.dataplane.response import Response
from v3io.errors import HttpResponseError

__all__ = ["Cursor", "Cursors", "Pages"]


class Pages:
    """Which page to ask for next, and the items of the last one; no I/O.

    Args:
        context: The client.
        container_name: Container name or number.
        access_key: Overrides the client's key; ``None`` uses it.
        table_path: Directory of the table.
        table_name: Appended to the path by the platform; ``None`` for none.
        raise_for_status: Policy of every page's request.
        attribute_names: List of names, or a str sent as it is.
        filter_expression: Only items for which it holds.
        marker: Where to start; afterwards the marker of the last page asked for.
        sharding_key, segment, total_segments, sort_key_range_start, sort_key_range_end: As for ``kv.scan``.
        limit: Most items of the whole iteration; ``None`` for all, 0 for none (no request is sent).

    Not thread- or task-safe: one cursor belongs to one loop.
    """

    def __init__(
        self,
        context: FlatCalls[Any, Any],
        container_name: str,
        access_key: str | None,
        table_path: str,
        table_name: str | None,
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
    ) -> None:
        self._context = context
        self.container_name = container_name
        self.access_key = access_key
        self.table_path = table_path
        self.table_name = table_name
        self.raise_for_status = raise_for_status
        if not isinstance(attribute_names, str):
            attribute_names = list(attribute_names)
        self.attribute_names = attribute_names
        self.filter_expression = filter_expression
        self.marker = marker
        self.sharding_key = sharding_key
        self.limit = limit
        self.segment = segment
        self.total_segments = total_segments
        self.sort_key_range_start = sort_key_range_start
        self.sort_key_range_end = sort_key_range_end
        self._items: deque[dict[str, Any]] = deque()
        self._received = 0
        self._finished = False

    def _ended(self) -> bool:
        return self._finished or (self.limit is not None and self._received >= self.limit)

    def _send(self, transport_actions: int | None = None) -> Any:
        """Ask for the next page."""
        return self._context.get_items(
            self.container_name,
            self.table_path,
            self.access_key,
            self.raise_for_status,
            transport_actions,
            self.table_name,
            self.attribute_names,
            self.filter_expression,
            self.marker,
            self.sharding_key,
            None if self.limit is None else self.limit - self._received,
            self.segment,
            self.total_segments,
            self.sort_key_range_start,
            self.sort_key_range_end,
        )

    def _take(self, response: Response) -> None:
        page = response.output
        if page is None:
            self._finished = True
            return
        room = len(page.items) if self.limit is None else self.limit - self._received
        self._items.extend(page.items[:room])
        self._received += len(page.items[:room])
        if page.last or not page.next_marker:
            self._finished = True
        elif page.next_marker == self.marker and not page.items:
            raise HttpResponseError(
                f"scan of {self.table_path!r} does not advance: an empty page with the marker it was asked with",
                response.status_code,
            )
        else:
            self.marker = page.next_marker


class Cursor(Pages):
    """A blocking cursor; also an iterator."""

    def next_item(self) -> dict[str, Any] | None:
        """Return the next item, or ``None`` after the last.

        Raises:
            HttpResponseError: A page's request failed; calling again asks for that page again.
        """
        while True:
            try:
                return self._items.popleft()
            except IndexError:
                if self._ended():
                    return None
            self._take(self._send())

    def all(self) -> list[dict[str, Any]]:
        """Return all items that are left.

        Raises:
            HttpResponseError: As for :meth:`next_item`.
        """
        return list(self)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        item = self.next_item()
        if item is None:
            raise StopIteration
        return item


PagesT = TypeVar("PagesT", bound=Pages)


class Cursors(Model[ResponseT], Generic[ResponseT, PagesT]):
    """The part of the key-value calls, blocking and asyncio, that makes cursors."""

    _cursor_type: type[PagesT]

    def new_cursor(
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
    ) -> PagesT:
        """Return a cursor over all items that :meth:`v3io.dataplane.kv.Model.scan` with these arguments finds.

        Args: as there; ``limit`` bounds the whole iteration, not one page.
        """
        return self._cursor_type(
            self._client,
            container,
            access_key,
            table_path,
            table_name,
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
