"""Putting messages into the queue.

Source: ``infi.ramen_client.queue_writer`` of 1.40. ``push_many``, ``push_nowait`` and ``close`` are new.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from infi.ramen_client.config import QueueWriterConfig
from infi.ramen_client.diskqueue.commit import StoredRow
from infi.ramen_client.names import is_name, validate_name
from infi.ramen_client.queue import DefaultQueue
from infi.ramen_client.reqid import new_reqid, reqid_text
from infi.ramen_client.serialization import compress, deflate, dump_json, encode
from infi.ramen_client.telemetry import observe_if_wanted

if TYPE_CHECKING:
    from concurrent.futures import Future

    from typing_extensions import Self

__all__ = ["DefaultQueue", "QueueWriter", "compress", "dump_json", "validate_name"]


class QueueWriter:
    """Writes into the queue of one configuration; thread-safe, and safe to use in a forked child.

    Any number of writers, in any number of threads and processes, may write into one queue, those of 1.40 too.

    Args:
        config: A valid configuration; a reader's will do.
        durability: ``"fsync"``: :meth:`push` returns when the message survives a power failure. ``"interval"``: when it
            survives a crash of the program; a power failure can take what was pushed in the last 50 ms. Much faster.
        allow_nan: Let NaN and infinity through as 1.40 did, though they are not JSON.
        on_event: Called with a name (``trimmed``, ``damage``, ``replaced``, ``full``, ``sync-failed``) and facts as
            keyword arguments, in the thread where it happened.

    Raises:
        AssertionError: ``config`` is no :class:`QueueWriterConfig`.
        DataError: ``config`` is not valid.
        OSError: The folder cannot be created.
        ValueError: ``durability`` is neither.
    """

    def __init__(
        self,
        config: QueueWriterConfig,
        *,
        durability: str = "fsync",
        allow_nan: bool = False,
        on_event: Callable[..., None] | None = None,
    ) -> None:
        self._config = config
        self._allow_nan = allow_nan
        self._queue = DefaultQueue(config, durability=durability, on_event=on_event)
        observe_if_wanted(self._queue.disk, config)

    def push(
        self, category: Any, data_type: Any, data_version: Any, data: Any, reqid: Any = None
    ) -> None:
        """Store one message.

        Args:
            category: First part of the URL path: letters, digits, dashes, underscores.
            data_type: What the data is; the same characters.
            data_version: Version of the data's form; the same characters, integers too.
            data: Text or bytes are sent as they are; anything else is written as JSON.
            reqid: Request id, by which the server recognizes repetitions within one URL path; ``None`` makes a unique
                one.

        Raises:
            AssertionError: A name is missing or holds other characters; nothing was stored.
            EncodingError: The data has no JSON form; nothing was stored.
            ValueError: The data holds NaN or infinity, or contains itself; nothing was stored.
            QueueFull: There is no room on the disk; nothing was stored.
            QueueBusy: Another program keeps the queue locked; nothing was stored.
            QueueError: The queue cannot be used; the text says why.
        """
        self._queue.disk.push(self._row(category, data_type, data_version, data, reqid))

    def push_many(self, messages: Iterable[tuple[Any, ...]]) -> int:
        """Store messages in one transaction: all of them, in their order, or none.

        Args:
            messages: Tuples of the arguments of :meth:`push`, four or five.

        Returns:
            How many were stored.

        Raises:
            AssertionError: As for :meth:`push`.
            EncodingError: As for :meth:`push`.
            QueueError: As for :meth:`push`.
        """
        rows = [self._row(*message) for message in messages]
        self._queue.disk.push_many(rows)
        return len(rows)

    def push_nowait(
        self, category: Any, data_type: Any, data_version: Any, data: Any, reqid: Any = None
    ) -> Future[None]:
        """Store one message in the background.

        Returns:
            A future that ends when :meth:`push` would return, or with the :class:`QueueError` it would raise. Messages
            of one thread keep their order.

        Raises:
            AssertionError: As for :meth:`push`.
            EncodingError: As for :meth:`push`.
        """
        return self._queue.disk.push_nowait(
            self._row(category, data_type, data_version, data, reqid)
        )

    def queue_size(self) -> int:
        """Return the number of messages in the queue.

        Raises:
            QueueError: The queue cannot be read.
        """
        return self._queue.disk.size()

    def close(self) -> None:
        """Finish what :meth:`push_nowait` began and close all files; the next use opens them again."""
        self._queue.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _row(
        self, category: Any, data_type: Any, data_version: Any, data: Any, reqid: Any = None
    ) -> StoredRow:
        names = (category, data_type, data_version)
        if type(category) is type(data_type) is type(data_version) is str:
            names = _stored_text_names(*names)
        else:
            names = _stored_names(*names)
        return (
            *names,
            reqid_text(reqid) or new_reqid(),
            deflate(encode(data, allow_nan=self._allow_nan)),
        )


def _stored_names(category: Any, data_type: Any, data_version: Any) -> tuple[str, str, str | int]:
    """Return the names as they are stored.

    Raises:
        AssertionError: One is missing or holds other characters.
    """
    for name, value in (
        ("category", category),
        ("data_type", data_type),
        ("data_version", data_version),
    ):
        if not value:
            raise AssertionError(f"Missing value for {name}")
        if not is_name(value):
            raise AssertionError(f"Invalid characters in {name}")
    if not isinstance(data_version, str):
        data_version = int(data_version) if isinstance(data_version, int) else str(data_version)
        if isinstance(data_version, int) and abs(data_version) >= 2**63:
            data_version = str(data_version)
    category, data_type = (
        name if isinstance(name, str) else str(name)  # str() of a member of a str enum is another
        for name in (category, data_type)
    )
    return category, data_type, data_version


_stored_text_names = functools.lru_cache(maxsize=1024)(_stored_names)
