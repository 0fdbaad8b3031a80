"""The data of the server in sqlite: one tree of nodes per container, object bytes in chunks, records of shards.

Used by the handlers (:mod:`~mock_servers.v3io.objects`, ``items``, ``streams``), always on the server's thread. Nothing
is kept outside the database but a cache of directories known to exist. The writes of one request are one transaction;
:meth:`Store.commit` ends it, called by the application before it answers, so that a killed server forgets nothing.
"""

from __future__ import annotations

import pathlib
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from mock_servers.v3io.errors import (
    container_not_found,
    invalid_argument,
    no_such_file,
    not_empty,
)

__all__ = ["DIRECTORY", "FILE", "SHARD", "STREAM", "Node", "Store", "split_path"]

FILE, DIRECTORY, STREAM, SHARD = 0, 1, 2, 3
FILE_MODE, DIRECTORY_MODE = 0o100664, 0o40775
FIRST_CONTAINER = 1024

SCHEMA = """
CREATE TABLE IF NOT EXISTS containers (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, created_ns INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS nodes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, container INTEGER NOT NULL, folder TEXT NOT NULL, name TEXT NOT NULL,
    kind INTEGER NOT NULL, attributes BLOB NOT NULL DEFAULT x'7b7d', size INTEGER NOT NULL DEFAULT 0,
    mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, hash INTEGER NOT NULL,
    shard_count INTEGER, retention_hours INTEGER, next_sequence INTEGER NOT NULL DEFAULT 1,
    UNIQUE (container, folder, name));
CREATE TABLE IF NOT EXISTS chunks (
    node INTEGER NOT NULL, start INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (node, start));
CREATE TABLE IF NOT EXISTS records (
    node INTEGER NOT NULL, sequence INTEGER NOT NULL, arrival_ns INTEGER NOT NULL,
    data TEXT NOT NULL, client_info TEXT, partition_key TEXT, PRIMARY KEY (node, sequence));
"""
COLUMNS = (
    "id, container, folder, name, kind, attributes, size, mtime_ns, ctime_ns, shard_count,"
    " retention_hours, next_sequence"
)


class Node(NamedTuple):
    """One row of the tree; ``attributes`` is the JSON text of the typed user attributes."""

    id: int
    container: int
    folder: str
    name: str
    kind: int
    attributes: bytes
    size: int
    mtime_ns: int
    ctime_ns: int
    shard_count: int | None
    retention_hours: int | None
    next_sequence: int

    @property
    def path(self) -> str:
        """Path inside the container, no leading slash."""
        return f"{self.folder}/{self.name}" if self.folder else self.name

    @property
    def mode(self) -> int:
        """Full Unix mode."""
        return DIRECTORY_MODE if self.kind in (DIRECTORY, STREAM) else FILE_MODE


def split_path(path: str) -> tuple[str, str]:
    """Return folder and name of a clean path; both are empty for the root."""
    folder, _, name = path.rpartition("/")
    return folder, name


