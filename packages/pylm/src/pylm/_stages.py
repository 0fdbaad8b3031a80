"""Server, Pipeline and Sink: one message in, the function's result out, topic by topic.

Re-exported by :mod:`pylm.servers`. Source: API reference, section A1; faults E-1 to E-6, E-24, E-26, E-28.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import zmq

from pylm import _calls, _tracing, _wire
from pylm._lanes import MARK_BYTES, Lane, Lanes, Plain, body_finder, is_bare
from pylm._logs import server_logger
from pylm._outlet import PubOutlet
from pylm._server import FAILED_PAYLOAD
from pylm._steering import SteeringEngine
from pylm.config import ConfigurationError, ServerOptions
from pylm.errors import PylmError, WrongServer, WrongType

__all__ = ["Pipeline", "Server", "Sink"]

_ROUTES = 1024


@dataclasses.dataclass(slots=True)
class _Outcome:
    """What became of one message in its function."""

    message: _wire.Envelope
    began: float
    result: bytes | None = None
    error: Exception | None = None
    server: str = ""
    function: str = ""
    passed: bool = False
    """It had failed before it came here, and goes on as it is."""


class _Stage(SteeringEngine):
    """What the three have in common: look the function up, call it, publish the result."""

    _ends_on_none = False
    _has_pool = True
    _marks_complete = True

    def __init__(
        self,
        name: str,
        db_address: str,
        pub_address: str,
        pipelined: bool,
        log_level: int,
        messages: int,
        options: ServerOptions | None,
    ) -> None:
        super().__init__(name, server_logger(name, log_level), None, messages, options)
        self.db_address = db_address
        self.pub_address = pub_address
        self.pipelined = pipelined
        self._open_cache(db_address)
        self.pub_socket = self._open(zmq.XPUB, bind=pub_address)
        self._outlet: PubOutlet = PubOutlet(self.pub_socket, self.stats, self.options)
        self._table = _calls.FunctionTable(self, name, ("echo",))
        self._routes: dict[tuple[str, int], tuple[Any, str, str]] = {}
        self._message: Any = _wire.PalmMessage()
        self._payload = b""
        self._frame = b""
        self._lanes = Lanes(_wire.PalmMessage)
        self._own_topic = name.encode()
        self._asks = self._steers or self._guards or bool(self.options.threads)
        self._local = threading.local()

    @property
    def message(self) -> _wire.Envelope:
        """The message in work; a function may read it and change all of it but the payload.

        With ``ServerOptions(threads=...)`` each thread has its own.
        """
        own: _wire.Envelope | None = getattr(self._local, "message", None)
        if own is not None:
            return own
        message: _wire.Envelope | None = self._message
        if message is None:
            message = self._message = self._lanes.message(self._frame)
        if self._payload and not message.payload:
            message.payload = self._payload
        return message

    def echo(self, payload: bytes) -> bytes:
        """Return the payload; callable remotely, for stages that only steer."""
        return payload

    def _handle(self, frame: bytes | memoryview, plain: Plain | None = None) -> None:
        """Work for one message; ``plain`` are its parts when the caller has cut it already."""
        if plain is None and type(frame) is bytes and self._lanes.alike(frame):
            return
        self._count += 1
        if self._count >= self.messages:
            self._last_came()
        debug = self.logger.isEnabledFor(logging.DEBUG)
        if not (debug or self._asks or _tracing.server_span):
            if plain is None and type(frame) is bytes:
                plain = self._lanes.read(frame)
            if plain is not None and is_bare(plain[3]) and self._serve_plain(frame, *plain):  # type: ignore[arg-type]
                return
        if debug:
            self.logger.debug("Got message %d", self._count)
        decoded = self._decode(frame)
        if decoded is not None:
            self._serve(*decoded, debug)
        if debug:
            self.logger.debug("Server waiting for messages")

    def _serve_plain(
        self, frame: bytes, lane: Lane, head: bytes, payload: bytes, ext: bytes
    ) -> bool:
        """Do for a plain message what :meth:`_serve` does for any; return whether it was one for us."""
        call = lane.route
        if call is None:
            try:
                call = self._find(lane.function, lane.stage)[0]
            except PylmError:
                return False
            lane.route = call
        stats = self.stats
        stats.received += 1
        stats.bytes_in += len(frame)
        began = time.perf_counter()
        self._message = None
        self._frame = frame
        self._payload = payload
        try:
            result = call(payload)
        except Exception as error:
            self._fail_plain(lane, error, began)
            return True
        self._conclude_plain(lane, head, ext, result, began)
        if len(ext) == _wire.PLAIN_EXT_BYTES and self._lanes.is_steady(head, len(payload)):
            self._lanes.alike = self._short_cut(frame, lane, head, len(payload))
        return True

    def _conclude_plain(
        self, lane: Lane, head: bytes, ext: bytes, result: Any, began: float
    ) -> None:
        """Publish what a function made of the plain message in work."""
        stats = self.stats
        if type(result) is not bytes:
            try:
                result = self._checked(result, _calls.entry(lane.function, lane.stage))
            except Exception as error:
                self._fail_plain(lane, error, began)
                return
        if result is None:
            stats.ended += 1
        elif self._message is not None:  # the function asked for it and may have changed it
            self._answer(self._message, result)
        else:
            stats.answered += 1
            if self.pipelined:
                topic = self._own_topic
                head = lane.next_head(head)
            else:
                topic = lane.topic
                if ext:
                    ext = _wire.add_complete(ext)
            answer = _wire.write(_wire.PalmMessage, head, result, ext)
            stats.bytes_out += len(answer)
            self._outlet.send(topic, answer, per_call=not ext and topic == lane.topic)
        stats.latency.record(time.perf_counter() - began)
        if self._outlet.is_full():
            self._check_backlog()

    def _fail_plain(self, lane: Lane, error: Exception, began: float) -> None:
        """Publish that the function of the plain message in work failed."""
        message = self.message
        server, _, function = _calls.entry(lane.function, lane.stage).partition(".")
        self._log_failure(error)
        self._mark_failed(message, error, server, function)
        self._answer(message, FAILED_PAYLOAD, failed=True)
        self.stats.latency.record(time.perf_counter() - began)
        if self._outlet.is_full():
            self._check_backlog()

    def _short_cut(
        self, like: bytes, lane: Lane, head: bytes, payload_size: int
    ) -> Callable[[bytes], bool]:
        """Return what :meth:`_handle` does for the messages that follow and are laid out like this one.

        Everything that is the same for all of them is worked out here, once: what remains per message is comparing
        bytes, the user's function, and joining bytes.
        """
        ext = 3 + _wire.PLAIN_EXT_BYTES
        end = len(like) - ext
        find = body_finder(like, end - payload_size, end)
        pipelined = self.pipelined
        topic = self._own_topic if pipelined else lane.topic
        head_out = lane.next_head(head) if pipelined else head
        tail = b"" if pipelined else _wire.COMPLETE
        mark = like[end : end + MARK_BYTES]
        mark = mark[:2] + bytes((mark[2] + len(tail),)) + mark[3:]
        call, stats, send, now = lane.route, self.stats, self._outlet.send, time.perf_counter
        record, logs, join = stats.latency.record, self.logger.isEnabledFor, b"".join
        sizes = _wire.payload_tags(_wire.PalmMessage)

        def take(frame: bytes) -> bool:
            body = find(frame)
            if not body or logs(logging.DEBUG) or _tracing.server_span is not None:
                return False
            self._count += 1
            if self._count >= self.messages:
                self._last_came()
            stats.received += 1
            stats.bytes_in += len(frame)
            began = now()
            self._message = None
            self._frame = frame
            self._payload = payload = frame[body:-ext]
            try:
                result = call(payload)
            except Exception as error:
                self._fail_plain(lane, error, began)
                return True
            if type(result) is bytes and 0 < len(result) < 128 and self._message is None:
                stats.answered += 1
                answer = join((head_out, sizes[len(result)], result, mark, frame[-8:], tail))
                stats.bytes_out += len(answer)
                if send(topic, answer, per_call=False) and self._outlet.is_full():
                    self._check_backlog()
                record(now() - began)
            else:
                self._conclude_plain(lane, head, frame[3 - ext :], result, began)
            return True

        return take

    def _checked(self, result: Any, where: str) -> bytes | None:
        """Return a result that is not ``bytes`` as such, or ``None`` when the message ends here."""
        if result is not None:
            return _calls.check_bytes(result, where)
        if not self._ends_on_none:
            raise WrongType(
                f"{where} returned None; only functions of a Pipeline or Sink may end a message"
            )
        return None

    def _serve(self, message: _wire.Envelope, payload: bytes, debug: bool) -> None:
        """Run the function, here or in a thread, and publish what comes of it."""
        if self._pool is None:
            self._message = message
            self._payload = payload
            self._conclude(self._compute(message, payload, debug))
            return

        def work() -> _Outcome:
            message.payload = payload
            self._local.message = message
            return self._compute(message, payload, debug)

        self._pool.submit(work, self._conclude)
        if self._pool.is_full():
            self._check_backlog()

    def _compute(self, message: _wire.Envelope, payload: bytes, debug: bool) -> _Outcome:
        """Return what the message's function made of it; never raises."""
        outcome = _Outcome(message, time.perf_counter())
        serializer = ""
        trace = None
        ext = message.ext
        try:
            if ext and _wire.has_more(ext):
                extension = _wire.parse_extension(ext)
                if extension.HasField("error"):
                    outcome.result = payload
                    outcome.passed = True
                    return outcome
                serializer = extension.serializer
                trace = extension.trace
            if self._guards:
                self._admit(payload)
            key = (message.function, message.stage)
            found = self._routes.get(key)
            if found is None:
                found = self._find(*key)
            call, outcome.server, outcome.function = found
            where = f"{outcome.server}.{outcome.function}"
            if debug:
                self.logger.debug("Looking for %s", outcome.function)
            if trace is not None and _tracing.server_span is not None:
                call = _calls.traced(call, where, trace)
            result = _calls.call(call, payload, serializer, where) if serializer else call(payload)
            if type(result) is not bytes:
                result = self._checked(result, where)
            outcome.result = result
        except Exception as error:
            outcome.error = error
        return outcome

    def _conclude(self, outcome: _Outcome) -> None:
        """Publish an outcome; in the loop's thread."""
        error = outcome.error
        if error is not None:
            self._log_failure(error)
            self._mark_failed(outcome.message, error, outcome.server or self.name, outcome.function)
            self._answer(outcome.message, FAILED_PAYLOAD, failed=True)
        elif outcome.result is None:
            self.stats.ended += 1
        else:
            self.stats.failed += outcome.passed
            self._answer(outcome.message, outcome.result, failed=outcome.passed)
        self.stats.latency.record(time.perf_counter() - outcome.began)
        if self._paused or self._outlet.is_full():
            self._check_backlog()

    def _find(self, route: str, stage: int) -> tuple[Any, str, str]:
        server, function = _calls.split_route(route, stage)
        if server != self.name:
            raise WrongServer(f"You called {server}, instead of {self.name}")
        found = self._table(function), server, function
        if len(self._routes) >= _ROUTES:
            self._routes.clear()
        self._routes[route, stage] = found
        return found


