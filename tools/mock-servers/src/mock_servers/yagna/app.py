"""The daemon's HTTP surface: routes, authentication, errors. No behaviour lives here; every route asks a domain module.

Built by ``server``. ``/_golem/*`` is the control API (``control``) and needs no key, as the image registry.
"""

from __future__ import annotations

import asyncio
import json
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from mock_servers.yagna.activity import Activity, Batch
from mock_servers.yagna.control import control_routes
from mock_servers.yagna.daemon import Daemon, Identity
from mock_servers.yagna.errors import ApiError
from mock_servers.yagna.vpn import deny, open_tunnel

__all__ = ["Application"]

VERSION = "0.17.6"
PING_EVERY_S = 15.0
OPEN_PATHS = ("/version/get", "/metrics-api", "/dashboard", "/v1/image/", "/images/", "/_golem/")
Handler = Callable[[Daemon, Identity, Request], Awaitable[Response]]


def created(value: Any) -> Response:
    """Answer 201 with JSON."""
    return JSONResponse(value, status_code=201)


def empty() -> Response:
    """Answer 204."""
    return Response(status_code=204)


async def body_of(request: Request) -> Any:
    """Return the decoded JSON body, ``None`` when there is none.

    Raises:
        ApiError: 400, it is not JSON.
    """
    raw = await request.body()
    if not raw:
        return None
    try:
        return json.loads(raw)
    except ValueError as error:
        raise ApiError(400, f"Json deserialize error: {error}") from error


async def object_of(request: Request) -> dict[str, Any]:
    """Return the body, which must be a JSON object (or absent).

    Raises:
        ApiError: 400.
    """
    body = await body_of(request)
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise ApiError(400, "Json deserialize error: expected an object")
    return body


async def terms_of(request: Request) -> tuple[dict[str, Any], str]:
    """Return the properties and constraints of an offer, demand or proposal.

    Raises:
        ApiError: 400, one of them is missing.
    """
    body = await object_of(request)
    for name, kind in (("properties", dict), ("constraints", str)):
        if not isinstance(body.get(name), kind):
            raise ApiError(400, f"Json deserialize error: missing field `{name}`")
    return body["properties"], body["constraints"]


def seconds(request: Request, default: float = 5.0) -> float:
    """Return the query's ``timeout`` in seconds.

    Raises:
        ApiError: 400, not a number.
    """
    text = request.query_params.get("timeout")
    try:
        return default if text is None else max(0.0, float(text))
    except ValueError as error:
        raise ApiError(400, "Query deserialize error: invalid float literal") from error


def integer(request: Request, name: str, default: int | None) -> int | None:
    """Return an integer of the query.

    Raises:
        ApiError: 400, not an integer.
    """
    text = request.query_params.get(name)
    try:
        return default if text is None else int(text)
    except ValueError as error:
        raise ApiError(400, "Query deserialize error: invalid digit found in string") from error


def moment(request: Request, *, required: bool = False) -> datetime | None:
    """Return the query's ``afterTimestamp``.

    Raises:
        ApiError: 400, missing where it is mandatory, or not a timestamp with an offset.
    """
    text = request.query_params.get("afterTimestamp")
    if text is None:
        if required:
            raise ApiError(400, "Query deserialize error: missing field `afterTimestamp`")
        return None
    try:
        value = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise ApiError(400, "Query deserialize error: input contains invalid characters") from error
    if value.tzinfo is None:
        raise ApiError(400, "Query deserialize error: premature end of input")
    return value


# identity ------------------------------------------------------------------------------------------------------------


async def me(daemon: Daemon, who: Identity, request: Request) -> Response:
    return JSONResponse({"identity": who.node_id, "name": who.name, "role": who.role})


async def version(daemon: Daemon, who: Identity, request: Request) -> Response:
    release = {
        "version": VERSION,
        "name": "mock",
        "seen": True,
        "releaseTs": "2026-03-13T00:00:00",
        "insertionTs": "2026-03-13T00:00:00",
        "updateTs": "2026-03-13T00:00:00",
    }
    return JSONResponse({"current": release, "pending": None})


# market --------------------------------------------------------------------------------------------------------------


