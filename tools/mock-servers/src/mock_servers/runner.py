"""Run an ASGI application on 127.0.0.1 inside the current process, and take it down without leaving anything behind.

Every mock server is started through :class:`ServerThread`: by the ``mock-servers`` commands, by the pytest fixtures, by
the demo and by programs that embed a server. uvicorn serves, on its own event loop in its own thread; no signal handler
and no logging configuration of the host program is touched.

Beyond ``start`` and ``stop`` a server can ``kill`` (as a crashed process would: listener gone, connections reset)
and be started again on the same port, which is what fail-over tests need.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import socket
import ssl
import struct
import threading
from typing import TYPE_CHECKING

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from mock_servers.forking import close_in_children
from mock_servers.started import Started

if TYPE_CHECKING:
    from typing_extensions import Self
    from uvicorn._types import ASGISendEvent

__all__ = ["TRANSPORT_EXTENSION", "ServerThread", "reset_transport"]

TRANSPORT_EXTENSION = "mock_servers.transport"
"""Key of ``scope["extensions"]`` under which an application finds its connection's :class:`asyncio.Transport`."""

ACCEPT_TURNS = 4
DISCONNECT_S = 0.2
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def reset_transport(transport: asyncio.BaseTransport) -> None:
    """Close a connection so that the peer receives RST, unsent data being thrown away.

    Args:
        transport: A TCP or TLS transport; on any other kind it is merely aborted.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6) and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()


class _Protocol(HttpToolsProtocol):
    """uvicorn's httptools protocol that also hands the transport to the application, for faults."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT_EXTENSION: {"transport": self.transport}}


class _WebSocket(WebSocketsSansIOProtocol):
    """uvicorn's websocket protocol that takes an HTTP answer for a complete handshake, and does not log it as error."""

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True


