"""A Loud ML server of one or several nodes in this process.

    with LoudmlServer(nodes=3) as server:
        client = Loud(server.hosts)
        server.nodes[0].kill()

All nodes share one :class:`~mock_servers.loudml.cluster.Cluster`; each listens on its own port and can be stopped,
killed and started again. With a :class:`~mock_servers.clock.ManualClock` time moves only through
:meth:`LoudmlServer.advance`.
"""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mock_servers.clock import Clock, ManualClock, SystemClock
from mock_servers.control import Controlled
from mock_servers.faults import FaultBoard
from mock_servers.loudml.cluster import Cluster, Profile
from mock_servers.loudml.loading import load_file
from mock_servers.loudml.routes import Api
from mock_servers.loudml.store import Store
from mock_servers.runner import ServerThread
from mock_servers.started import Started
from mock_servers.traffic import TrafficLog

if TYPE_CHECKING:
    import os
    import ssl

    from typing_extensions import Self

__all__ = ["LoudmlNode", "LoudmlServer"]

ROLES = ("master", "compute")


class LoudmlNode:
    """One node: an address at which the cluster answers.

    Attributes:
        name: ``loudml`` when it is alone, else ``loudml-1``, ``loudml-2``, ...
        id: 32 hexadecimal digits, the same over restarts.
        roles: As listed for sniffing; clients skip a node whose only role is ``master``.
        publish_address: ``host:port`` listed for sniffing; ``None`` lists the address that was asked.
    """

    def __init__(
        self,
        server: LoudmlServer,
        name: str,
        port: int,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self.name = name
        self.id = hashlib.sha256(name.encode()).hexdigest()[:32]
        self.roles: Sequence[str] = ROLES
        self.publish_address: str | None = None
        api = Api(server.cluster, lambda host: server.nodes_shown(self, host), self.id)
        app = Controlled(
            api.application(),
            server="loudml",
            node=name,
            faults=server.faults,
            traffic=server.traffic,
            state=server.cluster.shown,
            reset=server.cluster.reset,
        )
        self._thread = ServerThread(app, port=port, name=name, ssl_context=ssl_context)

    @property
    def url(self) -> str:
        """Base address."""
        return self._thread.url

    @property
    def host(self) -> str:
        """``host:port``."""
        return f"{self._thread.host}:{self._thread.port}"

    @property
    def is_running(self) -> bool:
        """Whether it listens."""
        return self._thread.is_running

    def start(self) -> None:
        """Listen, on the same port as before when it ran already."""
        self._thread.start()

    def stop(self) -> None:
        """Finish running requests and leave; idempotent."""
        self._thread.stop()

    def kill(self) -> None:
        """Vanish: connections are reset; idempotent."""
        self._thread.kill()

    def shown(self, address: str) -> dict[str, Any]:
        """Return the node's entry in ``/_nodes`` at an address."""
        ip = address.rpartition(":")[0].strip("[]")
        return {
            "host": ip,
            "http": {"bound_address": [address], "publish_address": address},
            "ip": ip,
            "name": self.name,
            "roles": list(self.roles),
            "transport_address": f"{ip}:8088",
            "version": "1.6.0",
        }


class LoudmlServer(Started):
    """A Loud ML server.

    Args:
        nodes: How many nodes, >= 1.
        port: Port of the first node, the others follow; 0 lets the system choose each.
        data: SQLite file that keeps models, buckets, points, templates and schedules; ``None`` keeps them in memory.
        clock: ``None`` for the machine's.
        profile: ``fixed``, or ``faithful`` to reproduce the original's faults.
        tick_s: Period at which job reports are applied and schedules looked at, seconds of the clock; upstream's is 1.
        workers: Threads for jobs other than training.
        jobs_max_ttl_s: Finished jobs are forgotten after this time.
        evaluation_s: Least time one training evaluation takes, so that there is something to watch and cancel.
        faults: Board to share; ``None`` makes one.
        traffic: Record to share; ``None`` makes one.
        ssl_context: Serve TLS.
    """

    def __init__(
        self,
        nodes: int = 1,
        *,
        port: int = 0,
        data: str | os.PathLike[str] | None = None,
        clock: Clock | None = None,
        profile: Profile = "fixed",
        tick_s: float = 1.0,
        workers: int = 2,
        jobs_max_ttl_s: float = 60.0,
        evaluation_s: float = 0.0,
        faults: FaultBoard | None = None,
        traffic: TrafficLog | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        if nodes < 1:
            raise ValueError(f"nodes is {nodes}: a server has at least one")
        self.clock: Clock = clock or SystemClock()
        self.faults = faults or FaultBoard()
        self.traffic = traffic or TrafficLog()
        self.tick_s = tick_s
        self.cluster = Cluster(
            Store(None if data is None else str(data)),
            self.clock,
            profile=profile,
            workers=workers,
            jobs_max_ttl_s=jobs_max_ttl_s,
            evaluation_s=evaluation_s,
            address=self._live_address,
        )
        names = ["loudml"] if nodes == 1 else [f"loudml-{index + 1}" for index in range(nodes)]
        self.nodes = [
            LoudmlNode(self, name, port + index if port else 0, ssl_context)
            for index, name in enumerate(names)
        ]
        self._stopping = threading.Event()
        self._loops: list[threading.Thread] = []

    @property
    def hosts(self) -> list[str]:
        """``host:port`` of every node, as ``Loud(hosts)`` takes them."""
        return [node.host for node in self.nodes]

    @property
    def url(self) -> str:
        """Base address of the first node."""
        return self.nodes[0].url

    def start(self) -> Self:
        """Start all nodes and, on a real clock, what happens over time.

        Raises:
            OSError: A port is taken; nothing is left running.
        """
        try:
            for node in self.nodes:
                node.start()
        except BaseException:
            self.stop()
            raise
        if not isinstance(self.clock, ManualClock):
            self._loop("loudml-ticker", self.cluster.jobs.tick)
            self._loop("loudml-scheduler", self.cluster.scheduler.run_due)
        return self

    def _loop(self, name: str, action: Callable[[], None]) -> None:
        def loop() -> None:
            while not self._stopping.wait(self.tick_s):
                action()

        thread = threading.Thread(target=loop, name=name, daemon=True)
        thread.start()
        self._loops.append(thread)

    def stop(self) -> None:
        """Stop nodes and work; the server cannot be started again."""
        self._stopping.set()
        for node in self.nodes:
            node.stop()
        for thread in self._loops:
            thread.join()
        self.cluster.close()

    def advance(self, seconds: float = 0.0) -> None:
        """Let time pass on a manual clock, tick by tick, each tick's work done before the next.

        Args:
            seconds: 0 lets running work finish and be reported.

        Raises:
            TypeError: The server runs on a real clock.
            TimeoutError: Work did not finish within a minute of real time.
        """
        clock = self.clock
        if not isinstance(clock, ManualClock):
            raise TypeError("advance() needs LoudmlServer(clock=ManualClock())")
        left = seconds
        self._settle(clock)
        while left > 0:
            step = min(self.tick_s, left)
            clock.move(step)
            left -= step
            self._settle(clock)

    def _settle(self, clock: ManualClock) -> None:
        self.cluster.jobs.wait_idle(lambda: clock.sleepers)
        self.cluster.tick()
        self.cluster.jobs.wait_idle(lambda: clock.sleepers)

    def load(self, bucket: str, path: str | os.PathLike[str]) -> int:
        """Load a CSV or JSON file into a bucket, made when missing; return the number of field values.

        See :func:`mock_servers.loudml.loading.load_file`.
        """
        return load_file(self.cluster, bucket, path)

    def _live_address(self) -> str | None:
        return next((node.host for node in self.nodes if node.is_running), None)

    def nodes_shown(self, asked: LoudmlNode, host: str) -> dict[str, Any]:
        """Return the ``nodes`` object: all live nodes by id, the one asked at the address it was asked by.

        Args:
            asked: The node that received the request.
            host: Its ``Host`` header.

        Raises:
            ValueError: The header has no port and the profile is faithful.
        """
        shown = {}
        for node in self.nodes:
            address = node.publish_address or node.host
            if node is asked and node.publish_address is None:
                address = _resolved(host) or address
            if node.is_running:
                shown[node.id] = node.shown(address)
        if self.cluster.is_faithful and ":" not in host:
            raise ValueError("the Host header has no port")
        return shown


def _resolved(host: str) -> str | None:
    """Return a ``Host`` header as ``ip:port``, ``None`` when it has no port or its name is unknown."""
    name, _, port = host.rpartition(":")
    if not name or not port.isdigit():
        return None
    try:
        return f"{socket.gethostbyname(name)}:{port}"
    except OSError:
        return None