def market_routes(kind: str) -> list[tuple[str, str, Handler]]:
    """Return the routes of one side of the market, ``"demand"`` or ``"offer"``."""

    async def subscribe(daemon: Daemon, who: Identity, request: Request) -> Response:
        properties, constraints = await terms_of(request)
        return created(daemon.market.subscribe(kind, who.node_id, properties, constraints))

    async def subscriptions(daemon: Daemon, who: Identity, request: Request) -> Response:
        mine = [
            {
                f"{kind}Id": found.id,
                "properties": found.properties,
                "constraints": found.constraints,
                "requestorId" if kind == "demand" else "providerId": found.owner,
                "timestamp": found.created.isoformat(),
            }
            for found in daemon.market.subscriptions.values()
            if found.kind == kind and found.owner == who.node_id
        ]
        return JSONResponse(mine)

    async def unsubscribe(daemon: Daemon, who: Identity, request: Request) -> Response:
        daemon.market.unsubscribe(kind, request.path_params["id"], who.node_id)
        return empty()

    async def collect(daemon: Daemon, who: Identity, request: Request) -> Response:
        limit = integer(request, "maxEvents", 20)
        assert limit is not None
        identifier = request.path_params["id"]
        return JSONResponse(
            await daemon.market.collect(kind, identifier, who.node_id, seconds(request), limit)
        )

    async def counter(daemon: Daemon, who: Identity, request: Request) -> Response:
        properties, constraints = await terms_of(request)
        identifier, proposal = request.path_params["id"], request.path_params["proposal"]
        answer = daemon.market.counter(
            kind, identifier, proposal, who.node_id, properties, constraints
        )
        return JSONResponse(answer)

    async def show(daemon: Daemon, who: Identity, request: Request) -> Response:
        daemon.market.subscription(kind, request.path_params["id"], who.node_id)
        found = daemon.market.proposals.get(request.path_params["proposal"])
        if found is None or who.node_id not in (found.author, found.recipient):
            raise ApiError(404, f"Proposal [{request.path_params['proposal']}] not found")
        return JSONResponse(found.view())

    async def reject(daemon: Daemon, who: Identity, request: Request) -> Response:
        reason = await object_of(request)
        identifier, proposal = request.path_params["id"], request.path_params["proposal"]
        daemon.market.reject(kind, identifier, proposal, who.node_id, reason or None)
        return empty()

    base = f"/market-api/v1/{kind}s"
    return [
        ("POST", base, subscribe),
        ("GET", base, subscriptions),
        ("DELETE", f"{base}/{{id}}", unsubscribe),
        ("GET", f"{base}/{{id}}/events", collect),
        ("POST", f"{base}/{{id}}/proposals/{{proposal}}", counter),
        ("GET", f"{base}/{{id}}/proposals/{{proposal}}", show),
        ("POST", f"{base}/{{id}}/proposals/{{proposal}}/reject", reject),
    ]


async def agreement_create(daemon: Daemon, who: Identity, request: Request) -> Response:
    body = await object_of(request)
    for name in ("proposalId", "validTo"):
        if not isinstance(body.get(name), str):
            raise ApiError(400, f"Json deserialize error: missing field `{name}`")
    return JSONResponse(daemon.market.agree(who.node_id, body["proposalId"], body["validTo"]))


async def agreement_list(daemon: Daemon, who: Identity, request: Request) -> Response:
    wanted = request.query_params.get("state")
    return JSONResponse(
        [
            {
                "id": found.id,
                "timestamp": found.view()["timestamp"],
                "approvedDate": found.view().get("approvedDate"),
                "role": "Requestor" if found.requestor == who.node_id else "Provider",
            }
            for found in daemon.market.agreements.values()
            if who.node_id in (found.requestor, found.provider) and wanted in (None, found.state)
        ]
    )


async def agreement_get(daemon: Daemon, who: Identity, request: Request) -> Response:
    return JSONResponse(daemon.market.agreement(request.path_params["id"], who.node_id).view())


async def agreement_confirm(daemon: Daemon, who: Identity, request: Request) -> Response:
    session = request.query_params.get("appSessionId")
    daemon.market.confirm(request.path_params["id"], who.node_id, session)
    return empty()


async def agreement_wait(daemon: Daemon, who: Identity, request: Request) -> Response:
    await daemon.market.wait(request.path_params["id"], who.node_id, seconds(request))
    return empty()


