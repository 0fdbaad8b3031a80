"""One HTTP exchange through a tunnel: send a request, receive the head, hand out the body as it comes.

Called by ``instance``. Failures are :mod:`transport_utils.errors` with ``sent`` telling how far the request got,
which is what decides whether it may be executed again. Cancelling at any point closes the tunnel, since bytes of an
answer may still come.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from transport_utils import errors
from transport_utils.errors import SentState

from ya_httpx_client._wire import ResponseParser, encode_chunk, encode_head
from ya_httpx_client.errors import library_of, to_httpx

if TYPE_CHECKING:
    from ya_httpx_client.tunnel import Tunnel, TunnelPool

__all__ = [
    "JOIN_BYTES",
    "REPLAY_BYTES",
    "Timeouts",
    "exchange",
    "replayable_content",
    "stream_class",
]

JOIN_BYTES = 64 * 1024
"""Head and body are sent together up to this size."""
REPLAY_BYTES = 64 * 1024
"""A body announced to be this small is awaited before the head is handed out; its loss can still be made good."""


@dataclasses.dataclass(frozen=True, slots=True)
class Timeouts:
    """The limits httpx puts on a request, seconds; ``None`` is no limit."""

    connect: float | None
    read: float | None
    write: float | None
    pool: float | None

    @classmethod
    def of(cls, request: Any) -> Timeouts:
        """Return the limits of an httpx request (its ``timeout`` extension); none when it has none."""
        found = request.extensions.get("timeout") or {}
        return cls(found.get("connect"), found.get("read"), found.get("write"), found.get("pool"))


def replayable_content(request: Any) -> bytes | None:
    """Return the body of an httpx request if it is in memory, ``None`` if it is a stream that can be read once."""
    try:
        content: bytes = request.content
    except Exception:  # httpx.RequestNotRead, of whichever library
        return None
    return content


async def exchange(
    pool: TunnelPool,
    request: Any,
    timeouts: Timeouts,
    finished: Callable[[errors.TransportError | None], None],
    *,
    settle: bool,
) -> Any:
    """Send a request to a provider and return the response of the request's library.

    Args:
        pool: Connections to the provider.
        request: An httpx request.
        timeouts: Its limits.
        finished: Called exactly once if a response is returned: when its body has ended, failed or was closed early.
        settle: Whether a small body is awaited here (see :data:`REPLAY_BYTES`).

    Raises:
        TransportError: Of the kinds in :data:`ya_httpx_client.errors.HTTPX_NAMES`, with ``sent``.
        asyncio.CancelledError: As the caller's task was; the tunnel is closed.
    """
    head = encode_head(request.method.encode("ascii"), request.url.raw_path, request.headers.raw)
    try:
        tunnel = await pool.lease(timeouts.connect)
    except errors.TransportError as error:
        error.sent = SentState.NOT_SENT
        raise
    body = _Body(
        pool, tunnel, ResponseParser(head_only=request.method == "HEAD"), timeouts, request
    )
    try:
        await body.send(head)
        await body.receive_head()
        length = body.parser.content_length()
        if settle and length is not None and length <= REPLAY_BYTES:
            await body.settle()
    except BaseException:
        body.release(reusable=False)
        raise
    body.finished = finished
    if body.parser.complete:
        body.release(reusable=body.parser.keep_alive)
    library = library_of(request)
    parser = body.parser
    return library.Response(
        status_code=parser.status,
        headers=parser.headers,
        stream=stream_class(library)(body),
        extensions={"http_version": parser.http_version, "reason_phrase": parser.reason},
    )


class _Body:
    """The state of one exchange."""

    __slots__ = (
        "_done",
        "_held",
        "_pool",
        "_request",
        "_sent",
        "_timeouts",
        "_tunnel",
        "finished",
        "parser",
    )

    def __init__(
        self,
        pool: TunnelPool,
        tunnel: Tunnel,
        parser: ResponseParser,
        timeouts: Timeouts,
        request: Any,
    ) -> None:
        self._pool = pool
        self._tunnel: Tunnel | None = tunnel
        self._timeouts = timeouts
        self._request = request
        self._sent = SentState.NOT_SENT
        self._done = False
        self._held: list[bytes] = []
        self.parser = parser
        self.finished: Callable[[errors.TransportError | None], None] | None = None

    # sending -----------------------------------------------------------------------------------------------------

    async def send(self, head: bytes) -> None:
        """Send the request, body included; stop early when the server answers before it has read everything."""
        assert self._tunnel is not None
        content = replayable_content(self._request)
        chunked = _is_chunked(self._request.headers)
        self._tunnel.requests += 1
        answered = self._tunnel.listen()
        try:
            self._sent = SentState.PARTIAL
            if content is not None and not chunked and len(content) <= JOIN_BYTES:
                await self._tunnel.send(head + content, self._timeouts.write)
            else:
                await self._tunnel.send(head, self._timeouts.write)
                async for data in self._request.stream:
                    if answered.done():
                        break
                    if data:
                        framed = encode_chunk(data) if chunked else data
                        await self._tunnel.send(framed, self._timeouts.write)
                else:
                    if chunked:
                        await self._tunnel.send(encode_chunk(b""), self._timeouts.write)
            self._sent = SentState.SENT
        except errors.TransportError as error:
            error.sent = self._sent
            raise
        except OSError as cause:
            if not answered.done():
                raise self._lost(cause) from cause
            # the server closed while we were sending: it may have answered first

    def _lost(self, cause: BaseException | None) -> errors.TransportError:
        assert self._tunnel is not None
        reused = self._tunnel.requests > 1 and not self.parser.started
        kind = errors.StaleConnection if reused else errors.ConnectionReset
        what = "before it answered" if not self.parser.started else "in the middle of its answer"
        error = kind(f"the connection to the provider ended {what}", sent=self._sent)
        error.__cause__ = cause
        return error

    # receiving ---------------------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        """Receive once and parse."""
        assert self._tunnel is not None
        try:
            data = await self._tunnel.receive(self._timeouts.read)
            if data:
                self.parser.feed(data)
            elif not self.parser.started:
                raise self._lost(None)
            else:
                self.parser.end()
        except errors.TransportError as error:
            started = self.parser.started
            error.sent = SentState.RESPONSE_STARTED if started else self._sent
            raise

    async def receive_head(self) -> None:
        """Receive until the head is complete."""
        while not self.parser.head_complete:
            await self._receive()

    async def settle(self) -> None:
        """Receive the whole body and hold it."""
        while True:
            if data := self.parser.take():
                self._held.append(data)
            if self.parser.complete:
                return
            await self._receive()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body.

        Raises:
            httpx.TransportError: A subclass; the body cannot be completed.
        """
        try:
            for data in self._held:
                yield data
            self._held.clear()
            while True:
                if data := self.parser.take():
                    yield data
                if self.parser.complete:
                    self.release(reusable=self.parser.keep_alive)
                    return
                await self._receive()
        except errors.TransportError as error:
            self.release(reusable=False, error=error)
            raise to_httpx(error, self._request) from error
        finally:
            if not self.parser.complete:
                self.release(reusable=False)

    def release(self, *, reusable: bool, error: errors.TransportError | None = None) -> None:
        """Give the tunnel back and tell whoever counts; only the first call does anything."""
        if self._tunnel is not None:
            self._pool.put_back(self._tunnel, reusable=reusable)
            self._tunnel = None
        if self.finished is not None and not self._done:
            self._done = True
            self.finished(error)

    def close(self) -> None:
        """Give up the rest of the body."""
        self.release(reusable=self.parser.complete and self.parser.keep_alive)


def _is_chunked(headers: Any) -> bool:
    return "chunked" in headers.get("transfer-encoding", "").lower()


@functools.lru_cache(maxsize=8)
def stream_class(library: ModuleType) -> type[Any]:
    """Return a response stream class that the library's client accepts."""

    class YagnaStream(library.AsyncByteStream):  # type: ignore[misc, name-defined]
        """Body of a provider's response."""

        def __init__(self, body: Any) -> None:
            self._body = body

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self._body.chunks()  # type: ignore[no-any-return]

        async def aclose(self) -> None:
            self._body.close()

    return YagnaStream
