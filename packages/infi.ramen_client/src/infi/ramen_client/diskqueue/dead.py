"""Dead letters: messages the server refused for good, with its reply, until a person requeues or deletes them.

A database of its own beside the queue, synced before the message leaves the queue. Called by the reader and by the
``ramen-client`` command.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from infi.ramen_client.diskqueue.database import translated
from infi.ramen_client.diskqueue.files import QueueFiles, sync_directory
from infi.ramen_client.errors import QueueError

__all__ = ["BODY_LIMIT", "DeadLetters"]

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
        try:
            with contextlib.suppress(FileExistsError):
                os.close(self._files.open(self._files.dead, os.O_RDWR | os.O_CREAT | os.O_EXCL))
                sync_directory(self._files.directory)
            with contextlib.closing(
                sqlite3.connect(
                    self._files.dead, isolation_level=None, timeout=self._busy_timeout_s
                )
            ) as connection:
                connection.execute("PRAGMA synchronous = EXTRA")
                connection.execute(_TABLE)
                connection.row_factory = sqlite3.Row
                yield connection
        except (sqlite3.Error, OSError) as cause:
            if isinstance(cause, QueueError):
                raise
            raise translated(cause, self._files, "write a dead letter of") from cause

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
