"""Servers of the first API: request-reply, and chains over PUSH/PULL.

Re-exported by :mod:`pylm.standalone.servers` and :mod:`pylm.chained.servers`. Source: API reference, section A6.
"""

from __future__ import annotations

import inspect
import logging
import sys
import time
from typing import Any

import zmq

from pylm import _calls, _wire
from pylm._frames import DONTWAIT, SNDMORE, recv_routed
from pylm._logs import server_logger
from pylm._loop import DRAIN
from pylm._outlet import PushOutlet
from pylm._replies import ReplyOutlet
from pylm._server import FAILED_PAYLOAD, Engine
from pylm._services import Services
from pylm.config import ServerOptions
from pylm.errors import Overloaded, WrongServer, WrongType

__all__ = ["ChainServer", "LastServer", "RequestServer"]


class OldEngine(Engine):
    """An engine with the first API's services."""

    def __init__(
        self,
        name: str,
        log_address: str | None,
        perf_address: str | None,
        ping_address: str | None,
        cache: Any,
        log_level: int,
        messages: int,
        options: ServerOptions | None,
    ) -> None:
        super().__init__(name, server_logger(name, log_level), cache, messages, options)
        self._services = Services(self.logger, log_address, perf_address, ping_address)
        self.perfcounter = self._services.counter

    def _begin(self, cache_messages: int) -> None:
        super()._begin(cache_messages)
        self._services.start()

    def close(self) -> None:
        """Close every socket and service; idempotent."""
        super().close()
        self._services.close()


class RequestServer(OldEngine):
    """Answers requests, one at a time.

    Args:
        name: Of the server.
        rep_address: Where requests come in (binds).
        log_address: Of a log collector; ``None`` for none.
        perf_address: Of a performance collector; ``None`` for none.
        ping_address: Of a ping collector; ``None`` for none.
        log_level: Of the logger.
        messages: Stop after so many requests; for tests.
        options: Everything the original did not have.

    Source: ``pylm.standalone.servers.Server`` of 0.8.
    """

    def __init__(
        self,
        name: str,
        rep_address: str,
        log_address: str | None = None,
        perf_address: str | None = None,
        ping_address: str | None = None,
        log_level: int = logging.INFO,
        messages: int = sys.maxsize,
        *,
        options: ServerOptions | None = None,
    ) -> None:
        super().__init__(
            name, log_address, perf_address, ping_address, None, log_level, messages, options
        )
        self.rep_address = rep_address
        self.rep = self._open(zmq.ROUTER, bind=rep_address)
        self._inputs.append((self.rep, self._on_request))
        self._alone = self._take_request
        self._table = _calls.FunctionTable(self, name, ("set", "get", "delete"))
        self._two: dict[Any, bool] = {}

    def set(self, data: bytes, key: str | None = None) -> bytes:
        """Store a value; return its key. Callable remotely."""
        stored = key or _wire.new_uuid()
        self.cache.set(stored, data)
        return stored.encode()

    def get(self, key: bytes) -> bytes:
        """Return a stored value. Callable remotely.

        Raises:
            KeyError: It is absent.
        """
        value = self.cache.get(key.decode())
        if value is None:
            raise KeyError(key.decode())
        return bytes(value)

    def delete(self, key: bytes) -> bytes:
        """Remove a stored value; return its key. Callable remotely.

        Raises:
            KeyError: It is absent.
        """
        self.cache.delete(key.decode())
        return key

    def _on_request(self) -> None:
        loop = self._loop
        assert loop is not None
        for _ in range(DRAIN):
            try:
                self._take_request(DONTWAIT)
            except zmq.Again:
                return
            if not loop.running:
                return

    def _take_request(self, flags: int = 0) -> None:
        sender, delimiter, frame = recv_routed(self.rep, flags)
        if frame is None or delimiter:
            self.stats.malformed += 1
            return
        self._counted()
        answer = self._serve(frame)
        send = self.rep.send
        send(sender, SNDMORE)
        send(b"", SNDMORE)
        send(answer, DONTWAIT, len(answer) < 65536)

    def _serve(self, frame: bytes) -> bytes:
        debug = self.logger.isEnabledFor(logging.DEBUG)
        if debug:
            self.logger.debug("Got message %d", self._count)
        decoded = self._decode(frame, old=True)
        if decoded is None:
            return b""
        message, payload = decoded
        server = function = ""
        ext = message.ext
        try:
            serializer = ""
            if ext and _wire.has_more(ext):
                serializer = _wire.parse_extension(ext).serializer
            if self._guards:
                self._admit(payload)
            server, function = _calls.split_route(message.function, 0)
            if server != self.name:
                self.logger.error("You called the wrong server")
                raise WrongServer(f"You called {server}, instead of {self.name}")
            if debug:
                self.logger.debug("Looking for %s", function)
            call = self._table(function)
            # A function with one parameter is called without the tag, whatever the message carries.
            more = (message.cache,) if message.cache and self._takes_two(call) else ()
            result = _calls.call(call, payload, serializer, f"{server}.{function}", *more)
            if result is None:
                raise WrongType(
                    f"{server}.{function} returned None; a server's function returns bytes"
                )
            self.stats.answered += 1
            if ext:
                message.ext = _wire.add_complete(ext)
        except Exception as error:
            self._log_failure(error)
            self._mark_failed(message, error, server or self.name, function)
            result = FAILED_PAYLOAD
        answer = _wire.encode(message, result)
        self.stats.bytes_out += len(answer)
        return answer

    def _takes_two(self, call: Any) -> bool:
        known = self._two.get(call)
        if known is None:
            try:
                inspect.signature(call).bind(b"", "")
                known = True
            except TypeError:
                known = False
            self._two[call] = known
        return known


