"""The queue under the names of infi.ramen_client 1.40; new code uses writers and readers instead.

Source: ``infi.ramen_client.queue`` of 1.40.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import weakref
from typing import Any

from infi.ramen_client.config import QueueWriterConfig
from infi.ramen_client.diskqueue import DiskQueue, Outcome, QueueFiles
from infi.ramen_client.reqid import new_reqid, reqid_text
from infi.ramen_client.telemetry import with_telemetry

__all__ = ["DefaultQueue", "Queue", "QueueWriterConfig", "logger"]

logger = logging.getLogger("ramen_client")


class Queue:
    """A queue of messages for one configuration; subclasses store them.

    Args:
        config: A valid configuration; its ``queue_dir`` is created when missing.

    Raises:
        AssertionError: ``config`` is no :class:`QueueWriterConfig`.
        DataError: ``config`` is not valid.
        OSError: The folder cannot be created.
    """

    def __init__(self, config: QueueWriterConfig) -> None:
        if not isinstance(config, QueueWriterConfig):
            raise AssertionError("QueueWriterConfig instance is required")
        config.validate()
        self._config = config
        if config.queue_dir is None:
            raise TypeError("queue_dir is None: a folder is required")
        self._files = QueueFiles(config.queue_dir, config.sender, config.system_serial)
        self._files.make_directory()

    def push(
        self, category: Any, data_type: Any, data_version: Any, data: bytes, reqid: Any = None
    ) -> None:
        """Store a message at the end; ``data`` is its zlib stream."""
        raise NotImplementedError

    def peek(self) -> Any:
        """Return the oldest message without removing it, ``None`` when there is none."""
        raise NotImplementedError

    def pop(self) -> Any:
        """Remove a message and return it, ``None`` when there is none."""
        raise NotImplementedError

    def compact(self) -> None:
        """Give room back to the file system."""
        raise NotImplementedError


class DefaultQueue(Queue):
    """The queue on disk. ``len()`` is the number of messages.

    Args:
        config: A valid configuration. ``max_queue_size`` is read anew at every check.
        durability: See :class:`~infi.ramen_client.diskqueue.queue.DiskQueue`.
        on_event: See :class:`~infi.ramen_client.diskqueue.queue.DiskQueue`.

    Raises:
        AssertionError: As for :class:`Queue`.
        DataError: As for :class:`Queue`.
    """

    def __init__(
        self, config: QueueWriterConfig, *, durability: str = "fsync", on_event: Any = None
    ) -> None:
        super().__init__(config)
        on_event = with_telemetry(on_event, config)
        self.disk = DiskQueue(
            self._files,
            durability=durability,
            limit=lambda: config.max_queue_size,
            on_event=on_event,
        )
        self._peeked: int | None = None
        # Drops the descriptors with the object, as 1.40 did; close() does the same at once.
        self._finalizer = weakref.finalize(self, _close, self.disk, os.getpid())

    @property
    def _path(self) -> str:
        return self._files.database

    def __len__(self) -> int:
        return self.disk.size()

    def __bool__(self) -> bool:
        return True

    def push(
        self, category: Any, data_type: Any, data_version: Any, data: bytes, reqid: Any = None
    ) -> None:
        """Store a message at the end; it is durable on return.

        Args:
            category: First part of the URL path.
            data_type: What the data is.
            data_version: Version of its form.
            data: The zlib stream to send.
            reqid: Request id; ``None`` and ``''`` make a unique one.

        Raises:
            QueueError: It could not be stored.
        """
        self.disk.push((category, data_type, data_version, reqid_text(reqid) or new_reqid(), data))

    def peek(self) -> sqlite3.Row | None:
        """Return the oldest message, ``None`` when there is none.

        The row has ``id, ts, category, data_type, data_version, reqid, data``; ``data`` is the zlib stream.
        """
        rows = self.disk.read(limit=1)
        self._peeked = rows[0]["id"] if rows else None
        return rows[0] if rows else None

    def pop(self) -> sqlite3.Row | None:
        """Remove the message that was last peeked at, or else the oldest, and return it; ``None`` when there is none.

        1.40 removed the oldest of the moment, which may have been another one than the one just sent.
        """
        number, self._peeked = self._peeked, None
        rows = self.disk.read(after=number - 1 if number else 0, limit=1)
        if not rows or (number and rows[0]["id"] != number):
            return None
        return rows[0] if self.disk.remove([rows[0]["id"]], Outcome.ACCEPTED) else None

    def compact(self) -> None:
        """Give up to 1 MiB back to the file system and move the log into the database; short at any length."""
        self.disk.tidy()

    def close(self) -> None:
        """Close all files; the next use opens them again."""
        self.disk.close()


def _close(disk: DiskQueue, pid: int) -> None:
    if os.getpid() == pid:
        disk.close()
