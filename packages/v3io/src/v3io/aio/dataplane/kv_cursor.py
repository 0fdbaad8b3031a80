"""Iterating over all items of a table with asyncio; see :mod:`v3io.dataplane.kv_cursor`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from v3io.dataplane.kv_cursor import Pages

__all__ = ["Cursor"]


class Cursor(Pages):
    """An asyncio cursor; also an async iterator."""

    async def next_item(self) -> dict[str, Any] | None:
        """Return the next item, or ``None`` after the last.

        Raises:
            HttpResponseError: A page's request failed; calling again asks for that page again.
        """
        while not self._items and not self._ended():
            self._take(await self._send())
        return self._items.popleft() if self._items else None

    async def all(self) -> list[dict[str, Any]]:
        """Return all items that are left.

        Raises:
            HttpResponseError: As for :meth:`next_item`.
        """
        return [item async for item in self]

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        return self

    async def __anext__(self) -> dict[str, Any]:
        item = await self.next_item()
        if item is None:
            raise StopAsyncIteration
        return item
