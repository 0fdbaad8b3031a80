"""Client of the Ramen server: writers put messages into a queue on disk, a reader sends them.

The public classes live in the modules they always lived in (:mod:`~infi.ramen_client.config`,
:mod:`~infi.ramen_client.queue_writer`, :mod:`~infi.ramen_client.queue_reader`, :mod:`~infi.ramen_client.utils`) and may
be imported from here too; each is loaded on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

from infi.ramen_client._version import __version__

if TYPE_CHECKING:
    from infi.ramen_client.aio import AsyncQueueReader, AsyncQueueWriter
    from infi.ramen_client.config import QueueReaderConfig, QueueWriterConfig
    from infi.ramen_client.queue_reader import QueueReader
    from infi.ramen_client.queue_writer import QueueWriter
    from infi.ramen_client.utils import create_queue_reader_and_writer

__all__ = [
    "AsyncQueueReader",
    "AsyncQueueWriter",
    "QueueReader",
    "QueueReaderConfig",
    "QueueWriter",
    "QueueWriterConfig",
    "__version__",
    "create_queue_reader_and_writer",
]

_HOMES = {
    "AsyncQueueReader": "aio",
    "AsyncQueueWriter": "aio",
    "QueueReader": "queue_reader",
    "QueueReaderConfig": "config",
    "QueueWriter": "queue_writer",
    "QueueWriterConfig": "config",
    "create_queue_reader_and_writer": "utils",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"infi.ramen_client.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'infi.ramen_client' has no attribute {name!r}")
