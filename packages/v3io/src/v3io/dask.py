"""Tables larger than one machine: a scan's segments as the partitions of a Dask DataFrame (extra ``v3io[dask]``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from v3io.tables import Segment, segments

if TYPE_CHECKING:
    import dask.dataframe
    import pandas

__all__ = ["read_table"]

_SAMPLE_ITEMS = 100


def read_table(
    client: Any,
    container: str,
    table_path: str,
    npartitions: int = 8,
    *,
    attribute_names: str | Iterable[str] = "*",
    filter_expression: object = None,
    meta: pandas.DataFrame | None = None,
) -> dask.dataframe.DataFrame:
    """Return a table as a Dask DataFrame; each partition is read by the worker that computes it.

    Args:
        client: Gives endpoint and access key to the workers, and reads the sample for ``meta``.
        container: Container name or number.
        table_path: Directory of the table.
        npartitions: Number of segments, 1..1024.
        attribute_names: As for ``kv.scan``.
        filter_expression: As for ``kv.scan``; evaluated by the platform.
        meta: Empty DataFrame with the columns and types of all partitions; ``None`` takes them from the first 100
            items, attributes of later items that are not among them are left out, absent ones are missing.

    Raises:
        ImportError: Dask or pandas is not installed.
        ValueError: ``npartitions`` is out of range, or the table is empty and no ``meta`` is given.
    """
    import dask.dataframe

    parts = segments(
        client,
        container,
        table_path,
        npartitions,
        attribute_names=attribute_names,
        filter_expression=filter_expression,
    )
    if meta is None:
        meta = _sample(client, parts[0])
    empty = meta.iloc[:0]
    from_map: Any = dask.dataframe.from_map  # untyped
    frame: dask.dataframe.DataFrame = from_map(_read_partition, parts, args=(empty,), meta=empty)
    return frame


def _sample(client: Any, part: Segment) -> pandas.DataFrame:
    import pandas

    cursor = client.kv.new_cursor(
        part.container,
        part.table_path,
        attribute_names=part.attribute_names,
        filter_expression=part.filter_expression,
        limit=_SAMPLE_ITEMS,
    )
    items = cursor.all()
    if not items:
        raise ValueError(
            f"table {part.table_path!r} in {part.container!r} has no items to infer columns from; pass meta"
        )
    # Integer columns become float, so that an item without the attribute fits in any partition.
    frame = pandas.DataFrame.from_records(items)
    integers = frame.select_dtypes("integer").columns
    return frame.astype(dict.fromkeys(integers, "float64"))


def _read_partition(part: Segment, meta: pandas.DataFrame) -> pandas.DataFrame:
    return part.to_pandas().reindex(columns=meta.columns).astype(meta.dtypes.to_dict())
