"""What a Loud ML cluster keeps: documents (models, templates, buckets, schedules) and points, in one SQLite database.

In memory by default, in a file with ``--data``; the same code serves both. All nodes of a cluster share one
:class:`Store`, which is thread-safe: one connection behind one lock.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mock_servers.loudml.dates import parse_date
from mock_servers.loudml.errors import Invalid

__all__ = ["Samples", "Store"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
  kind TEXT NOT NULL, name TEXT NOT NULL, position INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (kind, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS points (
  bucket TEXT NOT NULL, field TEXT NOT NULL, at REAL NOT NULL, measurement TEXT NOT NULL, tags TEXT NOT NULL,
  value REAL NOT NULL,
  PRIMARY KEY (bucket, field, at, measurement, tags)
) WITHOUT ROWID;
"""

Samples = tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.floating[Any]]]
"""Times (seconds, ascending) and values of one field, of equal length."""


class Store:
    """Documents by kind and name, in order of creation, and points by bucket and field.

    Args:
        path: SQLite file, created when missing; ``None`` keeps everything in memory.
    """

    def __init__(self, path: str | None = None) -> None:
        self._lock = threading.RLock()
        self._database = sqlite3.connect(
            path or ":memory:", check_same_thread=False, isolation_level=None
        )
        self._database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + SCHEMA)
        self._documents: dict[str, dict[str, Any]] = {}
        rows = self._database.execute("SELECT kind, name, body FROM documents ORDER BY position")
        for kind, name, body in rows:
            self._documents.setdefault(kind, {})[name] = json.loads(body)

    def close(self) -> None:
        """Close the database; idempotent."""
        with self._lock:
            self._database.close()

    def documents(self, kind: str) -> Mapping[str, Any]:
        """Return the documents of one kind by name; a snapshot whose values must not be changed in place."""
        with self._lock:
            return dict(self._documents.get(kind, ()))

    def document(self, kind: str, name: str) -> Any | None:
        """Return one document, or ``None``; not to be changed in place."""
        with self._lock:
            return self._documents.get(kind, {}).get(name)

    def put(self, kind: str, name: str, body: Any) -> None:
        """Create or replace a document; a replaced one keeps its position."""
        with self._lock:
            self._documents.setdefault(kind, {})[name] = body
            self._database.execute(
                "INSERT INTO documents VALUES"
                " (?, ?, (SELECT COALESCE(MAX(position), 0) + 1 FROM documents), ?)"
                " ON CONFLICT DO UPDATE SET body = excluded.body",
                (kind, name, json.dumps(body)),
            )

    def delete(self, kind: str, name: str) -> bool:
        """Remove a document; return whether it existed."""
        with self._lock:
            self._database.execute(
                "DELETE FROM documents WHERE kind = ? AND name = ?", (kind, name)
            )
            return self._documents.get(kind, {}).pop(name, None) is not None

    def write_points(self, bucket: str, points: Sequence[Any], measurement: str, now: float) -> int:
        """Store points; a later point of the same time, measurement and tags replaces the field's value.

        Args:
            bucket: Name of the bucket.
            points: ``{"timestamp": <date>, "<field>": number, ..., "tags": {tag: value}}`` each.
            measurement: Measurement they belong to.
            now: Time that ``now`` stands for in a timestamp.

        Returns:
            How many field values were stored.

        Raises:
            Invalid: A point is no object, lacks its timestamp or holds a field that is no number; nothing is stored.
        """
        rows = []
        for index, point in enumerate(points):
            if not isinstance(point, dict) or "timestamp" not in point:
                raise Invalid(f"point {index} has no timestamp")
            at = parse_date(point["timestamp"], now, "timestamp")
            tags = point.get("tags") or {}
            if not isinstance(tags, dict):
                raise Invalid(f"tags of point {index} are no object")
            tag_text = json.dumps({str(key): str(tags[key]) for key in sorted(tags)})
            for field, value in point.items():
                if field in ("timestamp", "tags") or value is None:
                    continue
                if not isinstance(value, (int, float)) or not math.isfinite(value):
                    raise Invalid(f"field {field!r} of point {index} is no finite number")
                rows.append((bucket, field, at, measurement, tag_text, float(value)))
        with self._lock:
            self._database.execute("BEGIN")
            with self._database:  # commits, or rolls back when the disk is full
                self._database.executemany(
                    "INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?, ?, ?)", rows
                )
        return len(rows)

    def read_points(
        self,
        bucket: str,
        field: str,
        start: float,
        end: float,
        measurement: str | None = None,
        match_all: Iterable[Mapping[str, Any]] = (),
    ) -> Samples:
        """Return the samples of one field with ``start <= time < end``, oldest first.

        Args:
            bucket: Name of the bucket.
            field: Name of the field.
            start: First time, seconds.
            end: Time after the last, seconds.
            measurement: Only this measurement; ``None`` for all.
            match_all: Only points that carry all these ``{"tag": t, "value": v}``.
        """
        wanted = {str(match["tag"]): str(match["value"]) for match in match_all}
        columns = "at, value, tags" if wanted else "at, value"
        sql = f"SELECT {columns} FROM points WHERE bucket = ? AND field = ? AND at >= ? AND at < ?"
        values: list[Any] = [bucket, field, start, end]
        if measurement is not None:
            sql += " AND measurement = ?"
            values.append(measurement)
        with self._lock:
            rows = self._database.execute(sql + " ORDER BY at", values).fetchall()
        if wanted:
            rows = [row for row in rows if wanted.items() <= json.loads(row[2]).items()]
        table = np.array([row[:2] for row in rows], dtype=np.float64).reshape(-1, 2)
        return table[:, 0], table[:, 1]

    def clear_points(self, bucket: str) -> int:
        """Remove the points of a bucket; return how many field values there were."""
        with self._lock:
            return self._database.execute("DELETE FROM points WHERE bucket = ?", (bucket,)).rowcount

    def count_points(self) -> dict[str, int]:
        """Return the number of stored field values per bucket."""
        with self._lock:
            return dict(
                self._database.execute("SELECT bucket, COUNT(*) FROM points GROUP BY bucket")
            )

    def clear(self) -> None:
        """Remove everything."""
        with self._lock:
            self._documents.clear()
            self._database.executescript("DELETE FROM documents; DELETE FROM points;")
