"""One request and its reply over a connection that is kept, in the synchronous and the asynchronous way.

The only place that touches transport_utils' backends, which are loaded with the first request. Redirects are never
followed. A connection the server closed while it was idle is replaced once, silently: not one byte of an answer had
come, and every message can be repeated under its request id.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from infi.ramen_client._wire import MAX_CONNECT_S, Wire, decoded
from infi.ramen_client.replies import Reply

if TYPE_CHECKING:
    from transport_utils.deadline import Timeout

__all__ = ["AsyncExchange", "Exchange", "Failure"]

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


@dataclasses.dataclass(slots=True)
class _Call:
    target: str
    payload: bytes
    body: bytes


def _prepare(wire: Wire, row: Mapping[str, Any] | Any, reqid: str, body: bytes) -> _Call:
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
    if logger.isEnabledFor(logging.INFO):
        logger.info("POST %s%s", wire.base_url, target)
    return _Call(target, wire.payload(target, body), body)


def _finished(reply: Reply) -> Reply:
    level = logging.INFO if reply.status == 202 else logging.WARNING
    if logger.isEnabledFor(level):
        logger.log(level, "HTTP %d %s", reply.status, reply.text())
    return reply


def _failed(error: Exception, call: _Call, wire: Wire, *, stopped: bool) -> Failure:
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
        from transport_utils.deadline import Deadline
        from transport_utils.errors import StaleConnection, TransportError

        call = _prepare(self._wire, row, reqid, body)
        total_s = self._wire.timeout_s()
        timeout = _timeout(total_s)
        deadline = Deadline.after(total_s, time.monotonic())
        for attempt in (1, 2):
            try:
                with self._lock:
                    if self._stopped:
                        raise Failure("stopped", sent=False, stopped=True)
                    backend = self._backend = self._backend or _make_backend(self._wire)
                return _finished(_perform(backend, self._wire, call, timeout, deadline))
            except StaleConnection as error:
                if attempt == 2:
                    raise _failed(error, call, self._wire, stopped=self._stopped) from error
            except TransportError as error:
                raise _failed(error, call, self._wire, stopped=self._stopped) from error
        raise AssertionError  # not reached

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


@functools.lru_cache(maxsize=8)
def _timeout(total_s: float | None) -> Timeout:
    from transport_utils.deadline import Timeout

    connect_s = MAX_CONNECT_S if total_s is None else min(MAX_CONNECT_S, total_s)
    return Timeout(connect=connect_s, read=None, write=None, pool=None)


def _make_backend(wire: Wire) -> Any:
    from transport_utils.backends import make_backend

    return make_backend("urllib3" if wire.endpoint.proxy else "native")


def _perform(backend: Any, wire: Wire, call: _Call, timeout: Any, deadline: Any) -> Reply:
    if backend.name == "native":
        channel = backend.channel(wire.endpoint)
        head, content, _ = channel.exchange(call.payload, "POST", timeout, deadline)
        return _from_head(head, content)
    from transport_utils.messages import Request

    response = backend.request(
        wire.endpoint, Request("POST", call.target, body=call.body, timeout=timeout), deadline
    )
    return decoded(response.status, response.headers, response.content)


def _from_head(head: Any, content: bytes) -> Reply:
    """Return a reply whose headers are only parsed when they are wanted."""
    if b"\ncontent-encoding:" in head.block.lower():
        return decoded(head.status, head.headers, content)
    return Reply(head.status, lambda: head.headers, content)


class AsyncExchange:
    """Asynchronous exchanges, one at a time, in one event loop; cancelling the task ends one at once.

    Args:
        wire: Builds requests.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._backend: Any = None

    async def send(self, row: Mapping[str, Any] | Any, reqid: str, body: bytes) -> Reply:
        """Send one message and return the reply.

        Raises:
            Failure: No reply came.
        """
        from transport_utils.deadline import Deadline
        from transport_utils.errors import StaleConnection, TransportError

        call = _prepare(self._wire, row, reqid, body)
        if self._wire.endpoint.proxy:
            raise Failure("a proxy needs the synchronous reader", sent=False)
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

    async def close(self) -> None:
        """Close the connection; the next exchange opens another."""
        backend, self._backend = self._backend, None
        if backend is not None:
            await backend.aclose()
