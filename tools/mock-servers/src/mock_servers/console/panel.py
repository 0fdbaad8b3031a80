"""One server as the console shows it."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Callable
from typing import Any, Protocol

from mock_servers.faults import FaultBoard
from mock_servers.traffic import TrafficLog

__all__ = ["Panel", "Shown"]

STATE_TIMEOUT_S = 5.0


class Shown(Protocol):
    """What a server must offer to be shown: every server of this distribution does.

    A server of several nodes also has ``nodes``, each with ``name``, ``url``, ``is_running``, ``start()``, ``kill()``.
    """

    @property
    def url(self) -> str:
        """Base address."""

    @property
    def faults(self) -> FaultBoard:
        """Its faults."""

    @property
    def traffic(self) -> TrafficLog:
        """Its record."""


class Panel:
    """A server, or a source of state alone, under a name.

    Args:
        name: Unique among the panels of a console.
        server: The server; ``None`` for a panel that shows state only.
        state: Returns what to show, JSON values; ``None`` asks the server's ``/_mock/state``.
        throughput: Of a panel without a server: returns messages so far and messages per second; ``None`` shows none.
    """

    def __init__(
        self,
        name: str,
        server: Shown | None = None,
        state: Callable[[], Any] | None = None,
        throughput: Callable[[], tuple[int, float]] | None = None,
    ) -> None:
        self.name = name
        self.server = server
        self.throughput = throughput
        self._state = state

    @property
    def nodes(self) -> list[dict[str, Any]]:
        """The nodes: name, address, whether it runs and whether it can be killed from here."""
        if self.server is None:
            return []
        nodes = getattr(self.server, "nodes", None)
        if nodes is None:
            return [{"name": self.name, "url": self.server.url, "running": True, "kill": False}]
        return [
            {"name": node.name, "url": node.url, "running": node.is_running, "kill": True}
            for node in nodes
        ]

    def url_of(self, node: str) -> str:
        """Return the address of a node, of the first one when the name is unknown."""
        addresses = {entry["name"]: entry["url"] for entry in self.nodes}
        return str(addresses.get(node) or next(iter(addresses.values())))

    def switch(self, node: str, *, on: bool) -> bool:
        """Start or kill a node; return whether there is such a node."""
        for candidate in getattr(self.server, "nodes", ()):
            if candidate.name == node:
                if not on:
                    candidate.kill()
                elif not candidate.is_running:
                    candidate.start()
                return True
        return False

    def state(self) -> Any:
        """Return what the server holds. Blocks for the time of a request to it.

        Raises:
            OSError, http.client.HTTPException, ValueError: It cannot be asked.
        """
        if self._state is not None:
            return self._state()
        return json.loads(self._ask("GET", "/_mock/state"))

    def reset(self) -> None:
        """Put the server back to its initial state. Blocks for the time of a request to it.

        Raises:
            OSError, http.client.HTTPException: It cannot be asked.
        """
        self._ask("POST", "/_mock/reset")

    def _ask(self, method: str, path: str) -> bytes:
        running = [entry["url"] for entry in self.nodes if entry["running"]]
        if not running:
            raise ConnectionRefusedError(f"no node of {self.name} runs")
        address = urllib.parse.urlsplit(running[0])
        connection = http.client.HTTPConnection(address.netloc, timeout=STATE_TIMEOUT_S)
        try:
            connection.request(method, path)
            return connection.getresponse().read()
        finally:
            connection.close()
