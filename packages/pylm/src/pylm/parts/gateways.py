"""HTTP in: a web server, a router socket and a dealer that together make a server of web requests.

Source: ``pylm.parts.gateways`` of 0.14.4; API reference, section A4; fault E-23.
"""

from __future__ import annotations

import http.server
import logging
import socketserver
import sys
import threading
import urllib.parse
from typing import Any

import zmq

from pylm import _wire
from pylm.errors import Malformed
from pylm.parts._bodies import body_size
from pylm.parts.core import BypassInbound, Inbound, Outbound, open_socket

__all__ = ["GatewayDealer", "GatewayRouter", "HttpGateway", "MyHandler", "MyServer"]

ANSWER_TIMEOUT_S = 60.0
MAX_CONNECTIONS = 100


class GatewayRouter(Inbound):
    """Between the web server's requests, the server's router and the dealer that brings the answers.

    Args:
        name: Fixed to ``gateway_router``; another is warned about.
        listen_address: Where web threads and the dealer connect (binds ROUTER).
        broker_address: ``inbound_address`` of the router.
        cache: Of the server.
        logger: Of the server.
        messages: Stop after so many messages; for tests.
    """

    def __init__(
        self,
        name: str = "gateway_router",
        listen_address: str = "inproc://gateway_router",
        broker_address: str = "inproc://broker",
        cache: Any = None,
        logger: logging.Logger | None = None,
        messages: int = sys.maxsize,
    ) -> None:
        super().__init__(
            "gateway_router", listen_address, zmq.ROUTER, False, broker_address, True, logger, cache, messages
        )  # fmt: skip
        if name != "gateway_router":
            self.logger.warning("The name of the gateway router is gateway_router, not %s", name)

    def start(self) -> bytes:
        """Work until :meth:`stop` or the message limit; return the name."""
        self._open(zmq.REQ)
        self.logger.info("%r successfully started", self.name)
        try:
            left = self.messages
            while left > 0 and not self._stop.is_set():
                if not self.listen_to.poll(100):
                    continue
                frames = self.listen_to.recv_multipart()
                if len(frames) == 4 and frames[0] == b"dealer":
                    self.listen_to.send_multipart(frames[1:])
                    left -= 1
                elif len(frames) == 3 and not frames[1]:
                    self._pass(frames[2])
        finally:
            self.cleanup()
        return self.name

    def _translate_from_broker(self, data: bytes) -> Any:
        message = super()._translate_from_broker(data)
        if not message.cache:
            message.cache = _wire.new_uuid()
        return message


class GatewayDealer(Outbound):
    """Brings answers back to the gateway's router.

    Args:
        name: Fixed to ``gateway_dealer``; another is warned about.
        listen_address: Of the gateway's router (connects DEALER).
        broker_address: ``outbound_address`` of the server's router.
        cache: Of the server.
        logger: Of the server.
        messages: Stop after so many messages; for tests.
    """

    def __init__(
        self,
        name: str = "",
        listen_address: str = "inproc://gateway_router",
        broker_address: str = "inproc://broker",
        cache: Any = None,
        logger: logging.Logger | None = None,
        messages: int = sys.maxsize,
    ) -> None:
        super().__init__(
            "gateway_dealer", listen_address, zmq.DEALER, False, broker_address, False, logger, cache, messages
        )  # fmt: skip
        if name not in ("", "gateway_dealer"):
            self.logger.warning("The name of the gateway dealer is gateway_dealer, not %s", name)

    def _prepare(self, socket: zmq.Socket[bytes]) -> None:
        socket.identity = b"dealer"

    def _deliver(self, message: Any) -> None:
        frame = _wire.encode(message, message.payload)
        self.listen_to.send_multipart([message.client.encode(), b"", frame])


class MyServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """A web server with a bounded number of threads; a connection beyond gets 503."""

    daemon_threads = True
    block_on_close = False

    def __init__(
        self, address: tuple[str, int], handler: type[http.server.BaseHTTPRequestHandler]
    ) -> None:
        super().__init__(address, handler)
        self.slots = threading.BoundedSemaphore(MAX_CONNECTIONS)


