"""Router and part base classes.

Source: ``pylm.parts.core`` of 0.14.4; API reference, section A4. Unlike the original's, the router does not hold the
whole server while one message passes: each outbound part has a queue, and only ``block=True`` waits for it.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from typing import Any, Final

import zmq

from pylm import _wire
from pylm._loop import DRAIN, Loop
from pylm.errors import Malformed, to_failure

__all__ = [
    "BypassInbound",
    "BypassOutbound",
    "Inbound",
    "Outbound",
    "Part",
    "Router",
    "zmq_context",
]

zmq_context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
"""The process-wide context all parts make their sockets in."""

TICK_MS: Final = 100
QUEUE_LIMIT: Final = 1000


def open_socket(kind: int) -> zmq.Socket[bytes]:
    """Return a socket of the process-wide context that lingers for a second."""
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
    socket.linger = 1000
    return socket


class Router:
    """Carries messages from inbound to outbound parts.

    Args:
        inbound_address: Where inbound parts connect (binds).
        outbound_address: Where outbound parts connect (binds).
        logger: For what cannot be routed.
        cache: Kept for the parts' sake.
        messages: Stop after so many messages; for tests.

    An inbound part is a REQ with its name as identity; it is answered ``b'1'``, or, with ``block``, the feedback of
    the outbound part its ``route`` names. An outbound part with a route itself passes its feedback on to that part.
    """

    def __init__(
        self,
        inbound_address: str = "inproc://inbound",
        outbound_address: str = "inproc://outbound",
        logger: logging.Logger | None = None,
        cache: Any = None,
        messages: int = sys.maxsize,
    ) -> None:
        self.logger = logger if logger is not None else logging.getLogger("pylm")
        self.cache = cache
        self.messages = messages
        self.inbound_address = inbound_address
        self.outbound_address = outbound_address
        self.inbound = open_socket(zmq.ROUTER)
        self.outbound = open_socket(zmq.ROUTER)
        self.outbound.router_mandatory = 1
        self.inbound.bind(inbound_address)
        self.outbound.bind(outbound_address)
        self.inbound_components: dict[bytes, dict[str, Any]] = {}
        self.outbound_components: dict[bytes, dict[str, Any]] = {}
        self._queues: dict[bytes, collections.deque[tuple[bytes, Callable[[bytes], None]]]] = {}
        self._working: dict[bytes, Callable[[bytes], None]] = {}
        self._loop = Loop()

    def register_inbound(
        self, name: str, route: str = "", block: bool = False, log: str = ""
    ) -> None:
        """Announce an inbound part and where its messages go."""
        self.inbound_components[name.encode()] = {
            "route": route.encode(),
            "block": block,
            "log": log,
        }

    def register_outbound(self, name: str, route: str = "", log: str = "") -> None:
        """Announce an outbound part and where its feedback goes."""
        self.outbound_components[name.encode()] = {"route": route.encode(), "log": log}

    def start(self) -> bytes:
        """Route until :meth:`stop` or the message limit; return ``b'router'``."""
        count = 0

        def on_inbound() -> None:
            nonlocal count
            for _ in range(DRAIN):
                try:
                    frames = self.inbound.recv_multipart(zmq.DONTWAIT)
                except zmq.Again:
                    return
                if len(frames) == 3:
                    self._on_message(frames[0], frames[2])
                count += 1
                if count >= self.messages:
                    self._loop.stop()
                    return

        self._loop.add_reader(self.inbound, on_inbound)
        self._loop.add_reader(self.outbound, self._on_feedback)
        try:
            self._loop.run()
        finally:
            self.cleanup()
        return b"router"

    def _on_message(self, name: bytes, data: bytes) -> None:
        part = self.inbound_components.get(name)
        if part is None:
            self.logger.error("%r is not a registered inbound part", name)
            self._answer(name, b"0")
            return
        if part["log"]:
            self.logger.info(part["log"])
        route = part["route"]
        if not route:
            self._answer(name, b"1")
            return
        queue = self._queues.get(route, ())
        if part["block"]:
            self._forward(route, data, lambda feedback: self._answer(name, feedback))
        elif len(queue) >= QUEUE_LIMIT:
            self._forward(route, data, lambda _: self._answer(name, b"1"))
        else:
            self._forward(route, data, lambda _: None)
            self._answer(name, b"1")

    def _answer(self, name: bytes, data: bytes) -> None:
        self.inbound.send_multipart([name, b"", data])

    def _forward(self, route: bytes, data: bytes, done: Callable[[bytes], None]) -> None:
        part = self.outbound_components.get(route)
        if part is None:
            self.logger.error("no outbound part %r; the message is dropped", route)
            done(b"0")
            return
        if part["log"]:
            self.logger.info(part["log"])
        queue = self._queues.setdefault(route, collections.deque())
        queue.append((data, done))
        if route not in self._working:
            self._next(route)

    def _next(self, route: bytes) -> None:
        queue = self._queues[route]
        if not queue:
            self._working.pop(route, None)
            return
        data, done = queue[0]
        try:
            self.outbound.send_multipart([route, b"", data], zmq.DONTWAIT)
        except zmq.ZMQError:  # not connected yet
            self._working[route] = lambda _: None
            self._loop.call_later(0.01, lambda: self._next(route))
            return
        queue.popleft()
        self._working[route] = done

    def _on_feedback(self) -> None:
        for _ in range(DRAIN):
            try:
                frames = self.outbound.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            if len(frames) != 3 or frames[0] not in self._working:
                continue
            name, feedback = frames[0], frames[2]
            done = self._working.pop(name)
            onward = self.outbound_components[name]["route"]
            if onward:
                self._forward(onward, feedback, functools.partial(_finish, done, feedback))
            else:
                done(feedback)
            self._next(name)

    def stop(self) -> None:
        """End :meth:`start`; thread-safe."""
        self._loop.stop()

    def cleanup(self) -> None:
        """Close the sockets; idempotent."""
        self.inbound.close()
        self.outbound.close()
        self._loop.close()


def _finish(done: Callable[[bytes], None], feedback: bytes, _: bytes) -> None:
    """Answer with the first part's feedback once the part it was passed on to has answered too."""
    done(feedback)


