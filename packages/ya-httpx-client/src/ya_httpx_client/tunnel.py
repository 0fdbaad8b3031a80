"""Connections to one provider's port: websockets that carry a TCP byte stream, kept open and used again.

Called by ``exchange`` (bytes) and ``instance`` (opening, probing, closing). Bound to one event loop; not
thread-safe. The daemon pings every 5 s and closes a websocket that was silent for 10 s: an idle tunnel always has a
receive pending, which answers pings and notices a close at once; one that is in use but not read (a slow consumer)
gets pongs from the pool's keeper.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from typing import Any

import aiohttp
from transport_utils.errors import ConnectError, ConnectTimeout, ReadTimeout, WriteTimeout

__all__ = ["Tunnel", "TunnelPool"]

FRAME_BYTES = 32 * 1024
ONE_FRAME_BYTES = 64 * 1024
PAUSE_PER_ROUND_TRIP = 2.0
LEAST_PAUSE_S = 0.002
KEEPER_S = 4.0
CLOSE_S = 1.0
MAX_IDLE_S = 55.0


class Tunnel:
    """One websocket and the TCP connection behind it.

    Attributes:
        requests: Requests it has carried.
        returned_at: When it became idle, loop seconds.
    """

    __slots__ = (
        "_loop",
        "_next_send_at",
        "_pause_s",
        "_pending",
        "_websocket",
        "requests",
        "returned_at",
    )

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse, round_trip_s: float) -> None:
        self._websocket = websocket
        self._pause_s = max(LEAST_PAUSE_S, PAUSE_PER_ROUND_TRIP * round_trip_s)
        self._next_send_at = 0.0
        self._loop = asyncio.get_running_loop()
        self._pending: asyncio.Task[aiohttp.WSMessage] | None = None
        self.requests = 0
        self.returned_at = 0.0

    @property
    def stale(self) -> bool:
        """Whether something arrived on it, or it closed, while it should have been idle."""
        return self._websocket.closed or (self._pending is not None and self._pending.done())

    def listen(self) -> asyncio.Task[aiohttp.WSMessage]:
        """Have a receive pending and return it."""
        if self._pending is None:
            self._pending = self._loop.create_task(self._websocket.receive())
        return self._pending

    async def send(self, data: bytes, timeout_s: float | None) -> None:
        """Send bytes; returns when they are on their way, not when they arrived.

        The daemon (0.17.6) passes on messages that come in quick succession in any order. So there is only ever one:
        what fits a message goes as one, and each further message waits until the one before has reached the
        provider, going by how long it took to connect.

        Raises:
            WriteTimeout: The daemon took nothing for ``timeout_s`` seconds.
            OSError: The connection is gone.
        """
        if len(data) <= ONE_FRAME_BYTES:
            await self._send_frame(data, timeout_s)
            return
        view = memoryview(data)
        for start in range(0, len(data), FRAME_BYTES):
            await self._send_frame(bytes(view[start : start + FRAME_BYTES]), timeout_s)

    async def _send_frame(self, data: bytes, timeout_s: float | None) -> None:
        if self._websocket.closed:
            raise ConnectionResetError("the websocket is closed")
        if (wait_s := self._next_send_at - self._loop.time()) > 0:
            await asyncio.sleep(wait_s)
        try:
            if timeout_s is None:
                await self._websocket.send_bytes(data)
            elif sys.version_info >= (3, 11):  # several times cheaper than wait_for
                async with asyncio.timeout(timeout_s):
                    await self._websocket.send_bytes(data)
            else:
                await asyncio.wait_for(self._websocket.send_bytes(data), timeout_s)
        except asyncio.TimeoutError as cause:
            raise WriteTimeout(f"the provider took no data for {timeout_s} s") from cause
        self._next_send_at = self._loop.time() + self._pause_s

    async def receive(self, timeout_s: float | None) -> bytes:
        """Return the next bytes; empty at the end of the connection.

        Raises:
            ReadTimeout: Nothing came for ``timeout_s`` seconds.
        """
        while True:
            pending = self.listen()
            if not pending.done():
                await asyncio.wait((pending,), timeout=timeout_s)
                if not pending.done():
                    raise ReadTimeout(f"no data from the provider for {timeout_s} s")
            self._pending = None
            self._next_send_at = 0.0  # an answer: what was sent has arrived
            if pending.cancelled() or pending.exception() is not None:
                return b""
            message = pending.result()
            if message.type is aiohttp.WSMsgType.BINARY:
                if message.data:
                    return bytes(message.data)
            elif message.type is aiohttp.WSMsgType.TEXT:
                return str(message.data).encode()
            else:
                return b""

    async def pong(self) -> None:
        """Tell the daemon that this end lives."""
        with contextlib.suppress(OSError, RuntimeError):
            await self._websocket.pong()

    async def close(self) -> None:
        """Close the websocket, at most a second later."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
        with contextlib.suppress(OSError, RuntimeError, asyncio.TimeoutError):
            await self._websocket.close()