class _Chained(OldEngine):
    """A stage of a chain; the subclass says where results go."""

    _next_call: str | None = None

    def _open_chain(self, pull_address: str, db_address: str) -> None:
        self.pull_address = pull_address
        self.db_address = db_address
        self._open_cache(db_address)
        self.pull_socket = self._open(zmq.PULL, bind=pull_address)
        self._inputs.append((self.pull_socket, self._on_pull))
        self._alone = lambda: self._handle(self.pull_socket.recv())
        self._table = _calls.FunctionTable(self, self.name)
        self._publish_keys(name=self.name, pull_address=pull_address)

    def _begin(self, cache_messages: int) -> None:
        super()._begin(cache_messages)
        self.logger.debug("%s Waiting for a message", self.name)

    def _on_pull(self) -> None:
        receive = self.pull_socket.recv
        loop = self._loop
        assert loop is not None
        for _ in range(DRAIN):
            try:
                frame = receive(DONTWAIT)
            except zmq.Again:
                return
            self._handle(frame)
            if self._paused or not loop.running:
                return

    def _handle(self, frame: bytes) -> None:
        self._counted()
        logger = self.logger
        debug = logger.isEnabledFor(logging.DEBUG)
        if debug:
            logger.debug("%s Got a message", self.name)
        decoded = self._decode(frame, old=True)
        if decoded is not None:
            began = time.perf_counter()
            self._serve(*decoded, debug)
            self.stats.latency.record(time.perf_counter() - began)
            assert self._outlet is not None
            if self._outlet.is_full():
                self._check_backlog()
        if debug:
            logger.debug("%s Waiting for a message", self.name)

    def _serve(self, message: _wire.Envelope, payload: bytes, debug: bool) -> None:
        server = function = ""
        ext = message.ext
        try:
            serializer = ""
            if ext and _wire.has_more(ext):
                extension = _wire.parse_extension(ext)
                if extension.HasField("error"):
                    self._push_on(message, payload, ext)
                    return
                serializer = extension.serializer
            if self._guards:
                self._admit(payload)
            server, function = _calls.split_route(message.function, 0)
            if server != self.name:
                self.logger.error("You called the wrong server")
                raise WrongServer(f"You called {server}, instead of {self.name}")
            if debug:
                self.logger.debug("Looking for %s", function)
            call = self._table(function)
            result = _calls.call(call, payload, serializer, f"{server}.{function}")
            if result is None:
                raise WrongType(
                    f"{server}.{function} returned None; a server's function returns bytes"
                )
            self.stats.answered += 1
            if ext and self._next_call is None:
                message.ext = _wire.add_complete(ext)
        except Exception as error:
            if not isinstance(error, Overloaded):
                self._log_failure(error)
            self._mark_failed(message, error, server or self.name, function)
            result = FAILED_PAYLOAD
        self._push_on(message, result, ext)

    def _push_on(self, message: _wire.Envelope, payload: bytes, ext: bytes) -> None:
        if self._next_call is not None:
            message.function = self._next_call
        frame = _wire.encode(message, payload)
        self.stats.bytes_out += len(frame)
        assert self._outlet is not None
        self._outlet.send(ext, frame, per_call=False)


