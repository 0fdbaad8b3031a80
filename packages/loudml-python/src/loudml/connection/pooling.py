"""Base for connection classes whose library handles one request at a time per object.

Not used here; kept for users who subclass it. Source: loudml-python 1.6.3, ``connection.pooling``.
"""

from __future__ import annotations

import queue
from typing import Any

from loudml.connection.base import Connection

__all__ = ["PoolingConnection"]


class PoolingConnection(Connection):
    """A connection that keeps free objects of its library; subclasses give ``_make_connection()``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._free_connections: queue.SimpleQueue[Any] = queue.SimpleQueue()
        super().__init__(*args, **kwargs)

    def _make_connection(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__}._make_connection")

    def _get_connection(self) -> Any:
        """Return a free object, or a new one."""
        try:
            return self._free_connections.get_nowait()
        except queue.Empty:
            return self._make_connection()

    def _release_connection(self, con: Any) -> None:
        """Give an object back."""
        self._free_connections.put(con)

    def close(self) -> None:
        """Forget the free objects, closing those that can be closed."""
        while True:
            try:
                con = self._free_connections.get_nowait()
            except queue.Empty:
                return
            if hasattr(con, "close"):
                con.close()