class Part:
    """What all parts have: a name, a logger, a cache, an end.

    Args:
        name: Of the part; the attribute is ``bytes``.
        logger: Of the server.
        cache: Of the server.
        messages: Stop after so many messages; for tests.
    """

    def __init__(self, name: str, logger: logging.Logger | None, cache: Any, messages: int) -> None:
        self.name = name.encode()
        self.logger = logger if logger is not None else logging.getLogger(name or "pylm")
        self.cache = cache
        self.messages = messages
        self._stop = threading.Event()

    def stop(self) -> None:
        """End :meth:`start` within 0.1 s; thread-safe."""
        self._stop.set()

    def _receive(self, socket: zmq.Socket[bytes]) -> bytes | None:
        """Return the next message, which is one frame; ``None`` once the part is to stop.

        Further frames are dropped: left unread, they would keep a REP socket from answering.
        """
        frames = self._receive_all(socket)
        return frames[0] if frames is not None else None

    def _receive_all(self, socket: zmq.Socket[bytes]) -> list[bytes] | None:
        """Return the frames of the next message; ``None`` once the part is to stop."""
        while not self._stop.is_set():
            if socket.poll(TICK_MS):
                with contextlib.suppress(zmq.Again):
                    return socket.recv_multipart(zmq.DONTWAIT)
        return None

    def _transmit(self, socket: zmq.Socket[bytes], frame: bytes) -> bool:
        """Send, waiting for room until the part is to stop; return whether it left."""
        while not self._stop.is_set():
            if socket.poll(TICK_MS, zmq.POLLOUT):
                with contextlib.suppress(zmq.Again):
                    socket.send(frame, zmq.DONTWAIT)
                    return True
        return False

    def log_failure(self) -> None:
        """Log the exception in work, one record per line of its traceback."""
        self.logger.error("%r could not handle a message", self.name)
        for line in traceback.format_exc().rstrip().splitlines():
            self.logger.error("%s", line)


