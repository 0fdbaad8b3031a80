"""What is wrong with a cluster file, before anything is started.

Called by ``pylm check`` and by every command that starts or renders a cluster.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import pylm.servers
from pylm.cluster.config import KINDS, Cluster, ServerEntry
from pylm.config import ConfigurationError

__all__ = ["base_class", "check", "import_target", "require_sound"]

_BASES: dict[str, type] = {
    "server": pylm.servers.Server,
    "pipeline": pylm.servers.Pipeline,
    "sink": pylm.servers.Sink,
    "master": pylm.servers.Master,
    "hub": pylm.servers.Hub,
}
_LOCAL = ("127.0.0.1", "localhost", "::1")


@contextlib.contextmanager
def _import_path(folder: pathlib.Path) -> Iterator[None]:
    sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder.resolve()))


def import_target(cluster: Cluster, target: str) -> Any:
    """Return the object ``package.module:name`` names, looked for beside the file too.

    Raises:
        ConfigurationError: There is no such module or name; the cause is in the text.
    """
    module, colon, name = target.partition(":")
    if not colon or not module or not name:
        raise ConfigurationError(f"{target!r} is not of the form package.module:Name")
    with _import_path(cluster.path.parent):
        try:
            return getattr(importlib.import_module(module), name)
        except Exception as error:
            raise ConfigurationError(f"{target} cannot be imported: {error!r}") from error


def check(cluster: Cluster, *, imports: bool = True) -> list[str]:
    """Return what is wrong, one sentence each; empty when the cluster can start.

    Args:
        cluster: The file.
        imports: Also import the classes; off where they are not installed (rendering for other machines).
    """
    problems = [*_names(cluster), *_edges(cluster), *_cycles(cluster), *_security(cluster)]
    if imports and not problems:
        problems += _classes(cluster)
    return problems


def require_sound(cluster: Cluster, *, imports: bool = True) -> None:
    """Raise if :func:`check` finds anything.

    Raises:
        ConfigurationError: With all of it.
    """
    problems = check(cluster, imports=imports)
    if problems:
        raise ConfigurationError(f"{cluster.path}: " + "; ".join(problems))


def _names(cluster: Cluster) -> Iterator[str]:
    if not cluster.servers:
        yield "there is no server"
    seen: set[str] = set()
    for name in (
        *(each.name for each in cluster.servers),
        *(each.name for each in cluster.clients),
    ):
        if name in seen:
            yield f"two entries are called {name!r}"
        seen.add(name)
        if "." in name or " " in name or not name:
            yield f"{name!r} is no name: routes are split at dots and blanks"
    for server in cluster.servers:
        if server.kind not in KINDS:
            yield f"{server.name}: kind {server.kind!r} is none of {', '.join(KINDS)}"
    if not 1 <= cluster.base_port <= 65535 - 5 * len(cluster.servers):
        yield f"base_port {cluster.base_port} leaves no room for {5 * len(cluster.servers)} ports"


def _edges(cluster: Cluster) -> Iterator[str]:
    names = {entry.name for entry in cluster.servers}
    counts = {
        "server": (0, 0),
        "master": (0, 0),
        "pipeline": (1, 1),
        "hub": (1, 1),
        "sink": (1, 1000),
    }
    for entry in cluster.servers:
        for source in entry.after:
            if source not in names:
                yield f"{entry.name}: after = {source!r} names no server"
        low, high = counts.get(entry.kind, (0, 1000))
        if not low <= len(entry.after) <= high:
            right = low if low == high else "one or more"
            yield f"{entry.name}: a {entry.kind} is after {right} servers, not {len(entry.after)}"
        if entry.to_client and cluster.followers(entry.name):
            yield f"{entry.name}: answers cannot go to the client and to {cluster.followers(entry.name)[0].name}"
    masters = {entry.name for entry in cluster.servers if entry.kind in ("master", "hub")}
    for worker in cluster.workers:
        if worker.of not in masters:
            yield f"worker of {worker.of!r}: no master or hub is called so"
    for client in cluster.clients:
        for name in (client.server, client.last):
            if name and name not in names:
                yield f"client {client.name}: no server is called {name!r}"


def _cycles(cluster: Cluster) -> Iterator[str]:
    after = {entry.name: entry.after for entry in cluster.servers}
    for start in after:
        path, front = {start}, list(after[start])
        while front:
            name = front.pop()
            if name == start:
                yield f"{start} is after itself, through {', '.join(sorted(path - {start})) or 'nothing'}"
                break
            if name in path:
                continue
            path.add(name)
            front += after.get(name, ())


def _security(cluster: Cluster) -> Iterator[str]:
    if cluster.host not in _LOCAL and not cluster.curve:
        yield (
            f"host {cluster.host} is reachable from outside and curve is not set: "
            "anybody there could call functions and read the cache"
        )
    if cluster.curve:
        folder = cluster.path.parent / cluster.curve
        for name in ("server.key", "server.key_secret", "client.key_secret"):
            if not (folder / name).exists():
                yield f"curve: {folder / name} is missing; make it with: pylm keys new {folder}"


def _classes(cluster: Cluster) -> Iterator[str]:
    wanted: list[tuple[str, str, type]] = [
        (entry.name, entry.target, _BASES[entry.kind]) for entry in cluster.servers if entry.target
    ]
    wanted += [
        (f"worker of {each.of}", each.target, pylm.servers.Worker) for each in cluster.workers
    ]
    for label, target, base in wanted:
        try:
            found = import_target(cluster, target)
        except ConfigurationError as error:
            yield f"{label}: {error.message}"
            continue
        if not inspect.isclass(found) or not issubclass(found, base):
            yield f"{label}: {target} is not a subclass of pylm.servers.{base.__name__}"
    for client in cluster.clients:
        try:
            if not callable(import_target(cluster, client.target)):
                yield f"client {client.name}: {client.target} cannot be called"
        except ConfigurationError as error:
            yield f"client {client.name}: {error.message}"


def base_class(entry: ServerEntry) -> type:
    """Return the plain class of a server's kind."""
    return _BASES[entry.kind]
