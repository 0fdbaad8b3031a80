"""The queue of one (directory, sender, serial): durable pushes, ordered reads, removal by number.

What it promises: a push that returned is delivered at least once, whatever is killed; order is that of the pushes;
nothing is removed but what :meth:`DiskQueue.remove` names or the size limit drops, counted. Any number of threads and
processes may push; one process reads at a time (see :class:`~.turn.FileLock` on ``QueueFiles.reader``).
"""

from __future__ import annotations

import contextlib
import enum
import functools
import logging
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from infi.ramen_client.diskqueue import schema, space
from infi.ramen_client.diskqueue.commit import GroupCommit, IntervalSync, StoredRow
from infi.ramen_client.diskqueue.database import Database, is_damage, translated
from infi.ramen_client.diskqueue.files import QueueFiles
from infi.ramen_client.diskqueue.turn import Turn
from infi.ramen_client.diskqueue.wake import Bell
from infi.ramen_client.errors import QueueError

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["DiskQueue", "Outcome"]

logger = logging.getLogger("ramen_client")

T = TypeVar("T")

SYNC_INTERVAL_S = 0.05
_EVERYTHING = 2**63 - 1
ROWS_PER_INSERT = 32
"""With more, binding the parameters costs more than the statements that are saved."""
_NUMERIC_STARTS = frozenset("-0123456789")
_INSERTS = [
    "INSERT INTO queue (category, data_type, data_version, reqid, data) VALUES "  # noqa: S608
    + ", ".join(["(?, ?, ?, ?, ?)"] * count)
    for count in range(ROWS_PER_INSERT + 1)
]
_VERSION = (
    "coalesce((SELECT v.data_version FROM ramen_versions v WHERE v.id = q.id), q.data_version)"
)
_PATH = f"q.category || char(31) || q.data_type || char(31) || {_VERSION}"
_SELECT = (
    f"SELECT q.id, q.ts, q.category, q.data_type, {_VERSION} AS data_version, q.reqid, q.data "  # noqa: S608
    "FROM queue q"
)


class Outcome(str, enum.Enum):
    """Why messages are removed; the name of the counter."""

    ACCEPTED = "accepted"
    DROPPED = "dropped"
    DEAD = "dead"