class Store:
    """The database of one server.

    Args:
        file: Database file, made if missing; ``None`` keeps everything in memory.
        containers: Names of the containers that exist at the start.
        clock: Returns the time in nanoseconds since 1970, for modification and arrival times.
    """

    def __init__(
        self,
        file: pathlib.Path | None = None,
        containers: Iterable[str] = (),
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.clock = clock
        self._names = tuple(containers)
        self._folders: set[tuple[int, str]] = set()
        self._containers: dict[str, int] = {}
        self.sql = sqlite3.connect(
            file or ":memory:", check_same_thread=False, cached_statements=64
        )
        self.sql.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY;" + SCHEMA
        )
        self._add_containers()

    def _add_containers(self) -> None:
        for name in self._names:
            self.add_container(name)
        self._containers = {}
        for name, number in self.sql.execute("SELECT name, id FROM containers"):
            self._containers[name] = self._containers[str(number)] = number

    def add_container(self, name: str) -> None:
        """Make a container unless it exists."""
        self.sql.execute(
            "INSERT OR IGNORE INTO containers SELECT coalesce(max(id) + 1, ?), ?, ? FROM containers",
            (FIRST_CONTAINER, name, self.clock()),
        )
        row = self.sql.execute("SELECT id FROM containers WHERE name = ?", (name,)).fetchone()
        self._containers[name] = self._containers[str(row[0])] = row[0]

    def containers(self) -> list[tuple[int, str, int]]:
        """Return ``(id, name, created_ns)`` of each container, by name."""
        return self.sql.execute(
            "SELECT id, name, created_ns FROM containers ORDER BY name"
        ).fetchall()

    def container(self, name: str) -> int:
        """Return the number of a container given by name or number.

        Raises:
            ServiceError: 404.
        """
        try:
            return self._containers[name]
        except KeyError:
            raise container_not_found(name) from None

    def find(self, container: int, path: str) -> Node | None:
        """Return the node of a clean path, or ``None``; the root is a directory."""
        if not path:
            return Node(0, container, "", "", DIRECTORY, b"{}", 0, 0, 0, None, None, 1)
        row = self.sql.execute(
            f"SELECT {COLUMNS} FROM nodes WHERE container = ? AND folder = ? AND name = ?",
            (container, *split_path(path)),
        ).fetchone()
        return Node._make(row) if row else None

    def children(
        self, node: Node, *, after: str = "", limit: int = -1, kinds: str = "0, 1, 2, 3"
    ) -> Iterator[Node]:
        """Yield what is directly in a directory, ordered by the bytes of the name.

        Args:
            node: The directory.
            after: Start after this name.
            limit: Most rows; -1 for all.
            kinds: SQL list of the kinds wanted.
        """
        rows = self.sql.execute(
            f"SELECT {COLUMNS} FROM nodes WHERE container = ? AND folder = ? AND name > ?"
            f" AND kind IN ({kinds}) ORDER BY name LIMIT ?",
            (node.container, node.path, after, limit),
        )
        return map(Node._make, rows)

    def make_folders(self, container: int, path: str) -> None:
        """Make a directory and its parents where they are missing.

        Raises:
            ServiceError: 400 when a part of the path is an object.
        """
        if not path or (container, path) in self._folders:
            return
        node = self.find(container, path)
        if node is None:
            self.make_folders(container, split_path(path)[0])
            self.insert(container, path, DIRECTORY)
        elif node.kind not in (DIRECTORY, STREAM):
            raise invalid_argument(f"{path} is an object, not a directory")
        self._folders.add((container, path))

    def insert(
        self,
        container: int,
        path: str,
        kind: int,
        attributes: bytes = b"{}",
        *,
        shard_count: int | None = None,
        retention_hours: int | None = None,
    ) -> Node:
        """Make a node whose parents exist, and return it."""
        now = self.clock()
        folder, name = split_path(path)
        row = self.sql.execute(
            "INSERT INTO nodes (container, folder, name, kind, attributes, mtime_ns, ctime_ns, hash, shard_count,"
            f" retention_hours) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING {COLUMNS}",
            (
                *(container, folder, name, kind, attributes, now, now),
                *(zlib.crc32(name.encode()), shard_count, retention_hours),
            ),
        ).fetchone()
        return Node._make(row)

    def next_mtime(self, node: Node) -> int:
        """Return a modification time for a change made now, later than the present one."""
        return max(self.clock(), node.mtime_ns + 1)

    def set_attributes(self, node: Node, attributes: bytes) -> int:
        """Replace the JSON text of the user attributes; return the new modification time."""
        mtime = self.next_mtime(node)
        self.sql.execute(
            "UPDATE nodes SET attributes = ?, mtime_ns = ? WHERE id = ?",
            (attributes, mtime, node.id),
        )
        return mtime

    def write(self, node: Node, data: bytes, *, append: bool) -> None:
        """Replace or extend the bytes of an object."""
        start = node.size if append else 0
        if not append and node.size:
            self.sql.execute("DELETE FROM chunks WHERE node = ?", (node.id,))
        if data:
            self.sql.execute("INSERT INTO chunks VALUES (?, ?, ?)", (node.id, start, data))
        self.sql.execute(
            "UPDATE nodes SET size = ?, mtime_ns = ? WHERE id = ?",
            (start + len(data), self.next_mtime(node), node.id),
        )

    def read(self, node: Node, start: int, stop: int) -> bytes:
        """Return the bytes of an object from ``start`` up to ``stop``."""
        if start >= stop:
            return b""
        rows = self.sql.execute(
            "SELECT start, data FROM chunks WHERE node = ? AND start < ? AND start >="
            " (SELECT max(start) FROM chunks WHERE node = ? AND start <= ?) ORDER BY start",
            (node.id, stop, node.id, start),
        )
        return b"".join(data[max(0, start - at) : stop - at] for at, data in rows)

    def delete(self, container: int, path: str) -> None:
        """Remove an object with what hangs on it, or an empty directory.

        Raises:
            ServiceError: 404, or 409 for a directory that holds something.
        """
        node = self.find(container, path)
        if node is None or not node.id:
            raise no_such_file(path)
        if node.kind in (DIRECTORY, STREAM):
            if next(self.children(node, limit=1), None):
                raise not_empty(path)
            self._folders.discard((container, path))
        else:
            self.sql.execute("DELETE FROM chunks WHERE node = ?", (node.id,))
            self.sql.execute("DELETE FROM records WHERE node = ?", (node.id,))
        self.sql.execute("DELETE FROM nodes WHERE id = ?", (node.id,))

    def commit(self) -> None:
        """Make everything written so far durable."""
        self.sql.commit()

    def clear(self) -> None:
        """Back to the containers of the start, empty."""
        for table in ("containers", "nodes", "chunks", "records", "sqlite_sequence"):
            self.sql.execute(f"DELETE FROM {table}")
        self._folders.clear()
        self._containers.clear()
        self._add_containers()
        self.commit()

    def close(self) -> None:
        """Commit and close; idempotent."""
        try:
            self.sql.commit()
        except sqlite3.ProgrammingError:
            return
        self.sql.close()
