"""The default transport: transport_utils' native backend, one pool of kept-alive connections.

Built by the client for ``transport_kind="httpclient"``; the name is that of 0.7.2. Its usual call is written out in
:meth:`Transport.request`: encode, one exchange, response. Everything that goes wrong continues in :meth:`_persist`,
which asks the retry policy. Subclasses that override ``_create_connection``, as tests of downstream projects do, are
carried by :mod:`v3io.dataplane.transport.custom_connections` instead.
"""

from __future__ import annotations

import copy
import dataclasses
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

from transport_utils.backends.native import Begun, Channel, NativeBackend, host_header
from transport_utils.deadline import Deadline, Timeout
from transport_utils.errors import PoolTimeout, TransportError
from transport_utils.retry import RetryPolicy

from v3io._wire import RequestWriter, WireResponse, stream_message
from v3io.connection_settings import default_limits, make_endpoint
from v3io.dataplane.request import Encoded, Request, hidden_key
from v3io.dataplane.response import Response
from v3io.dataplane.transport import Actions, abstract
from v3io.dataplane.transport.custom_connections import CustomConnections
from v3io.errors import ClientClosed
from v3io.resending import DEFAULT_RETRY, Answer, is_idempotent, settle

__all__ = ["Transport"]

_NEVER = Deadline()
_AT_ONCE_S = 1e-6
_RETRIED = DEFAULT_RETRY.on_status

Attempt: TypeAlias = Callable[[], Answer]


