"""Parts that connect.

Source: ``pylm.parts.connections`` of 0.14.4; API reference, section A4; fault E-22.
"""

from __future__ import annotations

import concurrent.futures
import logging
import sys
import time
import urllib.request
from typing import Any

import zmq

from pylm import _wire
from pylm.parts._fixed import Fixed
from pylm.parts.core import BypassInbound, BypassOutbound, Inbound, Outbound
from pylm.parts.services import PullService

__all__ = [
    "HttpConnection",
    "PullBypassConnection",
    "PullConnection",
    "PushBypassConnection",
    "PushConnection",
    "RepConnection",
    "SubConnection",
]

HTTP_TIMEOUT_S = 30.0
STARTING_S: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0)
"""Pauses before a web server that refuses connections is tried again."""


class RepConnection(Fixed, Inbound):
    """Takes requests from a peer that binds REQ; parameters as in :class:`~pylm.parts.core.Inbound`."""

    kind = zmq.REP
    replies = True
    binds = False


class PullConnection(Fixed, Inbound):
    """Takes messages from a peer that binds PUSH; parameters as in :class:`~pylm.parts.core.Inbound`."""

    kind = zmq.PULL
    binds = False


class SubConnection(PullService):
    """Takes what another server publishes under ``previous``.

    Args:
        name: Of the part.
        listen_address: ``pub_address`` of the other server (connects SUB).
        previous: Its name, or the topic it chooses.
        broker_address: ``inbound_address`` of the router.
        logger: Of the server.
        cache: Of the server.
        messages: Stop after so many messages; for tests.
    """

    def __init__(
        self,
        name: str,
        listen_address: str,
        previous: str,
        broker_address: str = "inproc://broker",
        logger: logging.Logger | None = None,
        cache: Any = None,
        messages: int = sys.maxsize,
    ) -> None:
        super().__init__(name, listen_address, broker_address, logger, cache, messages)
        self.socket_type = zmq.SUB
        self.bind = False
        self.previous = previous

    def _prepare(self, socket: zmq.Socket[bytes]) -> None:
        socket.subscribe(self.previous)

    def recv(self) -> bytes | None:
        """Return the next message whose topic is exactly ``previous``."""
        wanted = (self.previous, "")
        while (frames := self._receive_all(self.listen_to)) is not None:
            if len(frames) == 2 and frames[0].decode(errors="replace") in wanted:
                return frames[1]
        return None


class PushConnection(Fixed, Outbound):
    """Pushes to a peer that binds PULL; parameters as in :class:`~pylm.parts.core.Outbound`."""

    kind = zmq.PUSH
    binds = False


class PushBypassConnection(BypassOutbound):
    """A pushing socket outside the router; parameters as in :class:`~pylm.parts.core.BypassOutbound`."""

    def __init__(
        self,
        name: str,
        listen_address: str,
        logger: logging.Logger | None = None,
        messages: int = sys.maxsize,
    ) -> None:
        super().__init__(name, listen_address, zmq.PUSH, False, False, logger, None, messages)


class PullBypassConnection(BypassInbound):
    """A pulling socket outside the router; parameters as in :class:`~pylm.parts.core.BypassInbound`."""

    def __init__(
        self,
        name: str,
        listen_address: str,
        logger: logging.Logger | None = None,
        messages: int = sys.maxsize,
    ) -> None:
        super().__init__(name, listen_address, zmq.PULL, False, False, logger, None, messages)


class HttpConnection(Outbound):
    """POSTs each message to a URL; the answer goes on to the part's ``route``.

    Args:
        name: Of the part.
        listen_address: The URL.
        reply: Kept from the original; the answer is always the feedback.
        broker_address: ``outbound_address`` of the router.
        logger: Of the server.
        cache: Of the server.
        max_workers: Requests at a time for the messages one message is scattered into.
        messages: Stop after so many messages; for tests.

    A web server that refuses connections may be starting: nothing was sent, so it is tried again for some seconds. When
    it fails, the feedback is the message with a failure (the original returned the request itself as if it were the
    result).
    """

    def __init__(
        self,
        name: str,
        listen_address: str,
        reply: bool = True,
        broker_address: str = "inproc://broker",
        logger: logging.Logger | None = None,
        cache: Any = None,
        max_workers: int = 4,
        messages: int = sys.maxsize,
    ) -> None:
        super().__init__(
            name, listen_address, zmq.PUSH, reply, broker_address, False, logger, cache, messages
        )
        self.url = listen_address
        self.max_workers = max_workers

    def _open(self, broker_type: int) -> None:
        self.listen_address = f"inproc://unused-{_wire.new_uuid()}"
        super()._open(broker_type)
        self._pool = concurrent.futures.ThreadPoolExecutor(self.max_workers)

    def _pass(self, data: bytes) -> None:
        try:
            message = self._translate_from_broker(data)
            frames = [_wire.encode(each, each.payload) for each in self.scatter(message)]
            for answer in self._pool.map(self._post, frames):
                self.handle_feedback(answer)
        except Exception as error:
            self.log_failure()
            self.last_message = self._failed(data, error) or b""

    def _post(self, frame: bytes) -> bytes:
        request = urllib.request.Request(  # noqa: S310 - the URL is the caller's
            self.url, frame, {"Content-Type": "application/octet-stream"}
        )
        pauses = iter(STARTING_S)
        while True:
            try:
                with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT_S) as answer:  # noqa: S310
                    body: bytes = answer.read()
                return body
            except OSError as error:
                refused = isinstance(getattr(error, "reason", error), ConnectionRefusedError)
                pause_s = next(pauses, None) if refused else None
                if pause_s is None:
                    self.logger.error("%s failed: %s", self.url, error)
                    return self._failed(frame, error) or b""
            time.sleep(pause_s)

    def cleanup(self) -> None:
        """Close the sockets and the pool; idempotent."""
        super().cleanup()
        if hasattr(self, "_pool"):
            self._pool.shutdown(wait=False)
