"""The transport of the asyncio client: transport_utils' native backend, one pool of kept-alive connections.

The asynchronous twin of :mod:`v3io.dataplane.transport.httpclient`: same bytes, same limits, same rules of resending.
"""

from __future__ import annotations

import asyncio
import copy
from asyncio import get_running_loop
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from transport_utils.aio.backends.native import AsyncChannel, AsyncNativeBackend
from transport_utils.backends.native import host_header
from transport_utils.deadline import Deadline, Timeout
from transport_utils.errors import TransportError
from transport_utils.messages import Request as HttpRequest
from transport_utils.retry import RetryPolicy

from v3io._wire import RequestWriter, WireResponse, stream_message
from v3io.connection_settings import default_limits, make_endpoint
from v3io.dataplane.request import Encoded, EncoderArgs, Request, hidden_key
from v3io.dataplane.transport.abstract import DEFAULT_MAX_CONNECTIONS
from v3io.errors import ClientClosed
from v3io.resending import Answer, aio_policy, is_idempotent, settle

__all__ = ["Transport"]

_NEVER = Deadline()
_CONNECTION_TIMEOUT_S = 20.0


class Transport:
    """Sends requests over at most ``max_connections`` kept-alive connections of one event loop.

    Args:
        logger: Takes the Tx and Rx lines when verbose.
        endpoint: Base URL.
        max_connections: ``None`` and 0 mean 8 (0.7.2 ignored it and opened up to 100).
        timeout: Seconds of each call as a whole, or a :class:`~transport_utils.deadline.Timeout`; ``None`` for 20 s to
            connect and of silence.
        verbosity: ``"DEBUG"`` logs requests and responses, the access key hidden.
        retry_intervals: Pauses before each retry of a call whose connection failed, see
            :func:`v3io.resending.aio_policy`.
        retry: A policy, which then replaces ``retry_intervals``.
        tls_verify: See :func:`v3io.connection_settings.make_endpoint`.

    Task-safe; not thread-safe.
    """

    def __init__(
        self,
        logger: Any,
        endpoint: str | None = None,
        max_connections: int | None = None,
        timeout: Any = None,
        verbosity: str | None = None,
        retry_intervals: Sequence[float] | None = None,
        *,
        retry: RetryPolicy | None = None,
        tls_verify: Any = None,
    ) -> None:
        self._logger = logger
        self._endpoint = endpoint
        self.max_connections = max_connections or DEFAULT_MAX_CONNECTIONS
        self._where = make_endpoint(endpoint, self.max_connections, tls_verify)
        self._node = self._where.base_url
        self._backend = AsyncNativeBackend()
        self._channel: AsyncChannel | None = None
        self._writer = RequestWriter(host_header(self._where), self._where.path_prefix)
        self._is_verbose = verbosity == "DEBUG"
        self._retry = retry or aio_policy(retry_intervals)
        self._retried = self._retry.on_status
        self._closed = asyncio.Event()
        self._set_limits(timeout)

    def _set_limits(self, timeout: Any) -> None:
        if timeout is None:
            self._limits = default_limits(_CONNECTION_TIMEOUT_S)
        else:
            self._limits = Timeout.coerce(timeout)
        self._total_s = self._limits.total

    def with_options(self, *, timeout: Any = None, retry: RetryPolicy | None = None) -> Transport:
        """Return a transport with other limits over the same connections; ``None`` keeps what is set."""
        other = copy.copy(self)
        if timeout is not None:
            other._set_limits(timeout)
        if retry is not None:
            other._retry = retry
            other._retried = retry.on_status
        return other

    async def close(self) -> None:
        """Close all connections; idempotent. Calls in progress and later ones raise ``ClientClosed``."""
        self._closed.set()
        await self._backend.aclose()

    async def request(
        self,
        container: str | None,
        access_key: str | None,
        raise_for_status: Any,
        transport_actions: int | None,
        encoder: Callable[..., Encoded],
        encoder_args: EncoderArgs,
        output: Callable[[Any], Any] | None = None,
    ) -> WireResponse:
        """Send one request and return its response.

        Args: as for :meth:`v3io.dataplane.transport.abstract.Transport.request`; ``transport_actions`` is not looked
            at, since the calls of this client have none.

        Raises:
            HttpResponseError: The status is not accepted.
            TransportError: The network failed, after the retries that were safe.
        """
        if isinstance(encoder_args, tuple):
            encoded = encoder(container, *encoder_args)
        else:
            encoded = encoder(container, **encoder_args)
        if self._is_verbose:
            self._log_request(Request(container, access_key, None, lambda _: encoded, {}, output))
        limits = self._limits
        total_s = self._total_s
        started = monotonic()
        deadline = _NEVER if total_s is None else Deadline(started + total_s)
        payload = self._writer.write(encoded, access_key)
        outcome: Any
        if payload is not None:
            try:
                channel = self._channel
                if channel is None or channel.pool.loop is not get_running_loop():
                    channel = self._channel = self._backend.channel(self._where)
                connection = channel.begin(payload, encoded[0], limits, deadline, started)
                if connection is None:
                    head, content, reused = await channel.exchange(
                        payload, encoded[0], limits, deadline
                    )
                else:
                    try:
                        head, body = await connection.answer
                    except BaseException as error:
                        channel.fail(error, connection, payload, sent=True)
                    content = body or b""
                    reused = channel.end(connection)
            except TransportError as error:
                outcome = error
            else:
                if head.status not in self._retried:
                    response = WireResponse(
                        output, head, content, self._node, started, monotonic(), 1, reused
                    )
                    if head.status >= 300 or raise_for_status or self._is_verbose:
                        self._judge(response, raise_for_status)
                    return response
                outcome = head, content, reused
            message, replayable = None, True
        else:
            message, replayable = stream_message(encoded, access_key, limits)
            outcome = None
        response = await self._persist(
            outcome, payload, message, replayable, encoded, output, deadline, started
        )
        self._judge(response, raise_for_status)
        return response

    def _judge(self, response: WireResponse, raise_for_status: Any) -> None:
        if self._is_verbose:
            self._logger.debug_with("Rx", status_code=response.status_code, body=response.body)
        response.raise_for_status(raise_for_status)

    async def _persist(
        self,
        outcome: TransportError | Answer | None,
        payload: bytes | None,
        message: HttpRequest | None,
        replayable: bool,
        encoded: Encoded,
        output: Any,
        deadline: Deadline,
        started: float,
    ) -> WireResponse:
        """Go on after a first attempt that failed or brought a status that may be retried.

        Args:
            outcome: Of the first attempt; ``None`` when it is still to be made.
            payload: The whole request; ``None`` when there is a ``message``.
            message: The request with a body that is streamed.
            replayable: Whether the body can be sent again.
            encoded: The request, to judge whether it may be sent again.
            output: For the response.
            deadline: Of the call.
            started: When it began.
        """
        method, _, _, function, own_headers, body = encoded
        repeatable = is_idempotent(method, function, own_headers, body)
        state = self._retry.start(
            method,
            started=started,
            deadline=deadline,
            idempotent=repeatable,
            replayable=replayable,
        )
        while True:
            if outcome is not None:
                settled = settle(
                    state,
                    outcome,
                    output,
                    self._node,
                    started,
                    monotonic(),
                    repeatable=repeatable,
                )
                if isinstance(settled, WireResponse):
                    return settled
                if settled:
                    await self._pause(settled)
            try:
                channel = self._backend.channel(self._where)
                if payload is not None:
                    outcome = await channel.exchange(payload, method, self._limits, deadline)
                elif message is not None:
                    answer = await channel.converse(message, deadline)
                    outcome = answer.head, answer.content, answer.reused
            except TransportError as error:
                outcome = error

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._closed.wait(), seconds)
        except asyncio.TimeoutError:
            return
        raise ClientClosed("closed while waiting to retry", node=self._node)

    def _log_request(self, request: Request) -> None:
        body = request.body
        shown = body if isinstance(body, (bytes, str)) or body is None else type(body).__name__
        self._logger.debug_with(
            "Tx",
            method=request.method,
            path=request.encode_path(),
            headers=hidden_key(request.headers),
            body=shown,
        )