class Transport(abstract.Transport):
    """Sends requests over at most ``max_connections`` kept-alive connections.

    Args:
        logger: Takes the Tx and Rx lines when verbose.
        endpoint: Base URL, as :func:`v3io.connection_settings.resolve_endpoint` returns it.
        max_connections: ``None`` and 0 mean 8.
        timeout: Seconds of each call as a whole, or a :class:`~transport_utils.deadline.Timeout`; ``None`` for
            :meth:`get_connection_timeout` seconds to connect and of silence, without a limit of the whole.
        verbosity: ``"DEBUG"`` logs requests and responses, the access key hidden.
        retry: When calls are sent again; ``None`` for :data:`v3io.resending.DEFAULT_RETRY` with
            :meth:`get_request_max_retries` retries.
        tls_verify: See :func:`v3io.connection_settings.make_endpoint`.

    Thread-safe, and fork-safe: a child opens connections of its own.

    Source: ``v3io.dataplane.transport.httpclient.Transport`` of 0.7.2.
    """

    _connection_timeout_s: ClassVar[float] = 20.0
    _request_max_retries: ClassVar[int] = 2

    def __init__(
        self,
        logger: Any,
        endpoint: str | None = None,
        max_connections: int | None = None,
        timeout: Any = None,
        verbosity: str | None = None,
        *,
        retry: RetryPolicy | None = None,
        tls_verify: Any = None,
    ) -> None:
        super().__init__(logger, endpoint, max_connections, timeout, verbosity)
        where = make_endpoint(endpoint, self.max_connections, tls_verify)
        self._where = where
        self._custom: CustomConnections | None = None
        if type(self)._create_connection is not Transport._create_connection:
            self._custom = CustomConnections(
                lambda: self._create_connection(where.host, None), self.max_connections
            )
        self._backend = NativeBackend()
        self._channel: Channel = self._backend.channel(where)
        self._node = where.base_url
        self._writer = RequestWriter(host_header(where), where.path_prefix)
        self._closed = threading.Event()
        self._retry = retry
        self._impatient: tuple[Timeout, Timeout] | None = None
        self._is_plain = not self._is_verbose and self._custom is None
        self._set_limits(timeout)

    def _set_limits(self, timeout: Any) -> None:
        self._timeout = timeout
        self._seen_timeout_s: float | None = None
        if timeout is not None:
            limits = Timeout.coerce(timeout)
            self._limits, self._total_s = limits, limits.total

    def _call_limits(self) -> tuple[Timeout, float | None]:
        """Return the limits of each exchange and of the whole call."""
        if self._timeout is None:
            seconds = Transport._connection_timeout_s
            if seconds != self._seen_timeout_s:
                self._seen_timeout_s = seconds
                self._limits = default_limits(seconds)
                self._total_s = None
        return self._limits, self._total_s

    def with_options(self, *, timeout: Any = None, retry: RetryPolicy | None = None) -> Transport:
        """Return a transport with other limits over the same connections.

        Args:
            timeout: As for the constructor; ``None`` keeps what is set.
            retry: As for the constructor; ``None`` keeps what is set.
        """
        other = copy.copy(self)
        if timeout is not None:
            other._set_limits(timeout)
        if retry is not None:
            other._retry = retry
        return other

    @classmethod
    def get_connection_timeout(cls) -> float:
        """Return the seconds to connect, and of silence, of transports made without ``timeout``."""
        return Transport._connection_timeout_s

    @classmethod
    def set_connection_timeout(cls, timeout: float) -> None:
        """Set :meth:`get_connection_timeout` for the whole process, open clients included."""
        Transport._connection_timeout_s = timeout

    @classmethod
    def get_request_max_retries(cls) -> int:
        """Return how often calls are repeated by transports made without ``retry``."""
        return Transport._request_max_retries

    @classmethod
    def set_request_max_retries(cls, retries: int) -> None:
        """Set :meth:`get_request_max_retries` for the whole process, open clients included."""
        Transport._request_max_retries = retries

    def requires_access_key(self) -> bool:
        """Return true: the platform refuses requests without one."""
        return True

    def close(self) -> None:
        """Close all connections; idempotent. Calls in progress and later ones raise ``ClientClosed``."""
        self._closed.set()
        self._backend.close()
        if self._custom is not None:
            self._custom.close()

    def _create_connection(self, host: str, ssl_context: Any) -> Any:
        """Return a connection object; only called when a subclass overrides it.

        The object has ``request(method, path, body, headers)``, ``getresponse()`` (whose result has ``read()``,
        ``code`` and ``headers``) and ``close()``, as ``http.client.HTTPConnection``.
        """
        raise NotImplementedError

    # -- one call

    def request(
        self,
        container: str | None,
        access_key: str | None,
        raise_for_status: Any,
        transport_actions: int | None,
        encoder: Callable[..., Any],
        encoder_args: Mapping[str, Any],
        output: Callable[[Any], Any] | None = None,
    ) -> Any:
        """See :meth:`v3io.dataplane.transport.abstract.Transport.request`.

        Raises:
            HttpResponseError: The status is not accepted.
            TransportError: The network failed, after the retries that were safe.
        """
        if not self._is_plain or (
            transport_actions is not None and transport_actions != Actions.send_and_receive
        ):
            return super().request(
                container,
                access_key,
                raise_for_status,
                transport_actions,
                encoder,
                encoder_args,
                output,
            )
        encoded = encoder(container, **encoder_args)
        limits, total_s = self._call_limits()
        deadline = _NEVER if total_s is None else Deadline(time.monotonic() + total_s)
        payload = self._writer.write(encoded, access_key)
        channel = self._channel
        if payload is None:
            response = self._send_stream(encoded, access_key, output, limits, deadline)
        else:
            begun: Begun | None = None
            try:
                begun = channel.begin(payload, limits, deadline)
                head, content, reused = channel.end(begun, encoded[0], limits, deadline)
            except TransportError as error:
                response = self._persist_with(
                    error, payload, encoded, output, limits, deadline, begun
                )
            else:
                if head.status in _RETRIED:
                    response = self._persist_with(
                        (head, content, reused), payload, encoded, output, limits, deadline, begun
                    )
                else:
                    response = WireResponse(
                        output, head, content, self._node, begun[3], time.monotonic(), 1, reused
                    )
        if response.status_code >= 300 or raise_for_status:
            response.raise_for_status(raise_for_status)
        return response

    # -- many calls

    def send_request(self, request: Request) -> Request:
        """Send a request and leave its answer for :meth:`wait_response`; see the base class.

        A failure to send is kept for :meth:`wait_response`, which may send again.

        Raises:
            PoolTimeout: All connections stayed busy.
        """
        self.begin(request)
        return request

    def begin(self, request: Request, *, wait_for_connection: bool = True) -> bool:
        """Lease a connection and send a request on it.

        Args:
            request: Its ``transport`` attribute then holds what :meth:`wait_response` needs.
            wait_for_connection: Whether to wait when all connections are busy.

        Returns:
            Whether a connection was free; always true when waiting.

        Raises:
            PoolTimeout: All connections stayed busy.
        """
        if self._is_verbose:
            self._log_request(request)
        if self._custom is not None:
            request.transport = self._custom.send(request)
            return True
        limits, total_s = self._call_limits()
        deadline = _NEVER if total_s is None else Deadline(time.monotonic() + total_s)
        payload = self._writer.write(request.encoded, request.access_key)
        if payload is None:
            response = self._send_stream(
                request.encoded, request.access_key, request.output, limits, deadline
            )
            request.transport = (None, None, response, limits, deadline)
            return True
        begun: Any = None
        try:
            waiting = limits if wait_for_connection else self._limits_without_wait(limits)
            begun = self._channel.begin(payload, waiting, deadline)
        except PoolTimeout:
            if wait_for_connection:
                raise
            return False
        except TransportError as error:
            begun = error
        request.transport = (payload, begun, None, limits, deadline)
        return True

    def _limits_without_wait(self, limits: Timeout) -> Timeout:
        if self._impatient is None or self._impatient[0] is not limits:
            self._impatient = (limits, dataclasses.replace(limits, pool=_AT_ONCE_S))
        return self._impatient[1]

    def wait_response(
        self, request: Request, raise_for_status: Any = None, num_retries: int = 1
    ) -> Response:
        """Return the answer of a request that was sent; see the base class.

        Raises:
            HttpResponseError: The status is not accepted.
            TransportError: The network failed, after the retries that were safe.
        """
        if self._custom is not None:
            response: Response = self._custom.receive(request, num_retries)
        else:
            response = self._end(request)
        if self._is_verbose:
            self.log("Rx", status_code=response.status_code, body=response.body)
        policy = request.raise_for_status or raise_for_status
        if response.status_code >= 300 or policy:
            response.raise_for_status(policy)
        return response

    def _end(self, request: Request) -> Response:
        payload, begun, response, limits, deadline = request.transport
        request.transport = None
        if response is not None:
            finished: Response = response
            return finished
        outcome: Any = begun
        if not isinstance(begun, TransportError):
            try:
                head, content, reused = self._channel.end(begun, request.method, limits, deadline)
            except TransportError as error:
                outcome = error
            else:
                if head.status not in _RETRIED:
                    now = time.monotonic()
                    return WireResponse(
                        request.output, head, content, self._node, begun[3], now, 1, reused
                    )
                outcome = head, content, reused
        return self._persist_with(
            outcome,
            payload,
            request.encoded,
            request.output,
            limits,
            deadline,
            None if outcome is begun else begun,
        )

    def abandon(self, request: Request) -> None:
        """Give up a request that was begun and will not be waited for; its connection is closed."""
        if self._custom is not None:
            self._custom.abandon(request)
            return
        begun = request.transport[1] if request.transport else None
        request.transport = None
        if begun is not None and not isinstance(begun, TransportError):
            self._channel.abandon(begun)

    def _log_request(self, request: Request) -> None:
        body = request.body
        shown = body if isinstance(body, (bytes, str)) or body is None else type(body).__name__
        self.log(
            "Tx",
            method=request.method,
            path=request.encode_path(),
            headers=hidden_key(request.headers),
            body=shown,
        )

    def _policy(self) -> RetryPolicy:
        if self._retry is not None:
            return self._retry
        if Transport._request_max_retries == DEFAULT_RETRY.max_retries:
            return DEFAULT_RETRY
        return DEFAULT_RETRY.replace(max_retries=Transport._request_max_retries)

    def _persist_with(
        self,
        outcome: TransportError | Answer,
        payload: bytes,
        encoded: Encoded,
        output: Any,
        limits: Timeout,
        deadline: Deadline,
        begun: Begun | None,
    ) -> WireResponse:
        """Go on after the first attempt of a request of whole bytes."""
        method, _, _, function, own_headers, body = encoded
        return self._persist(
            outcome,
            lambda: self._channel.exchange(payload, method, limits, deadline),
            method,
            is_idempotent(method, function, own_headers, body),
            True,
            output,
            deadline,
            time.monotonic() if begun is None else begun[3],
        )

    def _persist(
        self,
        outcome: TransportError | Answer,
        attempt: Attempt,
        method: str,
        idempotent: bool,
        replayable: bool,
        output: Any,
        deadline: Deadline,
        started: float,
    ) -> WireResponse:
        """Go on after a first attempt that failed or brought a status that may be retried."""
        state = self._policy().start(
            method, started=started, deadline=deadline, idempotent=idempotent, replayable=replayable
        )
        while True:
            settled = settle(state, outcome, output, self._node, started, time.monotonic())
            if isinstance(settled, WireResponse):
                return settled
            if settled and self._closed.wait(settled):
                raise ClientClosed("closed while waiting to retry", node=self._node)
            try:
                outcome = attempt()
            except TransportError as error:
                outcome = error

    def _send_stream(
        self,
        encoded: Encoded,
        access_key: str | None,
        output: Any,
        limits: Timeout,
        deadline: Deadline,
    ) -> WireResponse:
        """Send a body that is long, or not whole bytes."""
        message, replayable = stream_message(encoded, access_key, limits)
        started = time.monotonic()

        def attempt() -> Answer:
            answer = self._channel.converse(message, deadline)
            return answer.head, answer.content, answer.reused

        outcome: Any
        try:
            outcome = attempt()
        except TransportError as error:
            outcome = error
        method, _, _, function, own_headers, _ = encoded
        return self._persist(
            outcome,
            attempt,
            method,
            is_idempotent(method, function, own_headers, None),
            replayable,
            output,
            deadline,
            started,
        )