class _Routed(Part):
    """A part between the outside and the router."""

    def __init__(
        self,
        name: str,
        listen_address: str,
        socket_type: int,
        reply: bool = True,
        broker_address: str = "inproc://broker",
        bind: bool = False,
        logger: logging.Logger | None = None,
        cache: Any = None,
        messages: int = sys.maxsize,
    ) -> None:
        super().__init__(name, logger, cache, messages)
        self.listen_address = listen_address
        self.socket_type = socket_type
        self.reply = reply
        self.broker_address = broker_address
        self.bind = bind
        self.last_message = b""

    def _open(self, broker_type: int) -> None:
        self.broker = open_socket(broker_type)
        self.broker.identity = self.name
        self.broker.connect(self.broker_address)
        self.listen_to = open_socket(self.socket_type)
        self._prepare(self.listen_to)
        if self.bind:
            self.listen_to.bind(self.listen_address)
        else:
            self.listen_to.connect(self.listen_address)

    def _prepare(self, socket: zmq.Socket[bytes]) -> None:
        """Set options of the outer socket before it binds or connects."""

    def scatter(self, message: Any) -> Iterable[Any]:
        """Yield the messages that pass on for one that came: none, one or many."""
        yield message

    def handle_feedback(self, message_data: bytes) -> None:
        """Take what the other side answered; kept as ``last_message``."""
        self.last_message = message_data

    def reply_feedback(self) -> bytes:
        """Return what this side answers."""
        return self.last_message

    def _translate_to_broker(self, message: Any) -> bytes:
        """Return the bytes for the router."""
        return _wire.encode(message, message.payload)

    def _translate_from_broker(self, data: bytes) -> Any:
        """Return the message in the router's bytes.

        Raises:
            Malformed: There is none.
        """
        message, payload = _wire.decode_new(data)
        message.payload = payload
        return message

    def _failed(self, data: bytes, error: Exception) -> bytes | None:
        """Return the envelope in ``data`` turned into a failure; ``None`` when it is none."""
        try:
            message = self._translate_from_broker(data)
        except Malformed:
            return None
        if message.ext:
            failure = to_failure(error, server=self.name.decode(), function=message.function)
            message.ext = _wire.add_failure(message.ext, failure)
        return _wire.encode(message, b"0")

    def cleanup(self) -> None:
        """Close the sockets; idempotent."""
        for socket in (getattr(self, "broker", None), getattr(self, "listen_to", None)):
            if socket is not None:
                socket.close()


class Inbound(_Routed):
    """Takes messages from outside and hands them to the router.

    Args:
        name: Of the part.
        listen_address: Of the outer socket.
        socket_type: ``zmq.PULL``, ``zmq.REP`` ...
        reply: The outer peer gets :meth:`reply_feedback`.
        broker_address: ``inbound_address`` of the router.
        bind: Bind the outer socket, else connect it.
        logger: Of the server.
        cache: Of the server.
        messages: Stop after so many messages; for tests.
    """

    def recv(self) -> bytes | None:
        """Return the next message from outside; ``None`` once the part is to stop."""
        return self._receive(self.listen_to)

    def start(self) -> bytes:
        """Work until :meth:`stop` or the message limit; return the name."""
        self._open(zmq.REQ)
        self.logger.info("%r successfully started", self.name)
        try:
            for _ in range(self.messages):
                data = self.recv()
                if data is None:
                    break
                self._pass(data)
                if self.reply:
                    self._transmit(self.listen_to, self.reply_feedback())
        finally:
            self.cleanup()
        return self.name

    def _pass(self, data: bytes) -> None:
        self.last_message = b"0"
        try:
            message = self._translate_from_broker(data)
            frames = [self._translate_to_broker(each) for each in self.scatter(message)]
        except Malformed:
            self.logger.error("Message could not be decoded")
            return
        except Exception:
            self.log_failure()
            return
        for frame in frames:
            self.broker.send(frame)
            feedback = self._receive(self.broker)
            if feedback is None:
                return
            self.handle_feedback(feedback)


