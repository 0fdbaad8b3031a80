"""The daemon's HTTP surface: authentication, errors, and which routes there are. No behaviour lives here.

Built by ``server``. ``/_golem/*`` is the control API (``control``) and needs no key, as the image registry.
"""

from __future__ import annotations

import asyncio
import json
import urllib.parse
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from mock_servers.yagna import (
    activity_routes,
    market_routes,
    net_routes,
    payment_routes,
    registry_routes,
)
from mock_servers.yagna.control import control_routes
from mock_servers.yagna.daemon import Daemon, Identity
from mock_servers.yagna.errors import ApiError
from mock_servers.yagna.reading import Handler, RouteTable
from mock_servers.yagna.vpn import deny, open_tunnel

__all__ = ["Application"]

VERSION = "0.17.6"
OPEN_PATHS = ("/version/get", "/metrics-api", "/dashboard", "/v1/image/", "/images/", "/_golem/")


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


API: RouteTable = [
    ("GET", "/me", me),
    ("GET", "/version/get", version),
    *market_routes.ROUTES,
    *activity_routes.ROUTES,
    *payment_routes.ROUTES,
    *net_routes.ROUTES,
    *registry_routes.ROUTES,
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
        self._router = Router([*routes, *control_routes(self)], default=Response(status_code=404))

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
                if error.plain:
                    return PlainTextResponse(error.message, error.status)
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
