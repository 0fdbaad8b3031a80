"""Parts that bind.

Source: ``pylm.parts.services`` of 0.14.4; API reference, section A4.
"""

from __future__ import annotations

import http.server
import logging
import sys
import threading
from typing import Any

import zmq

from pylm import _wire
from pylm._cache import CacheVerbs
from pylm._loop import Loop
from pylm._outlet import PubOutlet
from pylm._server import DEFAULT_OPTIONS
from pylm._stats import Stats
from pylm.errors import Malformed
from pylm.parts._bodies import body_size
from pylm.parts._fixed import Fixed
from pylm.parts.core import TICK_MS, BypassInbound, Inbound, Outbound, open_socket
from pylm.persistence.kv import DictDB

__all__ = [
    "CacheService",
    "HttpService",
    "PubService",
    "PullService",
    "PushPullService",
    "PushService",
    "RepBypassService",
    "RepService",
    "WorkerPullService",
    "WorkerPushService",
]


class RepService(Fixed, Inbound):
    """Takes requests (REP) and answers them with the router's feedback; parameters as in :class:`Inbound`."""

    kind = zmq.REP
    replies = True


class PullService(Fixed, Inbound):
    """Takes messages (PULL) and gives each the tag that workers and clients see; see :class:`Inbound`."""

    tags = True

    kind = zmq.PULL

    def _translate_from_broker(self, data: bytes) -> Any:
        message = super()._translate_from_broker(data)
        if self.tags and not message.cache:
            message.cache = _wire.new_uuid()
        return message


class WorkerPullService(PullService):
    """Takes results from workers (PULL)."""

    tags = False


class PushService(Fixed, Outbound):
    """Deals messages out (PUSH); parameters as in :class:`Outbound`."""

    kind = zmq.PUSH


class WorkerPushService(PushService):
    """Deals jobs out to workers (PUSH)."""


class PubService(Fixed, Outbound):
    """Publishes messages; the topic comes from :meth:`handle_stream`.

    Args:
        name: Of the part.
        listen_address: Binds XPUB.
        broker_address: ``outbound_address`` of the router.
        logger: Of the server.
        cache: Of the server.
        messages: Stop after so many messages; for tests.
        pipelined: Publish for the next server, under ``server``, instead of for the client.
        server: Name of the server.
    """

    kind = zmq.XPUB

    def __init__(
        self,
        name: str,
        listen_address: str,
        broker_address: str = "inproc://broker",
        logger: logging.Logger | None = None,
        cache: Any = None,
        messages: int = sys.maxsize,
        pipelined: bool = False,
        server: str | None = None,
    ) -> None:
        super().__init__(name, listen_address, broker_address, logger, cache, messages)
        self.pipelined = pipelined
        self.server = server

    def handle_stream(self, message: Any) -> tuple[str, Any]:
        """Return topic and message; see ``pylm.servers.Server.handle_stream``."""
        if self.pipelined:
            message.stage += 1
            return self.server or self.name.decode(), message
        return message.client, message

    def start(self) -> bytes:
        """Publish until :meth:`stop` or the message limit; return the name."""
        self._open(zmq.REP)
        loop = Loop()
        outlet = PubOutlet(self.listen_to, Stats(self.name.decode(), "PubService"), DEFAULT_OPTIONS)
        outlet.attach(loop)
        self._outlet = outlet
        self.logger.info("%s successfully started", self.server or self.name.decode())
        left = self.messages

        def on_message() -> None:
            nonlocal left
            self._pass(self.broker.recv())
            self.broker.send(b"")
            left -= 1
            if left <= 0:
                loop.stop()

        def look() -> None:
            if self._stop.is_set():
                loop.stop()
            loop.call_later(TICK_MS / 1000, look)

        loop.add_reader(self.broker, on_message)
        look()
        try:
            loop.run()
        finally:
            outlet.flush()
            loop.close()
            self.cleanup()
        return self.name

    def _deliver(self, message: Any) -> None:
        client = message.client
        topic, message = self.handle_stream(message)
        frame = _wire.encode(message, message.payload)
        self._outlet.send(topic.encode(), frame, per_call=not message.ext and topic == client)


