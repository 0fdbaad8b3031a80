"""File transfer with providers: the ``gftp`` executable yapapi runs, and the map from its addresses to local files.

``gftp server`` speaks JSON-RPC 2.0, one object a line, and ends when its input does. It keeps no state of its own:
an address ``gftp://<node>/<64 hex>`` names an entry in a folder shared with the server (``$MOCK_YAGNA_GFTP``, else
one per user), a symbolic link to the file. Source: Golem gftp, as yapapi 0.13 uses it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import secrets
import sys
import tempfile
from collections.abc import Callable
from typing import Any, TextIO

__all__ = ["Files", "main", "serve"]

VERSION = "0.7.3 (mock-servers)"
NODE = "0x" + "0" * 40


def shared_folder() -> pathlib.Path:
    """Return the folder of address entries, created if needed."""
    configured = os.environ.get("MOCK_YAGNA_GFTP")
    folder = pathlib.Path(
        configured or pathlib.Path(tempfile.gettempdir()) / f"mock-yagna-gftp-{os.getuid()}"
    )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


class Files:
    """Published files and awaited ones, by address."""

    def __init__(self, folder: pathlib.Path | None = None) -> None:
        self.folder = folder or shared_folder()

    def publish(self, path: str) -> str:
        """Offer a file; identical content gets the same address.

        Raises:
            OSError: It cannot be read.
        """
        digest = hashlib.sha3_256()
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        return self._enter(digest.hexdigest(), path)

    def receive(self, path: str) -> str:
        """Return an address whose uploads end up in ``path``."""
        return self._enter(secrets.token_hex(32), path)

    def _enter(self, name: str, path: str) -> str:
        entry = self.folder / name
        with contextlib.suppress(FileNotFoundError):
            entry.unlink()
        entry.symlink_to(os.path.abspath(path))
        return f"gftp://{NODE}/{name}"

    def path(self, url: str) -> str:
        """Return the file an address stands for.

        Raises:
            ValueError: The address is not known.
        """
        name = url.rpartition("/")[2]
        entry = self.folder / name
        if not name or not entry.is_symlink():
            raise ValueError(f"unknown address {url}")
        return os.readlink(entry)

    def close(self, url: str) -> bool:
        """Forget an address; return whether it was known."""
        try:
            self.path(url)
        except ValueError:
            return False
        (self.folder / url.rpartition("/")[2]).unlink()
        return True


def _copy(source: str, target: str) -> None:
    pathlib.Path(target).write_bytes(pathlib.Path(source).read_bytes())


class _Methods:
    """The methods of ``gftp server``, by their names on the wire."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.ended = False

    def version(self) -> str:
        return VERSION

    def publish(self, files: list[str]) -> list[dict[str, str]]:
        return [{"file": file, "url": self.files.publish(file)} for file in files]

    def receive(self, output_file: str) -> dict[str, str]:
        return {"file": output_file, "url": self.files.receive(output_file)}

    def close(self, urls: list[str]) -> list[str]:
        return ["ok" if self.files.close(url) else "error" for url in urls]

    def download(self, url: str, output_file: str) -> dict[str, str]:
        _copy(self.files.path(url), output_file)
        return {"file": output_file, "url": url}

    def upload(self, file: str, url: str) -> dict[str, str]:
        _copy(file, self.files.path(url))
        return {"file": file, "url": url}

    def shutdown(self) -> str:
        self.ended = True
        return "ok"


def _answer(line: str, methods: _Methods) -> dict[str, Any]:
    identifier: Any = None

    def failure(code: int, message: str) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": identifier, "error": {"code": code, "message": message}}

    try:
        request = json.loads(line)
    except ValueError as error:
        return failure(-32700, f"parse error: {error}")
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        return failure(-32600, "invalid request")
    identifier = request.get("id")
    name = request["method"]
    method: Callable[..., Any] | None = (
        None if name.startswith("_") else getattr(methods, name, None)
    )
    if not callable(method):
        return failure(-32601, f"method not found: {name}")
    try:
        result = method(**(request.get("params") or {}))
    except TypeError as error:
        return failure(-32602, f"invalid params: {error}")
    except (OSError, ValueError) as error:
        return failure(-32000, str(error))
    return {"jsonrpc": "2.0", "id": identifier, "result": result}


def serve(source: TextIO, target: TextIO, files: Files) -> None:
    """Answer requests from ``source`` on ``target`` until ``shutdown`` or the end of input."""
    methods = _Methods(files)
    for line in source:
        if line.strip():
            target.write(json.dumps(_answer(line, methods)) + "\r\n")
            target.flush()
        if methods.ended:
            return


def main() -> None:
    """Run ``gftp server``; other words print how it is used and exit with status 2."""
    if sys.argv[1:] != ["server"]:
        sys.exit("usage: gftp server")
    with contextlib.suppress(KeyboardInterrupt):
        serve(sys.stdin, sys.stdout, Files())
