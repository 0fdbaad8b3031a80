"""The server as programs and tests use it: data, keys, faults and the thread that serves.

``with V3ioServer() as server: v3io.dataplane.Client(endpoint=server.url, access_key="any")``.
"""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from mock_servers.control import Controlled
from mock_servers.faults import FaultBoard
from mock_servers.runner import ServerThread
from mock_servers.stored import StoredServer
from mock_servers.traffic import TrafficLog
from mock_servers.v3io.access import Access, Grant
from mock_servers.v3io.app import V3ioApplication
from mock_servers.v3io.items import ScanKnobs
from mock_servers.v3io.store import Store
from mock_servers.v3io.summary import summarize

__all__ = ["DEFAULT_CONTAINERS", "V3ioServer"]

DEFAULT_CONTAINERS = ("bigdata", "projects", "users")


class V3ioServer(StoredServer):
    """One emulated web API on 127.0.0.1.

    Args:
        data: Folder that keeps the database over restarts, made if missing; ``None`` keeps everything in memory.
        port: Port; 0 lets the system choose.
        containers: Names of the containers.
        keys: Access key -> what it may do; ``None`` takes any key.
        clock: Returns nanoseconds since 1970; give another one to age records or skew times.
        traffic: Record to share with other servers.

    Attributes:
        faults: Faults to strike.
        traffic: What was asked and answered.
        knobs: How scans page.
        store: The data.
    """

    def __init__(
        self,
        *,
        data: pathlib.Path | None = None,
        port: int = 0,
        containers: Iterable[str] = DEFAULT_CONTAINERS,
        keys: Mapping[str, Sequence[Grant]] | None = None,
        clock: Callable[[], int] = time.time_ns,
        traffic: TrafficLog | None = None,
    ) -> None:
        file = None
        if data is not None:
            data.mkdir(parents=True, exist_ok=True)
            file = data / "v3io.sqlite"
        self.store: Store = Store(file, containers, clock)
        self.knobs = ScanKnobs()
        self.faults = FaultBoard()
        self.traffic = traffic or TrafficLog()
        application = V3ioApplication(self.store, Access(keys), self.knobs)
        self._thread = ServerThread(
            Controlled(
                application,
                server="v3io",
                node="v3io",
                faults=self.faults,
                traffic=self.traffic,
                state=lambda: summarize(self.store),
                reset=application.reset,
            ),
            port=port,
            name="mock-v3io",
        )

    @property
    def port(self) -> int:
        """Port, known once started."""
        return self._thread.port
