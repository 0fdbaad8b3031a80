"""What every server is made of: the loop, the way in, the way out, the cache service, signals, the end.

Subclassed by the servers of both generations (:mod:`pylm._stages`, :mod:`pylm._master`, :mod:`pylm._oldstages`).
One thread works (the caller of ``start``); a second answers cache requests, so that clients can connect and ``pylm
top`` can look while a user function is busy.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import zmq

from pylm import _wire
from pylm._cache import CacheVerbs
from pylm._frames import DONTWAIT, LARGE, recv_body, recv_routed
from pylm._intake import PublishedIntake
from pylm._lanes import Lanes, Plain
from pylm._loop import DRAIN, Loop
from pylm._outlet import Outlet
from pylm._pool import FunctionPool
from pylm._signals import on_signals
from pylm._stats import Stats
from pylm._version import __version__
from pylm.config import ConfigurationError, ServerOptions
from pylm.errors import Malformed, Overloaded, PylmError, TooLarge, to_failure, user_traceback
from pylm.persistence.kv import DictDB

__all__ = ["DEFAULT_OPTIONS", "FAILED_PAYLOAD", "Engine", "SideService", "endpoint_of"]

DEFAULT_OPTIONS = ServerOptions()
FAILED_PAYLOAD = b"0"


def _always() -> bool:
    return True


def endpoint_of(socket: zmq.Socket[bytes]) -> str:
    """Return the address the socket was last bound or connected to, a wildcard port resolved."""
    endpoint = socket.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(endpoint, bytes)
    return endpoint.rstrip(b"\0").decode(errors="replace")


class SideService:
    """Answers requests on a REQ/REP address from a thread of its own.

    Bound as ROUTER, which REQ peers cannot tell from REP; a peer that wants to know sees it in the handshake.

    Args:
        socket: Bound ROUTER; closed by :meth:`stop`.
        answer: One request frame to one answer frame; must not raise.
        name: Of the thread.
        limit: Requests to answer before the service ends.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        answer: Callable[[bytes], bytes],
        name: str,
        limit: int = sys.maxsize,
    ) -> None:
        self._socket = socket
        self._answer = answer
        self._left = limit
        self._loop = Loop()
        self._loop.add_reader(socket, self._on_request)
        self._thread = threading.Thread(target=self._loop.run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def _on_request(self) -> None:
        for _ in range(DRAIN):
            try:
                sender, delimiter, frame = recv_routed(self._socket, DONTWAIT)
            except zmq.Again:
                return
            if frame is None or delimiter:
                continue
            answer = self._answer(frame)
            with contextlib.suppress(zmq.Again):
                self._socket.send_multipart([sender, b"", answer], DONTWAIT)
            self._left -= 1
            if self._left <= 0:
                self._loop.stop()
                return

    def stop(self) -> None:
        """End the thread and close the socket; idempotent."""
        if self._thread.is_alive():
            self._loop.stop()
            self._thread.join()
        self._loop.close()
        self._socket.close()


class Engine:
    """The frame of a server; subclasses open sockets, say what comes in and handle one frame.

    Args:
        name: Of the server: in routes, logs, threads.
        logger: Its logger.
        cache: Store of its cache.
        messages: Stop after so many messages; for tests.
        options: See :class:`~pylm.config.ServerOptions`.

    Not thread-safe but for :meth:`stop`; do not fork with a server running.
    """

    _has_pool = False
    """Whether functions of this kind of server can run in threads."""

    def __init__(
        self,
        name: str,
        logger: logging.Logger,
        cache: Any,
        messages: int,
        options: ServerOptions | None,
    ) -> None:
        self.name = name
        self.logger = logger
        self.options = options if options is not None else DEFAULT_OPTIONS
        self.cache = cache if cache is not None else DictDB(self.options.max_cache_bytes)
        self.messages = messages
        self.stats = Stats(name, type(self).__name__)
        self.stats.gauges["waiting"] = lambda: self._outlet.waiting() if self._outlet else 0
        self._outlet: Outlet | None = None
        self._inputs: list[tuple[zmq.Socket[bytes], Callable[[], object]]] = []
        self._sockets: list[zmq.Socket[bytes]] = []
        self._alone: Callable[[Any], object] | None = None
        self._loop: Loop | None = None
        self._side: SideService | None = None
        self._cache_socket: zmq.Socket[bytes] | None = None
        self._verbs = CacheVerbs(self.cache, logger, stats=self.stats.encoded)
        self._count = 0
        self._guards = (
            self.options.overflow == "raise" or self.options.max_message_bytes is not None
        )
        if self.options.threads and not self._has_pool:
            raise ConfigurationError(
                f"{type(self).__name__} {name}: threads={self.options.threads}, but only a Server, Pipeline or Sink "
                "runs functions in threads"
            )
        self._pool: FunctionPool | None = None
        self._paused = False
        self._checking = False
        self._draining = False
        self._stop_asked = False
        self._closed = False
        self._started = threading.Event()

    # Construction, called by subclasses

    def _open(
        self, kind: int, *, bind: str | None = None, connect: str | None = None
    ) -> zmq.Socket[bytes]:
        try:
            socket = self.options.open_socket(kind, bind=bind, connect=connect)
        except zmq.ZMQError:
            self.close()
            raise
        self._sockets.append(socket)
        return socket

    def _subscribe(
        self,
        address: str,
        previous: str,
        lanes: Lanes,
        handle: Callable[[bytes | memoryview, Plain | None], None],
    ) -> zmq.Socket[bytes]:
        """Connect to a publishing server and let ``handle`` take what it sends under ``previous``."""
        socket = self._open(zmq.SUB)
        topic = previous.encode()
        socket.subscribe(topic)
        if self.options.curve is not None:
            self.options.curve.apply(socket, as_server=False)
        socket.connect(address)

        def deliver(frame: bytes | memoryview | None, plain: Plain | None) -> None:
            if frame is not None:
                handle(frame, plain)
                return
            self.stats.received += 1
            self.stats.malformed += 1
            self.logger.error("Message could not be decoded")

        # A subscription matches by prefix; a server "even" must not work for "even2".
        take = PublishedIntake(socket, topic, lanes, deliver).take
        self._inputs.append((socket, lambda: self._drain_input(socket, take)))
        self._alone = take
        return socket

    def _drain_input(self, socket: zmq.Socket[bytes], take: Callable[[Any], object]) -> None:
        """Let ``take`` have the first part of every message that has arrived, up to the limit of a turn."""
        loop = self._loop
        assert loop is not None
        receive = socket.recv
        large = False
        for _ in range(DRAIN):
            try:
                frame = recv_body(receive, DONTWAIT, large)
            except zmq.Again:
                return
            large = len(frame) >= LARGE
            take(frame)
            if self._paused or not loop.running:
                return

    def _open_cache(self, db_address: str) -> None:
        self._cache_socket = self._open(zmq.ROUTER, bind=db_address)

    def _publish_keys(self, **keys: str) -> None:
        """Put the server's addresses into its cache, where clients find them and cannot change them."""
        keys = {**keys, "pylm_version": __version__}
        for key, value in keys.items():
            self.cache.set(key, self._advertised(value).encode())
        self._verbs.protected.update(keys)

    def _advertised(self, value: str) -> str:
        host = self.options.advertise_host
        if host is not None:
            for wildcard in ("tcp://*:", "tcp://0.0.0.0:", "tcp://_:"):
                if value.startswith(wildcard):
                    return f"tcp://{host}:{value[len(wildcard) :]}"
        return value

    # Life

    def start(self, cache_messages: int = sys.maxsize) -> bytes:
        """Serve until :meth:`stop`, SIGTERM (drains), SIGINT or the message limit; then close.

        Args:
            cache_messages: Stop answering cache requests after so many; for tests.

        Returns:
            The name, as bytes.

        Raises:
            Closed: The server was started before; sockets are opened by the constructor, make a new one.
        """
        if self._closed or self._loop is not None:
            from pylm.errors import Closed

            raise Closed(f"server {self.name} has run or runs already; make a new one")
        self._loop = Loop()
        try:
            with on_signals(self._on_signal):
                self._begin(cache_messages)
                if not self._stop_asked:
                    self._started.set()
                    self._loop.run()
                if self._draining:
                    self._drain()
        finally:
            self._started.set()
            self.close()
        return self.name.encode()

    def _begin(self, cache_messages: int) -> None:
        assert self._loop is not None
        for socket, handler in self._inputs:
            self._loop.add_reader(socket, handler)
        if self._outlet is not None:
            self._outlet.attach(self._loop)
        if self.options.threads:
            self._pool = FunctionPool(self.options.threads, self.name, self._loop)
        elif len(self._inputs) == 1 and self._alone is not None:
            quiet = self._outlet.is_idle if self._outlet is not None else _always
            self._loop.set_alone(self._inputs[0][0], self._alone, quiet)
        if self._cache_socket is not None:
            self._side = SideService(
                self._cache_socket, self._verbs.answer, f"{self.name}-cache", cache_messages
            )
            self._side.start()

    def stop(self, *, drain: bool = False) -> None:
        """Make ``start`` return; thread-safe.

        Args:
            drain: Work through what has arrived first, for at most ``options.drain_s`` seconds.
        """
        self._draining = self._draining or drain
        self._stop_asked = True
        loop = self._loop
        if loop is not None:
            loop.stop()

    def wait_started(self, timeout_s: float = 10.0) -> bool:
        """Wait, from another thread, until ``start`` serves; return whether it does."""
        return self._started.wait(timeout_s)

    @contextlib.contextmanager
    def running(self) -> Iterator[Engine]:
        """Serve in a background thread for the length of a ``with`` block, then stop and close."""
        thread = threading.Thread(target=self.start, name=self.name, daemon=True)
        thread.start()
        try:
            self.wait_started()
            yield self
        finally:
            self.stop()
            thread.join()

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGINT and self._stop_asked:
            raise KeyboardInterrupt
        self.stop(drain=number == signal.SIGTERM)

    def _drain(self) -> None:
        """Work until nothing has moved for 100 ms or the time is up."""
        assert self._loop is not None
        loop = self._loop
        deadline = loop.clock() + self.options.drain_s
        for socket in self._sockets:
            endpoint = endpoint_of(socket) if socket.type != zmq.SUB else ""
            if socket in dict(self._inputs) and endpoint:
                with contextlib.suppress(zmq.ZMQError):
                    socket.unbind(endpoint)
        before = -1
        quiet_at = loop.clock() + 0.1

        def look() -> None:
            nonlocal before, quiet_at
            if self._outlet is not None:
                self._outlet.flush()
            now = loop.clock()
            if self.stats.received + self._busy() != before or self._busy():
                before, quiet_at = self.stats.received + self._busy(), now + 0.1
            if now >= deadline or now >= quiet_at:
                loop.stop()
            else:
                loop.call_later(0.02, look)

        loop.call_later(0.0, look)
        loop.run()
        if self._outlet is not None:
            self._outlet.flush()
            self.stats.dropped += self._outlet.waiting()
        self.logger.debug("%s drained: %d received", self.name, self.stats.received)

    def _busy(self) -> int:
        """Return how much is in work; masters count their jobs."""
        return self._pool.in_work if self._pool is not None else 0

    def close(self) -> None:
        """Close every socket; idempotent. A running server is closed by ``start`` itself."""
        if self._closed:
            return
        self._closed = True
        if self._side is not None:
            self._side.stop()
        if self._pool is not None:
            self._pool.close()
            self.stats.dropped += self._pool.in_work
        if self._outlet is not None:
            self._outlet.close()
        for socket in self._sockets:
            socket.close()
        if self._loop is not None:
            self._loop.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Work

    def _counted(self) -> None:
        """Count one message; stop after the last allowed one."""
        self._count += 1
        if self._count >= self.messages:
            self._last_came()

    def _last_came(self) -> None:
        if self._loop is not None:
            self._loop.stop()

    def _check_backlog(self) -> None:
        """Stop or resume reading, by how full the way out is."""
        assert self._loop is not None
        outlet = self._outlet
        pool_is_full = self._pool is not None and self._pool.is_full()
        blocks = outlet is not None and self.options.overflow == "block"
        if not self._paused and (pool_is_full or (blocks and outlet.is_full())):  # type: ignore[union-attr]
            self._paused = True
            for socket, _ in self._inputs:
                self._loop.remove_reader(socket)
        elif (
            self._paused and not pool_is_full and (not blocks or outlet.has_room())  # type: ignore[union-attr]
        ):
            self._paused = False
            for socket, handler in self._inputs:
                self._loop.add_reader(socket, handler)
        if self._paused and not pool_is_full:  # a finished function looks again by itself
            self._check_later()

    def _check_later(self) -> None:
        """Let the loop call :meth:`_check_backlog` in a moment, once."""
        assert self._loop is not None
        if self._checking:
            return
        self._checking = True

        def check() -> None:
            self._checking = False
            self._check_backlog()

        self._loop.call_later(0.005, check)

    def _admit(self, payload: bytes) -> None:
        """Refuse a message that is too large, or, when the policy says so, one that comes while the way out is full."""
        limit = self.options.max_message_bytes
        if limit is not None and len(payload) > limit:
            raise TooLarge(
                f"{self.name} takes messages of at most {limit} bytes; this one has {len(payload)}"
            )
        if self.options.overflow == "raise" and self._outlet is not None and self._outlet.is_full():
            raise Overloaded(
                f"{self.name} has {self._outlet.waiting()} answers waiting for slow readers; try later"
            )

    def _send_answer(
        self,
        topic: bytes,
        message: _wire.Envelope,
        payload: bytes,
        *,
        failed: bool,
        per_call: bool,
    ) -> None:
        """Count and send an answer; see :class:`~pylm._outlet.Outlet` for topic and ``per_call``."""
        if not failed:
            self.stats.answered += 1
        frame = _wire.encode(message, payload)
        self.stats.bytes_out += len(frame)
        assert self._outlet is not None
        self._outlet.send(topic, frame, per_call=per_call)
        if self._outlet.is_full():
            self._check_backlog()

    def _log_failure(self, error: BaseException) -> None:
        if isinstance(error, PylmError):
            self.logger.error("%s", error.message)
            return
        import traceback

        self.logger.error("User function gave an error")
        text = "".join(traceback.format_exception(type(error), error, user_traceback(error)))
        for line in text.rstrip().splitlines():
            self.logger.error("%s", line)

    def _decode(
        self, frame: bytes | memoryview, old: bool = False
    ) -> tuple[_wire.Envelope, bytes] | None:
        """Return message and payload, or count, log and swallow what is not an envelope."""
        self.stats.received += 1
        self.stats.bytes_in += len(frame)
        try:
            return _wire.decode_old(frame) if old else _wire.decode_new(frame)
        except Malformed:
            self.stats.malformed += 1
            self.logger.error("Message could not be decoded")
            return None

    def _mark_failed(
        self, message: _wire.Envelope, error: BaseException, server: str, function: str
    ) -> None:
        """Record a failure in the envelope, if its sender asked for failures by sending an extension."""
        self.stats.failed += 1
        if message.ext:
            failure = to_failure(error, server=server, function=function, stage=message.stage)
            message.ext = _wire.add_failure(message.ext, failure)
