"""The in-memory store behind a server's cache.

Used by every server; give a server another object with the same methods to keep its cache elsewhere.
Source: ``pylm.persistence.kv`` of 0.14.4; the lock is per object here.
"""

from __future__ import annotations

import threading
from typing import Any

__all__ = ["DictDB"]


class DictDB:
    """A dictionary with a lock; thread-safe. ``store`` is the dictionary itself.

    Args:
        max_bytes: Limit of the stored values together; ``None`` for no limit.
    """

    def __init__(self, max_bytes: int | None = None) -> None:
        self.store: dict[str, Any] = {}
        self.max_bytes = max_bytes
        self._size = 0
        self._lock = threading.Lock()

    def get(self, key: str) -> Any:
        """Return the value, ``None`` when absent."""
        return self.store.get(key)

    def set(self, key: str, value: Any) -> None:
        """Store the value.

        Raises:
            ValueError: The limit of the store would be exceeded; nothing was stored.
        """
        with self._lock:
            size = self._size + _size(value) - _size(self.store.get(key))
            if self.max_bytes is not None and size > self.max_bytes:
                raise ValueError(
                    f"storing {key!r} would bring the cache to {size} bytes; its limit is {self.max_bytes}"
                )
            self._size = size
            self.store[key] = value

    def delete(self, key: str) -> None:
        """Remove the key.

        Raises:
            KeyError: It is absent.
        """
        with self._lock:
            self._size -= _size(self.store.pop(key))

    def clean(self, prefix: str) -> None:
        """Remove every key that begins with ``prefix``."""
        with self._lock:
            for key in [key for key in self.store if key.startswith(prefix)]:
                self._size -= _size(self.store.pop(key))

    def __contains__(self, key: object) -> bool:
        return key in self.store


def _size(value: Any) -> int:
    return len(value) if isinstance(value, (bytes, str)) else 0
