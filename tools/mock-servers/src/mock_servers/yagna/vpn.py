"""The VPN's websocket: frames carry the bytes of one TCP connection to a provider's port, both ways.

An ASGI application for the scope ``app`` hands over. The upgrade is answered after the TCP connection stands.
Source: Golem net API, ``GET /net/{id}/tcp/{ip}/{port}``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from starlette.types import Receive, Scope, Send

from mock_servers.yagna.config import Trigger
from mock_servers.yagna.daemon import Daemon
from mock_servers.yagna.errors import ApiError
from mock_servers.yagna.provider import Unit
from mock_servers.yagna.runtime import ExeUnitError

__all__ = ["Tunnel", "deny", "open_tunnel"]

CONNECT_TIMEOUT_S = 5.0
CHUNK_BYTES = 1 << 16


async def deny(send: Send, status: int, body: bytes = b"", kind: str = "application/json") -> None:
    """Refuse a websocket upgrade with an HTTP answer."""
    headers = [(b"content-type", kind.encode())] if body else []
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


async def open_tunnel(daemon: Daemon, owner: str, network_id: str, ip: str, port: int) -> Tunnel:
    """Connect to a node's port.

    Raises:
        ApiError: 404 no such network; 403 somebody else's; 400 no node with that address; 504 nothing accepted.
    """
    network = daemon.networks.get(network_id, owner)
    node_id = network.nodes.get(network.check(ip))
    provider = daemon.providers_by_id.get(node_id or "")
    if provider is None:
        raise ApiError(400, f"No node with address {ip} in network {network_id}")
    config = provider.config
    if config.refuse_connections:
        config.refuse_connections -= 1 if config.refuse_connections > 0 else 0
        raise ApiError(504, None)
    unit = next((u for u in provider.units.values() if u.networks.get(network_id) == ip), None)
    if unit is None or not provider.online:
        await asyncio.sleep(daemon.unreachable_delay_s)
        raise ApiError(504, None)
    try:
        connection = await unit.exe.connect(port, CONNECT_TIMEOUT_S)
    except ExeUnitError as error:
        raise ApiError(504, None) from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reader, writer = await asyncio.open_connection(sock=connection, limit=CHUNK_BYTES)
    return Tunnel(daemon, unit, reader, writer)


class Tunnel:
    """One open connection between a websocket and a provider's socket."""

    def __init__(
        self,
        daemon: Daemon,
        unit: Unit,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.daemon = daemon
        self.unit = unit
        self.reader, self.writer = reader, writer
        self.sent = 0
        self.received = 0
        self._armed: Trigger | None = None
        self.cut = asyncio.Event()

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept the websocket and carry bytes until either side closes or a fault ends it."""
        del scope
        self.daemon.tunnels.add(self)
        tasks: list[asyncio.Task[object]] = []
        try:
            await receive()
            await send({"type": "websocket.accept"})
            tasks += [
                asyncio.create_task(self._upstream(receive)),
                asyncio.create_task(self._downstream(send)),
                asyncio.create_task(self.cut.wait()),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.daemon.tunnels.discard(self)
            self.writer.close()
            with contextlib.suppress(OSError):
                await self.writer.wait_closed()
            with contextlib.suppress(Exception):  # the websocket may be gone already
                await send({"type": "websocket.close", "code": 1000})

    async def _upstream(self, receive: Receive) -> None:
        self._look_for_trigger()
        await self._check_trigger(0)
        while True:
            message = await receive()
            if message["type"] != "websocket.receive":
                return
            data: bytes = message.get("bytes") or (message.get("text") or "").encode()
            self.unit.provider.carried_bytes += len(data)
            await self._delay()
            self._look_for_trigger()
            allowed = self._allowed("sent_bytes", self.sent, data)
            self.writer.write(data[:allowed])
            self.sent += allowed
            await self._check_trigger(0)
            if allowed < len(data):
                self.writer.write(data[allowed:])
                self.sent += len(data) - allowed
            try:
                await self.writer.drain()
            except OSError:
                return

    async def _downstream(self, send: Send) -> None:
        while True:
            try:
                data = await self.reader.read(CHUNK_BYTES)
            except OSError:
                return
            if not data:
                return
            self.unit.provider.carried_bytes += len(data)
            await self._delay()
            self._look_for_trigger()
            allowed = self._allowed("received_bytes", self.received, data)
            if allowed:
                await send({"type": "websocket.send", "bytes": data[:allowed]})
            self.received += allowed
            await self._check_trigger(len(data) - allowed)
            if allowed < len(data):
                await send({"type": "websocket.send", "bytes": data[allowed:]})
                self.received += len(data) - allowed

    async def _delay(self) -> None:
        if self.unit.provider.config.latency_s:
            await asyncio.sleep(self.unit.provider.config.latency_s)

    def _look_for_trigger(self) -> None:
        """Take notice of a newly armed fault; bytes are counted from that moment."""
        trigger = self.unit.provider.config.trigger
        if trigger is not self._armed:
            self._armed = trigger
            self.sent = self.received = 0

    def _allowed(self, direction: str, so_far: int, data: bytes) -> int:
        """Return how many bytes of ``data`` may pass before an armed trigger fires."""
        trigger = self._armed
        limit = getattr(trigger, direction) if trigger else None
        return len(data) if limit is None else max(0, min(len(data), limit - so_far))

    async def _check_trigger(self, held_back: int) -> None:
        """Strike if the armed fault is due; ``held_back`` received bytes are waiting to pass."""
        trigger = self._armed
        if trigger is None:
            return
        due_sent = trigger.sent_bytes is not None and self.sent >= trigger.sent_bytes
        due_received = trigger.received_bytes is not None and held_back > 0
        if due_sent or due_received:
            self.unit.provider.config.trigger = None
            self._armed = None
            await self._fire(trigger)

    async def _fire(self, trigger: Trigger) -> None:
        provider = self.unit.provider
        if trigger.action == "freeze":
            await provider.freeze(True)
            return
        if trigger.action == "crash":
            self.daemon.background(provider.crash())
        elif trigger.action == "kill":
            self.daemon.background(self.daemon.kill_provider(provider))
        self.cut.set()
        await asyncio.Event().wait()  # nothing passes any more; ``run`` cancels this
