"""Routes of ``/market-api/v1``; the behaviour is in ``market``."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mock_servers.yagna.daemon import Daemon, Identity
from mock_servers.yagna.errors import ApiError
from mock_servers.yagna.reading import (
    RouteTable,
    created,
    empty,
    integer,
    moment,
    object_of,
    seconds,
    terms_of,
)

__all__ = ["ROUTES"]


def market_routes(kind: str) -> RouteTable:
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


ROUTES: RouteTable = [
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
]
