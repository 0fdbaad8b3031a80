"""One request and its reply over a connection that is kept, in the synchronous and the asynchronous way.

The only place that touches transport_utils' backends, which are loaded with the first request. Redirects are never
followed. A connection the server closed while it was idle is replaced once, silently: not one byte of an answer had
come, and every message can be repeated under its request id.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from infi.ramen_client._wire import MAX_CONNECT_S, Wire, decoded
from infi.ramen_client.replies import Reply

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from transport_utils.deadline import Deadline, Timeout

__all__ = ["AsyncExchange", "Call", "Exchange", "Failure"]

logger = logging.getLogger("ramen_client")


class Failure(Exception):
    """No reply came.

    Args:
        message: What happened.
        sent: Whether a part of the request may have reached the server.
        stopped: Whether it was :meth:`Exchange.stop` that ended it.
    """

    def __init__(self, message: str, *, sent: bool, stopped: bool = False) -> None:
        super().__init__(message)
        self.sent = sent
        self.stopped = stopped


class Call:
    """A request, and what has become of it.

    Args:
        target: Path and query.
        payload: Head and body.
        body: The body.

    Attributes:
        channel: What it was sent through, ``None`` before and through a proxy.
        begun: The request on its way, as the channel knows it.
        error: Why it could not be sent.
        limits: Limits of its parts, and when it must have ended.
    """

    __slots__ = ("begun", "body", "channel", "error", "limits", "payload", "target")

    def __init__(self, target: str, payload: bytes, body: bytes) -> None:
        self.target = target
        self.payload = payload
        self.body = body
        self.channel: Any = None
        self.begun: Any = None
        self.error: Exception | None = None
        self.limits: tuple[Any, Any] = (None, None)


def _prepare(wire: Wire, row: Mapping[str, Any] | Any, reqid: str, body: bytes) -> Call:
    """Build the request.

    Raises:
        Failure: Host, token or proxy of the configuration cannot be used.
    """
    from transport_utils.errors import TransportError

    try:
        wire.endpoint  # noqa: B018 - builds the head's constant part
    except TransportError as error:
        raise Failure(f"the configuration cannot be used: {error}", sent=False) from error
    target = wire.target(row, reqid)
    return Call(target, wire.payload(target, body), body)


def _announce(wire: Wire, call: Call) -> None:
    if logger.isEnabledFor(logging.INFO):
        logger.info("POST %s%s", wire.base_url, call.target)


def _finished(reply: Reply) -> Reply:
    level = logging.INFO if reply.status == 202 else logging.WARNING
    if logger.isEnabledFor(level):
        logger.log(level, "HTTP %d %s", reply.status, reply.text())
    return reply


def _failed(error: Exception, call: Call, wire: Wire, *, stopped: bool) -> Failure:
    sent = int(getattr(error, "sent", 0)) > 0
    if stopped:
        return Failure("stopped", sent=sent, stopped=True)
    what = "Timeout" if isinstance(error, TimeoutError) else "Connection error"
    logger.error("%s on %s%s: %s", what, wire.base_url, call.target, error)
    hint = ""
    if not sent and (name := wire.ignored_proxy()):
        hint = f"; {name} is set but not used: set config.proxy, or pass trust_env=True"
    return Failure(f"{type(error).__name__}: {error}{hint}", sent=sent)


class Exchange:
    """Synchronous exchanges, one at a time; :meth:`stop` may come from any thread.

    Args:
        wire: Builds requests.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._backend: Any = None
        self._lock = threading.RLock()
        self._stopped = False

    def send(self, row: Mapping[str, Any] | Any, reqid: str, body: bytes) -> Reply:
        """Send one message and return the reply.

        Raises:
            Failure: No reply came.
        """
        return self.end(self.begin(self.prepare(row, reqid, body)))

    def prepare(self, row: Mapping[str, Any] | Any, reqid: str, body: bytes) -> Call:
        """Build a request, without sending anything.

        Raises:
            Failure: The configuration cannot be used.
        """
        return _prepare(self._wire, row, reqid, body)

    def begin(self, call: Call) -> Call:
        """Send a request, once the one before has ended, and return at once; :meth:`end` tells what became of it."""
        after, _, transport_error = _transport()
        _announce(self._wire, call)
        total_s = self._wire.timeout_s()
        call.limits = (_timeout(total_s), after(total_s, time.monotonic()))
        try:
            self._begin(call)
        except (Failure, transport_error) as error:
            call.error = error
        return call

    def _begin(self, call: Call) -> None:
        with self._lock:
            if self._stopped:
                raise Failure("stopped", sent=False, stopped=True)
            backend = self._backend = self._backend or _make_backend(self._wire)
        if backend.name == "native":
            call.channel = backend.channel(self._wire.endpoint)
            call.begun = call.channel.begin(call.payload, *call.limits)

    def end(self, call: Call) -> Reply:
        """Wait for the reply to a request that was begun, and return it.

        Raises:
            Failure: No reply came.
        """
        _, stale_connection, transport_error = _transport()
        for attempt in (1, 2):
            try:
                if call.error is not None:
                    error, call.error = call.error, None
                    raise error
                return _finished(self._end(call))
            except stale_connection as error:
                if attempt == 2:
                    raise _failed(error, call, self._wire, stopped=self._stopped) from error
                try:
                    self._begin(call)
                except transport_error as again:
                    call.error = again
            except transport_error as error:
                raise _failed(error, call, self._wire, stopped=self._stopped) from error
        raise AssertionError  # not reached

    def _end(self, call: Call) -> Reply:
        if call.begun is not None:
            begun, call.begun = call.begun, None
            head, content, _ = call.channel.end(begun, "POST", *call.limits)
            return _from_head(head, content)
        from transport_utils.messages import Request

        timeout, deadline = call.limits
        request = Request("POST", call.target, body=call.body, timeout=timeout)
        response = self._backend.request(self._wire.endpoint, request, deadline)
        return decoded(response.status, response.headers, response.content)

    def abandon(self, call: Call) -> None:
        """Give up a request that was begun; its connection is closed."""
        begun, call.begun = call.begun, None
        if begun is not None:
            call.channel.abandon(begun)

    def load(self) -> None:
        """Load the modules that the first exchange, and its first failure, would load."""
        import codecs

        import transport_utils.backoff
        import transport_utils.retry  # noqa: F401

        codecs.lookup("idna")  # a module, too, which looking up a host imports
        with contextlib.suppress(
            _transport()[2]
        ):  # a configuration that cannot be used is told when it is
            _make_backend(self._wire).close()

    def stop(self) -> None:
        """End the exchange in progress at once, and refuse others until :meth:`start`."""
        with self._lock:
            self._stopped = True
        self.close()

    def start(self) -> None:
        """Allow exchanges again."""
        with self._lock:
            self._stopped = False

    def close(self) -> None:
        """Close the connection; the next exchange opens another."""
        with self._lock:
            backend, self._backend = self._backend, None
        if backend is not None:
            backend.close()


