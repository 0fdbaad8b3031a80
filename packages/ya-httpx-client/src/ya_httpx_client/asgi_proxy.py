"""An ASGI application that passes every request on to providers and streams the answers back.

Run it with any ASGI server, ``uvicorn module:app``. Whatever the server behind the URL is, this is its local address.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import httpx

from ya_httpx_client.session import Session

__all__ = ["Proxy"]

logger = logging.getLogger("ya_httpx_client")

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Proxy:
    """Passes requests on to the service behind one URL of a session.

    The session starts with the application and is closed with it (lifespan protocol). Method, path, query, fields and
    body reach the provider as they came, hop-by-hop fields excepted; bodies are streamed both ways. A small body with a
    known length is read first, so that the request can be executed again when a provider is lost. A request that no
    provider answered gets 502, one that waited too long 504.

    Args:
        session: The session; the proxy owns it.
        url: A URL that was given to ``session.startup`` or ``session.add_url``.
        replay_bytes: Bodies announced to be at most this long are held in memory.
    """

    def __init__(self, session: Session, url: str, *, replay_bytes: int = 1 << 20) -> None:
        self.session = session
        self.url = url
        self.replay_bytes = replay_bytes
        self._stack = contextlib.AsyncExitStack()
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection scope.

        Raises:
            RuntimeError: A websocket, or a server that does not run the lifespan protocol.
        """
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._forward(scope, receive, send)
        else:
            raise RuntimeError(f"cannot forward {scope['type']}")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._client = await self._stack.enter_async_context(self.session.client())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._stack.aclose()
        await self.session.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _forward(self, scope: Message, receive: Receive, send: Send) -> None:
        if self._client is None:
            raise RuntimeError("the proxy needs an ASGI server with the lifespan protocol")
        target = scope["raw_path"].decode("ascii")
        if scope["query_string"]:
            target += "?" + scope["query_string"].decode("ascii")
        headers = [item for item in scope["headers"] if item[0].lower() not in HOP_BY_HOP]
        request = self._client.build_request(
            scope["method"],
            self.url + target,
            headers=headers,
            content=await self._content(scope, receive),
        )
        try:
            response = await self._client.send(request, stream=True)
        except httpx.TransportError as error:
            logger.warning("%s %s was not answered: %s", scope["method"], target, error)
            late = isinstance(error, httpx.TimeoutException)
            await _answer(send, 504 if late else 502, str(error))
            return
        try:
            kept = [item for item in response.headers.raw if item[0].lower() not in HOP_BY_HOP]
            await send(
                {"type": "http.response.start", "status": response.status_code, "headers": kept}
            )
            async for piece in response.aiter_raw():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await response.aclose()

    async def _content(self, scope: Message, receive: Receive) -> bytes | AsyncIterator[bytes]:
        fields = dict(scope["headers"])
        chunked = b"transfer-encoding" in fields
        length = int(fields.get(b"content-length", b"0"))
        pieces = _body(receive)
        if chunked or length > self.replay_bytes:
            return pieces
        return b"".join([piece async for piece in pieces])


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise httpx.ReadError("the client went away")
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return


async def _answer(send: Send, status: int, text: str) -> None:
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