class _Server(uvicorn.Server):
    """uvicorn server that tells when it listens and stops at once when told, without polling."""

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self.reset_connections = False
        self.grace_s = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        await self.on_tick(0)
        self._ready.set()

    async def main_loop(self) -> None:
        while not self.should_exit:
            try:
                await asyncio.wait_for(self._wake.wait(), 1.0)
            except asyncio.TimeoutError:
                await self.on_tick(0)

    def wake(self) -> None:
        """Leave :meth:`main_loop`; callable from any thread."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it ended by itself
                self._loop.call_soon_threadsafe(self._wake.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # First no more is accepted, then what was accepted this moment becomes known, then the listeners close:
        # asyncio loses a connection whose listener closes before its transport is made.
        loop = asyncio.get_running_loop()
        for server in self.servers:
            for listener in server.sockets:
                loop.remove_reader(listener.fileno())
        for _ in range(ACCEPT_TURNS):
            await asyncio.sleep(0)
        for server in self.servers:
            server.close()
        connections = list(self.server_state.connections)
        for connection in connections:
            if self.reset_connections:
                reset_transport(connection.transport)
            else:
                connection.shutdown()
        tasks = set(self.server_state.tasks)
        if tasks and not self.reset_connections and self.grace_s > 0:
            _, tasks = await asyncio.wait(tasks, timeout=self.grace_s)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        if tasks:  # most end by themselves once their client is gone
            _, tasks = await asyncio.wait(tasks, timeout=DISCONNECT_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
        await self.lifespan.shutdown()


class ServerThread(Started):
    """One ASGI application served by uvicorn in a thread of this process.

    Use as a context manager, or call :meth:`start` and :meth:`stop`. Both may be called again: a stopped server that
    is started listens on the same port as before. Methods may be called from any thread except the server's own.

    Args:
        app: The application.
        host: Address to bind.
        port: Port to bind; 0 lets the system choose (and is then kept over restarts).
        name: Name of the thread, for people who look at stack dumps.
        uds: Path of a unix socket to listen on instead of TCP; removed when the server stops.
        ssl_context: Serve TLS with this context.
        grace_s: How long :meth:`stop` lets running requests finish before it cancels them, seconds.
        keep_alive_s: Idle connections are closed by the server after this many seconds.
        websocket_ping_s: Websockets are pinged this often, seconds, and closed when twice as long passes without an
            answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        name: str = "mock-server",
        uds: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        grace_s: float = 0.5,
        keep_alive_s: int = 75,
        websocket_ping_s: float = 20.0,
    ) -> None:
        self.app = app
        self.host = host
        self.port = port
        self.name = name
        self.uds = uds
        self.ssl_context = ssl_context
        self.grace_s = grace_s
        self.keep_alive_s = keep_alive_s
        self.websocket_ping_s = websocket_ping_s
        self._thread: threading.Thread | None = None
        self._server: _Server | None = None
        self._failure: BaseException | None = None
        self._listener: socket.socket | None = None
        close_in_children(self)

    def descriptors(self) -> list[int]:
        """Return the descriptors of the listener and of all connections."""
        server = self._server
        connections = list(server.server_state.connections) if server is not None else []
        sides = [each.transport.get_extra_info("socket") for each in connections]
        own = [self._listener] if self._listener is not None else []
        return [side.fileno() for side in (*own, *sides) if side is not None]

    @property
    def url(self) -> str:
        """Base address, ``http://127.0.0.1:port`` (``https`` with TLS); known once started."""
        scheme = "https" if self.ssl_context else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether the server listens."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, timeout_s: float = 10.0) -> Self:
        """Bind, serve, and return when the server accepts connections.

        Args:
            timeout_s: Give up after this many seconds.

        Raises:
            RuntimeError: It runs already, or the application did not start; the cause is chained.
            OSError: The address cannot be bound.
        """
        if self.is_running:
            raise RuntimeError(f"{self.name} already runs at {self.url}; stop it first")
        listener = self._listener = self._bind()
        config = uvicorn.Config(
            self.app,
            http=_Protocol,
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=self.keep_alive_s,
            ws=_WebSocket,
            ws_ping_interval=self.websocket_ping_s,
            ws_ping_timeout=2 * self.websocket_ping_s,
            ws_per_message_deflate=False,
        )
        config.load()
        if self.ssl_context is not None:
            config.ssl = self.ssl_context
        ready = threading.Event()
        self._failure = None
        self._thread = threading.Thread(
            target=self._run, args=(config, ready, listener), name=self.name, daemon=True
        )
        self._thread.start()
        if not ready.wait(timeout_s) or self._failure is not None:
            failure = self._failure
            self._stop(reset=True)
            listener.close()
            raise RuntimeError(
                f"{self.name}: the application did not start within {timeout_s} s"
            ) from failure
        return self

    def stop(self) -> None:
        """Finish running requests (up to ``grace_s``), close every connection and the listener; idempotent."""
        self._stop(reset=False)

    def kill(self) -> None:
        """Vanish as a crashed process does: the listener closes, every connection is reset; idempotent."""
        self._stop(reset=True)

    def _bind(self) -> socket.socket:
        if self.uds is not None:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            address: str | tuple[str, int] = self.uds
        else:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            # The protocol is named because asyncio sets TCP_NODELAY on no other socket, and replies
            # would wait 40 ms for a delayed ACK.
            listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            address = (self.host, self.port)
        try:
            listener.bind(address)
        except OSError:
            listener.close()
            raise
        if self.uds is None:
            self.port = listener.getsockname()[1]
        return listener

    def _run(self, config: uvicorn.Config, ready: threading.Event, listener: socket.socket) -> None:
        async def serve() -> None:
            self._server = _Server(config, ready)
            await self._server.serve(sockets=[listener])

        try:
            asyncio.run(serve())
        except BaseException as failure:
            self._failure = failure
        finally:
            ready.set()

    def _stop(self, *, reset: bool) -> None:
        thread, server = self._thread, self._server
        if thread is None:
            return
        if server is not None:
            server.reset_connections = reset
            server.grace_s = self.grace_s
            server.wake()
        thread.join()
        self._thread = self._server = self._listener = None
        if self.uds is not None:
            pathlib.Path(self.uds).unlink(missing_ok=True)
