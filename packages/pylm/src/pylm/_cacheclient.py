"""The client side of a server's cache: one request, one answer, within a time.

A request whose answer does not come leaves a REQ socket unusable; it is replaced, so a restarted server is no
trouble. Used by the clients and workers of both generations. Source: wire reference, section A3; faults E-15, E-16.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import zmq

from pylm import _wire
from pylm._frames import sender_of
from pylm.config import ServerOptions
from pylm.errors import Closed, TimedOut

__all__ = ["CacheClient"]


class CacheClient:
    """Asks the cache service at one address.

    Args:
        address: ``db_address`` of the server.
        server: Its name, sent before the dot; workers send ``_``.
        client: Uuid to sign with.
        kind: Message class: the dialect.
        options: Context and keys.
        identity: Routing id of the socket; empty for none.

    Thread-safe: one request at a time.
    """

    def __init__(
        self,
        address: str,
        server: str,
        client: str,
        kind: type[_wire.Envelope],
        options: ServerOptions,
        identity: bytes = b"",
    ) -> None:
        self._address = address
        self._server = server
        self._client = client
        self._kind = kind
        self._options = options
        self._identity = identity
        self._lock = threading.Lock()
        self._closed = False
        self.socket = self._open()

    def _open(self) -> zmq.Socket[bytes]:
        socket = self._options.open_socket(zmq.REQ, linger_ms=0)
        if self._identity:
            socket.identity = self._identity
        if self._options.curve is not None:
            self._options.curve.apply(socket, as_server=False)
        socket.connect(self._address)
        self._wait_ms = -1
        self._limits: tuple[float | None, bool] | None = None
        """Timeout and ``resend`` of the requests whose first wait the socket is set for."""
        self._send: Callable[..., Any] = sender_of(socket)
        self._receive = socket.recv
        return socket

    def ask(
        self,
        verb: str,
        payload: bytes,
        *,
        key: str | None = None,
        pipeline: str | None = None,
        timeout_s: float | None,
        resend: bool = True,
    ) -> bytes:
        """Return the answer to ``<server>.<verb>``.

        Args:
            verb: ``get``, ``set``, ``delete`` or a function of an old server.
            payload: Key or value.
            key: The field ``cache``; ``None`` leaves it out.
            pipeline: The field ``pipeline``; ``None`` for a fresh uuid.
            timeout_s: Seconds; ``None`` waits for ever.
            resend: Ask again on a new connection when a quarter of the time brought nothing.

        Raises:
            TimedOut: No answer in time.
            Closed: The client is closed.
        """
        message = self._kind(
            pipeline=_wire.new_uuid() if pipeline is None else pipeline,
            client=self._client,
            stage=0,
            function=f"{self._server}.{verb}",
        )
        if key is not None:
            message.cache = key
        return self.exchange(_wire.encode(message, payload), timeout_s=timeout_s, resend=resend)

    def exchange(self, frame: bytes, *, timeout_s: float | None, resend: bool) -> bytes:
        """Send one frame, return the answer; see :meth:`ask`."""
        began = time.monotonic()
        with self._lock:
            waiting = False
            is_limited = self._limits == (timeout_s, resend)
            while True:
                if not is_limited:
                    self._limit(began, timeout_s, resend)
                try:
                    if not waiting:
                        # Waits for room: a peer that refused our keys leaves the socket without any.
                        self._send(frame)
                        waiting = True
                    return self._receive()
                except zmq.Again:
                    now = time.monotonic()
                    if not waiting or (resend and (timeout_s is None or now < began + timeout_s)):
                        self._reopen()
                        waiting = False
                except BaseException:
                    self._reopen()
                    raise
                is_limited = False

    def _limit(self, began: float, timeout_s: float | None, resend: bool) -> None:
        """Bound the next wait; the limits of a request's first wait suit the next request with the same times."""
        if self._closed:
            raise Closed(f"the client of {self._address} is closed")
        passed = time.monotonic() - began
        wait_s = 5.0 if timeout_s is None or not resend else max(0.25, timeout_s / 4)
        first_s = wait_s if timeout_s is None else min(wait_s, timeout_s)
        if timeout_s is not None:
            if passed >= timeout_s:
                self._reopen()
                raise TimedOut(
                    f"{self._server} at {self._address} gave no answer in {passed:.1f} s: "
                    "is a server running there?",
                    elapsed_s=passed,
                )
            wait_s = min(wait_s, timeout_s - passed)
        if first_s - wait_s < 0.001:
            wait_s = first_s
            self._limits = timeout_s, resend
        else:
            self._limits = None
        wait_ms = max(1, int(wait_s * 1000))
        if wait_ms != self._wait_ms:
            self.socket.rcvtimeo = self.socket.sndtimeo = self._wait_ms = wait_ms

    def _reopen(self) -> None:
        self.socket.close(0)
        self.socket = self._open()

    def close(self) -> None:
        """Close the socket; idempotent. A request in another thread ends first."""
        self._closed = True
        with self._lock:
            self._limits = None
            self.socket.close(0)
