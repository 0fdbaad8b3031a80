"""The ``ctx`` that ``@session.startup`` functions receive: records commands for the provider.

yapapi's own context lost these methods in 0.7; this one has the names and argument orders of 0.6 and those of 0.13.
All commands go into one script, which runs after the function returned; ``commit`` starts another one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

__all__ = ["StartContext"]

DOWNLOAD_LIMIT_BYTES = 1 << 20
OnDownload = Callable[[Any], Awaitable[Any]]


class StartContext:
    """Records commands.

    Args:
        work: yapapi's ``WorkContext`` of the activity.
    """

    def __init__(self, work: Any) -> None:
        self._work = work
        self._scripts: list[Any] = []
        self._open: Any = None

    @property
    def id(self) -> str:
        """Id of the activity."""
        return str(self._work.id)

    @property
    def provider_id(self) -> str:
        """Node id of the provider."""
        return str(self._work.provider_id)

    @property
    def provider_name(self) -> str | None:
        """Name of the provider."""
        name: str | None = self._work.provider_name
        return name

    def scripts(self) -> list[Any]:
        """Return what was recorded, as yapapi scripts in order."""
        self.commit()
        return self._scripts

    @property
    def _script(self) -> Any:
        if self._open is None:
            self._open = self._work.new_script()
        return self._open

    def new_script(self, timeout: timedelta | None = None, wait_for_results: bool = True) -> Any:
        """Return an empty yapapi script; it runs only if it is yielded by the function, an async generator then."""
        return self._work.new_script(timeout=timeout, wait_for_results=wait_for_results)

    def commit(self, timeout: timedelta | None = None) -> Any:
        """End the script recorded so far; later commands go into a new one.

        Args:
            timeout: Longest run time of the script, ``None`` for no limit.
        """
        script, self._open = self._open, None
        if script is not None:
            script.timeout = timeout
            self._scripts.append(script)
        return script

    def run(self, cmd: str, *args: str, env: dict[str, str] | None = None) -> Any:
        """Run a program on the provider.

        Args:
            cmd: The program.
            args: Its arguments.
            env: Variables set for it; by way of ``/usr/bin/env``, since yapapi does not transmit them.
        """
        if env:
            words = [f"{name}={value}" for name, value in env.items()]
            return self._script.run("/usr/bin/env", *words, cmd, *args)
        return self._script.run(cmd, *args)

    def send_file(self, src_path: str, dst_path: str) -> Any:
        """Upload a file."""
        return self._script.upload_file(src_path, dst_path)

    def send_bytes(self, dst_path: str, data: bytes) -> Any:
        """Upload bytes; the destination comes first."""
        return self._script.upload_bytes(data, dst_path)

    def send_json(self, json_path: str, data: Any) -> Any:
        """Upload a value as JSON; the destination comes first."""
        return self._script.upload_json(data, json_path)

    def download_file(self, src_path: str, dst_path: str) -> Any:
        """Download a file."""
        return self._script.download_file(src_path, dst_path)

    def download_bytes(
        self, src_path: str, on_download: OnDownload, limit: int = DOWNLOAD_LIMIT_BYTES
    ) -> Any:
        """Download a file of at most ``limit`` bytes and hand them to ``on_download``."""
        return self._script.download_bytes(src_path, on_download, limit)

    def download_json(
        self, src_path: str, on_download: OnDownload, limit: int = DOWNLOAD_LIMIT_BYTES
    ) -> Any:
        """Download a JSON file of at most ``limit`` bytes and hand the value to ``on_download``."""
        return self._script.download_json(src_path, on_download, limit)

    def upload_file(self, src_path: str, dst_path: str) -> Any:
        """Upload a file (name of yapapi 0.13)."""
        return self._script.upload_file(src_path, dst_path)

    def upload_bytes(self, data: bytes, dst_path: str) -> Any:
        """Upload bytes (name and order of yapapi 0.13)."""
        return self._script.upload_bytes(data, dst_path)

    def upload_json(self, data: Any, dst_path: str) -> Any:
        """Upload a value as JSON (name and order of yapapi 0.13)."""
        return self._script.upload_json(data, dst_path)

    def terminate(self) -> Any:
        """End the activity."""
        return self._script.terminate()

    def deploy(self) -> None:
        """Do nothing: the image is deployed before the function runs."""

    def start(self, *args: str) -> None:
        """Do nothing: the machine is started before the function runs."""
