"""``pylm deploy dask``: every process of a cluster file as one long task of a ``distributed`` cluster.

The scheduler places the tasks and runs them again when their Dask worker dies; pylm's own heartbeats return the jobs.
Servers are bound to the host they were first placed on, pylm workers may move. No cluster manager of our own.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from pylm.cluster import role
from pylm.cluster.config import Cluster, load
from pylm.config import ConfigurationError

__all__ = ["DaskCluster", "run_role"]

RETRIES = 1000
_LOOK_S = 0.5


def run_role(path: str, name: str, bind: str, hosts: dict[str, str], stop: str) -> str:
    """Run one process of the cluster in this Dask worker until the stop variable is set; return its name.

    Args:
        path: Of the cluster file, the same on every machine.
        name: Of the process.
        bind: Host to bind to.
        hosts: Server name to host.
        stop: Name of the ``distributed.Event`` that ends it.
    """
    from distributed import Event

    instance = role.make_role(load(path), name, bind=bind, hosts=lambda each: hosts[each])
    thread = threading.Thread(target=instance.start, name=name, daemon=True)
    thread.start()
    event = Event(stop)
    try:
        while thread.is_alive() and not event.wait(timeout=_LOOK_S):
            pass
    finally:
        instance.stop(drain=True)
        thread.join(15.0)
    return name


class DaskCluster:
    """A pylm cluster on a Dask cluster.

    Args:
        cluster: A sound file whose path is valid on every machine.
        client: ``distributed.Client``.

    Raises:
        ConfigurationError: The Dask cluster has no worker.
    """

    def __init__(self, cluster: Cluster, client: Any) -> None:
        self.cluster = cluster
        self.client = client
        self._stop_name = f"pylm-{cluster.name}-stop"
        self.futures: dict[str, Any] = {}
        self.hosts: dict[str, str] = {}

    def start(self) -> None:
        """Submit every process."""
        from distributed import Event

        workers = list(self.client.scheduler_info(n_workers=-1)["workers"])
        if not workers:
            raise ConfigurationError("the Dask cluster has no worker to run on")
        Event(self._stop_name, client=self.client).clear()
        places = {
            name: workers[index % len(workers)]
            for index, name in enumerate(self.cluster.instances())
        }
        self.hosts = {entry.name: _host(places[entry.name]) for entry in self.cluster.servers}
        for name, place in places.items():
            same_host = [each for each in workers if _host(each) == _host(place)]
            is_server = name in self.hosts
            self.futures[name] = self.client.submit(
                run_role,
                str(self.cluster.path.resolve()),
                name,
                self.hosts.get(name, ""),
                self.hosts,
                self._stop_name,
                key=f"pylm-{self.cluster.name}-{name}",
                pure=False,
                retries=RETRIES,
                workers=same_host if is_server else None,
                resources=None,
            )

    def connect(self, server: str, last: str = "", **options: Any) -> Any:
        """Return a :class:`pylm.clients.Client` of one of the servers."""
        return role.make_client(
            self.cluster, server, last, hosts=lambda each: self.hosts[each], **options
        )

    def stop(self) -> None:
        """End every process; waits up to 20 s."""
        from distributed import Event, wait

        Event(self._stop_name, client=self.client).set()
        with contextlib.suppress(TimeoutError):
            wait(list(self.futures.values()), timeout=20)
        for future in self.futures.values():
            future.cancel()

    @contextlib.contextmanager
    def running(self) -> Iterator[DaskCluster]:
        """Start, and stop at the end of a ``with`` block."""
        self.start()
        try:
            yield self
        finally:
            self.stop()


def _host(address: str) -> str:
    return address.partition("://")[2].rpartition(":")[0]
