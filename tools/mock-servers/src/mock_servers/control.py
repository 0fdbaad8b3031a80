"""What every mock server shares around its own application: faults, the record of traffic, and ``/_mock/*``.

Wrap each node's application: ``Controlled(app, server="loudml", node="node-1", faults=faults, traffic=traffic)``.

=========================   =========================================================================================
``GET /_mock/faults``        list of active faults
``POST /_mock/faults``       activate the fault in the body (see :class:`~mock_servers.faults.Fault`): 201 ``{"id"}``
``DELETE /_mock/faults``     deactivate all; ``/_mock/faults/{id}`` one (404 when it is not active)
``GET /_mock/requests``      ``?after=NUMBER&limit=N`` -> ``{"total": N, "requests": [...]}``, oldest first
``DELETE /_mock/requests``   forget the record
``GET /_mock/state``         what the server holds, as JSON
``POST /_mock/reset``        back to the initial state, faults and record cleared
=========================   =========================================================================================
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mock_servers.faults import Fault, FaultBoard
from mock_servers.runner import TRANSPORT_EXTENSION, reset_transport
from mock_servers.traffic import Exchange, TrafficLog, decoded_headers

__all__ = ["Controlled"]


class Controlled:
    """ASGI application that answers ``/_mock/*``, strikes faults and records everything else.

    Args:
        app: The server's own application.
        server: Kind of server, as recorded.
        node: Name of this node, for faults and the record.
        faults: Faults to strike; share one board among the nodes of a server.
        traffic: Record to write; share one among all servers that one console shows.
        state: Returns what ``GET /_mock/state`` shows, JSON values; ``None`` shows ``{}``.
        reset: Called by ``POST /_mock/reset`` before faults and record are cleared.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        server: str,
        node: str,
        faults: FaultBoard,
        traffic: TrafficLog,
        state: Callable[[], Any] | None = None,
        reset: Callable[[], None] | None = None,
    ) -> None:
        self.app = app
        self.server = server
        self.node = node
        self.faults = faults
        self.traffic = traffic
        self._state = state
        self._reset = reset
        self._control = Starlette(
            routes=[
                Route("/_mock/faults", self._list_faults, methods=["GET"]),
                Route("/_mock/faults", self._add_fault, methods=["POST"]),
                Route("/_mock/faults", self._clear_faults, methods=["DELETE"]),
                Route("/_mock/faults/{number:int}", self._remove_fault, methods=["DELETE"]),
                Route("/_mock/requests", self._list_requests, methods=["GET"]),
                Route("/_mock/requests", self._clear_requests, methods=["DELETE"]),
                Route("/_mock/state", self._show_state, methods=["GET"]),
                Route("/_mock/reset", self._reset_all, methods=["POST"]),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection scope."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["path"].startswith("/_mock/"):
            await self._control(scope, receive, send)
        else:
            await self._recorded(scope, receive, send)

    async def _recorded(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = scope["query_string"]
        target = scope["raw_path"] + b"?" + query if query else scope["raw_path"]
        exchange = Exchange(
            self.server,
            self.node,
            time.time(),
            scope["method"],
            target.decode("latin-1"),
            decoded_headers(scope["headers"]),
        )
        limit = self.traffic.body_limit
        fault = self.faults.take(exchange.method, scope["path"], self.node)
        exchange.fault = fault.action if fault else None
        started = time.perf_counter()

        def record() -> None:
            # Called before the client can have read the whole reply, so that it finds its own record.
            if exchange.number:
                return
            exchange.duration_s = time.perf_counter() - started
            self.traffic.add(exchange)

        async def recorded_receive() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                body = message.get("body", b"")
                exchange.request_body += body[: limit - len(exchange.request_body)]
                exchange.request_size += len(body)
            return message

        async def recorded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                exchange.response_headers = decoded_headers(message.get("headers", ()))
                if _ends_with_its_head(exchange):
                    record()
            elif message["type"] == "http.response.body":
                body = message.get("body", b"")
                exchange.response_body += body[: limit - len(exchange.response_body)]
                exchange.response_size += len(body)
                if not message.get("more_body"):
                    record()
            await send(message)

        try:
            if fault is None:
                await self.app(scope, recorded_receive, recorded_send)
            else:
                await _strike(fault, self.app, scope, recorded_receive, recorded_send, record)
        finally:
            record()

    async def _list_faults(self, request: Request) -> Response:
        return JSONResponse(self.faults.shown())

    async def _add_fault(self, request: Request) -> Response:
        try:
            fault = Fault.from_json(await request.json())
        except ValueError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse({"id": self.faults.add(fault)}, status_code=201)

    async def _clear_faults(self, request: Request) -> Response:
        self.faults.clear()
        return Response(status_code=204)

    async def _remove_fault(self, request: Request) -> Response:
        number = request.path_params["number"]
        if self.faults.remove(number):
            return Response(status_code=204)
        return JSONResponse({"error": f"no active fault has the id {number}"}, status_code=404)

    async def _list_requests(self, request: Request) -> Response:
        try:
            after = int(request.query_params.get("after", "0"))
            limit = int(request.query_params.get("limit", "1000"))
        except ValueError:
            return JSONResponse({"error": "after and limit must be integers"}, status_code=400)
        entries = [entry.shown() for entry in self.traffic.since(after, limit)]
        return JSONResponse({"total": self.traffic.total, "requests": entries})

    async def _clear_requests(self, request: Request) -> Response:
        self.traffic.clear()
        return Response(status_code=204)

    async def _show_state(self, request: Request) -> Response:
        return JSONResponse(self._state() if self._state else {})

    async def _reset_all(self, request: Request) -> Response:
        if self._reset:
            self._reset()
        self.faults.clear()
        self.traffic.clear()
        return Response(status_code=204)


def _ends_with_its_head(exchange: Exchange) -> bool:
    """Whether the client takes the reply for complete as soon as it has the head."""
    return (
        exchange.method == "HEAD"
        or exchange.status in (204, 304)
        or ("content-length", "0") in exchange.response_headers
    )


async def _strike(
    fault: Fault,
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
    record: Callable[[], None],
) -> None:
    """Carry out one fault on one request; ``record`` is called before the connection is ended."""
    if fault.action == "drip":
        await _drip(fault.delay_s, app, scope, receive, send)
        return
    applies = fault.apply or fault.action == "truncate"
    if fault.delay_s and not fault.apply:
        await asyncio.sleep(fault.delay_s)
    if fault.action == "delay" and not fault.apply:
        await app(scope, receive, send)
        return
    reply: list[Message] = []
    if applies:
        await app(scope, receive, _collector(reply))
    else:
        await _read_body(receive)
    if fault.delay_s and fault.apply:
        await asyncio.sleep(fault.delay_s)
    if fault.action == "delay":
        for message in reply:
            await send(message)
    elif fault.action == "status":
        await _send_status(fault, send)
    else:
        if fault.action == "truncate":
            body = b"".join(message.get("body", b"") for message in reply[1:])
            half = body[: len(body) // 2]
            await send(reply[0])
            await send({"type": "http.response.body", "body": half, "more_body": True})
        record()
        if fault.action == "reset":
            reset_transport(_transport(scope))
        elif fault.action != "hang":
            _transport(scope).close()
        while (await receive())["type"] != "http.disconnect":
            pass


async def _drip(delay_s: float, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the real reply so slowly that every byte comes in time and the whole does not."""
    reply: list[Message] = []
    await app(scope, receive, _collector(reply))
    body = b"".join(message.get("body", b"") for message in reply[1:])
    transport = _transport(scope)
    await send(reply[0])
    for place in range(len(body)):
        await asyncio.sleep(delay_s)
        if transport.is_closing():
            return
        more = place + 1 < len(body)
        await send(
            {"type": "http.response.body", "body": body[place : place + 1], "more_body": more}
        )
    if not body:
        await send({"type": "http.response.body"})


async def _send_status(fault: Fault, send: Send) -> None:
    headers = [(name.encode(), value.encode()) for name, value in fault.headers.items()]
    body = fault.body.encode()
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": fault.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _collector(reply: list[Message]) -> Send:
    async def collect(message: Message) -> None:
        reply.append(message)

    return collect


def _transport(scope: Scope) -> asyncio.Transport:
    try:
        transport: asyncio.Transport = scope["extensions"][TRANSPORT_EXTENSION]["transport"]
    except KeyError:
        raise RuntimeError(
            "faults that end a connection need the server to run in mock_servers.runner.ServerThread"
        ) from None
    return transport


async def _read_body(receive: Receive) -> None:
    while (message := await receive())["type"] == "http.request" and message.get("more_body"):
        pass
