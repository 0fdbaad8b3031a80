"""Items as an Arrow table or a DataFrame; pyarrow and pandas are imported where they are used.

Called by ``kv.scan``'s responses (:mod:`v3io.dataplane.kv_scan`), by the segments of :mod:`v3io.tables` and by users.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas
    import pyarrow

__all__ = ["arrow_table", "data_frame"]

_ROWS_PER_BATCH = 10_000


def data_frame(items: Iterable[dict[str, Any]]) -> pandas.DataFrame:
    """Return items as a DataFrame, one row each, absent attributes as missing values.

    Raises:
        ImportError: pandas is not installed.
    """
    import pandas

    return pandas.DataFrame.from_records(list(items))


def arrow_table(items: Iterable[dict[str, Any]]) -> pyarrow.Table:
    """Return items as an Arrow table: a column per attribute name, null where an item lacks it.

    A column whose items are of different kinds takes the widest that holds them (int and float become double);
    it is built in batches, so that memory beyond the table itself is bounded.

    Raises:
        ImportError: pyarrow is not installed.
        pyarrow.ArrowInvalid: A column mixes kinds that have no common type, such as text and numbers.
    """
    import pyarrow

    batches: list[Any] = []
    rows: list[dict[str, Any]] = []
    for item in items:
        rows.append(item)
        if len(rows) == _ROWS_PER_BATCH:
            batches.append(_arrow_batch(rows))
            rows = []
    if rows or not batches:
        batches.append(_arrow_batch(rows))
    return pyarrow.concat_tables(batches, promote_options="permissive")


def _arrow_batch(rows: Sequence[dict[str, Any]]) -> pyarrow.Table:
    import pyarrow

    names = dict.fromkeys(name for row in rows for name in row)
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        if any(type(one) is float for one in values) and any(type(one) is int for one in values):
            values = [float(one) if type(one) is int else one for one in values]
        columns[name] = pyarrow.array(values)
    return pyarrow.table(columns)
