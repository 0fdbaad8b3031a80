"""Every name of the originals imports, with its parameters, their order and their defaults."""

import importlib
import inspect
import logging
import sys

import pytest

MAX = sys.maxsize
INFO, DEBUG = logging.INFO, logging.DEBUG
NO = inspect.Parameter.empty
OWN_CACHE = None
"""Our default for ``cache``: the original shared one object between all servers of a process."""

PART = {"broker_address": "inproc://broker", "logger": None, "cache": None, "messages": MAX}
OLD_PART = {
    "broker_address": "inproc://broker",
    "palm": False,
    "logger": None,
    "cache": None,
    "messages": MAX,
}
THREE = {"log_address": None, "perf_address": None, "ping_address": None}

TABLE = [
    (
        "pylm.servers.Server",
        {
            "name": NO,
            "db_address": NO,
            "pull_address": NO,
            "pub_address": NO,
            "pipelined": False,
            "log_level": INFO,
            "messages": MAX,
        },
    ),
    (
        "pylm.servers.Pipeline",
        {
            "name": NO,
            "db_address": NO,
            "sub_address": NO,
            "pub_address": NO,
            "previous": NO,
            "to_client": True,
            "log_level": INFO,
            "messages": MAX,
        },
    ),
    (
        "pylm.servers.Sink",
        {
            "name": NO,
            "db_address": NO,
            "sub_addresses": NO,
            "pub_address": NO,
            "previous": NO,
            "to_client": True,
            "log_level": INFO,
            "messages": MAX,
        },
    ),
    (
        "pylm.servers.Master",
        {
            "name": NO,
            "pull_address": NO,
            "pub_address": NO,
            "worker_pull_address": NO,
            "worker_push_address": NO,
            "db_address": NO,
            "pipelined": False,
            "cache": OWN_CACHE,
            "log_level": INFO,
        },
    ),
    (
        "pylm.servers.Hub",
        {
            "name": NO,
            "sub_address": NO,
            "pub_address": NO,
            "worker_pull_address": NO,
            "worker_push_address": NO,
            "db_address": NO,
            "previous": NO,
            "pipelined": False,
            "cache": OWN_CACHE,
            "log_level": INFO,
        },
    ),
    (
        "pylm.servers.Worker",
        {
            "name": "",
            "db_address": "",
            "push_address": None,
            "pull_address": None,
            "log_level": INFO,
            "messages": MAX,
        },
    ),
    (
        "pylm.servers.MuxWorker",
        {
            "name": "",
            "db_address": "",
            "push_address": None,
            "pull_address": None,
            "log_level": INFO,
            "messages": MAX,
        },
    ),
    (
        "pylm.clients.Client",
        {
            "server_name": NO,
            "db_address": NO,
            "push_address": None,
            "sub_address": None,
            "session": None,
            "logging_level": INFO,
            "this_config": False,
        },
    ),
    (
        "pylm.clients.Client.job",
        {"self": NO, "function": NO, "generator": NO, "messages": MAX, "cache": ""},
    ),
    (
        "pylm.clients.Client.eval",
        {"self": NO, "function": NO, "payload": NO, "messages": 1, "cache": ""},
    ),
    ("pylm.clients.Client.set", {"self": NO, "value": NO, "key": None}),
    ("pylm.clients.Client.get", {"self": NO, "key": NO}),
    ("pylm.clients.Client.delete", {"self": NO, "key": NO}),
    ("pylm.clients.Client.clean", {"self": NO}),
    ("pylm.servers.Server.start", {"self": NO, "cache_messages": MAX}),
    ("pylm.servers.Server.handle_stream", {"self": NO, "message": NO}),
    ("pylm.servers.Server.echo", {"self": NO, "payload": NO}),
    ("pylm.servers.Master.change_payload", {"message": NO, "new_payload": NO}),
    ("pylm.servers.Master.scatter", {"self": NO, "message": NO}),
    ("pylm.servers.Master.gather", {"self": NO, "message": NO}),
    ("pylm.servers.Worker.set", {"self": NO, "value": NO, "key": None}),
    (
        "pylm.standalone.servers.Server",
        {"name": NO, "rep_address": NO, **THREE, "log_level": INFO, "messages": MAX},
    ),
    (
        "pylm.standalone.servers.Master",
        {
            "name": NO,
            "pull_address": NO,
            "push_address": NO,
            "worker_pull_address": NO,
            "worker_push_address": NO,
            "db_address": NO,
            **THREE,
            "cache": OWN_CACHE,
            "palm": False,
            "debug_level": INFO,
        },
    ),
    (
        "pylm.standalone.servers.Worker",
        {
            "name": NO,
            "push_address": NO,
            "pull_address": NO,
            "db_address": NO,
            **THREE,
            "debug_level": INFO,
            "messages": MAX,
        },
    ),
    ("pylm.standalone.clients.Client", {"connection": NO, "server_name": NO, "pipeline": None}),
    (
        "pylm.standalone.clients.Client.job",
        {"self": NO, "function": NO, "data": NO, "pipeline": None, "cache": None},
    ),
    (
        "pylm.standalone.clients.ParallelClient",
        {
            "push_address": NO,
            "pull_address": NO,
            "db_address": NO,
            "server_name": NO,
            "pipeline": None,
        },
    ),
    (
        "pylm.standalone.clients.ParallelClient.job",
        {"self": NO, "function": NO, "generator": NO, "cache": None, "messages": MAX},
    ),
    (
        "pylm.chained.servers.Server",
        {
            "name": NO,
            "pull_address": NO,
            "next_address": NO,
            "next_call": NO,
            "db_address": NO,
            **THREE,
            "cache": OWN_CACHE,
            "palm": False,
            "debug_level": DEBUG,
            "messages": MAX,
        },
    ),
    (
        "pylm.chained.servers.LastServer",
        {
            "name": NO,
            "pull_address": NO,
            "push_address": NO,
            "db_address": NO,
            **THREE,
            "cache": OWN_CACHE,
            "palm": False,
            "debug_level": DEBUG,
            "messages": MAX,
        },
    ),
    (
        "pylm.chained.servers.Master",
        {
            "name": NO,
            "pull_address": NO,
            "next_address": NO,
            "worker_pull_address": NO,
            "worker_push_address": NO,
            "db_address": NO,
            **THREE,
            "cache": OWN_CACHE,
            "palm": False,
            "debug_level": DEBUG,
        },
    ),
    (
        "pylm.chained.clients.Client",
        {"pull_address": NO, "db_address": NO, "server_name": NO, "pipeline": None},
    ),
    (
        "pylm.standalone.endpoints.EndPoint",
        {"name": NO, "log_address": NO, "perf_address": NO, "ping_address": NO, "messages": MAX},
    ),
    (
        "pylm.parts.core.Router",
        {
            "inbound_address": "inproc://inbound",
            "outbound_address": "inproc://outbound",
            "logger": None,
            "cache": None,
            "messages": MAX,
        },
    ),
    (
        "pylm.parts.core.Inbound",
        {
            "name": NO,
            "listen_address": NO,
            "socket_type": NO,
            "reply": True,
            "broker_address": "inproc://broker",
            "bind": False,
            "logger": None,
            "cache": None,
            "messages": MAX,
        },
    ),
    (
        "pylm.parts.core.Outbound",
        {
            "name": NO,
            "listen_address": NO,
            "socket_type": NO,
            "reply": True,
            "broker_address": "inproc://broker",
            "bind": False,
            "logger": None,
            "cache": None,
            "messages": MAX,
        },
    ),
    (
        "pylm.parts.core.BypassInbound",
        {
            "name": NO,
            "listen_address": NO,
            "socket_type": NO,
            "reply": True,
            "bind": False,
            "logger": None,
            "cache": None,
            "messages": MAX,
        },
    ),
    (
        "pylm.parts.core.BypassOutbound",
        {
            "name": NO,
            "listen_address": NO,
            "socket_type": NO,
            "reply": True,
            "bind": False,
            "logger": None,
            "cache": None,
            "messages": MAX,
        },
    ),
    *[
        (f"pylm.parts.services.{name}", {"name": NO, "listen_address": NO, **PART})
        for name in (
            "RepService",
            "PullService",
            "PushService",
            "WorkerPullService",
            "WorkerPushService",
        )
    ],
    (
        "pylm.parts.services.PubService",
        {"name": NO, "listen_address": NO, **PART, "pipelined": False, "server": None},
    ),
    (
        "pylm.parts.services.PushPullService",
        {"name": NO, "push_address": NO, "pull_address": NO, **PART},
    ),
    *[
        (
            f"pylm.parts.services.{name}",
            {"name": NO, "listen_address": NO, "logger": None, "cache": None, "messages": MAX},
        )
        for name in ("RepBypassService", "CacheService")
    ],
    (
        "pylm.parts.services.HttpService",
        {
            "name": NO,
            "hostname": NO,
            "port": NO,
            "broker_address": "inproc://broker",
            "logger": None,
            "cache": None,
        },
    ),
    *[
        (f"pylm.parts.connections.{name}", {"name": NO, "listen_address": NO, **PART})
        for name in ("RepConnection", "PullConnection", "PushConnection")
    ],
    (
        "pylm.parts.connections.SubConnection",
        {"name": NO, "listen_address": NO, "previous": NO, **PART},
    ),
    *[
        (
            f"pylm.parts.connections.{name}",
            {"name": NO, "listen_address": NO, "logger": None, "messages": MAX},
        )
        for name in ("PushBypassConnection", "PullBypassConnection")
    ],
    (
        "pylm.parts.connections.HttpConnection",
        {
            "name": NO,
            "listen_address": NO,
            "reply": True,
            "broker_address": "inproc://broker",
            "logger": None,
            "cache": None,
            "max_workers": 4,
            "messages": MAX,
        },
    ),
    (
        "pylm.parts.gateways.GatewayRouter",
        {
            "name": "gateway_router",
            "listen_address": "inproc://gateway_router",
            "broker_address": "inproc://broker",
            "cache": OWN_CACHE,
            "logger": None,
            "messages": MAX,
        },
    ),
    (
        "pylm.parts.gateways.GatewayDealer",
        {
            "name": "",
            "listen_address": "inproc://gateway_router",
            "broker_address": "inproc://broker",
            "cache": None,
            "logger": None,
            "messages": MAX,
        },
    ),
    (
        "pylm.parts.gateways.HttpGateway",
        {
            "name": "",
            "listen_address": "inproc://gateway_router",
            "hostname": "",
            "port": 8888,
            "cache": OWN_CACHE,
            "logger": None,
        },
    ),
    ("pylm.parts.servers.ServerTemplate", {"logging_level": INFO, "router_messages": MAX}),
    (
        "pylm.parts.servers.ServerTemplate.register_inbound",
        {
            "self": NO,
            "part": NO,
            "name": "",
            "listen_address": "",
            "route": "",
            "block": False,
            "log": "",
        },
    ),
    (
        "pylm.parts.servers.ServerTemplate.register_outbound",
        {"self": NO, "part": NO, "name": "", "listen_address": "", "route": "", "log": ""},
    ),
    (
        "pylm.parts.servers.ServerTemplate.register_bypass",
        {"self": NO, "part": NO, "name": "", "listen_address": ""},
    ),
    ("pylm.persistence.etcd.Client", {"host": "127.0.0.1", "port": 4001, "version_prefix": "/v2"}),
    (
        "pylm.persistence.etcd.EtcdPoller",
        {
            "name": NO,
            "key": NO,
            "function": "update",
            "broker_address": "inproc://broker",
            "logger": None,
            "messages": MAX,
        },
    ),
    ("pylm.remote.server.RequestHandler", {"environ": NO}),
    ("pylm.remote.server.WSGIApplication", {"handler": NO}),
    ("pylm.remote.server.DebugServer", {"host": NO, "port": NO, "handler": NO}),
    *[
        (f"pylm.components.services.{name}", {"name": NO, "listen_address": NO, **OLD_PART})
        for name in (
            "RepService",
            "PullService",
            "PushService",
            "WorkerPullService",
            "WorkerPushService",
        )
    ],
    *[
        (f"pylm.components.connections.{name}", {"name": NO, "listen_address": NO, **OLD_PART})
        for name in ("RepConnection", "PullConnection", "PushConnection")
    ],
    (
        "pylm.components.servers.ServerTemplate",
        {"ping_address": "", "log_address": "", "perf_address": "", "logging_level": INFO},
    ),
    ("pylm.components.utils.LogCollector", {"bind_address": "inproc://LogCollector"}),
    (
        "pylm.components.utils.PerformanceCollector",
        {"bind_address": "inproc://PerformenceCollector"},
    ),
    ("pylm.components.utils.Pinger", {"listen_address": NO, "every": 1, "pings": MAX}),
]


