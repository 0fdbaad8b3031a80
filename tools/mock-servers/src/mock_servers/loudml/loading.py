"""Load a file of points into a bucket: CSV with a header line, a JSON list, or one JSON object per line."""

from __future__ import annotations

import csv
import json
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mock_servers.loudml.cluster import Cluster
from mock_servers.loudml.errors import Invalid

if TYPE_CHECKING:
    import os

__all__ = ["load_file", "read_file"]

TIME_COLUMNS = ("timestamp", "time", "date", "datetime")


def read_file(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the points of a file.

    In CSV the time column is ``timestamp``, ``time``, ``date`` or ``datetime`` (else the first), a column named
    ``tag:<name>`` or holding text becomes a tag, an empty cell is a missing value.

    Args:
        path: ``.csv``, ``.json`` (a list of points), or ``.ndjson``/``.jsonl`` (a point per line).

    Raises:
        Invalid: The suffix is another, or the content is not what it says; the message names file and line.
        OSError: It cannot be read.
    """
    file = pathlib.Path(path)
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".csv":
        return list(_csv_points(file, text))
    if file.suffix not in (".json", ".ndjson", ".jsonl"):
        raise Invalid(f"cannot load {file.name}: expected .csv, .json, .ndjson or .jsonl")
    try:
        if file.suffix == ".json":
            points = json.loads(text)
        else:
            points = [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as cause:
        raise Invalid(f"{file.name} is no JSON: {cause}") from cause
    if not isinstance(points, list):
        raise Invalid(f"{file.name} holds no list of points")
    return points


def _csv_points(file: pathlib.Path, text: str) -> Iterator[dict[str, Any]]:
    rows = csv.DictReader(text.splitlines())
    columns = rows.fieldnames or ()
    if not columns:
        raise Invalid(f"{file.name} is empty")
    time_column = next((name for name in columns if name.lower() in TIME_COLUMNS), columns[0])
    for row in rows:
        if None in row:
            raise Invalid(f"{file.name} line {rows.line_num}: more cells than columns")
        point: dict[str, Any] = {"timestamp": row[time_column]}
        tags = {}
        for name in columns:
            cell = row[name]
            if name == time_column or cell is None or cell == "":
                continue
            if name.startswith("tag:"):
                tags[name.removeprefix("tag:")] = cell
                continue
            try:
                point[name] = float(cell)
            except ValueError:
                tags[name] = cell
        if tags:
            point["tags"] = tags
        yield point


def load_file(cluster: Cluster, bucket: str, path: str | os.PathLike[str]) -> int:
    """Write the points of a file to a bucket, made when missing; return the number of field values.

    Raises:
        Invalid: As :func:`read_file`, or a point is not acceptable.
        OSError: The file cannot be read.
    """
    points = read_file(path)
    if cluster.store.document("bucket", bucket) is None:
        settings = {"addr": "localhost:8086", "database": bucket, "measurement": bucket}
        cluster.buckets.create({"name": bucket, "type": "influxdb", **settings})
    return cluster.buckets.save(bucket, points, None)
