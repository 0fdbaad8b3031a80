"""The console's own little server: the page, its event stream, and what its buttons do.

==================================  ==================================================================================
``GET /``                           the page
``GET /events``                     server-sent events, four per second, see :mod:`mock_servers.console.sampling`
``GET /exchange/{panel}/{number}``  one recorded request in full, secrets hidden, with ``"curl"``
``GET /state/{panel}``              what the server holds
``POST /faults/{panel}``            activate a fault; ``DELETE`` deactivates all
``POST /reset/{panel}``             back to the initial state
``POST /nodes/{panel}/{node}/kill`` and ``.../start``
==================================  ==================================================================================
"""

from __future__ import annotations

import asyncio
import http.client
import pathlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from mock_servers.console.curl import curl_line
from mock_servers.console.panel import Panel, Shown
from mock_servers.console.sampling import Sampler
from mock_servers.faults import Fault
from mock_servers.runner import ServerThread
from mock_servers.started import Started

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Console"]

STATIC = pathlib.Path(__file__).parent / "static"
UPDATE_S = 0.25
Handler = Callable[[Request, Panel], Awaitable[Response]]


def _reply(value: Any, status: int = 200) -> Response:
    return Response(
        orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS), status, media_type="application/json"
    )


class Console(Started):
    """The page and the servers it shows; thread-safe.

    Args:
        port: Port on 127.0.0.1; 0 lets the system choose.
    """

    def __init__(self, port: int = 0) -> None:
        self._panels: dict[str, Panel] = {}
        self._lock = threading.Lock()
        routes = [
            Route("/", self._file("index.html")),
            Route("/console.js", self._file("console.js")),
            Route("/console.css", self._file("console.css")),
            Route("/events", self._events),
            Route("/exchange/{panel}/{number:int}", self._on_panel(self._exchange)),
            Route("/state/{panel}", self._on_panel(self._show_state)),
            Route("/faults/{panel}", self._on_panel(self._add_fault), methods=["POST"]),
            Route("/faults/{panel}", self._on_panel(self._clear_faults), methods=["DELETE"]),
            Route("/reset/{panel}", self._on_panel(self._reset), methods=["POST"]),
            Route("/nodes/{panel}/{node}/{action}", self._on_panel(self._switch), methods=["POST"]),
        ]
        app = Starlette(routes=routes)
        self._thread = ServerThread(app, port=port, name="console", grace_s=0.0)

    @property
    def url(self) -> str:
        """Address of the page."""
        return self._thread.url

    def add(self, server: Shown, name: str | None = None) -> None:
        """Show a server, in the place of one of the same name if there is one.

        Args:
            server: Any server of this distribution.
            name: ``None`` names it after its class: ``LoudmlServer`` is ``loudml``.
        """
        name = name or type(server).__name__.removesuffix("Server").lower()
        with self._lock:
            self._panels[name] = Panel(name, server)

    def show(
        self,
        name: str,
        state: Callable[[], Any],
        throughput: Callable[[], tuple[int, float]] | None = None,
    ) -> None:
        """Show something that is no server.

        Args:
            name: Unique among the panels.
            state: Returns what to show, JSON values.
            throughput: Returns messages so far and messages per second; ``None`` shows none.
        """
        with self._lock:
            self._panels[name] = Panel(name, state=state, throughput=throughput)

    def remove(self, name: str) -> None:
        """Show a panel no longer; nothing happens when there is none of that name."""
        with self._lock:
            self._panels.pop(name, None)

    def panels(self) -> list[Panel]:
        """Return the panels in order of their addition."""
        with self._lock:
            return list(self._panels.values())

    def start(self) -> Self:
        """Serve the page."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving the page; the servers it shows are not touched."""
        self._thread.stop()

    @staticmethod
    def _file(name: str) -> Callable[[Request], Awaitable[Response]]:
        async def send(request: Request) -> Response:
            return FileResponse(STATIC / name, headers={"Cache-Control": "no-store"})

        return send

    def _on_panel(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """Wrap a handler: finds its panel, and tells what it could not do instead of a bare 500."""

        async def handle(request: Request) -> Response:
            name = request.path_params["panel"]
            panel = self._panels.get(name)
            if panel is None:
                return _reply({"error": f"no server is called {name!r}"}, 404)
            try:
                return await handler(request, panel)
            except (OSError, http.client.HTTPException, ValueError) as error:
                return _reply({"error": f"{name}: {error or type(error).__name__}"}, 502)

        return handle

    async def _events(self, request: Request) -> Response:
        sampler = Sampler(self.panels)

        async def stream() -> AsyncIterator[bytes]:
            while True:
                yield b"data: " + orjson.dumps(sampler.update()) + b"\n\n"
                await asyncio.sleep(UPDATE_S)

        return StreamingResponse(
            stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    @staticmethod
    async def _exchange(request: Request, panel: Panel) -> Response:
        number = request.path_params["number"]
        found = panel.server.traffic.since(number - 1)[:1] if panel.server else []
        if not found or found[0].number != number:
            return _reply({"error": "this request is not kept any more"}, 404)
        exchange = found[0]
        line = curl_line(exchange, panel.url_of(exchange.node))
        return _reply({**exchange.shown(), "curl": line})

    @staticmethod
    async def _show_state(request: Request, panel: Panel) -> Response:
        return _reply(await asyncio.to_thread(panel.state))

    @staticmethod
    async def _add_fault(request: Request, panel: Panel) -> Response:
        try:
            fault = Fault.from_json(await request.json())
        except ValueError as error:
            return _reply({"error": str(error)}, 400)
        if panel.server is None:
            return _reply({"error": f"{panel.name} is no server"}, 404)
        return _reply({"id": panel.server.faults.add(fault)}, 201)

    @staticmethod
    async def _clear_faults(request: Request, panel: Panel) -> Response:
        if panel.server is not None:
            panel.server.faults.clear()
        return Response(status_code=204)

    @staticmethod
    async def _reset(request: Request, panel: Panel) -> Response:
        await asyncio.to_thread(panel.reset)
        return Response(status_code=204)

    @staticmethod
    async def _switch(request: Request, panel: Panel) -> Response:
        node, action = request.path_params["node"], request.path_params["action"]
        if action not in ("kill", "start"):
            return _reply({"error": f"{action!r}: expected kill or start"}, 404)
        if not await asyncio.to_thread(panel.switch, node, on=action == "start"):
            return _reply({"error": f"{panel.name} has no node {node!r}"}, 404)
        return Response(status_code=204)