def find(path):
    parts = path.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            found = getattr(found, name)
        return found
    raise AssertionError(path)


@pytest.mark.parametrize(("path", "expected"), TABLE, ids=[entry[0] for entry in TABLE])
def test_signature(path, expected):
    parameters = inspect.signature(find(path)).parameters
    positional = {
        name: each.default
        for name, each in parameters.items()
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.POSITIONAL_ONLY)
    }
    got = dict(list(positional.items())[: len(expected)])
    assert got == expected
    assert list(got) == list(expected)


@pytest.mark.parametrize(
    "module",
    [
        "pylm.pipelined",
        "pylm.services",
        "pylm.standalone.client",
        "pylm.standalone.server",
        "pylm.standalone.endpoint",
        "pylm.chained.client",
        "pylm.chained.server",
        "pylm.chained.endpoint",
        "pylm.chained.endpoints",
        "pylm.parts.messages_pb2",
        "pylm.components.messages_pb2",
        "pylm.persistence.kv",
    ],
)
def test_singular_and_plural_modules_import(module):
    assert importlib.import_module(module)


def test_names_the_seed_mentions_are_where_it_says():
    import pylm
    from pylm.chained.client import LoopClient
    from pylm.chained.servers import LastServer, Server
    from pylm.standalone import servers

    assert LoopClient.__mro__[1].__name__ == "ParallelClient"
    assert Server is not servers.Server
    assert LastServer
    assert isinstance(pylm.__version__, str)


def test_a_sub_package_of_another_distribution_is_found(tmp_path, monkeypatch):
    place = tmp_path / "pylm" / "registry"
    place.mkdir(parents=True)
    (tmp_path / "pylm" / "__init__.py").touch()
    (place / "__init__.py").write_text("HERE = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import pylm

    importlib.reload(pylm)
    try:
        assert importlib.import_module("pylm.registry").HERE
    finally:
        monkeypatch.undo()
        importlib.reload(pylm)
        sys.modules.pop("pylm.registry", None)
