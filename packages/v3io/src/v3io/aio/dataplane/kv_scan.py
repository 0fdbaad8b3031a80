"""What the asyncio ``kv.scan`` returns; see :mod:`v3io.dataplane.kv_scan`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from v3io.aio.dataplane.kv_cursor import Cursor
from v3io.dataplane.kv_scan import FirstPage

if TYPE_CHECKING:
    import pandas
    import pyarrow

__all__ = ["AsyncScanResponse"]


class AsyncScanResponse(FirstPage[Cursor]):
    """The asyncio form: ``async for item in await client.kv.scan(...)``."""

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        return self._begin()

    async def to_dicts(self) -> list[dict[str, Any]]:
        """Return all items."""
        return [item async for item in self]

    async def to_arrow(self) -> pyarrow.Table:
        """Return all items as an Arrow table; see :func:`v3io.frames.arrow_table`."""
        from v3io.frames import arrow_table

        return arrow_table(await self.to_dicts())

    async def to_pandas(self) -> pandas.DataFrame:
        """Return all items as a DataFrame; see :func:`v3io.frames.data_frame`."""
        from v3io.frames import data_frame

        return data_frame(await self.to_dicts())