class Outbound(_Routed):
    """Takes messages from the router and sends them outside.

    Args:
        name: Of the part.
        listen_address: Of the outer socket.
        socket_type: ``zmq.PUSH``, ``zmq.REQ`` ...
        reply: The outer peer answers; the answer is the feedback.
        broker_address: ``outbound_address`` of the router.
        bind: Bind the outer socket, else connect it.
        logger: Of the server.
        cache: Of the server.
        messages: Stop after so many messages; for tests.
    """

    def start(self) -> bytes:
        """Work until :meth:`stop` or the message limit; return the name."""
        self._open(zmq.REP)
        self.logger.info("%r successfully started", self.name)
        try:
            for _ in range(self.messages):
                data = self._receive(self.broker)
                if data is None:
                    break
                self._pass(data)
                self.broker.send(self.reply_feedback())
        finally:
            self.cleanup()
        return self.name

    def _pass(self, data: bytes) -> None:
        self.last_message = b""
        try:
            message = self._translate_from_broker(data)
            for each in self.scatter(message):
                self._deliver(each)
        except Malformed:
            self.logger.error("Message could not be decoded")
        except Exception as error:
            self.log_failure()
            failed = self._failed(data, error)
            if failed is not None:
                with contextlib.suppress(Malformed):
                    self._deliver(self._translate_from_broker(failed))

    def _deliver(self, message: Any) -> None:
        """Send one message outside, and take the answer where there is one."""
        self._transmit(self.listen_to, _wire.encode(message, message.payload))
        if self.reply:
            feedback = self._receive(self.listen_to)
            if feedback is not None:
                self.handle_feedback(feedback)


class _Bypass(Part):
    """A socket of the server that does not go through the router."""

    def __init__(
        self,
        name: str,
        listen_address: str,
        socket_type: int,
        reply: bool = True,
        bind: bool = False,
        logger: logging.Logger | None = None,
        cache: Any = None,
        messages: int = sys.maxsize,
    ) -> None:
        super().__init__(name, logger, cache, messages)
        self.listen_address = listen_address
        self.reply = reply
        self.bind = bind
        self.listen_to = open_socket(socket_type)
        if bind:
            self.listen_to.bind(listen_address)
        else:
            self.listen_to.connect(listen_address)

    def cleanup(self) -> None:
        """Close the socket; idempotent."""
        self.listen_to.close()


class BypassInbound(_Bypass):
    """A socket of the server that does not go through the router, for what comes in.

    Args:
        name: Of the part.
        listen_address: Of the socket.
        socket_type: Its type.
        reply: ``recv`` answers.
        bind: Bind it, else connect.
        logger: Of the server.
        cache: Of the server.
        messages: Stop after so many messages; for tests.
    """

    def recv(self, reply_data: bytes | None = None) -> bytes | None:
        """Return the next message, answering ``reply_data``; ``None`` once the part is to stop."""
        data = self._receive(self.listen_to)
        if data is not None and self.reply:
            self.listen_to.send(reply_data if reply_data is not None else b"")
        return data

    def start(self) -> bytes:
        """Receive until :meth:`stop`; subclasses do something with it."""
        try:
            for _ in range(self.messages):
                if self.recv() is None:
                    break
        finally:
            self.cleanup()
        return self.name


class BypassOutbound(_Bypass):
    """A socket of the server that does not go through the router, for what goes out.

    Args:
        name: Of the part.
        listen_address: Of the socket.
        socket_type: Its type.
        reply: ``send`` returns the answer.
        bind: Bind it, else connect.
        logger: Of the server.
        cache: Of the server.
        messages: Kept for symmetry.
    """

    def send(self, message_data: bytes) -> bytes | None:
        """Send a message; return the answer where there is one."""
        sent = self._transmit(self.listen_to, message_data)
        return self._receive(self.listen_to) if sent and self.reply else None
