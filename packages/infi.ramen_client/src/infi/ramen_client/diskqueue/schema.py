"""Tables of the queue's database and the one way to open it.

``queue`` and its columns are those of 1.40, which may read and write the same file at any time. Beside it stand
``ramen_counters``, one row, and ``ramen_versions``, which remembers a ``data_version`` such as ``008`` that the integer
column of 1.40 would turn into ``8``.

Removals are counted by a trigger, whoever removes; pushes need none, because the numbers of the rows are given out
without gaps and SQLite keeps the last one. So a push writes two pages, as in 1.40, and the length is one subtraction.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator
from typing import Any

from infi.ramen_client.diskqueue.files import (
    FILE_MODE,
    QueueFiles,
    spare_name,
    sync_directory,
    sync_file,
)

__all__ = [
    "COUNTERS",
    "LOG_LIMIT",
    "READ_COUNTERS",
    "connect",
    "create_database",
    "is_altered_by_column",
    "is_set_up",
    "quick_check",
    "recount",
    "set_up",
    "spare_database",
]

COUNTERS = (
    "rows",
    "pushed",
    "removed",
    "removed_bytes",
    "accepted",
    "dropped",
    "dead",
    "trimmed",
    "salvaged",
)
"""How many messages are in the queue, then totals since the database was created."""

READ_COUNTERS = (
    "SELECT seq - base - removed AS rows, seq - base AS pushed, removed, removed_bytes, accepted, dropped, dead, "
    "trimmed, salvaged FROM ramen_counters, "
    "(SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'queue'), 0) AS seq)"
)

LOG_LIMIT = 8 * 1024 * 1024
"""The log is cut to this size when it starts anew; it normally stays at half of it."""

_QUEUE = (
    "CREATE TABLE IF NOT EXISTS queue (id INTEGER PRIMARY KEY AUTOINCREMENT, "
    "ts TIMESTAMP DEFAULT CURRENT_TIMESTAMP, category TEXT NOT NULL, data_type TEXT NOT NULL, "
    "data_version INTEGER NOT NULL, reqid TEXT, data BLOB NOT NULL)"
)
_SIDE_TABLES = (
    "CREATE TABLE IF NOT EXISTS ramen_versions (id INTEGER PRIMARY KEY, data_version TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS ramen_counters (one INTEGER PRIMARY KEY CHECK (one = 1), "
    + ", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in ("base", *COUNTERS[2:]))
    + ")",
    "CREATE TRIGGER IF NOT EXISTS ramen_removed AFTER DELETE ON queue BEGIN UPDATE ramen_counters "
    "SET removed = removed + 1, removed_bytes = removed_bytes + length(OLD.data); END",
    "CREATE TRIGGER IF NOT EXISTS ramen_version_removed AFTER DELETE ON queue "
    "WHEN typeof(OLD.data_version) <> 'text' BEGIN DELETE FROM ramen_versions WHERE id = OLD.id; END",
)
_NAMES = frozenset(
    {
        "queue",
        "ramen_versions",
        "ramen_counters",
        "ramen_removed",
        "ramen_version_removed",
    }
)
_RECOUNT = (
    "UPDATE ramen_counters SET base = coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'queue'), 0) "
    "- removed - (SELECT count(*) FROM queue)"
)
_NUMERIC = re.compile(r"-?\d+(?:[eE]-?\d+)?", re.ASCII)


def connect(path: str, *, timeout_s: float) -> sqlite3.Connection:
    """Open a database in write-ahead mode; it may be used from any thread, one at a time.

    ``synchronous`` is NORMAL: SQLite then syncs around checkpoints, and a commit becomes durable by the sync of the
    log that :class:`~infi.ramen_client.diskqueue.database.Database` makes outside of every lock.

    Args:
        path: The database, which must exist.
        timeout_s: How long SQLite waits for a foreign writer.

    Raises:
        sqlite3.Error: It cannot be opened or is no database.
    """
    connection = sqlite3.connect(
        f"file:{_quoted(path)}?mode=rw",
        timeout=timeout_s,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        uri=True,
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
        connection.row_factory = sqlite3.Row
    except BaseException:
        connection.close()
        raise
    return connection


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


@contextlib.contextmanager
def spare_database(files: QueueFiles) -> Iterator[str]:
    """Make a complete, empty database beside the real one, yield its path, and remove what is left of it.

    Call it in the writers' turn; what processes that were killed have left is removed first.

    Raises:
        OSError: A file cannot be written.
        sqlite3.Error: The same, from SQLite.
    """
    files.remove_spares()
    spare = spare_name(files.database)
    os.close(os.open(spare, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE))
    try:
        with contextlib.closing(sqlite3.connect(spare, isolation_level=None)) as connection:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("BEGIN IMMEDIATE")
            _create_tables(connection)
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = WAL")
        yield spare
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(spare + suffix)


def create_database(files: QueueFiles) -> None:
    """Put a complete, empty database in place, if none is there; call it in the writers' turn.

    It is built under another name and linked into place, so that nobody, 1.40 included, ever sees half of it, and
    a kill leaves nothing but a spare file.

    Raises:
        OSError: A file cannot be written.
        sqlite3.Error: The same, from SQLite.
    """
    with spare_database(files) as spare:
        sync_file(spare)
        with contextlib.suppress(FileExistsError):
            os.link(spare, files.database)
        sync_directory(files.directory)


def quick_check(connection: sqlite3.Connection) -> None:
    """Read the schema, the counters and both ends of the table: costs the same at any length.

    Raises:
        sqlite3.DatabaseError: One of them is damaged.
    """
    for order in ("ASC", "DESC"):
        connection.execute(f"SELECT * FROM queue ORDER BY id {order} LIMIT 1").fetchone()  # noqa: S608
    connection.execute("SELECT * FROM ramen_counters").fetchone()
    connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'queue'").fetchone()


def is_set_up(connection: sqlite3.Connection) -> bool:
    """Whether every table and trigger is there."""
    found = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    return found >= _NAMES


def set_up(connection: sqlite3.Connection) -> None:
    """Add what is missing to a database of 1.40 (or one it left half created); counts its rows once.

    Raises:
        sqlite3.Error: The database cannot be written.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        _create_tables(connection)
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def recount(connection: sqlite3.Connection) -> None:
    """Count the rows and set the counters right; after numbers were given out with gaps."""
    connection.execute(_RECOUNT)


def _create_tables(connection: sqlite3.Connection) -> None:
    present = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    connection.execute(_QUEUE)
    for statement in _SIDE_TABLES:
        connection.execute(statement)
    connection.execute("INSERT OR IGNORE INTO ramen_counters (one) VALUES (1)")
    if not {"ramen_counters", "ramen_removed"} <= present:
        connection.execute(_RECOUNT)


def is_altered_by_column(data_version: Any) -> bool:
    """Whether the integer column would give ``data_version`` back as something else (``008``, ``1e2``, ``-0``)."""
    text = str(data_version)
    if _NUMERIC.fullmatch(text) is None:
        return False
    return "e" in text or "E" in text or str(int(text)) != text or abs(int(text)) >= 2**63