@functools.cache
def _transport() -> tuple[Callable[..., Deadline], type[Exception], type[Exception]]:
    """Return what every exchange needs of transport_utils; an import statement per message costs more."""
    from transport_utils.deadline import Deadline
    from transport_utils.errors import StaleConnection, TransportError

    return Deadline.after, StaleConnection, TransportError


@functools.lru_cache(maxsize=8)
def _timeout(total_s: float | None) -> Timeout:
    from transport_utils.deadline import Timeout

    connect_s = MAX_CONNECT_S if total_s is None else min(MAX_CONNECT_S, total_s)
    return Timeout(connect=connect_s, read=None, write=None, pool=None)


def _make_backend(wire: Wire) -> Any:
    from transport_utils.backends import make_backend

    return make_backend("urllib3" if wire.endpoint.proxy else "native")


def _from_head(head: Any, content: bytes) -> Reply:
    """Return a reply whose headers are only parsed when they are wanted."""
    if b"\ncontent-encoding:" in head.block.lower():
        return decoded(head.status, head.headers, content)
    return Reply(head.status, lambda: head.headers, content)


class AsyncExchange:
    """Asynchronous exchanges, one at a time, in one event loop; cancelling the task ends one at once.

    Those through a proxy are synchronous ones in a thread of their own.

    Args:
        wire: Builds requests.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._backend: Any = None
        self._threaded: Exchange | None = None
        self._executor: ThreadPoolExecutor | None = None

    async def send(self, row: Mapping[str, Any] | Any, reqid: str, body: bytes) -> Reply:
        """Send one message and return the reply.

        Raises:
            Failure: No reply came.
        """
        from transport_utils.deadline import Deadline
        from transport_utils.errors import StaleConnection, TransportError

        call = _prepare(self._wire, row, reqid, body)
        if self._wire.endpoint.proxy:
            return await self._send_in_thread(row, reqid, body)
        _announce(self._wire, call)
        if self._backend is None:
            from transport_utils.aio.backends.native import AsyncNativeBackend

            self._backend = AsyncNativeBackend()
        total_s = self._wire.timeout_s()
        timeout = _timeout(total_s)
        deadline = Deadline.after(total_s, time.monotonic())
        for attempt in (1, 2):
            try:
                channel = self._backend.channel(self._wire.endpoint)
                head, content, _ = await channel.exchange(call.payload, "POST", timeout, deadline)
                return _finished(_from_head(head, content))
            except StaleConnection as error:
                if attempt == 2:
                    raise _failed(error, call, self._wire, stopped=False) from error
            except TransportError as error:
                raise _failed(error, call, self._wire, stopped=False) from error
        raise AssertionError  # not reached

    async def _send_in_thread(self, row: Mapping[str, Any] | Any, reqid: str, body: bytes) -> Reply:
        import asyncio
        from concurrent.futures import ThreadPoolExecutor

        exchange = self._threaded = self._threaded or Exchange(self._wire)
        self._executor = self._executor or ThreadPoolExecutor(1, "ramen-reader-proxy")
        exchange.start()
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._executor, exchange.send, row, reqid, body)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            exchange.stop()
            await asyncio.wait([future])
            future.exception()  # taken note of: nobody waits for it any more
            raise

    async def close(self) -> None:
        """Close the connection; the next exchange opens another."""
        backend, self._backend = self._backend, None
        if backend is not None:
            await backend.aclose()
        if self._threaded is not None:
            self._threaded.close()
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True)
