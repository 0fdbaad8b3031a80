"""A TCP proxy that forwards bytes under conditions: late, slowly, not at all, up to a point.

    with FaultProxy(server.host) as proxy:
        client = Client(proxy.address)
        proxy.down = Conditions(latency_s=0.2, bandwidth_bytes_s=10_000)   # what the server sends
        proxy.up = Conditions(reset_after=100)                             # what the client sends
        proxy.cut()                                                        # all connections now, by RST

Conditions may be changed at any moment from any thread and hold for open connections as well. The proxy runs an event
loop in a thread of its own and knows nothing of the protocol it carries.
"""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from mock_servers.forking import close_in_children
from mock_servers.runner import reset_transport
from mock_servers.started import Started

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Conditions", "FaultProxy"]

Result = TypeVar("Result")
CHUNK = 65536
QUEUE_CHUNKS = 64
STOP_S = 5.0
REBIND_S = 2.0
FLUSH_S = 1.0


@dataclass(frozen=True, slots=True)
class Conditions:
    """What happens to the bytes of one direction.

    Attributes:
        latency_s: Every chunk arrives this much later, order kept.
        jitter_s: Up to this much is added to the latency, at random.
        bandwidth_bytes_s: Bytes per second and connection; ``None`` for no limit.
        reset_after: The connection is reset, both ends, once it carried this many bytes in this direction; 0 resets at
            once; ``None`` never.
        close_after: Likewise, but both ends see an orderly end.
        blackhole: Bytes are swallowed; nothing ends.

    Raises:
        ValueError: A value is negative or a bandwidth is not above 0.
    """

    latency_s: float = 0.0
    jitter_s: float = 0.0
    bandwidth_bytes_s: float | None = None
    reset_after: int | None = None
    close_after: int | None = None
    blackhole: bool = False

    def __post_init__(self) -> None:
        if self.bandwidth_bytes_s is not None and self.bandwidth_bytes_s <= 0:
            raise ValueError(f"bandwidth_bytes_s is {self.bandwidth_bytes_s}: expected above 0")
        for name in ("latency_s", "jitter_s", "reset_after", "close_after"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} is {value}: expected 0 or more")


class _End(Exception):
    """The conditions end the connection."""

    def __init__(self, *, reset: bool) -> None:
        self.reset = reset


