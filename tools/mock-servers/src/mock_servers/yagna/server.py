"""A local Golem inside this process: a thread with the API, its providers' processes beside it.

Used by ``cli``, ``fixtures``, the demo and tests. Methods may be called from any thread but the server's own.
"""

from __future__ import annotations

import asyncio
import os
import pathlib
import shutil
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from mock_servers.control import Controlled
from mock_servers.faults import FaultBoard
from mock_servers.runner import ServerThread
from mock_servers.started import Started
from mock_servers.traffic import TrafficLog
from mock_servers.yagna import control
from mock_servers.yagna.app import Application
from mock_servers.yagna.config import ProviderConfig, YagnaConfig
from mock_servers.yagna.daemon import Daemon, Identity

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["YagnaServer"]

T = TypeVar("T")
CALL_TIMEOUT_S = 60.0
VPN_PING_S = 5.0


def gftp_folder() -> str:
    """Return the folder that holds the ``gftp`` executable of this distribution.

    Raises:
        FileNotFoundError: It is not installed beside this interpreter nor on ``PATH``.
    """
    beside = pathlib.Path(sys.executable).with_name("gftp")
    found = str(beside) if beside.exists() else shutil.which("gftp")
    if found is None:
        raise FileNotFoundError("no gftp executable; install the mock-servers distribution")
    return str(pathlib.Path(found).parent)


class YagnaServer(Started):
    """One local Golem.

    Args:
        config: What it consists of.
        port: Port of the API on 127.0.0.1; 0 lets the system choose.
        environment: Variables every command on a provider sees, beside ``PATH``, ``HOME`` and ``TMPDIR``.
        traffic: Record of HTTP exchanges to share with other servers; a new one by default.
    """

    def __init__(
        self,
        config: YagnaConfig,
        *,
        port: int = 0,
        environment: Mapping[str, str] | None = None,
        traffic: TrafficLog | None = None,
    ) -> None:
        self.config = config
        self.faults = FaultBoard(config.seed)
        self.traffic = traffic or TrafficLog()
        self.app = Application(lambda: Daemon(config, environment))
        controlled = Controlled(
            self.app,
            server="yagna",
            node="daemon",
            faults=self.faults,
            traffic=self.traffic,
            state=lambda: {"providers": self.daemon.status(), "left": self.daemon.left_behind()},
        )
        self._thread = ServerThread(
            controlled, port=port, name="yagna", websocket_ping_s=VPN_PING_S
        )

    @property
    def url(self) -> str:
        """Base address of the API, without a slash at the end."""
        return self._thread.url

    @property
    def daemon(self) -> Daemon:
        """The present state; touch it only through :meth:`call`, or to read plain values."""
        return self.app.daemon

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables a requestor needs: addresses, key, and ``PATH`` with the ``gftp`` executable."""
        return {
            "YAGNA_API_URL": self.url,
            "YAGNA_APPKEY": self.config.app_key,
            "YAGNA_REGISTRY_URL": self.url,
            "PATH": os.pathsep.join([gftp_folder(), os.environ.get("PATH", os.defpath)]),
        }

    def start(self) -> Self:
        """Listen and bring the providers up."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End everything, providers' processes included; idempotent."""
        if self._thread.is_running:
            self.run(self.daemon.close())
        self._thread.stop()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the server's loop and return its result.

        Raises:
            TimeoutError: It took more than a minute.
        """
        return asyncio.run_coroutine_threadsafe(work, self.app.loop).result(CALL_TIMEOUT_S)

    def call(self, function: Callable[[Daemon], T]) -> T:
        """Run ``function(daemon)`` on the server's loop and return its result."""

        async def work() -> T:
            return function(self.daemon)

        return self.run(work())

    # what tests do to it -----------------------------------------------------------------------------------------

    def kill(self, provider: str) -> None:
        """Take a provider off the network; its activities show ``Terminated``."""
        self.run(control.act(self.daemon, provider, "kill"))

    def vanish(self, provider: str) -> None:
        """Take a provider off the network; questions about its activities fail."""
        self.run(control.act(self.daemon, provider, "vanish"))

    def crash(self, provider: str) -> None:
        """Kill the processes a provider runs; the node stays."""
        self.run(control.act(self.daemon, provider, "crash"))

    def revive(self, provider: str) -> None:
        """Bring a killed provider back."""
        self.run(control.act(self.daemon, provider, "revive"))

    def freeze(self, provider: str) -> None:
        """Stop a provider's processes with SIGSTOP."""
        self.run(control.act(self.daemon, provider, "freeze"))

    def thaw(self, provider: str) -> None:
        """Continue frozen processes."""
        self.run(control.act(self.daemon, provider, "thaw"))

    def cut_connections(self) -> None:
        """Close every open VPN websocket."""

        def cut(daemon: Daemon) -> None:
            for tunnel in list(daemon.tunnels):
                tunnel.cut.set()

        self.call(cut)

    def change(self, provider: str, **settings: Any) -> None:
        """Set knobs of a provider (fields of :class:`ProviderConfig`).

        Raises:
            KeyError: No such provider.
            ValueError: No such knob.
        """

        def work(daemon: Daemon) -> None:
            control.change(daemon.provider(provider).config, settings)
            daemon.market.bell.ring()

        self.call(work)

    def add_provider(self, config: ProviderConfig) -> None:
        """Bring one more provider up."""
        self.call(lambda daemon: daemon.add_provider(config))

    def add_identity(self, app_key: str, name: str) -> Identity:
        """Register an identity for a provider or requestor outside this process."""
        return self.call(lambda daemon: daemon.add_identity(app_key, name))

    def restart(self, down_s: float = 0.0) -> None:
        """Restart the daemon; all its state is lost."""
        self.run(self.app.restart(down_s))

    def left_behind(self) -> dict[str, list[str]]:
        """Return what requestors have not cleaned up; every list is empty when they have."""
        return self.call(lambda daemon: daemon.left_behind())