async def agreement_approve(daemon: Daemon, who: Identity, request: Request) -> Response:
    session = request.query_params.get("appSessionId")
    daemon.market.approve(request.path_params["id"], who.node_id, session)
    return empty()


async def agreement_reject(daemon: Daemon, who: Identity, request: Request) -> Response:
    daemon.market.decline(request.path_params["id"], who.node_id, await object_of(request) or None)
    return empty()


async def agreement_cancel(daemon: Daemon, who: Identity, request: Request) -> Response:
    daemon.market.cancel(request.path_params["id"], who.node_id, await object_of(request) or None)
    return empty()


async def agreement_terminate(daemon: Daemon, who: Identity, request: Request) -> Response:
    daemon.market.terminate(
        request.path_params["id"], who.node_id, await object_of(request) or None
    )
    return Response(status_code=200)


async def agreement_reason(daemon: Daemon, who: Identity, request: Request) -> Response:
    return JSONResponse(daemon.market.agreement(request.path_params["id"], who.node_id).reason)


async def agreement_events(daemon: Daemon, who: Identity, request: Request) -> Response:
    limit = integer(request, "maxEvents", 20)
    assert limit is not None
    found = await daemon.market.events_after(who.node_id, moment(request), seconds(request), limit)
    return JSONResponse(found)


# activity ------------------------------------------------------------------------------------------------------------


async def activity_create(daemon: Daemon, who: Identity, request: Request) -> Response:
    body = await body_of(request)
    bare = isinstance(body, str)
    agreement = body if bare else body.get("agreementId") if isinstance(body, dict) else None
    if not isinstance(agreement, str):
        raise ApiError(400, "Json deserialize error: missing field `agreementId`")
    activity = await daemon.activities.create(who.node_id, agreement, seconds(request))
    return JSONResponse(activity.id if bare else {"activityId": activity.id})


def activity_of(daemon: Daemon, who: Identity, request: Request) -> Activity:
    return daemon.activities.get(request.path_params["id"], who.node_id)


async def activity_destroy(daemon: Daemon, who: Identity, request: Request) -> Response:
    daemon.activities.destroy(activity_of(daemon, who, request))
    return JSONResponse(None)


async def activity_exec(daemon: Daemon, who: Identity, request: Request) -> Response:
    activity = activity_of(daemon, who, request)
    return JSONResponse(daemon.activities.execute(activity, (await object_of(request)).get("text")))


async def activity_results(daemon: Daemon, who: Identity, request: Request) -> Response:
    activity, identifier = activity_of(daemon, who, request), request.path_params["batch"]
    if "text/event-stream" in request.headers.get("accept", ""):
        batch = daemon.activities.batch(activity, identifier)
        events = result_events(daemon, activity, batch)
        return StreamingResponse(events, media_type="text/event-stream")
    index = integer(request, "commandIndex", None)
    return JSONResponse(
        await daemon.activities.results(activity, identifier, seconds(request), index)
    )


async def result_events(daemon: Daemon, activity: Activity, batch: Batch) -> AsyncIterator[str]:
    """Yield a script's events as server-sent events until it has finished."""

    def changed(known: int) -> Callable[[], bool]:
        return lambda: len(batch.events) > known or activity.terminated

    number = 0
    while True:
        while number < len(batch.events):
            yield f"event: runtime\ndata: {json.dumps(batch.events[number])}\nid: {number}\n\n"
            number += 1
        if batch.finished or activity.terminated:
            return
        if not await daemon.activities.bell.until(changed(number), PING_EVERY_S):
            yield ":ping\n\n"


async def activity_state(daemon: Daemon, who: Identity, request: Request) -> Response:
    activity = activity_of(daemon, who, request)
    if activity.lost:
        raise ApiError(500, "GSB error: the provider cannot be reached")
    return JSONResponse(
        {"state": list(activity.state), "reason": activity.reason, "errorMessage": activity.error}
    )


async def activity_set_state(daemon: Daemon, who: Identity, request: Request) -> Response:
    activity = activity_of(daemon, who, request)
    if activity.agreement.provider != who.node_id:
        raise ApiError(403, "Forbidden")
    body = await object_of(request)
    state = body.get("state")
    if not isinstance(state, list) or len(state) != 2:
        raise ApiError(400, "Json deserialize error: missing field `state`")
    daemon.activities.set_state(
        activity, (state[0], state[1]), body.get("reason"), body.get("errorMessage")
    )
    return JSONResponse(None)


