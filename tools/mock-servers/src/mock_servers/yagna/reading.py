"""Reading requests and writing the plainest answers: what every route of the local Golem needs.

Called by the ``*_routes`` modules.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mock_servers.yagna.errors import ApiError

if TYPE_CHECKING:
    from mock_servers.yagna.daemon import Daemon, Identity

__all__ = [
    "Handler",
    "RouteTable",
    "body_of",
    "created",
    "empty",
    "integer",
    "moment",
    "object_of",
    "seconds",
    "terms_of",
]

Handler = Callable[["Daemon", "Identity", Request], Awaitable[Response]]
RouteTable = list[tuple[str, str, Handler]]
"""Rows of method, path and handler."""


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
        raise ApiError(400, "Query deserialize error: invalid float literal", plain=True) from error


def integer(request: Request, name: str, default: int | None) -> int | None:
    """Return an integer of the query.

    Raises:
        ApiError: 400, not an integer.
    """
    text = request.query_params.get(name)
    try:
        return default if text is None else int(text)
    except ValueError as error:
        raise ApiError(
            400, "Query deserialize error: invalid digit found in string", plain=True
        ) from error


def moment(request: Request, *, required: bool = False) -> datetime | None:
    """Return the query's ``afterTimestamp``.

    Raises:
        ApiError: 400, missing where it is mandatory, or not a timestamp with an offset.
    """
    text = request.query_params.get("afterTimestamp")
    if text is None:
        if required:
            raise ApiError(
                400, "Query deserialize error: missing field `afterTimestamp`", plain=True
            )
        return None
    try:
        value = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise ApiError(
            400, "Query deserialize error: input contains invalid characters", plain=True
        ) from error
    if value.tzinfo is None:
        raise ApiError(400, "Query deserialize error: premature end of input", plain=True)
    return value
