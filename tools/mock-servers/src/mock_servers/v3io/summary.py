"""What the server holds as ``/_mock/state`` and the console show it: containers, tables, streams and their shards."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from mock_servers.v3io.store import FILE, SHARD, STREAM, Store

__all__ = ["summarize"]

LIMIT = 20
TEXT = 60


def summarize(store: Store) -> dict[str, Any]:
    """Return counts per container, the largest tables and their newest rows, and the newest streams and objects.

    A folder is shown as a table when objects in it have attributes. Of each kind at most 20, texts cut to 60 letters;
    blocks for a pass over the nodes.
    """
    names = {number: name for number, name, _ in store.containers()}
    counts = dict.fromkeys(names.values(), (0, 0))
    for number, objects, size in store.sql.execute(
        f"SELECT container, count(*), sum(size) FROM nodes WHERE kind IN ({FILE}, {SHARD}) GROUP BY container"
    ):
        counts[names[number]] = (objects, size)
    return {
        "containers": [
            {"name": name, "objects": objects, "bytes": size}
            for name, (objects, size) in counts.items()
        ],
        "records": store.sql.execute("SELECT count(*) FROM records").fetchone()[0],
        "streams": _streams(store, names),
        "tables": _tables(store, names),
        "newest_objects": [
            {
                "object": _path(names, number, folder, name),
                "bytes": size,
                "modified": mtime_ns / 1e9,
            }
            for number, folder, name, size, mtime_ns in store.sql.execute(
                f"SELECT container, folder, name, size, mtime_ns FROM nodes WHERE kind = {FILE}"
                " AND size > 0 ORDER BY mtime_ns DESC LIMIT 10"
            )
        ],
    }


def _tables(store: Store, names: dict[int, str]) -> list[dict[str, Any]]:
    with_attributes = f"kind = {FILE} AND attributes != x'7b7d'"
    found = store.sql.execute(
        f"SELECT container, folder, count(*) FROM nodes WHERE {with_attributes}"
        " GROUP BY container, folder ORDER BY count(*) DESC LIMIT ?",
        (LIMIT,),
    ).fetchall()
    return [
        {
            "table": _path(names, number, folder, ""),
            "items": items,
            "newest": [
                {"item": name, **_attributes(attributes)}
                for name, attributes in store.sql.execute(
                    f"SELECT name, attributes FROM nodes WHERE {with_attributes} AND container = ? AND folder = ?"
                    " ORDER BY mtime_ns DESC LIMIT 5",
                    (number, folder),
                )
            ],
        }
        for number, folder, items in found
    ]


def _streams(store: Store, names: dict[int, str]) -> list[dict[str, Any]]:
    streams = []
    for number, folder, name, shards in store.sql.execute(
        f"SELECT container, folder, name, shard_count FROM nodes WHERE kind = {STREAM}"
        " ORDER BY mtime_ns DESC LIMIT ?",
        (LIMIT,),
    ):
        inside = f"{folder}/{name}" if folder else name
        filled = {
            shard: (count, newest)
            for shard, count, newest in store.sql.execute(
                "SELECT n.name, count(*), r.data FROM nodes n JOIN records r ON r.node = n.id"
                f" WHERE n.container = ? AND n.folder = ? AND n.kind = {SHARD}"
                " GROUP BY n.id HAVING r.sequence = max(r.sequence)",
                (number, inside),
            )
        }
        rows = []
        for shard in map(str, range(shards)):
            count, newest = filled.get(shard, (0, ""))
            rows.append({"shard": int(shard), "records": count, "newest": _text(newest)})
        streams.append({"stream": f"{names[number]}/{inside}", "shards": rows})
    return streams


def _path(names: dict[int, str], number: int, folder: str, name: str) -> str:
    return "/".join(part for part in (names[number], folder, name) if part)


def _attributes(attributes: bytes) -> dict[str, Any]:
    return {
        name: str(next(iter(typed.values())))[:TEXT]
        for name, typed in json.loads(attributes).items()
    }


def _text(data: str) -> str:
    """Return the start of a record's data, which is base64, as text."""
    try:
        return base64.b64decode(data)[:TEXT].decode(errors="replace")
    except binascii.Error:
        return data[:TEXT]
