"""The application: one POST route for messages, checked in a fixed order, and the control routes.

Order of the checks: 404 path, 405 method, 401 and 403 token, 413 size, 429 rate, 415 type, body (413 bomb, 415 not
JSON), blacklist, repetition, store. Every refusal is JSON ``{"code", "details"}``.

Control routes, besides those of :mod:`mock_servers.control`:

==================================  ================================================================================
``GET /_mock/messages``             ``?path=&reqid=&since=NUMBER``: all columns, body inflated
``GET /_mock/attempts``             every delivery with its result
``GET /_mock/conflicts``            one request id used for two bodies
``GET /_mock/stats``                counts
``GET/POST/DELETE /_mock/rules``    blacklist rules; POST takes the rule, DELETE one by ``?id=`` or all
``GET/POST /_mock/tokens``          token -> ``{"senders": [...], "serials": [...]}`` (absent: any)
``GET /_mock/wait``                 ``?count=N&timeout=S``: when there are N messages, or 408
``GET/POST /_mock/check``           expected messages as NDJSON, in ``?expected=`` or the body
==================================  ================================================================================
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import time
import urllib.parse
import weakref
import zlib
from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from mock_servers.ramen.rules import Rules
from mock_servers.ramen.store import Store
from mock_servers.runner import TRANSPORT_EXTENSION

__all__ = ["CONTROL_PATHS", "Knobs", "RamenApplication"]

_PATH = re.compile(
    r"/ramen/v1/(?P<category>[A-Za-z0-9_-]+)/(?P<system_serial>[0-9]+)/"
    r"(?P<sender>[A-Za-z0-9_-]+)\.(?P<data_type>[A-Za-z0-9_-]+)\.(?P<data_version>[A-Za-z0-9_-]+)/?"
)
CONTROL_PATHS = frozenset(
    f"/_mock/{name}"
    for name in (
        "attempts",
        "check",
        "conflicts",
        "messages",
        "rules",
        "stats",
        "tokens",
        "wait",
    )
)


@dataclasses.dataclass(slots=True)
class Knobs:
    """How strict the server is; may be changed while it runs.

    Attributes:
        stored_limit: Longest body as sent, bytes.
        inflated_limit: Longest body after decoding, bytes.
        strict_encoding: Whether the body must be what ``Content-Encoding`` says.
        strict_json: Whether ``NaN`` and ``Infinity`` are refused.
        rate_per_s: Messages taken per second, the rest gets 429; ``None`` for no limit.
        retry_after: Value of ``Retry-After`` with 429, ``None`` to leave it out.
    """

    stored_limit: int = 16 * 1024 * 1024
    inflated_limit: int = 64 * 1024 * 1024
    strict_encoding: bool = False
    strict_json: bool = False
    rate_per_s: float | None = None
    retry_after: str | None = "1"


class _Refusal(Exception):
    def __init__(
        self, status: int, code: str, details: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(details)
        self.status = status
        self.code = code
        self.headers = headers


class RamenApplication:
    """ASGI application of one server.

    Args:
        store: Where messages go.
        rules: Blacklist rules.
        tokens: Token -> its limits; changed through the control API.
        knobs: How strict it is.
    """

    def __init__(
        self, store: Store, rules: Rules, tokens: dict[str, dict[str, Any]], knobs: Knobs
    ) -> None:
        self.store = store
        self.rules = rules
        self.tokens = tokens
        self.knobs = knobs
        self._allowance = 1.0
        self._allowed_at = 0.0
        self._connections: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._last_connection = 0
        self.control = Starlette(
            routes=[
                Route("/_mock/messages", self._messages),
                Route("/_mock/attempts", self._attempts),
                Route("/_mock/conflicts", self._conflicts),
                Route("/_mock/stats", self._stats),
                Route("/_mock/rules", self._rules, methods=["GET", "POST", "DELETE"]),
                Route("/_mock/tokens", self._tokens, methods=["GET", "POST"]),
                Route("/_mock/wait", self._wait),
                Route("/_mock/check", self._check, methods=["GET", "POST"]),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request for a message path."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        origin = self._origin(scope)
        reqid = request.query_params.get("reqid") or None
        try:
            reply, result = await self._answer(request, reqid, origin)
        except _Refusal as refusal:
            result = refusal.code.lower()
            reply = JSONResponse(
                {"code": refusal.code, "details": str(refusal)},
                status_code=refusal.status,
                headers=refusal.headers,
            )
        if result is not None:
            self.store.refuse(scope["path"], reqid, result, origin)
        await reply(scope, receive, send)

    async def _answer(
        self, request: Request, reqid: str | None, origin: int
    ) -> tuple[Response, str | None]:
        path = urllib.parse.unquote(request.scope["raw_path"].decode("latin-1"))
        match = _PATH.fullmatch(path)
        if match is None:
            raise _Refusal(404, "NOT_FOUND", "Wrong URL")
        if request.method != "POST":
            raise _Refusal(405, "METHOD_NOT_ALLOWED", "Only POST is allowed", {"Allow": "POST"})
        message: dict[str, Any] = {
            **match.groupdict(),
            "path": path.rstrip("/"),
            "reqid": reqid,
            "system_version": request.query_params.get("version"),
        }
        message["system_serial"] = int(message["system_serial"])
        self._authorize(request.headers.get("x-api-token"), message)
        body = await self._body(request)
        self._limit_rate()
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise _Refusal(415, "UNSUPPORTED_MEDIA_TYPE", "Request body is not JSON")
        body = self._inflated(body, request.headers.get("content-encoding", ""))
        self._require_json(body)
        dropped, rule = self.rules.match(message)
        if dropped:
            reply = {
                "code": "DROPPED",
                "details": "Request matches a blacklist rule",
                "rule": rule,
            }
            return JSONResponse(reply, status_code=202), "dropped"
        new = self.store.take(message, body, list(request.headers.items()), origin)
        details = None if new else "Duplicate request"
        return JSONResponse({"code": "ACCEPTED", "details": details}, status_code=202), None

    def _authorize(self, token: str | None, message: Mapping[str, Any]) -> None:
        if token is None or token not in self.tokens:
            raise _Refusal(401, "UNAUTHORIZED", "Credentials missing or invalid")
        limits = self.tokens[token]
        for name, field in (("senders", "sender"), ("serials", "system_serial")):
            if limits.get(name) is not None and message[field] not in limits[name]:
                raise _Refusal(403, "FORBIDDEN", f"Not allowed for this {field}")

    async def _body(self, request: Request) -> bytes:
        parts = []
        size = 0
        async for part in request.stream():
            size += len(part)
            if size > self.knobs.stored_limit:
                raise _Refusal(413, "PAYLOAD_TOO_LARGE", "Payload too large")
            parts.append(part)
        return b"".join(parts)

    def _limit_rate(self) -> None:
        rate = self.knobs.rate_per_s
        if rate is None:
            return
        now = time.monotonic()
        self._allowance = min(max(1.0, rate), self._allowance + (now - self._allowed_at) * rate)
        self._allowed_at = now
        if self._allowance < 1:
            after = self.knobs.retry_after
            raise _Refusal(
                429,
                "TOO_MANY_REQUESTS",
                "Rate limit reached",
                {"Retry-After": after} if after is not None else None,
            )
        self._allowance -= 1

    def _inflated(self, body: bytes, encoding: str) -> bytes:
        if body[:2] == b"\x1f\x8b":
            found, bits = "gzip", 31
        elif body[:1] == b"\x78":
            found, bits = "deflate", 15
        else:
            found, bits = "", 0
        if self.knobs.strict_encoding and found != encoding.strip().lower():
            raise _Refusal(400, "BAD_REQUEST", "The payload cannot be processed")
        if not found:
            return body
        inflater = zlib.decompressobj(bits)
        try:
            plain = inflater.decompress(body, self.knobs.inflated_limit)
            if inflater.unconsumed_tail:
                raise _Refusal(413, "PAYLOAD_TOO_LARGE", "Payload too large")
            plain += inflater.flush()
        except zlib.error:
            raise _Refusal(400, "BAD_REQUEST", "The payload cannot be processed") from None
        if not inflater.eof:
            raise _Refusal(400, "BAD_REQUEST", "The payload cannot be processed")
        return plain

    def _require_json(self, body: bytes) -> None:
        def refuse(name: str) -> None:
            if self.knobs.strict_json:
                raise ValueError(name)

        try:
            json.loads(body, parse_constant=refuse)
        except (ValueError, RecursionError):
            raise _Refusal(415, "UNSUPPORTED_MEDIA_TYPE", "Request body is not JSON") from None

    def _origin(self, scope: Scope) -> int:
        transport = scope.get("extensions", {}).get(TRANSPORT_EXTENSION, {}).get("transport")
        if transport is None:
            return 0
        if transport not in self._connections:
            self._last_connection += 1
            self._connections[transport] = self._last_connection
        return self._connections[transport]

    # Control

    async def _messages(self, request: Request) -> Response:
        query = request.query_params
        return JSONResponse(
            self.store.messages(query.get("path"), query.get("reqid"), int(query.get("since", "0")))
        )

    async def _attempts(self, request: Request) -> Response:
        return JSONResponse(self.store.attempts())

    async def _conflicts(self, request: Request) -> Response:
        return JSONResponse(self.store.conflicts())

    async def _stats(self, request: Request) -> Response:
        return JSONResponse(self.store.stats())

    async def _rules(self, request: Request) -> Response:
        if request.method == "POST":
            return JSONResponse({"id": self.rules.add(await request.json())}, status_code=201)
        if request.method == "DELETE":
            if "id" not in request.query_params:
                self.rules.clear()
            elif not self.rules.remove(int(request.query_params["id"])):
                return JSONResponse({"error": "no such rule"}, status_code=404)
            return Response(status_code=204)
        return JSONResponse(self.rules.shown())

    async def _tokens(self, request: Request) -> Response:
        if request.method == "POST":
            self.tokens.clear()
            self.tokens.update(await request.json())
        return JSONResponse(self.tokens)

    async def _wait(self, request: Request) -> Response:
        count = int(request.query_params["count"])
        timeout_s = min(60.0, float(request.query_params.get("timeout", "10")))
        arrived = await asyncio.to_thread(self.store.wait, count, timeout_s)
        if arrived:
            return JSONResponse({"messages": self.store.count()})
        return PlainTextResponse(f"only {self.store.count()} messages", status_code=408)

    async def _check(self, request: Request) -> Response:
        text = request.query_params.get("expected")
        lines = (text.encode() if text is not None else await request.body()).splitlines()
        return JSONResponse(self.store.check([json.loads(line) for line in lines if line]))