class MyHandler(http.server.BaseHTTPRequestHandler):
    """Turns a request into a message; subclassed by :class:`HttpGateway` with the address and the logger."""

    timeout = 30
    listen_address = "inproc://gateway_router"
    logger = logging.getLogger("pylm")

    @staticmethod
    def path_parser(path: str) -> str:
        """Return the function a path names: its first element, with ``_.`` before it when it has no dot."""
        first = urllib.parse.unquote(urllib.parse.urlsplit(path).path).lstrip("/").split("/")[0]
        return first if not first or "." in first else f"_.{first}"

    def do_GET(self) -> None:
        """Pass the request on and answer with the result."""
        function = self.path_parser(self.path)
        if not function:
            self._answer(404, b"name a function in the path")
            return
        server = self.server
        if isinstance(server, MyServer) and not server.slots.acquire(blocking=False):
            self._answer(503, b"too many requests at a time")
            return
        try:
            self._answer(*self._call(function))
        finally:
            if isinstance(server, MyServer):
                server.slots.release()

    do_POST = do_GET

    def _call(self, function: str) -> tuple[int, bytes]:
        size = body_size(self.headers)
        if size is None:
            return 413, b"content-length is no number, or too large"
        client = _wire.new_uuid()
        _, ext = _wire.MessageIds().next()
        message = _wire.PalmMessage(
            pipeline=_wire.new_uuid(), client=client, function=function, ext=ext
        )
        frame = _wire.encode(message, self.rfile.read(size) if size else b"No Payload")
        socket = open_socket(zmq.REQ)
        socket.linger = 0
        socket.identity = client.encode()
        try:
            socket.connect(self.listen_address)
            socket.send(frame)
            if not socket.poll(int(ANSWER_TIMEOUT_S * 1000)):
                return 504, b"no answer in time"
            answer, payload = _wire.decode_new(socket.recv())
        except Malformed as error:
            return 502, str(error).encode()
        finally:
            socket.close()
        if answer.ext and _wire.has_more(answer.ext):
            extension = _wire.parse_extension(answer.ext)
            if extension.HasField("error"):
                failure = extension.error
                status = 404 if failure.kind in ("UnknownFunction", "WrongServer") else 500
                return status, f"{failure.kind}: {failure.type} {failure.text}".encode()
        return 200, payload

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log at DEBUG instead of to standard error."""
        self.logger.debug(format, *args)


class HttpGateway(BypassInbound):
    """A web server in front of a server: ``GET`` or ``POST /function`` calls the function with the body.

    Args:
        name: Of the part.
        listen_address: Of the gateway's router.
        hostname: Where to listen.
        port: Where to listen; 0 for any.
        cache: Of the server.
        logger: Of the server.

    Answers 200 with the result, 404 for an unknown function or no function, 500 when the function raised, 503 when
    too many requests are in work, 504 when no answer came. Without a body the payload is ``b'No Payload'``.
    """

    def __init__(
        self,
        name: str = "",
        listen_address: str = "inproc://gateway_router",
        hostname: str = "",
        port: int = 8888,
        cache: Any = None,
        logger: logging.Logger | None = None,
    ) -> None:
        super().__init__(
            name, f"inproc://unused-{_wire.new_uuid()}", zmq.PULL, False, False, logger, cache
        )
        self.listen_to.close()
        handler = type(
            "Handler", (MyHandler,), {"listen_address": listen_address, "logger": self.logger}
        )
        self.hostname = hostname
        self._web = MyServer((hostname, port), handler)
        self.port = self._web.server_address[1]

    def debug(self) -> None:
        """Serve one request."""
        try:
            self._web.handle_request()
        finally:
            self._web.server_close()

    def start(self) -> bytes:
        """Serve until :meth:`stop`; return the name."""
        self.logger.info("%r successfully started", self.name)
        try:
            self._web.serve_forever(poll_interval=0.1)
        finally:
            self._web.server_close()
        return self.name

    def stop(self) -> None:
        """End :meth:`start`; thread-safe."""
        super().stop()
        self._web.shutdown()

    def cleanup(self) -> None:
        """Close the listening socket; idempotent."""
        self._web.server_close()
        super().cleanup()
