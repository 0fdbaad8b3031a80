"""A session's figures for other processes of the same user: a unix socket that ``ya-httpx status`` reads.

One line of JSON per connection. Sockets lie in a folder only the user can enter; one of a process that is gone is
removed by whoever finds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import socket
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from ya_httpx_client.stats import UrlStats

__all__ = ["StatusSocket", "read_all", "status_folder"]

logger = logging.getLogger("ya_httpx_client")


def status_folder() -> pathlib.Path:
    """Return the folder of the sockets: ``$XDG_RUNTIME_DIR/ya-httpx`` or one in the temporary folder."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base:
        return pathlib.Path(base) / "ya-httpx"
    return pathlib.Path(tempfile.gettempdir()) / f"ya-httpx-{os.getuid()}"


class StatusSocket:
    """Serves figures while a session runs.

    Args:
        stats: Returns the figures.
    """

    def __init__(self, stats: Callable[[], Mapping[str, UrlStats]]) -> None:
        self._stats = stats
        self._socket: socket.socket | None = None
        self._path: pathlib.Path | None = None

    def open(self) -> None:
        """Start serving on the running loop; a folder that cannot be used is logged, nothing else."""
        folder = status_folder()
        path = folder / f"{os.getpid()}-{id(self):x}.sock"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.stat().st_uid != os.getuid():
                raise PermissionError(f"{folder} belongs to somebody else")
            listener.bind(str(path))
            listener.listen(8)
        except OSError as error:
            listener.close()
            logger.info("no status socket: %s", error)
            return
        listener.setblocking(False)
        self._socket, self._path = listener, path
        asyncio.get_running_loop().add_reader(listener.fileno(), self._answer)

    def _answer(self) -> None:
        assert self._socket is not None
        with contextlib.suppress(OSError):
            connection, _ = self._socket.accept()
            with connection:
                figures = {url: dataclasses.asdict(found) for url, found in self._stats().items()}
                connection.settimeout(0.2)
                connection.sendall(
                    json.dumps({"pid": os.getpid(), "urls": figures}).encode() + b"\n"
                )

    def close(self) -> None:
        """Stop serving; safe to call again."""
        if self._socket is not None and self._path is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._path.unlink(missing_ok=True)
            self._socket = None


def read_all(folder: pathlib.Path | None = None, timeout_s: float = 2.0) -> list[dict[str, Any]]:
    """Return the figures of every session of this user: ``{"pid": int, "urls": {url: fields of UrlStats}}`` each."""
    found = []
    for path in sorted((folder or status_folder()).glob("*.sock")):
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(timeout_s)
                connection.connect(str(path))
                with connection.makefile("rb") as stream:
                    found.append(json.loads(stream.readline()))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)  # its process is gone
        except (OSError, ValueError):
            continue
    return found
