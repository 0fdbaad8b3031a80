"""A server of one node over a store that outlives its thread: what ``RamenServer`` and ``V3ioServer`` are."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from mock_servers.runner import ServerThread

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["StoredServer"]


class _Store(Protocol):
    def close(self) -> None:
        """Close the data."""


class StoredServer:
    """Start, stop and end of a server; subclasses set ``store`` and ``_thread``.

    Methods may be called from any thread but the server's own.
    """

    store: _Store
    _thread: ServerThread

    @property
    def url(self) -> str:
        """Base address, ``http://127.0.0.1:port``; known once started."""
        return self._thread.url

    def start(self) -> Self:
        """Serve in a thread of this process; see :meth:`mock_servers.runner.ServerThread.start`."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving; the data stay, and :meth:`start` serves them again on the same port."""
        self._thread.stop()

    def kill(self) -> None:
        """Vanish as a crashed process does; :meth:`start` serves again on the same port."""
        self._thread.kill()

    def close(self) -> None:
        """Stop serving and close the data; idempotent."""
        self._thread.stop()
        self.store.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