class DiskQueue:
    """One queue; thread-safe, fork-safe (a child opens its own connection), opened on first use.

    Args:
        files: Where it is.
        durability: ``"fsync"``: a push returns when its message survives a power failure. ``"interval"``: when it
            survives a crash of the process; it survives a power failure 50 ms later.
        limit: Returns the bytes the queue may take, ``None`` for no limit; asked before every check.
        busy_timeout_s: Longest wait for another process, seconds.
        on_event: Called with a name and facts: ``trimmed``, ``damage``, ``replaced``, ``vanished``, ``full``.

    Raises:
        ValueError: ``durability`` is neither.
    """

    def __init__(
        self,
        files: QueueFiles,
        *,
        durability: str = "fsync",
        limit: Callable[[], int | None] = lambda: None,
        busy_timeout_s: float = 10.0,
        on_event: Callable[..., None] | None = None,
    ) -> None:
        if durability not in ("fsync", "interval"):
            raise ValueError(f"durability is {durability!r}: expected 'fsync' or 'interval'")
        self.files = files
        self.durability = durability
        self._limit = limit
        self._busy_timeout_s = busy_timeout_s
        self._on_event = on_event or (lambda *_args, **_facts: None)
        self._bell = Bell(files)
        self._reserve = space.Reserve(files)
        self._pushed_bytes = 0
        self._make_locks()
        _alive.add(self)

    def _make_locks(self) -> None:
        self._lock = threading.RLock()
        self._turn = Turn(self.files, timeout_s=self._busy_timeout_s)
        self._database = Database(
            self.files,
            self._turn,
            self._lock,
            busy_timeout_s=self._busy_timeout_s,
            on_event=self._database_event,
        )
        self._interval: IntervalSync | None = None
        if self.durability == "interval":
            self._interval = IntervalSync(
                lambda: self._database.sync(), SYNC_INTERVAL_S, self._sync_failed
            )
        self._commits = GroupCommit(self._write, self._sync)

    def _database_event(self, name: str, **facts: Any) -> None:
        if name == "replaced":  # what stands beside the database was replaced with it
            self._turn.forget()
            self._bell.renew()
        self._on_event(name, **facts)

    # Pushing

    def push(self, row: StoredRow) -> None:
        """Store one message; see the class for when it returns.

        Raises:
            QueueFull: There is no room; the queue is as it was.
            QueueBusy: Another process keeps the queue; nothing was stored.
            QueueError: Anything else; the text says whether the message may be stored.
        """
        self._commits.submit((row,))
        self._after_push(len(row[4]))

    def push_many(self, rows: Sequence[StoredRow]) -> None:
        """Store messages in one transaction, all or none, in their order.

        Raises:
            QueueError: As for :meth:`push`.
        """
        if rows:
            self._commits.submit(rows)
            self._after_push(sum(len(row[4]) for row in rows))

    def push_nowait(self, row: StoredRow) -> Future[None]:
        """Store one message soon; the future ends when :meth:`push` would return, or with its error."""
        future = self._commits.submit_nowait((row,))
        size = len(row[4])
        future.add_done_callback(lambda done: None if done.exception() else self._after_push(size))
        return future

    def _write(self, rows: Sequence[StoredRow]) -> None:
        """Store rows in one transaction; called by one thread of this object at a time."""
        database = self._database
        with self._lock:
            for _ in range(3):
                self._with_repair(self._insert, "write to", rows)
                if not database.is_replaced():
                    return
                # The commit went to a file that is no longer on the path: store it where readers look.
                database.reopen()
        raise QueueError(5, "the queue is being replaced all the time", self.files.database)

    def _insert(self, connection: sqlite3.Connection, rows: Sequence[StoredRow]) -> None:
        altered = False
        for row in rows:
            if type(row[2]) is str and row[2][0] in _NUMERIC_STARTS:
                altered = altered or schema.is_altered_by_column(row[2])
        self._turn.take()
        try:
            if len(rows) <= ROWS_PER_INSERT and not altered:
                # One statement is its own transaction: one call into SQLite for the whole group.
                connection.execute(
                    _INSERTS[len(rows)],
                    rows[0] if len(rows) == 1 else [value for row in rows for value in row],
                )
            elif rows:
                with _transaction(connection):
                    self._insert_many(connection, rows, altered)
            self._database.grow_log()
        finally:
            self._turn.give()

    def _insert_many(
        self, connection: sqlite3.Connection, rows: Sequence[StoredRow], altered: bool
    ) -> None:
        if not altered:
            for start in range(0, len(rows), ROWS_PER_INSERT):
                chunk = rows[start : start + ROWS_PER_INSERT]
                connection.execute(_INSERTS[len(chunk)], [value for row in chunk for value in row])
            return
        for row in rows:
            number = connection.execute(_INSERTS[1], row).lastrowid
            if schema.is_altered_by_column(row[2]):
                connection.execute(
                    "INSERT OR REPLACE INTO ramen_versions VALUES (?, ?)", (number, str(row[2]))
                )

    def _sync(self) -> None:
        """Make what was written durable, now or soon, and wake the reader; called as :meth:`_write`."""
        if self._interval is None:
            self._database.sync()
        else:
            self._interval.note()
        self._bell.ring()

    def _sync_failed(self, error: QueueError) -> None:
        logger.error("%s", error)
        self._on_event("sync-failed", error=str(error))

    def _after_push(self, size: int) -> None:
        self._pushed_bytes += size
        limit = self._limit()
        if limit is not None and self._pushed_bytes >= min(1024 * 1024, limit // 64):
            self._pushed_bytes = 0
            try:
                self._trim(limit)
            except QueueError as error:  # the message is stored: the caller must not hear of this
                logger.warning("Cannot trim the queue: %s", error)

    def _trim(self, limit: int) -> None:
        def step(connection: sqlite3.Connection) -> tuple[int, int]:
            with self._turn.taken():
                return space.trim(connection, self.files, limit, self._in_flight())

        with self._lock:
            count, size = self._with_repair(step, "trim")
        if count:
            logger.warning(
                "Dropping the %d oldest messages (%d bytes) because the queue is larger than the "
                "maximum of %d bytes",
                count,
                size,
                limit,
            )
            self._on_event("trimmed", count=count, size=size, limit=limit)
            self._pushed_bytes = limit  # look again after the next push

    def _in_flight(self) -> tuple[int, int]:
        """Return the numbers between which the active reader is sending; ``(0, 0)`` for none."""
        try:
            with open(self.files.reader, "rb") as file:
                first, last = file.read(40).split()
                return int(first), int(last)
        except (OSError, ValueError):
            return 0, 0

    # Reading

    @property
    def generation(self) -> int:
        """Changes when another database has taken the place of the one that was read."""
        return self._database.generation

    def size(self) -> int:
        """Return the number of messages; costs the same at any length.

        Raises:
            QueueError: The database cannot be read.
        """
        return int(self.counters()["rows"])

    def counters(self) -> dict[str, int]:
        """Return how many messages are in the queue (``rows``) and the totals since it was created.

        Raises:
            QueueError: The database cannot be read.
        """
        with self._lock:
            row = self._with_repair(
                lambda connection: connection.execute(schema.READ_COUNTERS).fetchone(),
                "read",
            )
            return {name: row[name] for name in schema.COUNTERS}

    def bytes_on_disk(self) -> int:
        """Return what the messages take on disk, as the size limit counts it."""
        with self._lock:
            return self._with_repair(
                lambda connection: space.live_bytes(connection, self.files), "read"
            )

    def last_number(self) -> int:
        """Return the number of the newest message, 0 for none.

        Raises:
            QueueError: The database cannot be read.
        """
        return self._number("SELECT coalesce(max(id), 0) FROM queue")

    def read(
        self,
        after: int = 0,
        limit: int = 1,
        without: Iterable[tuple[str, str, str]] = (),
        *,
        within: int = _EVERYTHING,
    ) -> list[sqlite3.Row]:
        """Return the oldest messages.

        Args:
            after: Only messages of a greater number.
            limit: At most so many.
            without: ``(category, data_type, data_version)``, each as text, to be left out.
            within: Look at so many numbers behind ``after``; every message left out costs time, about 2 us.

        Returns:
            Rows with ``id, ts, category, data_type, data_version, reqid, data``, in order.

        Raises:
            QueueError: The database cannot be read.
        """
        held = [chr(31).join(path) for path in without]
        condition = f" AND {_PATH} NOT IN ({', '.join('?' * len(held))})" if held else ""
        query = f"{_SELECT} WHERE q.id > ? AND q.id <= ?{condition} ORDER BY q.id LIMIT ?"
        last = min(after + within, _EVERYTHING)
        with self._lock:
            return self._with_repair(
                lambda connection: connection.execute(
                    query, (after, last, *held, limit)
                ).fetchall(),
                "read",
            )

    def remove(
        self, numbers: Sequence[int], outcome: Outcome, *, generation: int | None = None
    ) -> int:
        """Take out messages by their number, counted under ``outcome``; works on a full disk.

        Args:
            numbers: Their ``id``.
            outcome: Why.
            generation: What :attr:`generation` was when they were read; nothing is removed when the database has been
                replaced since, because the numbers then belong to other messages.

        Returns:
            How many there were; fewer than given means that something else took them.

        Raises:
            QueueError: The database cannot be written.
        """
        if not numbers:
            return 0

        def delete(chosen: Sequence[int], connection: sqlite3.Connection) -> int:
            if generation not in (None, self.generation):
                return 0
            marks = ", ".join("?" * len(chosen))
            with self._turn.taken(), _transaction(connection):
                removed = connection.execute(
                    f"DELETE FROM queue WHERE id IN ({marks})",  # noqa: S608
                    list(chosen),
                ).rowcount
                connection.execute(
                    f"UPDATE ramen_counters SET {outcome.value} = {outcome.value} + ?",  # noqa: S608
                    (removed,),
                )
                return int(removed)

        with self._lock:
            try:
                removed = self._with_repair(functools.partial(delete, numbers), "remove from")
            except QueueError as error:
                if not space.is_full(error):
                    raise
                removed = self._remove_without_room(numbers, delete)
        if removed < len(numbers):
            self._on_event("vanished", count=len(numbers) - removed)
        return removed

    def _remove_without_room(
        self,
        numbers: Sequence[int],
        delete: Callable[[Sequence[int], sqlite3.Connection], int],
    ) -> int:
        """Take out messages on a full disk: give up the reserve, empty the log, and go on in smaller steps.

        Removing needs a little room in the log; every step gives pages back, so that the next needs none.
        """
        self._give_up_reserve()
        left, removed = list(numbers), 0
        for step in (len(left), 10, 1):
            self._empty_log()
            try:
                while left:
                    chosen = left[:step]
                    removed += self._with_repair(functools.partial(delete, chosen), "remove from")
                    del left[:step]
                    if left:
                        self._empty_log()
            except QueueError as error:
                if not space.is_full(error) or step == 1:
                    raise
        return removed

    def _give_up_reserve(self) -> None:
        if self._reserve.free():
            logger.warning("The disk is full; the reserve of the queue is given up to go on")
        self._on_event("full", path=self.files.database)

    def make_room(self) -> None:
        """Give up the reserve and what the log takes: something else beside the queue needs room on a full disk.

        Raises:
            QueueError: The queue cannot be opened.
        """
        with self._lock:
            self._give_up_reserve()
            self._empty_log()
            with contextlib.suppress(sqlite3.Error):
                self._database.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _empty_log(self) -> None:
        """Shrink the database and move the log into it, as far as there is room."""
        connection = self._database.connection()
        with contextlib.suppress(sqlite3.Error), self._turn.taken():
            space.shrink(connection)
        with contextlib.suppress(sqlite3.Error):
            connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    # Upkeep

    def tidy(self) -> None:
        """Do a little of what can wait: shrink the file, move the log, reserve room. For idle readers.

        Raises:
            QueueError: The database cannot be written.
        """
        with self._lock:
            with contextlib.suppress(OSError):
                self._reserve.hold()

            def step(connection: sqlite3.Connection) -> None:
                with self._turn.taken():
                    space.shrink(connection)

            self._with_repair(step, "tidy")

    def ring(self) -> None:
        """Wake the reader, in whatever process it is."""
        self._bell.ring()

    def check(self) -> list[str]:
        """Read the whole database and return what is wrong with it; empty when it is sound. Takes time.

        Raises:
            QueueError: It cannot be opened.
        """

        def step(connection: sqlite3.Connection) -> list[str]:
            found = [row[0] for row in connection.execute("PRAGMA quick_check(20)")]
            return [] if found == ["ok"] else found

        with self._lock:
            return self._with_repair(step, "check")

    def count_rows(self) -> int:
        """Count the messages one by one; takes time.

        Raises:
            QueueError: The database cannot be read.
        """
        return self._number("SELECT count(*) FROM queue")

    def _number(self, query: str) -> int:
        with self._lock:
            return self._with_repair(
                lambda connection: int(connection.execute(query).fetchone()[0]), "read"
            )

    def reserve(self) -> bool:
        """Reserve room for a full disk; return whether it is reserved now."""
        with contextlib.suppress(OSError):
            return self._reserve.hold()
        return False

    def recount(self) -> None:
        """Count the messages and set the counters right; takes time.

        Raises:
            QueueError: The database cannot be written.
        """

        def step(connection: sqlite3.Connection) -> None:
            with self._turn.taken():
                schema.recount(connection)

        with self._lock:
            self._with_repair(step, "recount")

    def _with_repair(self, use: Callable[..., T], doing: str, *arguments: Any) -> T:
        """Call ``use`` with the connection and arguments; after damage salvage and call it again, once."""
        for attempt in (1, 2):
            connection = self._database.connection()
            try:
                return use(connection, *arguments)
            except sqlite3.Error as cause:
                missing = "no such table" in str(cause)
                if attempt == 2 or not (is_damage(cause) or missing):
                    raise translated(cause, self.files, doing) from cause
                if missing:
                    self._database.close()
                else:
                    self._database.salvage(cause)
        raise AssertionError  # not reached

    @property
    def is_open(self) -> bool:
        """Whether its files are open: since the first use, until :meth:`close`."""
        return self._database.is_open

    def close(self) -> None:
        """Finish waiting pushes and close all files; the next use opens them again. Idempotent."""
        self._commits.close()
        if self._interval is not None:
            self._interval.close()
        with self._lock:
            self._database.close()
            self._turn.forget()
            self._bell.close()

    def _forget(self) -> None:
        self._database.forget()
        self._turn.forget()
        self._bell.close()
        self._make_locks()


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


_alive: weakref.WeakSet[DiskQueue] = weakref.WeakSet()


_fork = threading.Lock()
_quiet: list[DiskQueue] = []


def _load_for_children() -> None:
    """Import now what a child would import first; a module that another thread is importing is waited for.

    The lock of a module in the middle of its import would stay taken in the child for ever.
    """
    import concurrent.futures
    import ctypes  # noqa: F401

    from infi.ramen_client import serialization
    from infi.ramen_client.diskqueue import salvage  # noqa: F401

    concurrent.futures.Future  # noqa: B018 - loads the submodule
    serialization.load()


def _before_fork() -> None:
    """Wait until no thread is inside SQLite, whose own locks would stay taken in the child for ever."""
    if _alive:
        _load_for_children()
    _fork.acquire()
    while True:
        with contextlib.suppress(RuntimeError):  # another thread made a queue meanwhile
            _quiet[:] = list(_alive)
            break
    _quiet.sort(key=id)
    for queue in _quiet:
        queue._lock.acquire()


def _after_fork_in_parent() -> None:
    for queue in _quiet:
        queue._lock.release()
    _quiet.clear()
    _fork.release()


def _after_fork_in_child() -> None:
    _quiet.clear()
    _fork.release()
    for queue in list(_alive):
        queue._forget()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
