"""What the server has received: messages, every attempt to deliver them, and conflicts.

SQLite, committed before the answer is sent. Read by the control API and by tests.
"""

from __future__ import annotations

import base64
import json
import pathlib
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from mock_servers.secrets import hide

__all__ = ["Store"]

SHOWN_BYTES = 200

_TABLES = """
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY, path TEXT NOT NULL, reqid TEXT, category TEXT NOT NULL, system_serial INTEGER NOT NULL,
    sender TEXT NOT NULL, data_type TEXT NOT NULL, data_version TEXT NOT NULL, system_version TEXT, body BLOB NOT NULL,
    headers TEXT NOT NULL, connection INTEGER NOT NULL, received_at REAL NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS messages_reqid ON messages (path, reqid) WHERE reqid IS NOT NULL;
CREATE TABLE IF NOT EXISTS attempts (
    number INTEGER PRIMARY KEY, path TEXT NOT NULL, reqid TEXT, result TEXT NOT NULL, connection INTEGER NOT NULL,
    received_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS conflicts (
    number INTEGER PRIMARY KEY, path TEXT NOT NULL, reqid TEXT NOT NULL, first BLOB NOT NULL, second BLOB NOT NULL,
    received_at REAL NOT NULL);
"""


class Store:
    """The server's database; thread-safe.

    Args:
        file: Database file, ``None`` for memory.
    """

    def __init__(self, file: pathlib.Path | None) -> None:
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._database = sqlite3.connect(
            file or ":memory:", isolation_level=None, check_same_thread=False
        )
        self._database.row_factory = sqlite3.Row
        if file is not None:
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.executescript(_TABLES)

    def take(
        self, message: Mapping[str, Any], body: bytes, headers: list[tuple[str, str]], origin: int
    ) -> bool:
        """Keep a message unless one of the same path and request id is there; return whether it was new.

        Args:
            message: ``path, reqid, category, system_serial, sender, data_type, data_version, system_version``;
                ``reqid`` is ``None`` for a message that can be repeated unnoticed.
            body: Inflated body.
            headers: Headers of the request.
            origin: Number of the connection it came on.
        """
        now = time.time()
        values = {
            **message,
            "body": body,
            "headers": json.dumps(headers),
            "connection": origin,
            "received_at": now,
        }
        with self._lock:
            self._database.execute("BEGIN")
            known = None
            if message["reqid"] is not None:
                known = self._database.execute(
                    "SELECT body FROM messages WHERE path = :path AND reqid = :reqid", values
                ).fetchone()
            if known is None:
                names = ", ".join(values)
                marks = ", ".join(f":{name}" for name in values)
                self._database.execute(
                    f"INSERT INTO messages ({names}) VALUES ({marks})",
                    values,
                )
            elif known["body"] != body:
                self._database.execute(
                    "INSERT INTO conflicts (path, reqid, first, second, received_at) VALUES (?, ?, ?, ?, ?)",
                    (message["path"], message["reqid"], known["body"], body, now),
                )
            self._attempt(
                message["path"], message["reqid"], "duplicate" if known else "accepted", origin
            )
            self._database.execute("COMMIT")
            self._arrived.notify_all()
        return known is None

    def refuse(self, path: str, reqid: str | None, result: str, origin: int) -> None:
        """Record an attempt that brought no message."""
        with self._lock:
            self._attempt(path, reqid, result, origin)

    def _attempt(self, path: str, reqid: str | None, result: str, origin: int) -> None:
        self._database.execute(
            "INSERT INTO attempts (path, reqid, result, connection, received_at) VALUES (?, ?, ?, ?, ?)",
            (path, reqid, result, origin, time.time()),
        )

    def messages(
        self, path: str | None = None, reqid: str | None = None, since: int = 0
    ) -> list[dict[str, Any]]:
        """Return messages as JSON values, in order of arrival.

        Args:
            path: Only those of this URL path.
            reqid: Only those of this request id.
            since: Only those of a greater number.
        """
        with self._lock:
            rows = self._database.execute(
                "SELECT * FROM messages WHERE number > ? AND path = coalesce(?, path) "
                "AND (? IS NULL OR reqid = ?) ORDER BY number",
                (since, path, reqid, reqid),
            ).fetchall()
        return [_shown(row) for row in rows]

    def attempts(self) -> list[dict[str, Any]]:
        """Return every attempt with its result, in order of arrival."""
        with self._lock:
            return [dict(row) for row in self._database.execute("SELECT * FROM attempts")]

    def conflicts(self) -> list[dict[str, Any]]:
        """Return the cases of one request id used for two different bodies."""
        with self._lock:
            rows = self._database.execute("SELECT * FROM conflicts").fetchall()
        return [
            {**dict(row), "first": _text(row["first"]), "second": _text(row["second"])}
            for row in rows
        ]

    def count(self) -> int:
        """Return how many messages there are."""
        with self._lock:
            return self._count()

    def stats(self) -> dict[str, Any]:
        """Return counts: messages, conflicts, messages without request id, and attempts by result."""
        with self._lock:
            select = self._database.execute
            return {
                "messages": select("SELECT count(*) FROM messages").fetchone()[0],
                "conflicts": select("SELECT count(*) FROM conflicts").fetchone()[0],
                "without_reqid": select(
                    "SELECT count(*) FROM messages WHERE reqid IS NULL"
                ).fetchone()[0],
                "attempts": dict(
                    select("SELECT result, count(*) FROM attempts GROUP BY result").fetchall()
                ),
            }

    def shown(self) -> dict[str, Any]:
        """Return :meth:`stats`, messages by path, and the ten newest with the start of their bodies."""
        with self._lock:
            select = self._database.execute
            kinds = select(
                "SELECT path, count(*) AS messages, max(received_at) AS newest_at FROM messages"
                " GROUP BY path ORDER BY newest_at DESC LIMIT 20"
            ).fetchall()
            newest = select(
                "SELECT number, received_at, category, system_serial, sender, data_type, reqid, body FROM messages"
                " ORDER BY number DESC LIMIT 10"
            ).fetchall()
        return {
            **self.stats(),
            "messages_by_path": [dict(row) for row in kinds],
            "newest_messages": [
                {**dict(row), "body": hide(_text(row["body"][:SHOWN_BYTES]))} for row in newest
            ],
        }

    def wait(self, count: int, timeout_s: float) -> bool:
        """Wait until there are ``count`` messages; return whether there are.

        Must not be called from the server's own thread.
        """
        with self._lock:
            return bool(self._arrived.wait_for(lambda: self._count() >= count, timeout_s))

    def _count(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM messages").fetchone()[0])

    def check(self, expected: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
        """Compare what arrived with what should have.

        Args:
            expected: ``{"path", "reqid"}`` of each message, optionally ``"writer"``, in the order they were pushed;
                order is compared within one path and writer.

        Returns:
            ``missing``, ``unexpected`` (request ids that arrived and were not expected) and ``out_of_order``, lists of
            ``[path, reqid]``, and ``repeated``, the same of messages that arrived more than once.
        """
        with self._lock:
            arrived = {
                (row["path"], row["reqid"]): row["number"]
                for row in self._database.execute("SELECT path, reqid, number FROM messages")
            }
            repeated = self._database.execute(
                "SELECT DISTINCT path, reqid FROM attempts WHERE result = 'duplicate'"
            ).fetchall()
        missing, late = [], []
        last: dict[tuple[str, Any], int] = {}
        wanted = set()
        for entry in expected:
            key = (entry["path"], entry["reqid"])
            wanted.add(key)
            number = arrived.get(key)
            if number is None:
                missing.append(list(key))
                continue
            line = (entry["path"], entry.get("writer"))
            if number < last.get(line, 0):
                late.append(list(key))
            last[line] = max(number, last.get(line, 0))
        return {
            "missing": missing,
            "unexpected": [list(key) for key in arrived if key not in wanted],
            "out_of_order": late,
            "repeated": [list(row) for row in repeated],
        }

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            for table in ("messages", "attempts", "conflicts"):
                self._database.execute(f"DELETE FROM {table}")

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(body).decode()


def _shown(row: sqlite3.Row) -> dict[str, Any]:
    return {**dict(row), "body": _text(row["body"]), "headers": json.loads(row["headers"])}
