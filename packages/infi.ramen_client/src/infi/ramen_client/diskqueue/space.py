"""How much room the queue takes, what is dropped when it takes too much, and the room kept for a full disk.

Called by :class:`~.queue.DiskQueue`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sqlite3

from infi.ramen_client.diskqueue import schema
from infi.ramen_client.diskqueue.files import QueueFiles, replacement

__all__ = ["RESERVE_SIZE", "Reserve", "is_full", "live_bytes", "shrink", "trim"]

PAGE = 4096
RESERVE_SIZE = 1024 * 1024
TRIM_ROWS = 1000
SHRINK_PAGES = 256


def live_bytes(connection: sqlite3.Connection, files: QueueFiles) -> int:
    """Return the bytes that the messages take on disk.

    Counted are the used pages of the database and what the log has beyond 8 MiB, which only a foreign program that
    reads for a long time makes it grow to. The log below that, its index and the reserve are not counted.
    """
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    free = connection.execute("PRAGMA freelist_count").fetchone()[0]
    try:
        log = os.stat(files.wal).st_size
    except FileNotFoundError:
        log = 0
    return int((pages - free) * PAGE + max(0, log - schema.LOG_LIMIT))


def trim(
    connection: sqlite3.Connection, files: QueueFiles, limit: int, in_flight: tuple[int, int]
) -> tuple[int, int]:
    """Drop the oldest messages, at most 1000, until the queue fits into ``limit``; one short transaction.

    The newest message and those being sent are never dropped.

    Args:
        connection: Open, outside of a transaction, in the writers' turn.
        files: The queue.
        limit: Bytes allowed.
        in_flight: Numbers between which messages are being sent, ``(0, 0)`` for none.

    Returns:
        How many messages, and how many bytes of them, were dropped.
    """
    live = live_bytes(connection, files)
    if live <= limit:
        return 0, 0
    connection.execute("BEGIN IMMEDIATE")
    try:
        rows = connection.execute(schema.READ_COUNTERS).fetchone()["rows"]
        before = connection.execute("SELECT removed_bytes FROM ramen_counters").fetchone()[0]
        share = (live - limit) / live
        count = max(1, min(TRIM_ROWS, int(rows * share) + 1))
        dropped = connection.execute(
            "DELETE FROM queue WHERE id IN (SELECT id FROM queue WHERE id NOT BETWEEN ? AND ? "
            "AND id < (SELECT max(id) FROM queue) ORDER BY id LIMIT ?)",
            (*in_flight, count),
        ).rowcount
        if dropped:
            connection.execute("UPDATE ramen_counters SET trimmed = trimmed + ?", (dropped,))
        after = connection.execute("SELECT removed_bytes FROM ramen_counters").fetchone()[0]
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    return dropped, after - before


def shrink(connection: sqlite3.Connection) -> None:
    """Give up to 1 MiB of free pages back to the file system and move the log into the database; short steps.

    A quarter of the used pages stays free for the next messages.
    """
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    free = connection.execute("PRAGMA freelist_count").fetchone()[0]
    if free > SHRINK_PAGES and free > (pages - free) // 4:
        # It yields an empty row per page, which only executescript() steps through.
        connection.executescript(f"PRAGMA incremental_vacuum({SHRINK_PAGES});")
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


class Reserve:
    """A preallocated file that is removed when the disk is full, so that messages can still be taken out.

    Args:
        files: The queue.
    """

    def __init__(self, files: QueueFiles) -> None:
        self._files = files

    def is_held(self) -> bool:
        """Whether the room is reserved now."""
        return os.path.exists(self._files.reserve)

    def hold(self) -> bool:
        """Reserve the room if it is not; return whether it is reserved now."""
        if self.is_held():
            return True
        try:
            with replacement(self._files.reserve) as fd:
                os.posix_fallocate(fd, 0, RESERVE_SIZE)
        except OSError as error:
            if is_full(error) or not os.path.isdir(self._files.directory):
                return False
            raise
        return True

    def free(self) -> bool:
        """Give the room back; return whether there was any."""
        try:
            os.unlink(self._files.reserve)
        except FileNotFoundError:
            return False
        return True


def is_full(error: BaseException) -> bool:
    """Whether an error means that there is no room: full disk, quota, or the process's file size limit."""
    if isinstance(error, sqlite3.Error):
        limited = resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
        return "disk is full" in str(error) or (limited and "disk I/O error" in str(error))
    return isinstance(error, OSError) and error.errno in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
    )
