"""Dead letters: messages the server refused for good, with its reply, until a person requeues or deletes them.

A database of its own beside the queue, synced before the message leaves the queue. Called by the reader and by the
``ramen-client`` command.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from infi.ramen_client.diskqueue.database import is_damage, translated
from infi.ramen_client.diskqueue.files import DIRECTORY_MODE, QueueFiles, sync_directory
from infi.ramen_client.errors import QueueError

__all__ = ["BODY_LIMIT", "DeadLetters"]

logger = logging.getLogger("ramen_client")

BODY_LIMIT = 64 * 1024
"""Bytes of the server's reply that are kept."""

_TABLE = (
    "CREATE TABLE IF NOT EXISTS dead (number INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER, ts TIMESTAMP, "
    "category TEXT NOT NULL, data_type TEXT NOT NULL, data_version TEXT NOT NULL, reqid TEXT NOT NULL, "
    "data BLOB NOT NULL, reason TEXT NOT NULL, status INTEGER, headers TEXT NOT NULL, body BLOB NOT NULL, "
    "died_at REAL NOT NULL)"
)


class DeadLetters:
    """The dead letters of one queue; one thread at a time.

    Args:
        files: The queue.
        busy_timeout_s: How long to wait for another process.
    """

    def __init__(self, files: QueueFiles, *, busy_timeout_s: float = 10.0) -> None:
        self._files = files
        self._busy_timeout_s = busy_timeout_s

    def exists(self) -> bool:
        """Whether there ever was a dead letter."""
        return os.path.exists(self._files.dead)

    @contextlib.contextmanager
    def _opened(self) -> Any:
        path = self._files.dead
        number = self._inode()
        try:
            try:
                connection = self._connect()
            except sqlite3.Error as cause:
                if not is_damage(cause):
                    raise
                self._set_apart(cause, number)
                number = None
                connection = self._connect()
            with contextlib.closing(connection):
                yield connection
        except (sqlite3.Error, OSError) as cause:
            if isinstance(cause, QueueError):
                raise
            if is_damage(cause):
                self._set_apart(cause, number)
            raise translated(cause, self._files, "use the dead letters of", path=path) from cause

    def _connect(self) -> sqlite3.Connection:
        path = self._files.dead
        with contextlib.suppress(FileExistsError):
            os.close(self._files.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
            sync_directory(self._files.directory)
        connection = sqlite3.connect(path, isolation_level=None, timeout=self._busy_timeout_s)
        try:
            connection.execute("PRAGMA synchronous = EXTRA")
            connection.execute(_TABLE)
            connection.row_factory = sqlite3.Row
        except BaseException:
            connection.close()
            raise
        return connection

    def _inode(self) -> int | None:
        try:
            return os.stat(self._files.dead).st_ino
        except OSError:
            return None

    def _set_apart(self, cause: BaseException, number: int | None) -> None:
        """Move a damaged file into the quarantine, unless another process has done so; the next use makes a new one.

        Raises:
            OSError: It cannot be moved.
        """
        if number is None or number != self._inode():
            return
        os.makedirs(self._files.quarantine, DIRECTORY_MODE, exist_ok=True)
        folder = os.path.join(self._files.quarantine, f"dead-{time.time_ns()}")
        os.mkdir(folder, DIRECTORY_MODE)
        for path in (self._files.dead + "-journal", self._files.dead):
            with contextlib.suppress(FileNotFoundError):
                os.replace(path, os.path.join(folder, os.path.basename(path)))
        sync_directory(folder)
        sync_directory(self._files.directory)
        logger.error("The dead letters are damaged (%s) and now in %s", cause, folder)

    def add(
        self,
        row: Mapping[str, Any] | sqlite3.Row,
        *,
        reqid: str,
        reason: str,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        """Keep a message; it is durable on return. A message that is there already is not added twice.

        Args:
            row: The message as in the queue.
            reqid: Request id it was sent under.
            reason: Why it was set aside, for people.
            status: Status of the server's reply, ``None`` when there was none.
            headers: Headers of the reply.
            body: Body of the reply; the first 64 KiB are kept.

        Raises:
            QueueError: It cannot be written.
        """
        with self._opened() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "DELETE FROM dead WHERE id = ? AND reqid = ? AND data = ?",
                (row["id"], reqid, row["data"]),
            )
            connection.execute(
                "INSERT INTO dead (id, ts, category, data_type, data_version, reqid, data, reason, status, headers, "
                "body, died_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    row["id"],
                    row["ts"],
                    row["category"],
                    row["data_type"],
                    str(row["data_version"]),
                    reqid,
                    row["data"],
                    reason,
                    status,
                    json.dumps(dict(headers or {})),
                    body[:BODY_LIMIT],
                    time.time(),
                ),
            )
            connection.execute("COMMIT")

    def list(self, limit: int | None = None) -> list[sqlite3.Row]:
        """Return the dead letters, oldest first; empty when there never was one.

        Args:
            limit: Return at most so many, ``None`` for all.

        Raises:
            QueueError: They cannot be read.
        """
        if not self.exists():
            return []
        with self._opened() as connection:
            rows: list[sqlite3.Row] = connection.execute(
                "SELECT * FROM dead ORDER BY number LIMIT ?", (-1 if limit is None else limit,)
            ).fetchall()
            return rows

    def count(self) -> int:
        """Return how many dead letters there are."""
        if not self.exists():
            return 0
        with self._opened() as connection:
            return int(connection.execute("SELECT count(*) FROM dead").fetchone()[0])

    def remove(self, numbers: Iterable[int]) -> int:
        """Delete dead letters by their ``number``; return how many there were.

        Raises:
            QueueError: They cannot be deleted.
        """
        chosen: Sequence[tuple[int]] = [(number,) for number in numbers]
        if not chosen or not self.exists():
            return 0
        with self._opened() as connection:
            connection.execute("BEGIN IMMEDIATE")
            removed = connection.executemany("DELETE FROM dead WHERE number = ?", chosen).rowcount
            connection.execute("COMMIT")
            return int(removed)