class PushPullService(Outbound):
    """Sends each message to a peer (PUSH) and takes one answer back (PULL) as the feedback.

    Args:
        name: Of the part.
        push_address: Binds PUSH.
        pull_address: Binds PULL.
        broker_address: ``outbound_address`` of the router.
        logger: Of the server.
        cache: Of the server.
        messages: Stop after so many messages; for tests.
    """

    def __init__(
        self,
        name: str,
        push_address: str,
        pull_address: str,
        broker_address: str = "inproc://broker",
        logger: logging.Logger | None = None,
        cache: Any = None,
        messages: int = sys.maxsize,
    ) -> None:
        super().__init__(
            name, push_address, zmq.PUSH, True, broker_address, True, logger, cache, messages
        )
        self.push_address = push_address
        self.pull_address = pull_address

    def _open(self, broker_type: int) -> None:
        super()._open(broker_type)
        self.pull = open_socket(zmq.PULL)
        self.pull.bind(self.pull_address)

    def _deliver(self, message: Any) -> None:
        self._transmit(self.listen_to, _wire.encode(message, message.payload))
        feedback = self._receive(self.pull)
        if feedback is not None:
            self.handle_feedback(feedback)

    def cleanup(self) -> None:
        """Close the sockets; idempotent."""
        super().cleanup()
        if hasattr(self, "pull"):
            self.pull.close()


class RepBypassService(BypassInbound):
    """Takes requests (REP) outside the router; parameters as in :class:`BypassInbound`."""

    def __init__(
        self,
        name: str,
        listen_address: str,
        logger: logging.Logger | None = None,
        cache: Any = None,
        messages: int = sys.maxsize,
    ) -> None:
        super().__init__(name, listen_address, zmq.REP, True, True, logger, cache, messages)


class CacheService(RepBypassService):
    """Serves the server's cache; see :mod:`pylm._cache` for the verbs."""

    def start(self) -> bytes:
        """Serve until :meth:`stop` or the message limit; return the name."""
        verbs = CacheVerbs(self.cache if self.cache is not None else DictDB(), self.logger)
        try:
            for _ in range(self.messages):
                data = self._receive(self.listen_to)
                if data is None:
                    break
                self.listen_to.send(verbs.answer(data))
        finally:
            self.cleanup()
        return self.name


class HttpService(Inbound):
    """Takes messages as HTTP POST bodies; the answer's body is the router's feedback, the status 200.

    Args:
        name: Of the part.
        hostname: Where to listen.
        port: Where to listen; 0 for any.
        broker_address: ``inbound_address`` of the router.
        logger: Of the server.
        cache: Of the server.
    """

    def __init__(
        self,
        name: str,
        hostname: str,
        port: int,
        broker_address: str = "inproc://broker",
        logger: logging.Logger | None = None,
        cache: Any = None,
    ) -> None:
        super().__init__(
            name, "", zmq.PULL, True, broker_address, False, logger, cache, sys.maxsize
        )
        part = self

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = 30

            def do_POST(self) -> None:
                size = body_size(self.headers)
                if size is None:
                    self.send_error(413, "content-length is no number, or too large")
                    return
                body = part.exchange(self.rfile.read(size))
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                part.logger.debug(format, *args)

        self.hostname = hostname
        self._web = http.server.HTTPServer((hostname, port), Handler)
        self.port = self._web.server_address[1]
        self._lock = threading.Lock()
        self.broker = open_socket(zmq.REQ)
        self.broker.identity = self.name
        self.broker.connect(broker_address)

    def exchange(self, body: bytes) -> bytes:
        """Pass one message through the router, return its feedback; ``b'0'`` for what is no message."""
        with self._lock:
            try:
                self._pass(body)
            except Malformed:
                return b"0"
            return self.reply_feedback()

    def debug(self) -> None:
        """Serve one request."""
        try:
            self._web.handle_request()
        finally:
            self._close_web()

    def start(self) -> bytes:
        """Serve until :meth:`stop`; return the name."""
        self.logger.info("%r successfully started", self.name)
        try:
            self._web.serve_forever(poll_interval=0.1)
        finally:
            self._close_web()
        return self.name

    def _close_web(self) -> None:
        self._web.server_close()
        self.cleanup()

    def stop(self) -> None:
        """End :meth:`start`; thread-safe."""
        super().stop()
        self._web.shutdown()
