"""The cluster file: TOML or YAML, or the registry's INI form, read into records; ports and addresses derived.

Called by every command of ``pylm``. Source: section G6 of the reference, A5 for the INI form.
"""

from __future__ import annotations

import configparser
import dataclasses
import pathlib
import sys
from collections.abc import Iterable
from typing import Any, Final

from pylm.config import ConfigurationError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["KINDS", "ClientEntry", "Cluster", "ServerEntry", "WorkerEntry", "load"]

KINDS: Final = ("server", "pipeline", "sink", "master", "hub")
PORTS: Final = ("db", "pull", "pub", "wpull", "wpush")
"""A server's ports, in this order, five per server whatever its kind."""


@dataclasses.dataclass(frozen=True)
class ServerEntry:
    """One ``[[server]]``.

    Args:
        name: Unique in the file.
        kind: One of :data:`KINDS`.
        target: ``package.module:Class``; empty for the plain class of the kind.
        after: Servers it is fed by: none for server and master, one for pipeline and hub, any number for sink.
        to_client: Answers go to the client; ``None``: unless another server is after this one.
        log_level: Name of a level.
        env: Further environment variables.
    """

    name: str
    kind: str
    target: str = ""
    after: tuple[str, ...] = ()
    to_client: bool | None = None
    log_level: str = "INFO"
    env: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class WorkerEntry:
    """One ``[[worker]]``.

    Args:
        of: Master or hub it works for.
        target: ``package.module:Class``.
        replicas: How many.
        log_level: Name of a level.
        env: Further environment variables.
    """

    of: str
    target: str
    replicas: int = 1
    log_level: str = "INFO"
    env: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ClientEntry:
    """One ``[[client]]``: a function that is given a connected client.

    Args:
        name: Unique in the file.
        target: ``package.module:function``.
        server: First server of its route.
        last: Server whose answers it reads; empty for the first.
        env: Further environment variables.
    """

    name: str
    target: str
    server: str
    last: str = ""
    env: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A cluster file.

    Args:
        name: Of the cluster.
        servers: In the order of the file.
        workers: In the order of the file.
        clients: In the order of the file.
        host: Where servers bind and are found when all run on one machine.
        base_port: First port; each server takes five from there, in the order of the file.
        curve: Folder with the keys: ``server.key``, ``server.key_secret`` and ``client.key_secret``; empty for none.
        path: Of the file; its folder is on the import path of the roles.
    """

    name: str
    servers: tuple[ServerEntry, ...]
    workers: tuple[WorkerEntry, ...] = ()
    clients: tuple[ClientEntry, ...] = ()
    host: str = "127.0.0.1"
    base_port: int = 5555
    curve: str = ""
    path: pathlib.Path = pathlib.Path("cluster.toml")

    def server(self, name: str) -> ServerEntry:
        """Return the server of that name.

        Raises:
            ConfigurationError: There is none.
        """
        for entry in self.servers:
            if entry.name == name:
                return entry
        raise ConfigurationError(f"{self.path}: no server is called {name!r}")

    def port(self, name: str, role: str) -> int:
        """Return the port of a server; ``role`` is one of :data:`PORTS`."""
        index = [entry.name for entry in self.servers].index(self.server(name).name)
        return self.base_port + index * len(PORTS) + PORTS.index(role)

    def address(self, name: str, role: str, host: str = "") -> str:
        """Return where a server's socket is found."""
        return f"tcp://{host or self.host}:{self.port(name, role)}"

    def followers(self, name: str) -> list[ServerEntry]:
        """Return the servers fed by this one."""
        return [entry for entry in self.servers if name in entry.after]

    def answers_client(self, entry: ServerEntry) -> bool:
        """Return whether a server's answers go to the client."""
        return not self.followers(entry.name) if entry.to_client is None else entry.to_client

    def instances(self) -> list[str]:
        """Return the names of all processes: servers, then ``<master>-worker-<n>``, numbered through."""
        names = [entry.name for entry in self.servers]
        counts: dict[str, int] = {}
        for worker in self.workers:
            for _ in range(worker.replicas):
                counts[worker.of] = counts.get(worker.of, 0) + 1
                names.append(f"{worker.of}-worker-{counts[worker.of]}")
        return names

    def worker_of(self, instance: str) -> WorkerEntry:
        """Return the entry a worker's process belongs to.

        Raises:
            ConfigurationError: There is none.
        """
        counts: dict[str, int] = {}
        for worker in self.workers:
            for _ in range(worker.replicas):
                counts[worker.of] = counts.get(worker.of, 0) + 1
                if instance == f"{worker.of}-worker-{counts[worker.of]}":
                    return worker
        raise ConfigurationError(f"{self.path}: nothing is called {instance!r}")

    def env_of(self, instance: str) -> dict[str, str]:
        """Return the further environment of a process."""
        named: dict[str, dict[str, str]] = {entry.name: entry.env for entry in self.servers}
        named |= {entry.name: entry.env for entry in self.clients}
        if instance in named:
            return named[instance]
        return self.worker_of(instance).env