class FaultProxy(Started):
    """A TCP proxy on 127.0.0.1 to one upstream address.

    Args:
        upstream: ``host:port``; may refuse, the client's connection is then reset.
        port: Port to listen on; 0 lets the system choose.
        up: Conditions of what the client sends.
        down: Conditions of what the server sends.
        seed: Seed of the jitter.

    Attributes:
        up: As above; assign to change.
        down: As above; assign to change.
        accepted: Connections accepted so far.
        random: Generator of the jitter.
    """

    def __init__(
        self,
        upstream: str,
        *,
        port: int = 0,
        up: Conditions | None = None,
        down: Conditions | None = None,
        seed: int = 0,
    ) -> None:
        host, _, upstream_port = upstream.rpartition(":")
        if not host or not upstream_port.isdigit():
            raise ValueError(f"upstream is {upstream!r}: expected host:port")
        self._upstream = (host.strip("[]"), int(upstream_port))
        self.up = up or Conditions()
        self.down = down or Conditions()
        self.accepted = 0
        self._port = port
        self.random = random.Random(seed)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._listener: socket.socket | None = None
        self._bound = False
        self._links: set[_Link] = set()
        close_in_children(self)

    @property
    def address(self) -> str:
        """``127.0.0.1:port``; known once started."""
        return f"127.0.0.1:{self._port}"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._links)

    def descriptors(self) -> list[int]:
        """Return the descriptors of the listener and of all connections."""
        own = [self._listener.fileno()] if self._listener is not None else []
        return own + [number for link in self._links for number in link.descriptors()]

    def start(self) -> Self:
        """Listen and forward.

        Raises:
            OSError: The port is taken.
            RuntimeError: It runs already.
        """
        if self._thread is not None:
            raise RuntimeError(f"the proxy already runs at {self.address}")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name=f"fault-proxy-{self._upstream[1]}", daemon=True
        )
        self._thread.start()
        try:
            self._run(self._listen())
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End all connections and the listener; idempotent."""
        if self._thread is None or self._loop is None:
            return
        self._run(self._end_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._thread = None

    def refuse(self) -> None:
        """Close the listener: new connections are refused, open ones go on."""
        self._run(self._close_listener())

    def accept(self) -> None:
        """Listen again after :meth:`refuse`, on the same port."""
        self._run(self._listen())

    def cut(self, *, reset: bool = True) -> int:
        """End all open connections, by RST or in an orderly way; return how many there were."""
        return self._run(self._cut(reset=reset))

    def half_open(self) -> int:
        """Drop the server's side of all open connections without telling the clients; return how many there were.

        To a client it looks as if the server's machine had lost its power.
        """
        return self._run(self._half_open())

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        if self._loop is None or self._thread is None:
            work.close()
            raise RuntimeError("the proxy is not running")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(STOP_S)

    async def _listen(self) -> None:
        if self._listener is not None:
            return
        deadline = asyncio.get_running_loop().time() + (REBIND_S if self._bound else 0.0)
        while True:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            try:
                listener.bind(("127.0.0.1", self._port))
                break
            except OSError:
                listener.close()
                if asyncio.get_running_loop().time() >= deadline:
                    raise
                # A child forked this moment still holds the old listener, see mock_servers.forking.
                await asyncio.sleep(0.01)
        self._bound = True
        listener.listen(1024)
        self._port = listener.getsockname()[1]
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._accept_one, listener)

    def _accept_one(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            return  # it went away before it was accepted
        self.accepted += 1
        link = _Link(self, client)
        self._links.add(link)
        link.task = asyncio.ensure_future(link.run(self._upstream))

        def ended(task: asyncio.Task[None]) -> None:
            client.close()  # also when the link was ended before it began
            self._links.discard(link)

        link.task.add_done_callback(ended)

    async def _close_listener(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    async def _cut(self, *, reset: bool) -> int:
        links = list(self._links)
        for link in links:
            link.end(reset=reset)
        await asyncio.gather(*(link.task for link in links), return_exceptions=True)
        return len(links)

    async def _half_open(self) -> int:
        links = list(self._links)
        for link in links:
            link.lose_server()
        return len(links)

    async def _end_all(self) -> None:
        await self._close_listener()
        await self._cut(reset=False)


class _Link:
    """One connection through the proxy."""

    task: asyncio.Task[None]

    def __init__(self, proxy: FaultProxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._writers: list[asyncio.StreamWriter] = []
        self._pumps: list[asyncio.Task[None]] = []
        self._lost_server = False
        self._reset = False

    def descriptors(self) -> list[int]:
        """Return the descriptors of both sides."""
        sides = [writer.get_extra_info("socket") for writer in self._writers]
        return [self._client.fileno(), *(side.fileno() for side in sides if side is not None)]

    async def run(self, upstream: tuple[str, int]) -> None:
        """Forward until both directions ended or :meth:`end` was called."""
        try:
            await self._forward(upstream)
        except asyncio.CancelledError:
            pass
        except _End as end:
            self._reset = end.reset
        except OSError:
            self._reset = True
        finally:
            for task in self._pumps:
                task.cancel()
            # Before anything is awaited, where a second cancellation would leave them open.
            for writer in self._writers:
                if self._reset:
                    reset_transport(writer.transport)
                writer.close()
            await asyncio.gather(*self._pumps, return_exceptions=True)
            closing = [asyncio.ensure_future(writer.wait_closed()) for writer in self._writers]
            if closing:
                _, unsent = await asyncio.wait(closing, timeout=FLUSH_S)
                if unsent:  # a side that reads no more
                    for writer in self._writers:
                        writer.transport.abort()
                await asyncio.gather(*closing, return_exceptions=True)

    async def _forward(self, upstream: tuple[str, int]) -> None:
        from_client, to_client = await asyncio.open_connection(sock=self._client, limit=CHUNK)
        self._writers.append(to_client)
        from_server, to_server = await asyncio.open_connection(*upstream, limit=CHUNK)
        self._writers.append(to_server)
        self._pumps = [
            asyncio.ensure_future(self._pump("up", from_client, to_server)),
            asyncio.ensure_future(self._pump("down", from_server, to_client)),
        ]
        await asyncio.wait(self._pumps, return_when=asyncio.FIRST_EXCEPTION)
        if self._lost_server:
            await asyncio.gather(*self._pumps, return_exceptions=True)
            while await from_client.read(CHUNK):
                pass
            return
        for pump in self._pumps:
            if pump.done():
                pump.result()

    async def _pump(
        self, direction: str, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        """Forward one direction until its end, which is passed on as a half-close."""
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUE_CHUNKS)
        tasks = [
            asyncio.ensure_future(self._collect(direction, source, late)),
            asyncio.ensure_future(self._deliver(direction, late, sink)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _collect(
        self,
        direction: str,
        source: asyncio.StreamReader,
        late: asyncio.Queue[tuple[float, bytes]],
    ) -> None:
        """Queue what arrives, with the time at which it is due on the other side; empty bytes are the end."""
        clock = asyncio.get_running_loop().time
        data = b"not the end"
        while data:
            data = await source.read(CHUNK)
            conditions: Conditions = getattr(self._proxy, direction)
            delay = conditions.latency_s
            if conditions.jitter_s:
                delay += self._proxy.random.uniform(0, conditions.jitter_s)
            await late.put((clock() + delay, data))

    async def _deliver(
        self, direction: str, late: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter
    ) -> None:
        carried = 0
        clock = asyncio.get_running_loop().time
        while True:
            due, data = await late.get()
            if (wait := due - clock()) > 0:
                await asyncio.sleep(wait)
            conditions: Conditions = getattr(self._proxy, direction)
            if conditions.blackhole:
                continue
            if not data:
                sink.write_eof()
                return
            limits = [
                limit
                for limit in (conditions.reset_after, conditions.close_after)
                if limit is not None
            ]
            room = max(min(limits) - carried, 0) if limits else len(data)
            await self._send(data[:room], conditions.bandwidth_bytes_s, sink)
            carried += len(data)
            if limits and carried >= min(limits):
                raise _End(reset=conditions.reset_after == min(limits))

    async def _send(
        self, data: bytes, bandwidth_bytes_s: float | None, sink: asyncio.StreamWriter
    ) -> None:
        if bandwidth_bytes_s is None:
            sink.write(data)
            await sink.drain()
            return
        step = max(1, int(bandwidth_bytes_s / 50))
        for start in range(0, len(data), step):
            part = data[start : start + step]
            await asyncio.sleep(len(part) / bandwidth_bytes_s)
            sink.write(part)
            await sink.drain()

    def lose_server(self) -> None:
        """Reset the server's side and leave the client's open and silent."""
        if len(self._writers) == 2:
            self._lost_server = True
            for pump in self._pumps:
                pump.cancel()
            reset_transport(self._writers[1].transport)

    def end(self, *, reset: bool) -> None:
        """End the connection now."""
        self._reset = reset
        self.task.cancel()
