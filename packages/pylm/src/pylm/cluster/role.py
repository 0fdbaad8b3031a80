"""One process of a cluster: makes the server, worker or client an entry describes, and runs it.

Called by the supervisor (``pylm run``), by rendered deployments (``pylm role``) and on Dask workers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from pylm.clients import Client
from pylm.cluster.check import base_class, import_target
from pylm.cluster.config import Cluster, ServerEntry
from pylm.config import ServerOptions
from pylm.security import Curve, load_curve

__all__ = ["curve_of", "make_client", "make_role", "run_client"]

Hosts = Callable[[str], str]
"""Server name to the host it is found at."""


def curve_of(cluster: Cluster, *, server: bool) -> Curve | None:
    """Return the keys of a role; ``None`` for a cluster without."""
    if not cluster.curve:
        return None
    folder = cluster.path.parent / cluster.curve
    own = "server" if server else "client"
    allowed = folder / "allowed"
    return load_curve(
        folder / f"{own}.key_secret",
        folder / "server.key",
        str(allowed) if allowed.is_dir() else None,
    )


def _local(cluster: Cluster) -> Hosts:
    return lambda name: cluster.host


def make_role(
    cluster: Cluster, instance: str, *, bind: str = "", hosts: Hosts | None = None
) -> Any:
    """Return the server or worker called ``instance``, ready to ``start``.

    Args:
        cluster: The file.
        instance: A server's name, or ``<master>-worker-<n>``.
        bind: Host to bind to; empty for the cluster's.
        hosts: Where servers are found; ``None``: all at the cluster's host.
    """
    find = hosts if hosts is not None else _local(cluster)
    for entry in cluster.servers:
        if entry.name == instance:
            return _make_server(cluster, entry, bind or cluster.host, find)
    worker = cluster.worker_of(instance)
    options = ServerOptions(curve=curve_of(cluster, server=True))
    kind = import_target(cluster, worker.target)
    return kind(
        instance,
        cluster.address(worker.of, "db", find(worker.of)),
        log_level=getattr(logging, worker.log_level.upper(), logging.INFO),
        options=options,
    )


def _make_server(cluster: Cluster, entry: ServerEntry, bind: str, find: Hosts) -> Any:
    kind = import_target(cluster, entry.target) if entry.target else base_class(entry)

    def own(role: str) -> str:
        return cluster.address(entry.name, role, bind)

    def source(name: str) -> str:
        return cluster.address(name, "pub", find(name))

    wildcard = bind in ("*", "0.0.0.0")  # noqa: S104 - what the deployment asked for
    options = ServerOptions(
        curve=curve_of(cluster, server=True), advertise_host=find(entry.name) if wildcard else None
    )
    answers = cluster.answers_client(entry)
    more = {
        "log_level": getattr(logging, entry.log_level.upper(), logging.INFO),
        "options": options,
    }
    if entry.kind == "server":
        return kind(entry.name, own("db"), own("pull"), own("pub"), pipelined=not answers, **more)
    if entry.kind == "pipeline":
        (before,) = entry.after
        return kind(
            entry.name, own("db"), source(before), own("pub"), before, to_client=answers, **more
        )
    if entry.kind == "sink":
        sources = [source(each) for each in entry.after]
        return kind(
            entry.name, own("db"), sources, own("pub"), list(entry.after), to_client=answers, **more
        )
    if entry.kind == "master":
        return kind(
            entry.name, own("pull"), own("pub"), own("wpull"), own("wpush"), own("db"),
            pipelined=not answers, **more,
        )  # fmt: skip
    (before,) = entry.after
    return kind(
        entry.name, source(before), own("pub"), own("wpull"), own("wpush"), own("db"), before,
        pipelined=not answers, **more,
    )  # fmt: skip


def make_client(
    cluster: Cluster, server: str, last: str = "", *, hosts: Hosts | None = None, **options: Any
) -> Client:
    """Return a client of a cluster's server.

    Args:
        cluster: The file.
        server: First server of its route.
        last: Server whose answers it reads; empty for the first.
        hosts: As for :func:`make_role`.
        options: Keyword arguments of :class:`~pylm.clients.Client`.
    """
    find = hosts if hosts is not None else _local(cluster)
    answers = last if last and last != server else ""
    return Client(
        server,
        cluster.address(server, "db", find(server)),
        sub_address=cluster.address(answers, "pub", find(answers)) if answers else None,
        curve=curve_of(cluster, server=False),
        **options,
    )


def run_client(cluster: Cluster, name: str, *, hosts: Hosts | None = None) -> None:
    """Call the function of a ``[[client]]`` with its client."""
    entry = next(each for each in cluster.clients if each.name == name)
    function = import_target(cluster, entry.target)
    with make_client(cluster, entry.server, entry.last, hosts=hosts) as client:
        function(client)