async def activity_usage(daemon: Daemon, who: Identity, request: Request) -> Response:
    return JSONResponse(await daemon.activities.usage(activity_of(daemon, who, request)))


async def activity_command(daemon: Daemon, who: Identity, request: Request) -> Response:
    activity = activity_of(daemon, who, request)
    running = [
        {"command": next(iter(batch.script[len(batch.results)])), "progress": None, "params": None}
        for batch in activity.batches.values()
        if not batch.finished
    ]
    return JSONResponse(running)


async def activity_agreement(daemon: Daemon, who: Identity, request: Request) -> Response:
    return JSONResponse(activity_of(daemon, who, request).agreement.id)


async def activity_events(daemon: Daemon, who: Identity, request: Request) -> Response:
    after = moment(request, required=True)
    limit = integer(request, "maxEvents", 20)
    assert after is not None
    assert limit is not None
    found = await daemon.activities.events_after(who.node_id, after, seconds(request), limit)
    return JSONResponse(found)


# payment -------------------------------------------------------------------------------------------------------------


async def allocation_create(daemon: Daemon, who: Identity, request: Request) -> Response:
    try:
        return created(daemon.payments.allocate(who.node_id, await object_of(request)).view())
    except ApiError as error:
        problem = {
            "type": "/payment-api/v1/allocations/validation-error",
            "detail": error.message,
            "instance": "/payment-api/v1/allocations",
        }
        return JSONResponse(problem, error.status, media_type="application/problem+json")


async def allocation_list(daemon: Daemon, who: Identity, request: Request) -> Response:
    mine = [
        a.view()
        for a in daemon.payments.allocations.values()
        if a.owner == who.node_id and not a.released
    ]
    return JSONResponse(mine)


async def allocation_get(daemon: Daemon, who: Identity, request: Request) -> Response:
    return JSONResponse(daemon.payments.allocation(request.path_params["id"], who.node_id).view())


async def allocation_amend(daemon: Daemon, who: Identity, request: Request) -> Response:
    identifier, body = request.path_params["id"], await object_of(request)
    return JSONResponse(daemon.payments.amend(identifier, who.node_id, body).view())


async def allocation_release(daemon: Daemon, who: Identity, request: Request) -> Response:
    daemon.payments.release(request.path_params["id"], who.node_id)
    return JSONResponse(None)


async def decorations(daemon: Daemon, who: Identity, request: Request) -> Response:
    identifiers = [
        text for text in request.query_params.get("allocationIds", "").split(",") if text
    ]
    return JSONResponse(daemon.payments.decorations(identifiers, who.node_id))


async def accounts(daemon: Daemon, who: Identity, request: Request) -> Response:
    driver, network, token = daemon.config.platform.split("-")
    account = {
        "platform": daemon.config.platform,
        "address": who.node_id,
        "driver": driver,
        "network": network,
        "token": token,
        "send": True,
        "receive": False,
    }
    return JSONResponse([account])


