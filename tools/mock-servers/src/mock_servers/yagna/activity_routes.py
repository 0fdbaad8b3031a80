"""Routes of ``/activity-api/v1``; the behaviour is in ``activity``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from mock_servers.yagna.activity import Activity, Batch
from mock_servers.yagna.daemon import Daemon, Identity
from mock_servers.yagna.errors import ApiError
from mock_servers.yagna.reading import RouteTable, body_of, integer, moment, object_of, seconds

__all__ = ["ROUTES"]


PING_EVERY_S = 15.0


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
    shown = {
        "state": list(activity.state),
        "reason": activity.reason,
        "errorMessage": activity.error,
    }
    return JSONResponse({name: value for name, value in shown.items() if value is not None})


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


ROUTES: RouteTable = [
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
]