def load(path: str | pathlib.Path) -> Cluster:
    """Read a cluster file; the suffix says the form: ``.toml``, ``.yaml``, ``.yml``, ``.ini``, ``.cfg``, ``.conf``.

    Raises:
        ConfigurationError: It cannot be read, or a table has a wrong key or type.
    """
    place = pathlib.Path(path)
    try:
        text = place.read_text("utf-8")
    except OSError as error:
        raise ConfigurationError(f"{place} cannot be read: {error.strerror}") from error
    if place.suffix in (".ini", ".cfg", ".conf"):
        return _from_ini(text, place)
    return _from_tables(_parse(text, place), place)


def _parse(text: str, place: pathlib.Path) -> dict[str, Any]:
    if place.suffix in (".yaml", ".yml"):
        try:
            import yaml
        except ImportError as error:
            raise ConfigurationError("YAML needs the extra: pip install pylm[yaml]") from error
        try:
            tables = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigurationError(f"{place} is not YAML: {error}") from error
    else:
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"{place} is not TOML: {error}") from error
    if not isinstance(tables, dict):
        raise ConfigurationError(f"{place} holds no tables")
    return tables


_KEYS: Final[dict[str, dict[str, type]]] = {
    "cluster": {"name": str, "base_port": int, "host": str, "curve": str},
    "server": {
        "name": str, "kind": str, "class": str, "after": list, "to_client": bool, "log_level": str, "env": dict,
    },
    "worker": {"of": str, "class": str, "replicas": int, "log_level": str, "env": dict},
    "client": {"name": str, "class": str, "server": str, "last": str, "env": dict},
}  # fmt: skip
_NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "cluster": (),
    "server": ("name", "kind"),
    "worker": ("of", "class"),
    "client": ("name", "class", "server"),
}


def _from_tables(tables: dict[str, Any], place: pathlib.Path) -> Cluster:
    unknown = set(tables) - set(_KEYS)
    if unknown:
        raise ConfigurationError(
            f"{place}: unknown table {sorted(unknown)[0]!r}; known are {', '.join(_KEYS)}"
        )
    head = _table("cluster", tables.get("cluster", {}), place)
    entries = {
        kind: [_table(kind, each, place) for each in _list(kind, tables.get(kind, []), place)]
        for kind in ("server", "worker", "client")
    }
    return Cluster(
        name=head.pop("name", place.stem),
        servers=tuple(ServerEntry(**each) for each in entries["server"]),
        workers=tuple(WorkerEntry(**each) for each in entries["worker"]),
        clients=tuple(ClientEntry(**each) for each in entries["client"]),
        path=place,
        **head,
    )


def _list(kind: str, value: Any, place: pathlib.Path) -> Iterable[Any]:
    if not isinstance(value, list):
        raise ConfigurationError(f"{place}: [[{kind}]] is a list of tables")
    return value


def _table(kind: str, table: Any, place: pathlib.Path) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ConfigurationError(f"{place}: {kind} is a table")
    label = f"{place}: {kind} {table.get('name', table.get('of', ''))!r}"
    for key, value in table.items():
        expected = _KEYS[kind].get(key)
        if expected is None:
            raise ConfigurationError(
                f"{label}: unknown key {key!r}; known are {', '.join(_KEYS[kind])}"
            )
        if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
            raise ConfigurationError(
                f"{label}: {key} = {value!r} is not of type {expected.__name__}"
            )
    for key in _NEEDED[kind]:
        if key not in table:
            raise ConfigurationError(f"{label}: {key} is missing")
    found = dict(table)
    if "class" in found:
        found["target"] = found.pop("class")
    if "after" in found:
        found["after"] = tuple(str(each) for each in found["after"])
    if "env" in found:
        found["env"] = {str(key): str(value) for key, value in found["env"].items()}
    if found.get("replicas", 1) < 1:
        raise ConfigurationError(f"{label}: replicas = {found['replicas']} is below 1")
    return found


def _from_ini(text: str, place: pathlib.Path) -> Cluster:
    """Read the registry's form: a section per service, ``Script``, ``Role``, ``Connected``, ``Replicas``.

    ``Script`` names ``package.module:Class`` or a file whose stem is the module and whose section is the class.
    """
    parser = configparser.ConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise ConfigurationError(f"{place} is not an INI file: {error}") from error
    servers, workers = [], []
    for name in parser.sections():
        section = parser[name]
        target = section.get("Script", "").strip()
        if target and ":" not in target:
            target = f"{pathlib.PurePath(target).stem}:{name}"
        connected = [
            each.strip() for each in section.get("Connected", "").split(",") if each.strip()
        ]
        role = section.get("Role", "").strip().lower() or ("pipeline" if connected else "server")
        if role == "worker":
            replicas = section.getint("Replicas", fallback=1)
            workers += [
                WorkerEntry(of=each, target=target, replicas=replicas) for each in connected
            ]
        else:
            servers.append(ServerEntry(name=name, kind=role, target=target, after=tuple(connected)))
    return Cluster(name=place.stem, servers=tuple(servers), workers=tuple(workers), path=place)
