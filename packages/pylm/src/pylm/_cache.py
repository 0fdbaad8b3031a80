"""The cache verbs: one request frame in, one answer frame out. Pure but for the store.

``<anything>.set|get|delete``, and ``<anything>._stats`` for ``pylm top``. Both generations; no request can end the
service (in the originals a malformed one did). Source: wire reference, section A3; faults E-7, E-30, E-38.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from pylm import _wire
from pylm.errors import Malformed

__all__ = ["CacheVerbs"]


class CacheVerbs:
    """Answers cache requests from a store.

    Args:
        cache: Store with ``get``, ``set``, ``delete`` and ``in``.
        logger: Receives the original's lines.
        protected: Keys that requests may read but not write; a server's own addresses.
        stats: Returns the JSON for ``_stats``.
    """

    def __init__(
        self,
        cache: Any,
        logger: logging.Logger,
        protected: set[str] | None = None,
        stats: Callable[[], bytes] | None = None,
    ) -> None:
        self.cache = cache
        self.logger = logger
        self.protected = protected if protected is not None else set()
        self._stats = stats

    def answer(self, frame: bytes) -> bytes:
        """Return the answer to one request; ``b''`` for whatever cannot be served."""
        try:
            message, payload = _wire.decode_new(frame)
        except Malformed:
            self.logger.error("Message could not be decoded")
            return b""
        verb = message.function.partition(".")[2]
        if verb == "get":
            return self._get(payload)
        if verb == "set":
            return self._set(message.cache or _wire.new_uuid(), payload)
        if verb == "delete":
            return self._delete(payload)
        if verb == "_stats" and self._stats is not None:
            return self._stats()
        self.logger.error("Cache b'cache':Key not found in the database")
        return b""

    def _get(self, payload: bytes) -> bytes:
        key = payload.decode(errors="replace")
        self.logger.debug("Cache Service: Get key %s", key)
        value = self.cache.get(key)
        if value is None:
            self.logger.error("key %s not present", key)
            return b""
        return value.encode() if isinstance(value, str) else bytes(value)

    def _set(self, key: str, value: bytes) -> bytes:
        self.logger.debug("Cache Service: Set key %s", key)
        if key in self.protected:
            self.logger.error("key %s is the server's own and was not overwritten", key)
            return b""
        try:
            self.cache.set(key, value)
        except ValueError as error:
            self.logger.error("key %s was not stored: %s", key, error)
            return b""
        return key.encode()

    def _delete(self, payload: bytes) -> bytes:
        key = payload.decode(errors="replace")
        self.logger.debug("Cache Service: Delete key %s", key)
        if key in self.protected:
            self.logger.error("key %s is the server's own and was not deleted", key)
            return b""
        try:
            self.cache.delete(key)
        except KeyError:
            self.logger.error("key %s not present", key)
        return payload
