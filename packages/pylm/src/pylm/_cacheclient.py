"""The client side of a server's cache: one request, one answer, within a time.

A request whose answer does not come leaves a REQ socket unusable; it is replaced, so a restarted server is no
trouble. Used by the clients and workers of both generations. Source: wire reference, section A3; faults E-15, E-16.
"""

from __future__ import annotations

import threading
import time

import zmq

from pylm import _wire
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
        deadline = float("inf") if timeout_s is None else began + timeout_s
        slice_s = 5.0 if timeout_s is None else max(0.25, timeout_s / 4)
        if not resend:
            slice_s = min(deadline - began, 5.0)
        with self._lock:
            waiting = False
            while True:
                if self._closed:
                    raise Closed(f"the client of {self._address} is closed")
                now = time.monotonic()
                if now >= deadline:
                    self._reopen()
                    raise TimedOut(
                        f"{self._server} at {self._address} gave no answer in {now - began:.1f} s: "
                        "is a server running there?",
                        elapsed_s=now - began,
                    )
                wait_ms = max(1, int(min(deadline - now, slice_s) * 1000))
                if wait_ms != self._wait_ms:
                    self.socket.rcvtimeo = self.socket.sndtimeo = self._wait_ms = wait_ms
                try:
                    if not waiting:
                        # Waits for room: a peer that refused our keys leaves the socket without any.
                        self.socket.send(frame)
                        waiting = True
                    return self.socket.recv()
                except zmq.Again:
                    if not waiting or (resend and time.monotonic() < deadline):
                        self._reopen()
                        waiting = False
                except BaseException:
                    self._reopen()
                    raise

    def _reopen(self) -> None:
        self.socket.close(0)
        self.socket = self._open()

    def close(self) -> None:
        """Close the socket; idempotent. A request in another thread ends first."""
        self._closed = True
        with self._lock:
            self.socket.close(0)