class Server(_Stage):
    """Answers each message with the result of one of its methods.

    Args:
        name: Of the server, the part before the dot in ``"server.function"``.
        db_address: Where clients look its addresses up and use its cache (binds).
        pull_address: Where messages come in (binds PULL).
        pub_address: Where answers go out (binds XPUB; topic is the client, or the own name when pipelined).
        pipelined: Send results on to the next server instead of back to the client.
        log_level: Of the logger, which has the server's name.
        messages: Stop after so many messages; for tests.
        options: Everything the original did not have.

    Raises:
        zmq.ZMQError: An address is in use or not an address.

    Source: ``pylm.servers.Server`` of 0.14.4.
    """

    def __init__(
        self,
        name: str,
        db_address: str,
        pull_address: str,
        pub_address: str,
        pipelined: bool = False,
        log_level: int = logging.INFO,
        messages: int = sys.maxsize,
        *,
        options: ServerOptions | None = None,
    ) -> None:
        super().__init__(name, db_address, pub_address, pipelined, log_level, messages, options)
        self.pull_address = pull_address
        self.pull_socket = self._open(zmq.PULL, bind=pull_address)
        self._inputs.append(
            (self.pull_socket, lambda: self._drain_input(self.pull_socket, self._handle))
        )
        self._alone = self._handle
        self._publish_keys(name=name, pull_address=pull_address, pub_address=pub_address)