class TunnelPool:
    """Tunnels to one provider's port.

    Args:
        http: Session the websockets are opened with.
        uri: Websocket address of the port.
        headers: Sent with every upgrade: the application key.
    """

    def __init__(self, http: aiohttp.ClientSession, uri: str, headers: dict[str, str]) -> None:
        self._http = http
        self._uri = uri
        self._headers = headers
        self._idle: deque[Tunnel] = deque()
        self._leased: set[Tunnel] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self.closed = False

    @property
    def open_count(self) -> int:
        """Tunnels that are open, idle or in use."""
        return len(self._idle) + len(self._leased)

    async def lease(self, timeout_s: float | None) -> Tunnel:
        """Return an idle tunnel, the one used last first, or a new one.

        Raises:
            ConnectError: The daemon or the provider refused; ``status`` in the message.
            ConnectTimeout: No connection within ``timeout_s`` seconds.
        """
        while self._idle:
            tunnel = self._idle.pop()
            if not tunnel.stale:
                self._leased.add(tunnel)
                return tunnel
            self._discard(tunnel)
        tunnel = await self._open(timeout_s)
        self._leased.add(tunnel)
        return tunnel

    def _given_up(self) -> bool:
        return self.closed  # asked again after awaiting, when it may have changed

    async def _open(self, timeout_s: float | None) -> Tunnel:
        if self._given_up():
            raise ConnectError("the provider was given up")
        started = asyncio.get_running_loop().time()
        try:
            websocket = await asyncio.wait_for(
                self._http.ws_connect(
                    self._uri,
                    headers=self._headers,
                    compress=0,
                    max_msg_size=0,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
                ),
                timeout_s,
            )
        except asyncio.TimeoutError as cause:
            raise ConnectTimeout(f"no connection to the provider within {timeout_s} s") from cause
        except aiohttp.WSServerHandshakeError as cause:
            raise ConnectError(
                f"the daemon answered {cause.status} to the connection to the provider's port"
            ) from cause
        except (aiohttp.ClientError, OSError) as cause:
            raise ConnectError(f"the daemon cannot be reached: {cause}") from cause
        tunnel = Tunnel(websocket, asyncio.get_running_loop().time() - started)
        if self._given_up():
            await tunnel.close()
            raise ConnectError("the provider was given up")
        if self._keeper is None:
            self._keeper = asyncio.get_running_loop().create_task(self._keep())
        return tunnel

    def put_back(self, tunnel: Tunnel, *, reusable: bool) -> None:
        """Take a leased tunnel back; one that cannot be used again is closed in the background."""
        self._leased.discard(tunnel)
        if not reusable or self.closed or tunnel.stale:
            self._discard(tunnel)
            return
        tunnel.returned_at = asyncio.get_running_loop().time()
        tunnel.listen()
        self._idle.append(tunnel)

    def _discard(self, tunnel: Tunnel) -> None:
        task = asyncio.get_running_loop().create_task(tunnel.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def probe(self, timeout_s: float) -> None:
        """Find out whether the port accepts connections.

        The connection is closed at once: a server that serves one connection at a time must not wait on an idle one.

        Raises:
            ConnectError: It does not.
            ConnectTimeout: Unknown after ``timeout_s`` seconds.
        """
        self._discard(await self._open(timeout_s))

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(KEEPER_S)
            for tunnel in list(self._leased):
                await tunnel.pong()
            while self._idle and (
                self._idle[0].stale or loop.time() - self._idle[0].returned_at > MAX_IDLE_S
            ):
                self._discard(self._idle.popleft())

    def abort(self) -> None:
        """Close everything in the background; requests in progress see the connection end."""
        self.closed = True
        if self._keeper is not None:
            self._keeper.cancel()
        for tunnel in (*self._idle, *self._leased):
            self._discard(tunnel)
        self._idle.clear()
        self._leased.clear()

    async def close(self) -> None:
        """Close everything and wait for it."""
        self.abort()
        waiting: list[asyncio.Task[Any]] = list(self._closing)
        if self._keeper is not None:
            waiting.append(self._keeper)
        await asyncio.gather(*waiting, return_exceptions=True)
