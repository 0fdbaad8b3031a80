"""Workers: connect to a master, call a function per job, send the result back.

On the master's acknowledged channel where it has one (heartbeats, at-least-once for idempotent jobs, dispatch by
load), else on the original's PUSH/PULL. Re-exported by :mod:`pylm.servers`. Source: API reference, sections A1, G5.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import zmq

from pylm import _calls, _tracing, _wire
from pylm._cacheclient import CacheClient
from pylm._frames import DONTWAIT, LARGE, SNDMORE, drop_rest, recv_body, recv_published, sender_of
from pylm._heart import Heart
from pylm._lanes import Lane, Lanes, is_bare
from pylm._logs import server_logger
from pylm._proto.palm_new_pb2 import WorkerReady
from pylm._server import DEFAULT_OPTIONS, FAILED_PAYLOAD
from pylm._signals import on_signals
from pylm._stats import Stats
from pylm._version import __version__
from pylm.config import ConfigurationError, ServerOptions
from pylm.errors import (
    Malformed,
    PylmError,
    TimedOut,
    WrongServer,
    WrongType,
    to_failure,
    user_traceback,
)

__all__ = ["MuxWorker", "Worker", "WorkerEngine"]

_TICK_MS = 200


class WorkerEngine:
    """What workers of both generations share; subclasses translate the envelope.

    Args:
        name: Of the worker; empty for a fresh uuid.
        db_address: Of the master.
        log_level: Of the logger.
        messages: Stop after so many jobs; for tests.
        options: See :class:`~pylm.config.ServerOptions`.
        kind: Message class for cache requests: the dialect.
    """

    def __init__(
        self,
        name: str,
        db_address: str,
        log_level: int,
        messages: int,
        options: ServerOptions | None,
        kind: type[_wire.Envelope],
    ) -> None:
        if not db_address:
            raise ValueError("db_address argument is mandatory")
        self.uuid = _wire.new_uuid()
        self.name = name or self.uuid
        self.db_address = db_address
        self.messages = messages
        self.options = options if options is not None else DEFAULT_OPTIONS
        self.logger = server_logger(self.name, log_level)
        self.stats = Stats(self.name, type(self).__name__)
        self._table = _calls.FunctionTable(self, self.name)
        self._cache = CacheClient(db_address, "_", self.uuid, kind, self.options)
        self._pull: zmq.Socket[bytes] | None = None
        self._push: zmq.Socket[bytes] | None = None
        self._dealer: zmq.Socket[bytes] | None = None
        self._heart: Heart | None = None
        self._ready = b""
        self._stop = False
        self._draining = False
        self._closed = False

    @property
    def db(self) -> zmq.Socket[bytes]:
        """The socket to the master's cache."""
        return self._cache.socket

    @property
    def pull(self) -> zmq.Socket[bytes] | None:
        """The socket jobs come in on."""
        return self._pull if self._dealer is None else self._dealer

    @property
    def push(self) -> zmq.Socket[bytes] | None:
        """The socket results leave on."""
        return self._push if self._dealer is None else self._dealer

    # Connecting

    def _open(self, kind: int, **where: str) -> zmq.Socket[bytes]:
        socket = self.options.open_socket(kind)
        if self.options.curve is not None:
            self.options.curve.apply(socket, as_server=False)
        if "identity" in where:
            socket.identity = where["identity"].encode()
            beat_ms = max(1, int(self.options.heartbeat_s * 1000))  # of the connection itself
            socket.heartbeat_ivl, socket.heartbeat_timeout = beat_ms, 3 * beat_ms
        socket.connect(where["connect"])
        return socket

    def _connect_pair(self, pull_from: str, push_to: str) -> None:
        self._pull = self._open(zmq.PULL, connect=pull_from)
        self._push = self._open(zmq.PUSH, connect=push_to)

    def _connect_router(self, address: str) -> None:
        address = self._router_address = self._resolved(address)
        self._dealer = self._open(zmq.DEALER, connect=address, identity=self.uuid)

    def _resolved(self, address: str) -> str:
        """Return the address with the master's host where it names none, or the one given for it."""
        if self.options.router_address is not None:
            return self.options.router_address
        if address.startswith("tcp://_:"):
            host = self.db_address.partition("://")[2].rpartition(":")[0]
            return f"tcp://{host}:{address.rpartition(':')[2]}"
        return address

    # Translation, overridden

    def _unpack(self, frame: bytes | memoryview) -> tuple[Any, bytes, str, bytes]:
        """Return context, payload, function and encoded extension of a job."""
        raise NotImplementedError

    def _pack(self, context: Any, payload: bytes, ext: bytes) -> bytes:
        """Return the frame that goes back."""
        raise NotImplementedError

    def _results(self, result: Any, serializer: str, where: str) -> Iterator[bytes]:
        """Yield the payloads of one result, one for a plain worker."""
        if result is None and not serializer:
            raise WrongType(f"{where} returned None; a worker's function returns bytes")
        yield self._encoded(result, serializer, where)

    def _encoded(self, result: Any, serializer: str, where: str) -> bytes:
        if serializer:
            from pylm import serializers

            return serializers.lookup(serializer).dumps(result)
        return _calls.check_bytes(result, where)

    # Work

    def _work(self, frame: bytes | memoryview) -> Iterator[bytes]:
        """Yield the frames that answer one job: results, or one failure."""
        self.stats.received += 1
        debug = self.logger.isEnabledFor(logging.DEBUG)
        if debug:
            self.logger.debug("%s Got a message", self.name)
        try:
            context, payload, name, ext = self._unpack(frame)
        except Malformed:
            self.stats.malformed += 1
            self.logger.error("Message could not be decoded")
            return
        began = time.perf_counter()
        done = 0
        try:
            serializer = ""
            trace = None
            if ext and _wire.has_more(ext):
                extension = _wire.parse_extension(ext)
                serializer = extension.serializer
                if _tracing.server_span is not None:
                    trace = extension.trace
            if debug:
                self.logger.debug("Looking for %s", name)
            function = self._table(name)
            if trace is not None:
                function = _calls.traced(function, f"{self.name}.{name}", trace)
            if serializer:
                from pylm import serializers

                result = function(serializers.lookup(serializer).loads(payload))
            else:
                result = function(payload)
            for item in self._results(result, serializer, f"{self.name}.{name}"):
                done += 1
                yield self._pack(context, item, ext)
            if debug:
                self.logger.debug("%s Ok", name)
            self.stats.answered += 1
        except Exception as error:
            self.stats.failed += 1
            self._log_failure(name, error)
            if ext:
                ext = _wire.add_failure(ext, to_failure(error, server=self.name, function=name))
            yield self._pack(context, FAILED_PAYLOAD, ext)
        self.stats.latency.record(time.perf_counter() - began)

    def _work_plain(self, frame: bytes | memoryview) -> bytes | None:
        """Return the answer to a job that is a plain envelope with one answer; ``None`` when it is another job."""
        return None

    def _log_failure(self, name: str, error: Exception) -> None:
        if isinstance(error, PylmError):
            self.logger.error("%s", error.message)
            return
        self.logger.error("%s User function %s gave an error", self.name, name)
        text = "".join(traceback.format_exception(type(error), error, user_traceback(error)))
        for line in text.rstrip().splitlines():
            self.logger.error("%s", line)

    def start(self) -> None:
        """Work until :meth:`stop`, SIGTERM (drains), SIGINT or the message limit; then close."""
        try:
            with on_signals(self._on_signal):
                if self._dealer is not None:
                    self._serve_router(self._dealer)
                else:
                    self._serve_pair()
        finally:
            self.close()

    def _serve_pair(self) -> None:
        assert self._pull is not None
        assert self._push is not None
        count = 0
        quiet = 0
        give_up_at = float("inf")
        self._pull.rcvtimeo = _TICK_MS
        self._push.sndtimeo = _TICK_MS
        receive = self._pull.recv
        send = sender_of(self._push)
        large = False
        while count < self.messages:
            if self._stop:
                if not self._draining or quiet or time.monotonic() > give_up_at:
                    return
                give_up_at = min(give_up_at, time.monotonic() + self.options.drain_s)
            try:
                frame = recv_body(receive, 0, True) if large else receive()
            except zmq.Again:
                quiet = int(self._stop)
                continue
            large = len(frame) >= LARGE
            count += 1
            plain = self._work_plain(frame)
            if plain is not None:
                self._send_pair(send, plain)
                continue
            for answer in self._work(frame):
                self._send_pair(send, answer)

    def _send_pair(self, send: Callable[..., Any], answer: bytes) -> None:
        """Send one result; give up when the worker is to stop and the master has been away for the drain time."""
        give_up_at = float("inf")
        while True:
            try:
                send(answer, 0, len(answer) < LARGE)
            except zmq.Again:
                if self._stop:
                    give_up_at = min(give_up_at, time.monotonic() + self.options.drain_s)
                if time.monotonic() > give_up_at:
                    self.stats.dropped += 1
                    return
            else:
                return

    def _serve_router(self, dealer: zmq.Socket[bytes]) -> None:
        self._ready = WorkerReady(
            name=self.name,
            credit=self.options.credit,
            functions=self._table.names(),
            version=__version__,
            identity=self.uuid.encode(),
            heartbeat_ms=max(1, int(self.options.heartbeat_s * 1000)),
        ).SerializeToString()
        self._join(dealer)
        count = 0
        large = False
        while count < self.messages and not self._stop:
            try:
                head = dealer.recv()
                if head[:1] != b"J":
                    drop_rest(dealer)
                    if head[:1] == b"Q":  # everything sent before it was seen
                        dealer = self._send_result(dealer, head)
                    continue
                frame = recv_body(dealer.recv, DONTWAIT, large)
            except zmq.Again:
                dealer = self._rejoin(dealer)
                continue
            large = len(frame) >= LARGE
            count += 1
            dealer = self._run_job(dealer, head[1:], frame)
        self._leave(dealer)

    def _join(self, dealer: zmq.Socket[bytes]) -> None:
        dealer.rcvtimeo = dealer.sndtimeo = _TICK_MS
        with contextlib.suppress(zmq.Again):  # else the heartbeat introduces the worker
            dealer.send(b"W" + self._ready)
        self._heart = Heart(self.options, self._router_address, self._ready, self.uuid.encode())
        self._heart.start()

    def _rejoin(self, dealer: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
        """Ask a silent master where it is now: a restarted one has another address."""
        if self._heart is None or not self._heart.is_silent():
            return dealer
        try:
            router = self._cache.ask("get", b"worker_router_address", timeout_s=1.0).decode()
        except TimedOut:
            return dealer
        if not router or self._resolved(router) == self._router_address:
            return dealer
        self._heart.stop()
        dealer.close(0)
        self._connect_router(router)
        assert self._dealer is not None
        self._join(self._dealer)
        return self._dealer

    def _run_job(
        self, dealer: zmq.Socket[bytes], job_id: bytes, frame: bytes | memoryview
    ) -> zmq.Socket[bytes]:
        """Do one job; return the socket to go on with."""
        last = self._work_plain(frame)
        if last is not None:
            return self._send_result(dealer, b"R" + job_id, last)
        for answer in self._work(frame):
            if last is not None:
                now = self._send_result(dealer, b"P" + job_id, last)
                if now is not dealer:  # another master, which knows nothing of this job
                    return now
            last = answer
        if last is None:
            return self._send_result(dealer, b"D" + job_id)
        return self._send_result(dealer, b"R" + job_id, last)

    def _send_result(
        self, dealer: zmq.Socket[bytes], head: bytes, frame: bytes | None = None
    ) -> zmq.Socket[bytes]:
        """Send one result, waiting for a master that reads none; return the socket to go on with.

        It is dropped when the master has another address by now, or when the worker is to stop and the drain time is
        over.
        """
        send = sender_of(dealer)
        give_up_at = float("inf")
        while True:
            try:
                if frame is None:
                    send(head)
                else:
                    send(head, SNDMORE)
                    send(frame, 0, len(frame) < LARGE)
            except zmq.Again:
                if self._stop:
                    give_up_at = min(give_up_at, time.monotonic() + self.options.drain_s)
                now = self._rejoin(dealer)
                if now is not dealer or time.monotonic() > give_up_at:
                    self.stats.dropped += 1
                    return now
            else:
                return dealer

    def _leave(self, dealer: zmq.Socket[bytes]) -> None:
        """Say goodbye and give back what was not begun."""
        with contextlib.suppress(zmq.Again):
            dealer.send(b"B" + self.uuid.encode())
            while dealer.poll(50):
                head, _ = recv_published(dealer)
                if head[:1] == b"J":
                    dealer.send(b"X" + head[1:])

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGINT and self._stop:
            raise KeyboardInterrupt
        self.stop(drain=number == signal.SIGTERM)

    def stop(self, *, drain: bool = False) -> None:
        """Make ``start`` return after the job in work, within 0.2 s when idle; thread-safe.

        Args:
            drain: On the PUSH/PULL channel, work off what has arrived first; on the other it is given back.
        """
        self._draining = self._draining or drain
        self._stop = True

    @contextlib.contextmanager
    def running(self) -> Iterator[WorkerEngine]:
        """Work in a background thread for the length of a ``with`` block."""
        thread = threading.Thread(target=self.start, name=self.name, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.stop()
            thread.join()

    # The master's cache

    def _set(self, value: bytes, key: str | None) -> bytes:
        return self._cache.ask(
            "set", value, key=key, timeout_s=self.options.connect_s, resend=key is not None
        )

    def get(self, key: str) -> bytes:
        """Return a value of the master's cache; ``b''`` when absent.

        Raises:
            TimedOut: No answer within ``options.connect_s``.
        """
        return self._cache.ask("get", key.encode(), timeout_s=self.options.connect_s)

    def delete(self, key: str) -> str:
        """Remove a key from the master's cache; return it.

        Raises:
            TimedOut: No answer within ``options.connect_s``.
        """
        return self._cache.ask("delete", key.encode(), timeout_s=self.options.connect_s).decode()

    def close(self) -> None:
        """Close every socket and end the heartbeat; idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._heart is not None:
            self._heart.stop()
        self._cache.close()
        for socket in (self._pull, self._push, self._dealer):
            if socket is not None:
                socket.close()


class Worker(WorkerEngine):
    """Works for a master or hub; subclass it with functions that take and return ``bytes``.

    Args:
        name: Of the worker; empty for a fresh uuid.
        db_address: ``db_address`` of the master.
        push_address: The address the *master* pushes on; ``None`` asks the master.
        pull_address: The address the *master* pulls from; ``None`` asks the master.
        log_level: Of the logger.
        messages: Stop after so many jobs; for tests.
        options: Everything the original did not have; ``channel="push"`` works as the original did.

    Raises:
        ValueError: ``db_address`` is empty.
        TimedOut: No master answered within ``options.connect_s``.

    The constructor waits for the master. One thread; heartbeats come from another. Source: ``pylm.servers.Worker``.
    """

    def __init__(
        self,
        name: str = "",
        db_address: str = "",
        push_address: str | None = None,
        pull_address: str | None = None,
        log_level: int = logging.INFO,
        messages: int = sys.maxsize,
        *,
        options: ServerOptions | None = None,
    ) -> None:
        super().__init__(name, db_address, log_level, messages, options, _wire.PalmMessage)
        self._message: Any = _wire.PalmMessage()
        self._frame = b""
        self._lanes = Lanes(_wire.PalmMessage)
        try:
            self._connect(push_address, pull_address)
        except BaseException:
            self.close()
            raise

    def _ask(self, key: str) -> str:
        return self._cache.ask("get", key.encode(), timeout_s=self.options.connect_s).decode()

    def _connect(self, push_address: str | None, pull_address: str | None) -> None:
        given = push_address is not None and pull_address is not None
        if self.options.channel != "push" and not given:
            router = self._ask("worker_router_address")
            if router:
                self._connect_router(router)
                self.logger.info("Got worker router address: %s", router)
                return
            if self.options.channel == "router":
                raise WrongServer(f"the master at {self.db_address} has no acknowledged channel")
        if self.options.channel == "router":
            raise ConfigurationError(
                "channel='router' and explicit addresses contradict each other"
            )
        if push_address is None:
            push_address = self._ask("worker_push_address")
            self.logger.info("Got worker push address: %s", push_address)
        if pull_address is None:
            pull_address = self._ask("worker_pull_address")
            self.logger.info("Got worker pull address: %s", pull_address)
        self._connect_pair(push_address, pull_address)

    def _unpack(self, frame: bytes | memoryview) -> tuple[Any, bytes, str, bytes]:
        message, payload = _wire.decode_new(frame)
        self._message = message
        return message, payload, self._function(message.function, message.stage), message.ext

    def _pack(self, context: Any, payload: bytes, ext: bytes) -> bytes:
        if ext:
            context.ext = _wire.add_complete(ext) if self._marks_complete else ext
        return _wire.encode(context, payload)

    _marks_complete = True

    @property
    def message(self) -> _wire.Envelope:
        """The message in work; a function may read it and change all of it but the payload."""
        if self._message is None:
            self._message = self._lanes.message(self._frame)
        message: _wire.Envelope = self._message
        return message

    def _work_plain(self, frame: bytes | memoryview) -> bytes | None:
        """See :meth:`WorkerEngine._work_plain`."""
        if type(frame) is not bytes or not self._marks_complete or _tracing.server_span:
            return None
        plain = self._lanes.read(frame)
        if plain is None or not is_bare(plain[3]) or self.logger.isEnabledFor(logging.DEBUG):
            return None
        lane, head, payload, ext = plain
        call = lane.route
        if call is None:
            call = self._plain_route(lane)
            if call is None:
                return None
        stats = self.stats
        stats.received += 1
        began = time.perf_counter()
        self._message = None
        self._frame = frame
        try:
            result = call(payload)
            if type(result) is not bytes:
                result = _calls.check_bytes(result, f"{self.name}.{lane.function}")
            stats.answered += 1
            done = _wire.add_complete(ext) if ext else ext
        except Exception as error:
            name = self._function(lane.function, lane.stage)
            stats.failed += 1
            self._log_failure(name, error)
            result, done = FAILED_PAYLOAD, ext
            if ext:
                done = _wire.add_failure(ext, to_failure(error, server=self.name, function=name))
        if self._message is None:
            answer = _wire.write(_wire.PalmMessage, head, result, done)
        else:  # the function asked for it and may have changed it
            self._message.ext = done
            answer = _wire.encode(self._message, result)
        stats.latency.record(time.perf_counter() - began)
        return answer

    def _plain_route(self, lane: Lane) -> Any:
        try:
            call = lane.route = self._table(self._function(lane.function, lane.stage))
        except PylmError:
            return None
        return call

    @staticmethod
    def _function(route: str, stage: int) -> str:
        try:
            return _calls.split_route(route, stage)[1]
        except PylmError:
            return route

    def set(self, value: bytes, key: str | None = None) -> str:
        """Store a value in the master's cache; return its key.

        Raises:
            TimedOut: No answer within ``options.connect_s``.
        """
        return self._set(value, key).decode()


class MuxWorker(Worker):
    """A worker whose functions return an iterable: one answer goes out per item."""

    _marks_complete = False

    def _results(self, result: Any, serializer: str, where: str) -> Iterator[bytes]:
        if isinstance(result, (bytes, bytearray, str)) or not hasattr(result, "__iter__"):
            raise WrongType(
                f"{where} returned {type(result).__name__}; a MuxWorker's function returns an iterable of bytes"
            )
        for item in result:
            yield self._encoded(item, serializer, where)
