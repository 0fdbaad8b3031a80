"""What is done when the database is damaged: the files go to quarantine, the readable messages into a new database.

The bounded check of every opening is in :mod:`.schema`; damage deeper down shows when a page is used. Called by
:class:`~infi.ramen_client.diskqueue.database.Database` and by the ``doctor`` command.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

from infi.ramen_client.diskqueue import pages, schema
from infi.ramen_client.diskqueue.files import (
    DIRECTORY_MODE,
    FILE_MODE,
    QueueFiles,
    sync_directory,
    sync_file,
)

__all__ = ["Report", "finish", "salvage", "set_apart"]

_COLUMNS = "id, ts, category, data_type, data_version, reqid, data"
_INSERT = f"INSERT OR IGNORE INTO queue ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_KEPT = ("", "-wal")
_SUFFIXES = ("", "-wal", "-shm")


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What a salvage did.

    Attributes:
        saved: Messages now in the new database.
        kept: Folder with the damaged files.
    """

    saved: int
    kept: str


def set_apart(files: QueueFiles) -> str:
    """Copy the database's files, durably, into a new folder of the quarantine and return it.

    Raises:
        OSError: They cannot be copied.
    """
    os.makedirs(files.quarantine, DIRECTORY_MODE, exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    number = 0
    while True:
        folder = os.path.join(files.quarantine, f"{stamp}-{number}")
        try:
            os.mkdir(folder, DIRECTORY_MODE)
            break
        except FileExistsError:
            number += 1
    for suffix in _KEPT:
        with contextlib.suppress(FileNotFoundError):
            source = files.database + suffix
            _copy(source, os.path.join(folder, os.path.basename(source)))
    sync_directory(folder)
    sync_directory(files.quarantine)
    sync_directory(files.directory)
    return folder


def _copy(source: str, target: str) -> None:
    shutil.copyfile(source, target)
    os.chmod(target, FILE_MODE)
    sync_file(target)


def salvage(files: QueueFiles, *, busy_timeout_s: float) -> Report | None:
    """Replace a damaged database by a new one with its readable messages; call it in the writers' turn.

    At any moment either the damaged database or the complete new one is what the next opening finds.

    Returns:
        What was done, ``None`` when another process has repaired it already.

    Raises:
        OSError: The files cannot be copied or written.
        sqlite3.Error: The new database cannot be written.
    """
    if _is_sound(files, busy_timeout_s):
        return None
    folder = set_apart(files)
    with schema.spare_database(files) as spare:
        saved = _restore(spare, folder)
        sync_file(spare)
        os.rename(spare, files.salvaged)
    sync_directory(files.directory)
    finish(files)
    return Report(saved, folder)


def finish(files: QueueFiles) -> bool:
    """Put a salvaged database in place, if there is one; call it in the writers' turn.

    The old log must be gone for sure before the new database stands in its place, or it would be read into it.

    Returns:
        Whether there was one.

    Raises:
        OSError: The files cannot be renamed.
    """
    if not os.path.exists(files.salvaged):
        return False
    for path in (files.wal, files.shm):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    sync_directory(files.directory)
    os.rename(files.salvaged, files.database)
    sync_directory(files.directory)
    return True


def _restore(path: str, folder: str) -> int:
    """Put the readable messages of a quarantined database into a new one; return how many there were."""
    (damaged,) = {
        os.path.join(folder, name.removesuffix("-wal")) for name in os.listdir(folder)
    } or {""}
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        saved = 0
        for row in _readable(damaged):
            saved += connection.execute(_INSERT, row).rowcount
        # Numbers that were given out must not be given out again: 1.40 uses them as request ids.
        if (last := _last_number(damaged)) is not None:
            connection.execute(
                "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'queue'", (last,)
            )
        connection.execute("UPDATE ramen_counters SET salvaged = salvaged + ?", (saved,))
        schema.recount(connection)
        connection.execute("COMMIT")
    return saved


def _is_sound(files: QueueFiles, busy_timeout_s: float) -> bool:
    if files.identity() is None:
        return False
    try:
        with contextlib.closing(schema.connect(files.database, timeout_s=busy_timeout_s)) as found:
            if not schema.is_set_up(found):
                schema.set_up(found)
            return bool(found.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.DatabaseError:
        return False


def _readable(damaged: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows that can still be read, by SQLite as far as it goes and from the bare pages beyond."""
    seen: set[int] = set()
    work = damaged + ".work"
    try:
        for suffix in _KEPT:
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(damaged + suffix, work + suffix)
        for row in _by_number(work):
            if row[0] not in seen:
                seen.add(row[0])
                yield row
    finally:
        for suffix in _SUFFIXES:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(work + suffix)
    for row in pages.rows(damaged):
        if row[0] not in seen:
            seen.add(row[0])
            yield row


def _by_number(path: str) -> Iterator[tuple[Any, ...]]:
    """Yield rows upwards until the first damage, then downwards from the end until the next."""
    for order in ("ASC", "DESC"):
        try:
            with contextlib.closing(sqlite3.connect(path)) as connection:
                yield from connection.execute(
                    f"SELECT {_COLUMNS} FROM queue WHERE typeof(data) = 'blob' "  # noqa: S608
                    f"AND category IS NOT NULL ORDER BY id {order}"
                )
            return
        except sqlite3.Error:
            continue


def _last_number(damaged: str) -> int | None:
    try:
        with contextlib.closing(sqlite3.connect(f"file:{damaged}?mode=ro", uri=True)) as connection:
            row = connection.execute(
                "SELECT seq FROM sqlite_sequence WHERE name = 'queue'"
            ).fetchone()
            return int(row[0]) if row else None
    except (sqlite3.Error, TypeError, ValueError):
        return None