def document_routes(kind: str) -> list[tuple[str, str, Handler]]:
    """Return the routes of ``"invoice"`` or ``"debitNote"``."""

    async def events(daemon: Daemon, who: Identity, request: Request) -> Response:
        limit = integer(request, "maxEvents", None)
        found = await daemon.payments.events_after(
            kind, who.node_id, moment(request), seconds(request), limit
        )
        return JSONResponse(found)

    async def listing(daemon: Daemon, who: Identity, request: Request) -> Response:
        mine = [
            document.view()
            for (what, _), document in daemon.payments.documents.items()
            if what == kind and who.node_id in (document.issuer, document.recipient)
        ]
        return JSONResponse(mine)

    async def issue(daemon: Daemon, who: Identity, request: Request) -> Response:
        body = await object_of(request)
        if kind == "invoice":
            agreement = daemon.market.agreement(str(body.get("agreementId")), who.node_id)
        else:
            agreement = daemon.activities.get(str(body.get("activityId")), who.node_id).agreement
        document = daemon.payments.issue(kind, who.node_id, agreement.requestor, agreement.id, body)
        return created(document.view())

    async def show(daemon: Daemon, who: Identity, request: Request) -> Response:
        return JSONResponse(
            daemon.payments.document(kind, request.path_params["id"], who.node_id).view()
        )

    async def send(daemon: Daemon, who: Identity, request: Request) -> Response:
        daemon.payments.send(daemon.payments.document(kind, request.path_params["id"], who.node_id))
        return JSONResponse(None)

    async def accept(daemon: Daemon, who: Identity, request: Request) -> Response:
        body = await object_of(request)
        daemon.payments.accept(kind, request.path_params["id"], who.node_id, body)
        return JSONResponse(None)

    async def reject(daemon: Daemon, who: Identity, request: Request) -> Response:
        body = await object_of(request)
        daemon.payments.reject(kind, request.path_params["id"], who.node_id, body)
        return JSONResponse(None)

    base = f"/payment-api/v1/{kind}"
    return [
        ("GET", f"{base}Events", events),
        ("GET", f"{base}s", listing),
        ("POST", f"{base}s", issue),
        ("GET", f"{base}s/{{id}}", show),
        ("POST", f"{base}s/{{id}}/send", send),
        ("POST", f"{base}s/{{id}}/accept", accept),
        ("POST", f"{base}s/{{id}}/reject", reject),
    ]


# net -----------------------------------------------------------------------------------------------------------------


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


async def net_connections(daemon: Daemon, who: Identity, request: Request) -> Response:
    return JSONResponse(daemon.networks.get(request.path_params["id"], who.node_id).connections)


def net_routes(base: str) -> list[tuple[str, str, Handler]]:
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
        ("GET", f"{base}/net/{{id}}/tcp", net_connections),
    ]


# image registry ------------------------------------------------------------------------------------------------------


async def image_info(daemon: Daemon, who: Identity, request: Request) -> Response:
    """Resolve an image hash or tag, as the public registry does; a tag is looked up like a hash."""
    wanted = request.query_params.get("hash") or request.query_params.get("tag")
    if not wanted:
        return PlainTextResponse("missing hash or tag", 400)
    if wanted not in daemon.config.images and daemon.config.unknown_images == "404":
        return PlainTextResponse(f"Image not found: {wanted}", 404)
    url = str(request.url_for("image_file", name=f"{wanted}.gvmi"))
    return JSONResponse({"http": url, "https": url, "sha3": wanted, "size": 1 << 20})


async def image_file(daemon: Daemon, who: Identity, request: Request) -> Response:
    """Answer for an image file; providers here read the image's folder, so nothing is downloaded."""
    return Response(status_code=200, media_type="application/octet-stream")


API: list[tuple[str, str, Handler]] = [
    ("GET", "/me", me),
    ("GET", "/version/get", version),
    *market_routes("demand"),
    *market_routes("offer"),
    ("POST", "/market-api/v1/agreements", agreement_create),
    ("GET", "/market-api/v1/agreements", agreement_list),
    ("GET", "/market-api/v1/agreementEvents", agreement_events),
    ("GET", "/market-api/v1/agreements/{id}", agreement_get),
    ("POST", "/market-api/v1/agreements/{id}/confirm", agreement_confirm),
    ("POST", "/market-api/v1/agreements/{id}/wait", agreement_wait),
    ("POST", "/market-api/v1/agreements/{id}/approve", agreement_approve),
    ("POST", "/market-api/v1/agreements/{id}/reject", agreement_reject),
    ("POST", "/market-api/v1/agreements/{id}/cancel", agreement_cancel),
    ("POST", "/market-api/v1/agreements/{id}/terminate", agreement_terminate),
    ("GET", "/market-api/v1/agreements/{id}/terminate/reason", agreement_reason),
    ("POST", "/activity-api/v1/activity", activity_create),
    ("GET", "/activity-api/v1/events", activity_events),
    ("DELETE", "/activity-api/v1/activity/{id}", activity_destroy),
    ("POST", "/activity-api/v1/activity/{id}/exec", activity_exec),
    ("GET", "/activity-api/v1/activity/{id}/exec/{batch}", activity_results),
    ("GET", "/activity-api/v1/activity/{id}/state", activity_state),
    ("PUT", "/activity-api/v1/activity/{id}/state", activity_set_state),
    ("GET", "/activity-api/v1/activity/{id}/usage", activity_usage),
    ("GET", "/activity-api/v1/activity/{id}/command", activity_command),
    ("GET", "/activity-api/v1/activity/{id}/agreement", activity_agreement),
    ("POST", "/payment-api/v1/allocations", allocation_create),
    ("GET", "/payment-api/v1/allocations", allocation_list),
    ("GET", "/payment-api/v1/allocations/{id}", allocation_get),
    ("PUT", "/payment-api/v1/allocations/{id}", allocation_amend),
    ("DELETE", "/payment-api/v1/allocations/{id}", allocation_release),
    ("GET", "/payment-api/v1/demandDecorations", decorations),
    ("GET", "/payment-api/v1/requestorAccounts", accounts),
    *document_routes("invoice"),
    *document_routes("debitNote"),
    *net_routes("/net-api/v1"),
    *net_routes("/net-api/v2/vpn"),
    ("GET", "/v1/image/info", image_info),
    ("GET", "/images/{name}", image_file),
]


