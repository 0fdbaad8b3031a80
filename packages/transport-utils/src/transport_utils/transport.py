"""The synchronous transport: sends a request to one of several nodes, retries within the policy, keeps the deadline.

What clients build on. The policy is in :mod:`transport_utils.call` and below, the bytes in
:mod:`transport_utils.backends`; this driver only sends, sleeps and closes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from transport_utils.backends import HttpBackend, make_backend
from transport_utils.base import BaseTransport
from transport_utils.batch import run_batch
from transport_utils.call import Call
from transport_utils.deadline import Deadline
from transport_utils.discovery import within
from transport_utils.errors import DiscoveryError, TransportClosed, TransportError
from transport_utils.messages import Body, Request, Response, ResponseMeta
from transport_utils.retry import RetryPolicy
from transport_utils.settings import UNSET, TimeoutLike, Unset
from transport_utils.url import Params

__all__ = ["Transport"]

_log = logging.getLogger(__name__)


class Transport(BaseTransport[HttpBackend]):
    """A client of one service with one or more nodes; thread-safe, fork-safe.

    The arguments are those of :class:`transport_utils.base.BaseTransport`.

    Raises:
        ConfigurationError: An option is wrong; nothing has been opened.
        DiscoveryError: ``discovery.on_start`` is set and no node told the nodes.
    """

    def _make_backend(self, backend: str | HttpBackend) -> HttpBackend:
        return make_backend(backend)

    def _begin(self) -> None:
        self._closing = threading.Event()
        if self._discovery is not None and self._discovery.on_start:
            try:
                self._discover()
            except BaseException:
                self.close()
                raise

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` has been called, and :meth:`reopen` not since."""
        return self._closing.is_set()

    def request(
        self,
        method: str,
        target: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str | None] | None = None,
        body: Body = None,
        timeout: TimeoutLike | Unset = UNSET,
        retry: RetryPolicy | int | Unset | None = UNSET,
        idempotent: bool | None = None,
        stream: bool = False,
        context: Mapping[str, Any] | None = None,
    ) -> Response:
        """Send a request and return the response, whatever its status.

        Args:
            method: Upper-case method.
            target: Percent-encoded path, with or without a query.
            params: Added to the query, see :func:`transport_utils.url.encode_query`.
            headers: Added to the transport's; ``None`` as a value removes one.
            body: Bytes, a binary file, or an iterable of bytes.
            timeout: Limits of this call instead of the transport's; a number is the total, ``None`` no limit.
            retry: Policy of this call instead of the transport's.
            idempotent: Whether repeating the request does no harm; ``None`` to go by the method and an
                ``idempotency-key`` header.
            stream: Whether to return once the headers are there; the response must then be read or closed. The body
                of an error status is read at once all the same.
            context: What selectors want to know (``key``, ``zone``).

        Raises:
            TransportError: No response; the subclass says why, see :mod:`transport_utils.errors`.
        """
        return self._run(
            self._settings.start(
                method, target, params, headers, body, timeout, retry, idempotent, stream, context
            )
        )

    def perform_request(
        self,
        method: str,
        target: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str | None] | None = None,
        body: Any = None,
        timeout: TimeoutLike | Unset = UNSET,
        retry: RetryPolicy | int | Unset | None = UNSET,
        idempotent: bool | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> tuple[ResponseMeta, Any]:
        """Send a request with a serialized body and return ``(meta, body)``, the body decoded by its content type.

        A failure status is returned like any other; its body stays bytes if it does not decode, with the reason in
        ``meta.decode_error``. Without a body, and for HEAD, the decoded body is ``None``; of an unknown content type it
        is the bytes.

        Args:
            method: See :meth:`request`, like all others.
            target: As there.
            params: As there.
            headers: As there; ``content-type`` chooses the serializer of ``body``, JSON without one.
            body: An object that the serializer takes; bytes are sent as they are.
            timeout: As there.
            retry: As there.
            idempotent: As there.
            context: As there.

        Raises:
            SerializationError: The body cannot be encoded, or that of a 2xx response not be decoded; in the latter case
                ``meta`` and ``body`` hold the response.
            TransportError: As :meth:`request`.
        """
        data, headers = self._settings.encode(body, headers)
        call = self._settings.start(
            method, target, params, headers, data, timeout, retry, idempotent, False, context
        )
        return self._settings.decoded(call, self._run(call))

    def batch(
        self,
        requests: Iterable[Request],
        *,
        connections: int = 8,
        stop_on_error: bool = False,
    ) -> list[Response | TransportError]:
        """Send many requests over several connections on this thread; see :func:`transport_utils.batch.run_batch`."""
        if self._discovery is not None:
            self._discover()
        return run_batch(self, requests, connections=connections, stop_on_error=stop_on_error)

    def run_call(self, call: Call) -> Response:
        """Make the attempts of a call; for :func:`transport_utils.batch.run_batch`."""
        return self._run(call)

    def _run(self, call: Call) -> Response:
        send = self._backend.request
        while True:
            if self._discovery is not None:
                self._discover(call.deadline)
            if self._settings.rate_limiter is not None:
                self._pace(call)
            node = call.pick()
            try:
                response = send(node.endpoint, call.request, call.deadline)
                if response.is_streaming and response.status >= 400:
                    _ = response.content
            except BaseException as error:
                pause_s = call.failed(error)
            else:
                pause_s = call.answered(response)
            if pause_s is None:
                result: Response = call.response
                return result
            self.pause(pause_s)

    def _pace(self, call: Call) -> None:
        wait_s = call.pace()
        if wait_s:
            try:
                self.pause(wait_s)
            except BaseException:
                call.unpace()
                raise

    def pause(self, seconds: float) -> None:
        """Sleep, unless the transport is closed before or meanwhile.

        Raises:
            TransportClosed: It is.
        """
        if self._clock is not None and not self._closing.is_set():
            self._clock.sleep(seconds)
            seconds = 0.0
        if self._closing.wait(seconds):
            raise TransportClosed("the transport was closed during a pause between attempts")

    def _discover(self, deadline: Deadline | None = None) -> None:
        """Ask for the nodes if it is time to."""
        schedule = self._settings.discovery
        assert schedule is not None
        assert self._discovery is not None
        reason = schedule.begin(self._settings.now())
        if reason is None:
            return
        succeeded = False
        try:
            with within(deadline):
                found: Any = self._discovery.discover(self, reason)
            gone = self.nodes.replace_all(found)
            succeeded = True
        except Exception as cause:
            if reason == "start":
                raise DiscoveryError(f"the nodes could not be found out: {cause}") from cause
            _log.warning("the nodes could not be found out (%s): %s", reason, cause)
            return
        finally:
            schedule.end(self._settings.now(), succeeded=succeeded)
        for node in gone:
            self._backend.forget(node.endpoint)

    def close(self, drain_s: float = 0.0) -> None:
        """Close all connections; idempotent. Calls that wait or pause end with :class:`TransportClosed`.

        Later calls raise it too, until :meth:`reopen`.

        Args:
            drain_s: How long exchanges in progress may go on, seconds.
        """
        self._closing.set()
        self._backend.close(drain_s)

    def __enter__(self) -> Transport:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
