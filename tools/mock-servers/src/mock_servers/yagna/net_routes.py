"""Routes of ``/net-api/v1`` and its ``v2`` mirror; the behaviour is in ``net`` and ``vpn``."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mock_servers.yagna.daemon import Daemon, Identity
from mock_servers.yagna.errors import ApiError
from mock_servers.yagna.reading import RouteTable, object_of

__all__ = ["ROUTES"]


async def net_create(daemon: Daemon, who: Identity, request: Request) -> Response:
    return JSONResponse(daemon.networks.create(who.node_id, await object_of(request)).view())


async def net_list(daemon: Daemon, who: Identity, request: Request) -> Response:
    return JSONResponse([n.view() for n in daemon.networks.all.values() if n.owner == who.node_id])


async def net_get(daemon: Daemon, who: Identity, request: Request) -> Response:
    return JSONResponse(daemon.networks.get(request.path_params["id"], who.node_id).view())


async def net_remove(daemon: Daemon, who: Identity, request: Request) -> Response:
    daemon.networks.remove(request.path_params["id"], who.node_id)
    return JSONResponse(None)


async def net_add_address(daemon: Daemon, who: Identity, request: Request) -> Response:
    network = daemon.networks.get(request.path_params["id"], who.node_id)
    ip = network.check(str((await object_of(request)).get("ip")))
    if ip not in network.addresses:
        network.addresses.append(ip)
    return JSONResponse(None)


async def net_addresses(daemon: Daemon, who: Identity, request: Request) -> Response:
    network = daemon.networks.get(request.path_params["id"], who.node_id)
    return JSONResponse([{"ip": ip} for ip in network.addresses])


async def net_add_node(daemon: Daemon, who: Identity, request: Request) -> Response:
    network = daemon.networks.get(request.path_params["id"], who.node_id)
    body = await object_of(request)
    if not isinstance(body.get("id"), str):
        raise ApiError(400, "Json deserialize error: missing field `id`")
    network.nodes[network.check(str(body.get("ip")))] = body["id"]
    return JSONResponse(None)


async def net_nodes(daemon: Daemon, who: Identity, request: Request) -> Response:
    network = daemon.networks.get(request.path_params["id"], who.node_id)
    return JSONResponse([{"id": node, "ip": ip} for ip, node in network.nodes.items()])


async def net_remove_node(daemon: Daemon, who: Identity, request: Request) -> Response:
    network = daemon.networks.get(request.path_params["id"], who.node_id)
    for ip in [ip for ip, node in network.nodes.items() if node == request.path_params["node"]]:
        del network.nodes[ip]
    return JSONResponse(None)


def net_routes(base: str) -> RouteTable:
    """Return the routes of the net API below one prefix."""
    return [
        ("POST", f"{base}/net", net_create),
        ("GET", f"{base}/net", net_list),
        ("GET", f"{base}/net/{{id}}", net_get),
        ("DELETE", f"{base}/net/{{id}}", net_remove),
        ("POST", f"{base}/net/{{id}}/addresses", net_add_address),
        ("GET", f"{base}/net/{{id}}/addresses", net_addresses),
        ("POST", f"{base}/net/{{id}}/nodes", net_add_node),
        ("GET", f"{base}/net/{{id}}/nodes", net_nodes),
        ("DELETE", f"{base}/net/{{id}}/nodes/{{node}}", net_remove_node),
    ]


ROUTES: RouteTable = [
    *net_routes("/net-api/v1"),
    *net_routes("/net-api/v2/vpn"),
]
