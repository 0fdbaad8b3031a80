"""Servers of the first API: request-reply, and chains over PUSH/PULL.

Re-exported by :mod:`pylm.standalone.servers` and :mod:`pylm.chained.servers`. Source: API reference, section A6.
"""

from __future__ import annotations

import inspect
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import zmq

from pylm import _calls, _wire
from pylm._frames import DONTWAIT, LARGE, SNDMORE, complete_routed, sender_of
from pylm._lanes import MARK_BYTES, Lane, Lanes, body_finder, is_bare
from pylm._logs import server_logger
from pylm._outlet import PushOutlet
from pylm._replies import ReplyOutlet
from pylm._server import FAILED_PAYLOAD, Engine
from pylm._services import Services
from pylm.config import ServerOptions
from pylm.errors import Overloaded, PylmError, WrongServer

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
        self._lanes = Lanes(_wire.OldPalmMessage)
        self._services = Services(self.logger, log_address, perf_address, ping_address)
        self.perfcounter = self._services.counter

    def _begin(self, cache_messages: int) -> None:
        super()._begin(cache_messages)
        self._services.start()

    def close(self) -> None:
        """Close every socket and service; idempotent."""
        super().close()
        self._services.close()

    def _split(self, route: str) -> tuple[str, str]:
        """Return server and function of a route; complain about another server's."""
        server, function = _calls.split_route(route, 0)
        if server != self.name:
            self.logger.error("You called the wrong server")
            raise WrongServer(f"You called {server}, instead of {self.name}")
        return server, function


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
        self._inputs.append((self.rep, lambda: self._drain_input(self.rep, self._on_request)))
        self._alone = self._on_request
        self._send = sender_of(self.rep)
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

    def _on_request(self, sender: bytes) -> None:
        """Answer the request whose first part was received."""
        _, delimiter, frame = complete_routed(self.rep, sender)
        if frame is None or delimiter:
            self.stats.malformed += 1
            return
        answer = self._lanes.alike(frame) or self._answer(frame)
        send = self._send
        send(sender, SNDMORE)
        send(b"", SNDMORE)
        send(answer, DONTWAIT, len(answer) < LARGE)

    def _answer(self, frame: bytes) -> bytes:
        self._counted()
        plain = None
        if not (self._guards or self.logger.isEnabledFor(logging.DEBUG)):
            plain = self._lanes.read(frame)
        answer = b""
        if plain is not None and is_bare(plain[3]):
            answer = self._serve_plain(frame, *plain)
        return answer or self._serve(frame)

    def _serve_plain(
        self, frame: bytes, lane: Lane, head: bytes, payload: bytes, ext: bytes
    ) -> bytes:
        """Do for a plain request what :meth:`_serve` does for any; return an empty answer when that has to."""
        call = lane.route
        has_tag = len(head) != head[1] + 2 + lane.size
        if call is None or has_tag:
            call = self._plain_route(lane, frame)
            if call is None:
                return b""
        self.stats.received += 1
        self.stats.bytes_in += len(frame)
        try:
            result = call(payload)
        except Exception as error:
            return self._failed_plain(frame, lane, head, error)
        is_usual = len(ext) == _wire.PLAIN_EXT_BYTES and not has_tag
        if is_usual and self._lanes.is_steady(lane, len(payload)):
            self._lanes.alike = self._short_cut(frame, lane, len(payload))
        return self._answered_plain(frame, lane, head, ext, result)

    def _answered_plain(
        self, frame: bytes, lane: Lane, head: bytes, ext: bytes, result: Any
    ) -> bytes:
        """Return the answer to a plain request whose function returned."""
        if type(result) is not bytes:
            try:
                result = _calls.check_bytes(result, lane.function)
            except PylmError as error:
                return self._failed_plain(frame, lane, head, error)
        self.stats.answered += 1
        if ext:
            ext = _wire.add_complete(ext)
        answer = _wire.write(_wire.OldPalmMessage, head, result, ext)
        self.stats.bytes_out += len(answer)
        return answer

    def _failed_plain(self, frame: bytes, lane: Lane, head: bytes, error: Exception) -> bytes:
        """Return the answer to a plain request whose function failed."""
        self._log_failure(error)
        message = self._lanes.message(frame)
        server, _, function = lane.function.partition(".")
        self._mark_failed(message, error, server, function)
        answer = _wire.write(_wire.OldPalmMessage, head, FAILED_PAYLOAD, message.ext)
        self.stats.bytes_out += len(answer)
        return answer

    def _short_cut(self, like: bytes, lane: Lane, payload_size: int) -> Callable[[bytes], bytes]:
        """Return what :meth:`_answer` does for the requests that follow and are laid out like this one.

        They differ in pipeline, payload and id. Everything else is worked out here, once.
        """
        start = like[1] + 2
        ext = 3 + _wire.PLAIN_EXT_BYTES
        end = len(like) - ext
        find, opening = body_finder(like, end - payload_size, end, start), like[:2]
        mark, tail = like[end : end + MARK_BYTES], _wire.COMPLETE
        mark = mark[:2] + bytes((mark[2] + len(tail),)) + mark[3:]
        call, stats, logs, join = lane.route, self.stats, self.logger.isEnabledFor, b"".join
        sizes, head_end = _wire.payload_tags(_wire.OldPalmMessage), start + lane.size

        def take(frame: bytes) -> bytes:
            body, head = find(frame), frame[:head_end]
            # Text of a pipeline that is not ASCII is for the runtime to judge.
            if not (body and head.startswith(opening) and head.isascii()) or logs(logging.DEBUG):
                return b""
            self._count += 1
            if self._count >= self.messages:
                self._last_came()
            stats.received += 1
            stats.bytes_in += len(frame)
            try:
                result = call(frame[body:-ext])
            except Exception as error:
                return self._failed_plain(frame, lane, head, error)
            if type(result) is not bytes or not 0 < len(result) < 128:
                return self._answered_plain(frame, lane, head, frame[3 - ext :], result)
            stats.answered += 1
            answer = join((head, sizes[len(result)], result, mark, frame[-8:], tail))
            stats.bytes_out += len(answer)
            return answer

        return take

    def _plain_route(self, lane: Lane, frame: bytes) -> Any:
        """Return the function for a message without a tag, or with one that the function does not take."""
        try:
            server, function = _calls.split_route(lane.function, 0)
            call = self._table(function) if server == self.name else None
        except PylmError:
            return None
        if call is None:
            return None
        lane.route = call
        has_tag = bool(self._lanes.message(frame).cache)
        return None if has_tag and self._takes_two(call) else call

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
            server, function = self._split(message.function)
            if debug:
                self.logger.debug("Looking for %s", function)
            call = self._table(function)
            # A function with one parameter is called without the tag, whatever the message carries.
            more = (message.cache,) if message.cache and self._takes_two(call) else ()
            result = _calls.call(call, payload, serializer, f"{server}.{function}", *more)
            if result is None:
                result = _calls.check_bytes(result, f"{server}.{function}")
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
        self._inputs.append(
            (self.pull_socket, lambda: self._drain_input(self.pull_socket, self._handle))
        )
        self._alone = self._handle
        self._next_raws: dict[bytes, bytes] = {}
        self._table = _calls.FunctionTable(self, self.name)
        self._publish_keys(name=self.name, pull_address=pull_address)

    def _begin(self, cache_messages: int) -> None:
        super()._begin(cache_messages)
        self.logger.debug("%s Waiting for a message", self.name)

    def _handle(self, frame: bytes | memoryview) -> None:
        self._counted()
        logger = self.logger
        debug = logger.isEnabledFor(logging.DEBUG)
        if not (debug or self._guards) and type(frame) is bytes:
            plain = self._lanes.read(frame)
            if plain is not None and is_bare(plain[3]) and self._serve_plain(frame, *plain):
                return
        if debug:
            logger.debug("%s Got a message", self.name)
        decoded = self._decode(frame, old=True)
        if decoded is not None:
            began = time.perf_counter()
            self._serve(*decoded, debug)
            self.stats.latency.record(time.perf_counter() - began)
        if debug:
            logger.debug("%s Waiting for a message", self.name)

    def _serve_plain(
        self, frame: bytes, lane: Lane, head: bytes, payload: bytes, ext: bytes
    ) -> bool:
        """Do for a plain message what :meth:`_serve` does for any; return whether it was one for us."""
        call = lane.route
        if call is None:
            try:
                server, function = _calls.split_route(lane.function, 0)
                if server != self.name:
                    return False
                call = lane.route = self._table(function)
            except PylmError:
                return False
        stats = self.stats
        stats.received += 1
        stats.bytes_in += len(frame)
        began = time.perf_counter()
        try:
            result = call(payload)
            if type(result) is not bytes:
                result = _calls.check_bytes(result, lane.function)
        except Exception as error:
            self._log_failure(error)
            message = self._lanes.message(frame)
            server, _, function = lane.function.partition(".")
            self._mark_failed(message, error, server, function)
            self._push_on(message, FAILED_PAYLOAD, ext)
        else:
            stats.answered += 1
            done = ext
            if self._next_call is not None:
                head = lane.replaced(head, self._next_raw(lane))
            elif ext:
                done = _wire.add_complete(ext)
            self._send_on(_wire.write(_wire.OldPalmMessage, head, result, done), ext)
        stats.latency.record(time.perf_counter() - began)
        return True

    def _next_raw(self, lane: Lane) -> bytes:
        """Return the encoded fields with the next server's function."""
        found = self._next_raws.get(lane.raw)
        if found is None:
            assert self._next_call is not None
            message = _wire.OldPalmMessage.FromString(lane.raw)
            message.function = self._next_call
            if len(self._next_raws) > 256:
                self._next_raws.clear()
            found = self._next_raws[lane.raw] = message.SerializePartialToString()
        return found

    def _serve(self, message: _wire.Envelope, payload: bytes, debug: bool) -> None:
        server = function = ""
        ext = message.ext
        try:
            serializer = ""
            if ext and _wire.has_more(ext):
                extension = _wire.parse_extension(ext)
                if extension.HasField("error"):
                    self.stats.failed += 1
                    self._push_on(message, payload, ext)
                    return
                serializer = extension.serializer
            if self._guards:
                self._admit(payload)
            server, function = self._split(message.function)
            if debug:
                self.logger.debug("Looking for %s", function)
            call = self._table(function)
            result = _calls.call(call, payload, serializer, f"{server}.{function}")
            if result is None:
                result = _calls.check_bytes(result, f"{server}.{function}")
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
        self._send_on(_wire.encode(message, payload), ext)

    def _send_on(self, frame: bytes, ext: bytes) -> None:
        self.stats.bytes_out += len(frame)
        assert self._outlet is not None
        if self._outlet.send(ext, frame, per_call=False) and self._outlet.is_full():
            self._check_backlog()


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
