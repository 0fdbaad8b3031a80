"""The server as programs and tests use it: messages, rules, tokens, faults and the thread that serves.

``with RamenServer() as server: QueueReaderConfig(hostname=server.hostname, auth_token="good-token", ssl=False, ...)``.
"""

from __future__ import annotations

import asyncio
import pathlib
import urllib.parse
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from mock_servers.control import Controlled
from mock_servers.faults import FaultBoard
from mock_servers.ramen.app import CONTROL_PATHS, Knobs, RamenApplication
from mock_servers.ramen.rules import Rules
from mock_servers.ramen.store import Store
from mock_servers.runner import ServerThread
from mock_servers.stored import StoredServer
from mock_servers.traffic import TrafficLog

__all__ = ["DEFAULT_TOKENS", "RamenServer"]

DEFAULT_TOKENS: Mapping[str, Mapping[str, Any]] = {"good-token": {}}


class RamenServer(StoredServer):
    """One Ramen server on 127.0.0.1.

    Args:
        data: Folder that keeps the database over restarts, made if missing; ``None`` keeps everything in memory.
        port: Port; 0 lets the system choose.
        tokens: Token -> ``{"senders": [...], "serials": [...]}`` it may be used for; an absent list means any.
        compat: Also answer ``GET /set_delay?delay=`` and ``GET /set_response?code=&body=`` as the mock server that came
            with infi.ramen_client 1.40 did.
        traffic: Record to share with other servers.
        ssl_context: Serve TLS with this context.

    Attributes:
        faults: Faults to strike.
        traffic: What was asked and answered.
        knobs: How strict it is.
        rules: Blacklist rules.
        store: The messages.
    """

    def __init__(
        self,
        *,
        data: pathlib.Path | None = None,
        port: int = 0,
        tokens: Mapping[str, Mapping[str, Any]] = DEFAULT_TOKENS,
        compat: bool = False,
        traffic: TrafficLog | None = None,
        ssl_context: Any = None,
    ) -> None:
        file = None
        if data is not None:
            data.mkdir(parents=True, exist_ok=True)
            file = data / "ramen.sqlite"
        self.store: Store = Store(file)
        self.rules = Rules()
        self.knobs = Knobs()
        self.faults = FaultBoard()
        self.traffic = traffic or TrafficLog()
        self.tokens = {token: dict(limits) for token, limits in tokens.items()}
        self._compat = _Compat() if compat else None
        self._application = RamenApplication(self.store, self.rules, self.tokens, self.knobs)
        self._controlled = Controlled(
            self._application,
            server="ramen",
            node="ramen",
            faults=self.faults,
            traffic=self.traffic,
            state=self.store.shown,
            reset=self.reset,
        )
        self._thread = ServerThread(self, port=port, name="mock-ramen", ssl_context=ssl_context)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection scope."""
        if scope["type"] == "http" and scope["path"] in CONTROL_PATHS:
            await self._application.control(scope, receive, send)
            return
        if self._compat is not None and scope["type"] == "http":
            reply = await self._compat.answer(Request(scope, receive))
            if reply is not None:
                await reply(scope, receive, send)
                return
        await self._controlled(scope, receive, send)

    @property
    def hostname(self) -> str:
        """Host and port, as a reader's configuration wants them."""
        return urllib.parse.urlsplit(self.url).netloc

    def reset(self) -> None:
        """Forget messages and rules."""
        self.store.clear()
        self.rules.clear()


class _Compat:
    """The two settings of the mock server of infi.ramen_client 1.40."""

    def __init__(self) -> None:
        self._delay_s = 0.0
        self._response: tuple[int, str] | None = None

    async def answer(self, request: Request) -> Response | None:
        """Return the reply that is set, ``None`` to let the real server answer."""
        query = request.query_params
        if request.method == "GET" and request.url.path == "/set_delay":
            self._delay_s = float(query.get("delay", "0"))
            return PlainTextResponse("OK")
        if request.method == "GET" and request.url.path == "/set_response":
            self._response = (
                (
                    int(query.get("code", "202")),
                    query.get("body", '{"code": "ACCEPTED", "details": null}'),
                )
                if query
                else None
            )
            return PlainTextResponse("OK")
        if request.method != "POST" or request.url.path.startswith("/_mock/"):
            return None
        await asyncio.sleep(self._delay_s)
        if request.headers.get("x-api-token") != "good-token":
            refusal = {"code": "UNAUTHORIZED", "details": "Credentials missing or invalid"}
            return JSONResponse(refusal, status_code=401)
        if self._response is None:
            return None
        status, body = self._response
        await request.body()
        return Response(body, status_code=status, media_type="application/json")
