"""The short way to a reader and a writer, and the helpers of 1.40 under their old address.

Source: ``infi.ramen_client.utils`` of 1.40.
"""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from typing import TYPE_CHECKING, Any

from infi.ramen_client.config import QueueReaderConfig
from infi.ramen_client.names import validate_name, validate_version
from infi.ramen_client.serialization import compress, dump_json

if TYPE_CHECKING:
    from infi.ramen_client.queue_reader import QueueReader
    from infi.ramen_client.queue_writer import QueueWriter

__all__ = [
    "compress",
    "create_queue_reader_and_writer",
    "dump_json",
    "logger",
    "validate_name",
    "validate_version",
]

logger = logging.getLogger("ramen_client")

EXIT_WAIT_S = 1.0


def create_queue_reader_and_writer(
    config: QueueReaderConfig, **options: Any
) -> tuple[QueueReader, QueueWriter]:
    """Return a reader, which already runs in a background thread, and a writer for the same queue.

    The thread ends with :meth:`QueueReader.stop` or with the program, which waits up to a second for a request in
    progress. Nothing else ends it: failures, a refused token too, are logged, reported to ``on_event`` and tried again.

    Args:
        config: A valid configuration.
        options: Options of :class:`QueueReader`.

    Raises:
        AssertionError: ``config`` is no :class:`QueueReaderConfig`.
        DataError: ``config`` is not valid.
        OSError: The queue's folder cannot be created.
    """
    from infi.ramen_client.queue_reader import QueueReader
    from infi.ramen_client.queue_writer import QueueWriter

    reader = QueueReader(config, **options)
    thread = threading.Thread(target=reader.run_forever, name="ramen-reader", daemon=True)
    thread.start()
    _running[reader] = thread
    return reader, QueueWriter(config)


_running: weakref.WeakKeyDictionary[QueueReader, threading.Thread] = weakref.WeakKeyDictionary()


def _stop_all() -> None:
    readers = list(_running.items())
    for reader, _ in readers:
        reader.stop()
    for _, thread in readers:
        thread.join(EXIT_WAIT_S)


atexit.register(_stop_all)
