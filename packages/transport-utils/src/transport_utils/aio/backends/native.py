"""The default asynchronous backend: HTTP/1.1 over asyncio protocols of our own, also under uvloop.

Used by :class:`transport_utils.aio.transport.AsyncTransport`. Belongs to one event loop at a time: when it is used
from another loop after the first has ended (``asyncio.run`` twice), it starts afresh there. Cancelling a request
closes its connection and leaves no place in the pool taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import warnings
from collections.abc import Callable
from typing import NoReturn

from transport_utils import errors
from transport_utils.aio.connection import Answer, AsyncConnection
from transport_utils.aio.pool import AsyncConnectionPool
from transport_utils.backends.native import (
    announced_length,
    host_header,
    request_line,
    same_connections,
)
from transport_utils.bodies import BodyStream, measure
from transport_utils.deadline import Deadline, Timeout
from transport_utils.endpoint import Endpoint
from transport_utils.errors import SentState, TransportError
from transport_utils.h1 import CHUNKED, Head, HeadTemplate, chunk
from transport_utils.hooks import PoolEvent
from transport_utils.messages import AsyncResponse, Request

__all__ = ["AsyncChannel", "AsyncNativeBackend"]

_CHANNELS_MAX = 1024
_DRAIN_BYTES = 65536


class AsyncNativeBackend:
    """Sends requests through connections of its own; see :class:`transport_utils.backends.AsyncHttpBackend`.

    Attributes:
        on_pool: Told what happens to connections of pools opened from then on; see :mod:`transport_utils.hooks`.
    """

    name = "native"

    def __init__(self) -> None:
        self._channels: dict[int, AsyncChannel] = {}
        self._pools: dict[Endpoint, AsyncConnectionPool] = {}
        self._closed = False
        self.on_pool: Callable[[Endpoint, PoolEvent], object] | None = None

    def channel(self, endpoint: Endpoint) -> AsyncChannel:
        """Return what serves this endpoint object in the running loop.

        Raises:
            ConfigurationError: The endpoint asks for a proxy, or the backend is in use by another running loop.
            TransportClosed: The backend is closed.
        """
        channel = self._channels.get(id(endpoint))
        if channel is None or channel.pool.loop is not asyncio.get_running_loop():
            channel = self._open_channel(endpoint)
        return channel

    def _open_channel(self, endpoint: Endpoint) -> AsyncChannel:
        if self._closed:
            raise errors.TransportClosed("the backend has been closed", node=endpoint.base_url)
        loop = asyncio.get_running_loop()
        pool = self._pools.get(endpoint)
        if pool is not None and not pool.usable_in(loop):
            if pool.loop.is_running() and pool.loop is not loop:
                raise errors.ConfigurationError(
                    "the asynchronous transport is in use by another running event loop: make one per loop"
                )
            self._leave_loop()
            pool = None
        if pool is None or not same_connections(pool.endpoint, endpoint):
            pool = self._pools[endpoint] = AsyncConnectionPool(endpoint, loop, self.on_pool)
        if len(self._channels) >= _CHANNELS_MAX:
            self._channels.clear()
        channel = self._channels[id(endpoint)] = AsyncChannel(endpoint, pool)
        return channel

    def _leave_loop(self) -> None:
        for pool in self._pools.values():
            pool.abandon()
        self._pools.clear()
        self._channels.clear()

    async def request(
        self, endpoint: Endpoint, request: Request, deadline: Deadline
    ) -> AsyncResponse:
        """See :meth:`transport_utils.backends.AsyncHttpBackend.request`."""
        channel = self.channel(endpoint)
        body = request.body
        if request.stream or (
            body is not None and (type(body) is not bytes or len(body) > _DRAIN_BYTES)
        ):
            return await channel.converse(request, deadline)
        method = request.method
        if body is None:
            payload = channel.template.encode(method, request.target, request.headers)
        else:
            payload = channel.template.encode(method, request.target, request.headers, len(body))
            payload += body
        head, content, reused = await channel.exchange(payload, method, request.timeout, deadline)
        return AsyncResponse(head, content, channel.base_url, reused)

    def forget(self, endpoint: Endpoint) -> None:
        """See :meth:`transport_utils.backends.HttpBackend.forget`; exchanges in progress fail."""
        pool = self._pools.pop(endpoint, None)
        for key, channel in list(self._channels.items()):
            if channel.endpoint == endpoint:
                del self._channels[key]
        if pool is not None:
            pool.close_now()

    async def aclose(self, drain_s: float = 0.0) -> None:
        """See :meth:`transport_utils.backends.HttpBackend.close`."""
        self._closed = True
        loop = asyncio.get_running_loop()
        pools = [pool for pool in self._pools.values() if pool.usable_in(loop)]
        await asyncio.gather(*(pool.close(drain_s) for pool in pools))
        self._leave_loop()


class AsyncChannel:
    """Exchanges with one endpoint in one event loop; the raw entry for clients that build their own request bytes.

    Attributes:
        endpoint: The endpoint.
        base_url: Its URL without credentials.
        pool: Its connections.
        template: Encodes request heads with the endpoint's headers.
    """

    __slots__ = ("base_url", "endpoint", "pool", "template")

    def __init__(self, endpoint: Endpoint, pool: AsyncConnectionPool) -> None:
        if endpoint.proxy is not None:
            raise errors.ConfigurationError(
                f"proxy for {endpoint.base_url}: the native backend knows none"
            )
        self.endpoint = endpoint
        self.base_url = endpoint.base_url
        self.pool = pool
        self.template = HeadTemplate(host_header(endpoint), endpoint.path_prefix, endpoint.headers)

    async def exchange(
        self, payload: bytes, method: str, timeout: Timeout, deadline: Deadline
    ) -> tuple[Head, bytes, bool]:
        """Send the bytes of one whole request and return head, body, and whether the connection was reused.

        See :meth:`transport_utils.backends.native.Channel.exchange`.
        """
        now = time.monotonic()
        connection = self.begin(payload, method, timeout, deadline, now)
        if connection is None:
            if deadline.at <= now:
                raise self._late(payload)
            connection = self.pool.take_idle(now) or await self.pool.lease(timeout, deadline, now)
            try:
                connection.begin(method, now, timeout, deadline.at, False)
                connection.write(payload)
                if len(payload) > _DRAIN_BYTES:
                    await connection.drain()
            except BaseException as error:
                self.fail(error, connection, payload, sent=True)
        try:
            head, content = await connection.answer
        except BaseException as error:
            self.fail(error, connection, payload, sent=True)
        assert content is not None
        return head, content, self.end(connection)

    def begin(
        self, payload: bytes, method: str, timeout: Timeout, deadline: Deadline, now: float
    ) -> AsyncConnection | None:
        """Send the bytes of one whole request, if that can be done at once; the first half of :meth:`exchange`.

        Args:
            payload: See :meth:`exchange`.
            method: As there.
            timeout: As there.
            deadline: As there.
            now: Monotonic seconds.

        Returns:
            A connection, whose ``answer`` is to be awaited: it gives head and body, then call :meth:`end`, or an
            error, then call :meth:`fail`. ``None`` when no connection is idle, the request is long or the deadline has
            been reached: leave it to :meth:`exchange`.
        """
        if len(payload) > _DRAIN_BYTES or deadline.at <= now:
            return None
        connection = self.pool.take_idle(now)
        if connection is not None:
            try:
                connection.begin(method, now, timeout, deadline.at, False)
                connection.write(payload)
            except BaseException as error:
                self.fail(error, connection, payload, sent=True)
        return connection

    def end(self, connection: AsyncConnection) -> bool:
        """Take back a connection that has answered; return whether it had served a request before."""
        if connection.method is not None:
            connection.end()
        served = connection.served
        if connection.reusable:
            connection.served = served + 1
            self.pool.release(connection)
        else:
            self.pool.discard(connection)
        return served > 0

    async def converse(self, request: Request, deadline: Deadline) -> AsyncResponse:
        """Send a request of any kind: streamed bodies, streamed responses."""
        body = measure(request.body)
        length: int | None
        if isinstance(body, BodyStream):
            length = body.length if body.length is not None else announced_length(request)
        else:
            length = None if body is None else len(body)
        payload = self.template.encode(request.method, request.target, request.headers, length)
        timeout = request.timeout
        now = time.monotonic()
        if deadline.at <= now:
            raise self._late(payload)
        connection = self.pool.take_idle(now) or await self.pool.lease(timeout, deadline, now)
        reused = connection.served > 0
        sent = False
        try:
            done = connection.begin(
                request.method,
                time.monotonic(),
                timeout,
                deadline.at,
                request.stream,
            )
            sent = True
            await self._send(connection, payload, body, length, done)
            head, content = await done
        except BaseException as error:
            self.fail(error, connection, payload, sent=sent)
        source = _Source(self, connection, payload)
        if content is not None:
            source.release()
            return AsyncResponse(head, content, self.base_url, reused)
        if connection.finished:
            source.release()
            return AsyncResponse(head, b"", self.base_url, reused)
        return AsyncResponse(head, None, self.base_url, reused, source)

    async def _send(
        self,
        connection: AsyncConnection,
        payload: bytes,
        body: bytes | BodyStream | None,
        length: int | None,
        done: Answer,
    ) -> None:
        if not isinstance(body, BodyStream):
            if body is not None and len(body) > _DRAIN_BYTES:
                connection.write(payload)
                connection.write(body)
                await connection.drain()
            else:
                connection.write(payload + (body or b""))
            return
        connection.write(payload)
        left = length or 0
        async for piece in body.apieces():
            if done.done():
                # The server has answered already, most likely to refuse the rest.
                connection.keep_from_reuse()
                return
            if length == CHUNKED:
                connection.write(chunk(piece))
            else:
                left -= len(piece)
                if left < 0:
                    break
                connection.write(piece)
            await connection.drain()
        if length == CHUNKED:
            connection.write(chunk(b""))
        elif left:
            raise errors.LocalProtocolError(
                f"the body is {'longer' if left < 0 else 'shorter'} than its content-length of {length}"
            )

    def _late(self, payload: bytes) -> errors.TotalTimeout:
        method, target = request_line(payload)
        return errors.TotalTimeout(
            "no time left to send the request", node=self.base_url, method=method, target=target
        )

    def fail(
        self, error: BaseException, connection: AsyncConnection, payload: bytes, *, sent: bool
    ) -> NoReturn:
        """Close the connection and raise what ``error`` means; cancellation passes through."""
        started = connection.started
        served = connection.served
        if started:
            state = SentState.RESPONSE_STARTED
        elif not sent:
            state = SentState.NOT_SENT
        else:
            state = SentState.PARTIAL if connection.unsent_bytes else SentState.SENT
        connection.end()
        self.pool.discard(connection)
        method, target = request_line(payload)
        if isinstance(error, TransportError):
            error.node, error.method, error.target, error.sent = (
                self.base_url,
                method,
                target,
                state,
            )
            raise error
        if not isinstance(error, OSError):
            raise error
        if served and not started:
            kind: type[TransportError] = errors.StaleConnection
            what = f"the kept-alive connection was closed by the peer ({error})"
        else:
            kind = errors.ConnectionReset
            what = f"the connection broke ({error})"
        raise kind(what, node=self.base_url, method=method, target=target, sent=state) from error


class _Source:
    """The body of a streamed response; see :class:`transport_utils.messages.AsyncBodySource`."""

    def __init__(self, channel: AsyncChannel, connection: AsyncConnection, payload: bytes) -> None:
        self._channel = channel
        self._connection = connection
        self._payload = payload
        self._open = True

    async def read(self, limit: int) -> bytes:
        """Return up to ``limit`` bytes; empty at the end."""
        if not self._open:
            return b""
        try:
            data = await self._connection.read(limit)
        except BaseException as error:
            self._open = False
            self._channel.fail(error, self._connection, self._payload, sent=True)
        if self._connection.finished:
            self.release()
        return data

    def release(self) -> None:
        """Give the connection back if it can serve again."""
        if not self._open:
            return
        self._open = False
        connection = self._connection
        connection.end()
        if connection.reusable and not connection.lost:
            connection.served += 1
            self._channel.pool.release(connection)
        else:
            self._channel.pool.discard(connection)

    def __del__(self) -> None:
        if not self._open:
            return
        warnings.warn(
            f"a streamed response from {self._channel.base_url} was neither read to its end nor closed",
            ResourceWarning,
            stacklevel=2,
            source=self,
        )
        # Whatever thread collects us, only the loop may touch its connections.
        with contextlib.suppress(RuntimeError):
            self._channel.pool.loop.call_soon_threadsafe(
                self._channel.pool.discard, self._connection
            )

    def close(self) -> None:
        """Give up the rest of the body, and the connection with it."""
        if self._open:
            self._open = False
            self._connection.end()
            self._channel.pool.discard(self._connection)
