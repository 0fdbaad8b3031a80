"""Routes of ``/payment-api/v1``; the behaviour is in ``payment``."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mock_servers.yagna.daemon import Daemon, Identity
from mock_servers.yagna.errors import ApiError
from mock_servers.yagna.payment import InsufficientFunds
from mock_servers.yagna.reading import RouteTable, created, integer, moment, object_of, seconds

__all__ = ["ROUTES"]


async def allocation_create(daemon: Daemon, who: Identity, request: Request) -> Response:
    body = await object_of(request)
    try:
        return created(daemon.payments.allocate(who.node_id, body).view())
    except InsufficientFunds as error:
        kind = "/payment-api/v1/allocations/validation-error"
        problem = {
            "type": kind,
            "instance": f"{kind}/insufficient-account-funds",
            "detail": error.message,
            **error.figures,
            "requestBody": body,
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


def document_routes(kind: str) -> RouteTable:
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
        if "golem.com.payment.chosen-platform" not in agreement.demand["properties"]:
            raise ApiError(400, "Missing golem.com.payment.chosen-platform")
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


ROUTES: RouteTable = [
    ("POST", "/payment-api/v1/allocations", allocation_create),
    ("GET", "/payment-api/v1/allocations", allocation_list),
    ("GET", "/payment-api/v1/allocations/{id}", allocation_get),
    ("PUT", "/payment-api/v1/allocations/{id}", allocation_amend),
    ("DELETE", "/payment-api/v1/allocations/{id}", allocation_release),
    ("GET", "/payment-api/v1/demandDecorations", decorations),
    ("GET", "/payment-api/v1/requestorAccounts", accounts),
    *document_routes("invoice"),
    *document_routes("debitNote"),
]