class Application:
    """The daemon's ASGI application. ``daemon`` is replaced by :meth:`restart`."""

    def __init__(self, make_daemon: Callable[[], Daemon]) -> None:
        self._make_daemon = make_daemon
        self.daemon: Daemon
        self.loop: asyncio.AbstractEventLoop
        self._down = False
        routes = [
            Route(path, self._endpoint(handler), methods=[method], name=handler.__name__)
            for method, path, handler in API
        ]
        self._router = Router([*routes, *control_routes(self)])

    async def restart(self, down_s: float = 0.0) -> None:
        """Lose all state, as a daemon whose data folder was wiped; unreachable for ``down_s`` seconds."""
        self._down = True
        await self.daemon.close()
        await asyncio.sleep(down_s)
        self.daemon = self._make_daemon()
        self.daemon.start()
        self._down = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection scope."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._http(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self.loop = asyncio.get_running_loop()
        self.daemon = self._make_daemon()
        self.daemon.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.daemon.close()
        await send({"type": "lifespan.shutdown.complete"})

    def _identity(self, scope: Scope) -> Identity | str:
        """Return who asks, or why not."""
        headers = dict(scope["headers"])
        header = headers.get(b"authorization", b"").decode("latin-1")
        query = urllib.parse.parse_qs(scope["query_string"].decode("latin-1"))
        scheme, _, key = header.partition(" ")
        if scheme.lower() != "bearer" or not key:
            key = "".join(query.get("authToken", []))
        if not key:
            return "Missing application key"
        return self.daemon.identities.get(key) or "Invalid application key"

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._down and not scope["path"].startswith("/_golem/"):
            await PlainTextResponse("the daemon is restarting", 503)(scope, receive, send)
            return
        identity: Identity | str = self.daemon.requestor
        if not scope["path"].startswith(OPEN_PATHS):
            identity = self._identity(scope)
        if isinstance(identity, str):
            await PlainTextResponse(identity, 401)(scope, receive, send)
            return
        scope["mock_identity"] = identity
        scope["app"] = self
        try:
            await self._router(scope, receive, send)
        except HTTPException as error:
            await PlainTextResponse(error.detail, error.status_code)(scope, receive, send)

    def _endpoint(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                return await handler(self.daemon, request.scope["mock_identity"], request)
            except ApiError as error:
                if error.message is None:
                    return Response(status_code=error.status)
                return JSONResponse({"message": error.message}, status_code=error.status)

        return endpoint

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        identity = "the daemon is restarting" if self._down else self._identity(scope)
        if isinstance(identity, str):
            await deny(send, 401, identity.encode(), "text/plain")
            return
        match scope["path"].split("/"):
            case ["", "net-api", "v1", "net", network, "tcp", ip, port] if port.isdigit():
                pass
            case ["", "net-api", "v2", "vpn", "net", network, "tcp", ip, port] if port.isdigit():
                pass
            case _:
                await deny(send, 404)
                return
        try:
            tunnel = await open_tunnel(self.daemon, identity.node_id, network, ip, int(port))
        except ApiError as error:
            body = b"" if error.message is None else json.dumps({"message": error.message}).encode()
            await deny(send, error.status, body)
            return
        await tunnel.run(scope, receive, send)