class ChainServer(_Chained):
    """Works on what it pulls and pushes the result on to the next server.

    Args:
        name: Of the server.
        pull_address: Where messages come in (binds).
        next_address: ``pull_address`` of the next server (connects).
        next_call: ``"server.function"`` to call there.
        db_address: Cache (binds).
        log_address: Of a log collector; ``None`` for none.
        perf_address: Of a performance collector; ``None`` for none.
        ping_address: Of a ping collector; ``None`` for none.
        cache: Store; ``None`` for an own one.
        palm: Accepted and ignored; functions are always called.
        debug_level: Of the logger.
        messages: Stop after so many messages; for tests.
        options: Everything the original did not have.

    Source: ``pylm.chained.servers.Server`` of 0.8.
    """

    def __init__(
        self,
        name: str,
        pull_address: str,
        next_address: str,
        next_call: str,
        db_address: str,
        log_address: str | None = None,
        perf_address: str | None = None,
        ping_address: str | None = None,
        cache: Any = None,
        palm: bool = False,
        debug_level: int = logging.DEBUG,
        messages: int = sys.maxsize,
        *,
        options: ServerOptions | None = None,
    ) -> None:
        super().__init__(
            name, log_address, perf_address, ping_address, cache, debug_level, messages, options
        )
        self.palm = palm
        self.next_address = next_address
        self.next_call = self._next_call = next_call
        self._open_chain(pull_address, db_address)
        self.push_socket = self._open(zmq.PUSH)
        if self.options.curve is not None:
            self.options.curve.apply(self.push_socket, as_server=False)
        self.push_socket.connect(next_address)
        self._outlet = PushOutlet(self.push_socket, self.stats, self.options)


class LastServer(_Chained):
    """The end of a chain: pushes the result to the clients.

    Args:
        name: Of the server.
        pull_address: Where messages come in (binds).
        push_address: Where clients pull answers (binds).
        db_address: Cache (binds).
        log_address: Of a log collector; ``None`` for none.
        perf_address: Of a performance collector; ``None`` for none.
        ping_address: Of a ping collector; ``None`` for none.
        cache: Store; ``None`` for an own one.
        palm: Accepted and ignored; functions are always called.
        debug_level: Of the logger.
        messages: Stop after so many messages; for tests.
        options: Everything the original did not have.

    Source: ``pylm.chained.servers.LastServer`` of 0.8.
    """

    def __init__(
        self,
        name: str,
        pull_address: str,
        push_address: str,
        db_address: str,
        log_address: str | None = None,
        perf_address: str | None = None,
        ping_address: str | None = None,
        cache: Any = None,
        palm: bool = False,
        debug_level: int = logging.DEBUG,
        messages: int = sys.maxsize,
        *,
        options: ServerOptions | None = None,
    ) -> None:
        super().__init__(
            name, log_address, perf_address, ping_address, cache, debug_level, messages, options
        )
        self.palm = palm
        self.push_address = push_address
        self._open_chain(pull_address, db_address)
        self.push_socket = self._open(zmq.PUSH, bind=push_address)
        self._outlet = ReplyOutlet(self.push_socket, self.stats, self.options)
