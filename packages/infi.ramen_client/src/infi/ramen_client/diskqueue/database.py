"""The open database of one queue object: connection, write-ahead log, and what can happen to them.

A commit leaves its pages in the log unsynced; :meth:`Database.sync` makes them durable by one ``fdatasync`` of the log,
outside of every lock, so that the syncs of several threads and processes overlap. SQLite itself syncs the log before
a checkpoint copies from it and the database before the log is used anew, so at any moment a synced commit is in a
synced log or in a synced database.

The log is extended by written zeros, 256 KiB at a time up to 4 MiB, because appending to a file costs a journal
commit of the file system with every sync; SQLite stops reading a log at the first frame that is not valid.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from infi.ramen_client.diskqueue import schema
from infi.ramen_client.diskqueue.files import QueueFiles, sync_directory
from infi.ramen_client.diskqueue.space import Reserve, is_full
from infi.ramen_client.diskqueue.turn import Turn
from infi.ramen_client.errors import QueueBusy, QueueError, QueueFull

if TYPE_CHECKING:
    from infi.ramen_client.diskqueue.salvage import Report

__all__ = ["Database", "is_damage", "translated"]

logger = logging.getLogger("ramen_client")

WAL_STEP = 256 * 1024
WAL_SIZE = 4_000_000  # a little less than the 1000 pages at which SQLite begins it anew
IDENTITY_CHECK_S = 1.0

_DAMAGE = ("malformed", "file is not a database", "file is encrypted")


class Database:
    """Connection of one queue object, opened on first use and again when the file has been replaced.

    Thread-safety: ``lock`` must be held around the connection's use; :meth:`sync` needs no lock.

    Args:
        files: The queue.
        turn: Turn of the writers, for set-up.
        lock: Held by the caller around every use of the connection.
        busy_timeout_s: How long SQLite waits for a foreign writer.
        on_event: Called with the name and the facts of what happened to the files.
    """

    def __init__(
        self,
        files: QueueFiles,
        turn: Turn,
        lock: threading.RLock,
        *,
        busy_timeout_s: float,
        on_event: Callable[..., None],
    ) -> None:
        self._files = files
        self._turn = turn
        self._lock = lock
        self._busy_timeout_s = busy_timeout_s
        self._on_event = on_event
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._checked_at = 0.0
        self._wal = -1
        self._wal_size = 0
        self.generation = 0

    def connection(self) -> sqlite3.Connection:
        """Return the open connection; once a second also check that the file is still the one on the path.

        Raises:
            QueueError: It cannot be opened, set up or salvaged.
        """
        now = time.monotonic()
        if self._connection is not None:
            if now - self._checked_at < IDENTITY_CHECK_S:
                return self._connection
            self._checked_at = now
            if not self.is_replaced():
                return self._connection
            self.reopen()
        for _ in range(4):
            try:
                opened = self._open()
            except sqlite3.Error as cause:
                if not is_damage(cause):
                    raise translated(cause, self._files, "open") from cause
                self.salvage(cause)
            except OSError as cause:
                raise translated(cause, self._files, "open") from cause
            else:
                if opened is not None:
                    self._checked_at = now
                    return opened
        raise QueueError(
            errno.EBUSY, "the queue's files are being replaced all the time", self._files.database
        )

    def _open(self) -> sqlite3.Connection | None:
        files = self._files
        if files.identity() is None or os.path.exists(files.salvaged):
            from infi.ramen_client.diskqueue import salvage

            files.make_directory()
            with self._turn.taken():
                if salvage.finish(files):
                    self._on_event("salvage finished")
                elif files.identity() is None and os.path.exists(files.wal):
                    report = salvage.salvage(files, busy_timeout_s=self._busy_timeout_s)
                    self._report(report, "a log without its database")
                elif files.identity() is None:
                    schema.create_database(files)
                    with contextlib.suppress(OSError):  # a reader tries again
                        Reserve(files).hold()
        identity = files.identity()
        connection = schema.connect(files.database, timeout_s=self._busy_timeout_s)
        try:
            if not schema.is_set_up(connection):
                with self._turn.taken():
                    schema.set_up(connection)
            schema.quick_check(connection)
            wal = os.open(files.wal, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            connection.close()
            return None
        except BaseException:
            connection.close()
            raise
        sync_directory(files.directory)
        self._remove_spares()
        if identity is None or files.identity() != identity:
            connection.close()
            os.close(wal)
            return None
        self._connection, self._identity, self._wal = connection, identity, wal
        self._wal_size = 0
        return connection

    def _remove_spares(self) -> None:
        """Remove what processes that were killed have left unfinished; costs one listing of the folder."""
        with contextlib.suppress(
            OSError
        ):  # nothing depends on it, and the next opening tries again
            if self._files.spares():
                with self._turn.taken():
                    self._files.remove_spares()

    @property
    def is_open(self) -> bool:
        """Whether the database is open in this process."""
        return self._connection is not None

    def is_replaced(self) -> bool:
        """Whether the path leads to another file than the open one, or to none."""
        return self._connection is not None and self._files.identity() != self._identity

    def reopen(self) -> None:
        """Close a database that is no longer on its path; the next use opens the right one, creating it if need be."""
        self._on_event("replaced", path=self._files.database)
        logger.warning(
            "The queue %s was removed or replaced; opening it anew", self._files.database
        )
        self.generation += 1
        self.close()

    def salvage(self, cause: BaseException) -> None:
        """Move a damaged database away and put what is readable of it into a new one.

        Raises:
            QueueError: The files cannot be moved or written.
        """
        from infi.ramen_client.diskqueue import salvage

        self.generation += 1
        self.close()
        try:
            with self._turn.taken():
                report = salvage.salvage(self._files, busy_timeout_s=self._busy_timeout_s)
        except (sqlite3.Error, OSError) as error:
            raise translated(error, self._files, "salvage") from error
        self._report(report, str(cause))

    def _report(self, report: Report | None, cause: str) -> None:
        if report is None:
            return
        logger.error(
            "The queue %s is damaged (%s): %d messages saved, the damaged files are in %s",
            self._files.database,
            cause,
            report.saved,
            report.kept,
        )
        self._on_event("damage", error=cause, saved=report.saved, kept=report.kept)

    def sync(self) -> None:
        """Make every commit made so far by this object durable.

        Raises:
            QueueError: The system could not write; whether the last messages will survive is unknown.
        """
        wal = self._wal
        if wal < 0:
            return
        try:
            os.fdatasync(wal)
        except OSError as cause:
            if cause.errno == errno.EBADF:  # closed meanwhile: closing synced it
                return
            raise QueueError(
                cause.errno,
                f"{cause.strerror} while syncing: the message is stored, but may not survive a power failure",
                self._files.wal,
            ) from cause

    def grow_log(self) -> None:
        """Extend the log by one step when SQLite has reached its end; call it with the turn and the lock held.

        Never fails, since what was pushed is stored already: without room, or while a foreign program holds the
        database, the log stays as it is.
        """
        connection = self._connection
        if connection is None or self._wal_size >= WAL_SIZE:
            return
        with contextlib.suppress(OSError, sqlite3.Error):
            size = os.fstat(self._wal).st_size
            if size <= self._wal_size:
                return
            if size < WAL_SIZE:
                connection.execute("BEGIN IMMEDIATE")  # nobody else may be appending
                try:
                    size = os.fstat(self._wal).st_size
                    size += os.pwrite(self._wal, bytes(WAL_STEP), size)
                finally:
                    connection.execute("ROLLBACK")
            self._wal_size = size

    def close(self) -> None:
        """Close the connection; SQLite then moves the log into the database if nobody else has it open."""
        connection, self._connection = self._connection, None
        wal, self._wal = self._wal, -1
        if wal >= 0:
            os.close(wal)
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def forget(self) -> None:
        """Let go of a connection inherited through a fork without closing it, which SQLite forbids in the child."""
        if self._connection is not None:
            import ctypes

            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))  # never to be finalized
            self._connection = None
        if self._wal >= 0:
            os.close(self._wal)
            self._wal = -1


def is_damage(error: BaseException) -> bool:
    """Whether SQLite says that the file is not (or no longer) a sound database."""
    return isinstance(error, sqlite3.DatabaseError) and any(text in str(error) for text in _DAMAGE)


def translated(
    error: Exception, files: QueueFiles, doing: str, *, path: str | None = None
) -> QueueError:
    """Return the error of this package for one of SQLite or of the system, on the database or another file."""
    if isinstance(error, QueueError):
        return error
    path = path or files.database
    what = f"cannot {doing} the queue"
    if is_full(error):
        return QueueFull(
            errno.ENOSPC,
            f"{what}: no room ({error}); free some, or lower max_queue_size",
            path,
        )
    if "locked" in str(error) or "busy" in str(error):
        return QueueBusy(
            f"{what} {path}: {error}; another program keeps it locked, nothing was stored"
        )
    code = (error.errno if isinstance(error, OSError) else None) or errno.EIO
    return QueueError(code, f"{what}: {error}", path)