class _Subscriber(_Stage):
    """A stage fed by the publishing sockets of others."""

    _ends_on_none = True


class Pipeline(_Subscriber):
    """Works on what a previous server publishes; a function that returns ``None`` ends the message.

    Args:
        name: Of the server.
        db_address: Cache and addresses (binds).
        sub_address: ``pub_address`` of the previous server (connects).
        pub_address: Where results go (binds).
        previous: Name of the previous server, or the topic its ``handle_stream`` chooses.
        to_client: Publish to the client; ``False`` for the next server.
        log_level: Of the logger.
        messages: Stop after so many messages; for tests.
        options: Everything the original did not have.

    Raises:
        zmq.ZMQError: An address is in use or not an address.

    Source: ``pylm.servers.Pipeline`` of 0.14.4.
    """

    def __init__(
        self,
        name: str,
        db_address: str,
        sub_address: str,
        pub_address: str,
        previous: str,
        to_client: bool = True,
        log_level: int = logging.INFO,
        messages: int = sys.maxsize,
        *,
        options: ServerOptions | None = None,
    ) -> None:
        super().__init__(name, db_address, pub_address, not to_client, log_level, messages, options)
        self.sub_address = sub_address
        self.previous = previous
        self.sub_socket = self._subscribe(sub_address, previous, self._lanes, self._handle)
        self._publish_keys(name=name, sub_address=sub_address, pub_address=pub_address)


