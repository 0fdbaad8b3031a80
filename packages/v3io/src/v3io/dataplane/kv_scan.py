"""What ``kv.scan`` returns: the first page, and an iterator over the whole table from there on.

Returned by the blocking and the asyncio ``kv.scan``; iterating goes through :mod:`v3io.dataplane.kv_cursor`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from v3io.dataplane.kv_cursor import Cursor, Pages
from v3io.dataplane.response import Response

if TYPE_CHECKING:
    import pandas
    import pyarrow


__all__ = ["FirstPage", "ScanResponse"]

PagesT = TypeVar("PagesT", bound=Pages)


class FirstPage(Response, Generic[PagesT]):
    """The first page of a scan, with the cursor that knows how to go on.

    Args:
        response: The first page's response.
        cursor: Made with the arguments of the scan.
    """

    def __init__(self, response: Response, cursor: PagesT) -> None:
        super().__init__(
            response._output, response.status_code, response.headers, response.body, response.meta
        )
        self._cursor = cursor
        self._begun = False

    def _begin(self) -> PagesT:
        if not self._begun:
            self._begun = True
            self._cursor._take(self)
        return self._cursor

    @property
    def marker(self) -> str | None:
        """Marker of the page that comes next: a later scan given it as ``marker`` goes on there."""
        return self._begin().marker


class ScanResponse(FirstPage[Cursor]):
    """The first page of a scan; iterating yields every item of the table from the first page on.

    One page is held at a time, further pages are asked for as needed, and ``limit`` bounds the whole iteration. A
    second iteration goes on where the first stopped.
    """

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._begin()

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return all items."""
        return list(self)

    def to_arrow(self) -> pyarrow.Table:
        """Return all items as an Arrow table; see :func:`v3io.frames.arrow_table`."""
        from v3io.frames import arrow_table

        return arrow_table(self)

    def to_pandas(self) -> pandas.DataFrame:
        """Return all items as a DataFrame; see :func:`v3io.frames.data_frame`."""
        from v3io.frames import data_frame

        return data_frame(self)