class Sink(_Subscriber):
    """Gathers the streams of several servers.

    Args:
        name: Of the server.
        db_address: Cache and addresses (binds).
        sub_addresses: ``pub_address`` of each source (connects).
        pub_address: Where results go (binds).
        previous: Name or topic of each source, as many as there are addresses.
        to_client: Publish to the client; ``False`` for the next server.
        log_level: Of the logger.
        messages: Stop after so many messages; for tests.
        options: Everything the original did not have.

    Raises:
        AssertionError: ``sub_addresses`` or ``previous`` is not a list.
        ConfigurationError: The lists differ in length.
        zmq.ZMQError: An address is in use or not an address.

    Source: ``pylm.servers.Sink`` of 0.14.4, which cut the longer list silently.
    """

    def __init__(
        self,
        name: str,
        db_address: str,
        sub_addresses: list[str],
        pub_address: str,
        previous: list[str],
        to_client: bool = True,
        log_level: int = logging.INFO,
        messages: int = sys.maxsize,
        *,
        options: ServerOptions | None = None,
    ) -> None:
        assert isinstance(sub_addresses, list), "sub_addresses is a list of addresses"
        assert isinstance(previous, list), "previous is a list of names"
        if len(sub_addresses) != len(previous):
            raise ConfigurationError(
                f"sink {name}: {len(sub_addresses)} addresses but {len(previous)} names of previous servers"
            )
        super().__init__(name, db_address, pub_address, not to_client, log_level, messages, options)
        self.sub_addresses = sub_addresses
        self.previous = previous
        self.sub_sockets = [
            self._subscribe(address, source, self._lanes, self._handle)
            for address, source in zip(sub_addresses, previous, strict=True)
        ]
        keys = {f"sub_address_{index}": address for index, address in enumerate(sub_addresses)}
        self._publish_keys(name=name, **keys, pub_address=pub_address)
