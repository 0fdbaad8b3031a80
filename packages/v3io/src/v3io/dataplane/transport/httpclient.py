"""The default transport: transport_utils' native backend, one pool of kept-alive connections.

Built by the client for ``transport_kind="httpclient"``; the name is that of 0.7.2. Its usual call is written out in
:meth:`Transport.request`: encode, one exchange, response. Everything that goes wrong continues in :meth:`_persist`,
which asks the retry policy. Subclasses that override ``_create_connection``, as tests of downstream projects do, are
carried by :mod:`v3io.dataplane.transport.custom_connections` instead.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from transport_utils.backends.native import Begun, Channel, NativeBackend, host_header
from transport_utils.deadline import Deadline, Timeout
from transport_utils.errors import TransportError
from transport_utils.retry import RetryPolicy

from v3io._wire import RequestWriter, WireResponse, stream_message
from v3io.connection_settings import default_limits, make_endpoint
from v3io.dataplane.queued_call import QueuedCall
from v3io.dataplane.request import Encoded, EncoderArgs, Request, hidden_key
from v3io.dataplane.response import Response
from v3io.dataplane.transport import Actions, abstract
from v3io.dataplane.transport.window import Payload, Window
from v3io.errors import ClientClosed
from v3io.resending import DEFAULT_RETRY, Answer, is_idempotent, settle

if TYPE_CHECKING:
    from v3io.dataplane.transport.custom_connections import CustomConnections

__all__ = ["Transport"]

_NEVER = Deadline()
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

    _default_limits: ClassVar[Timeout] = default_limits(20.0)
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
            from v3io.dataplane.transport.custom_connections import CustomConnections

            self._custom = CustomConnections(
                lambda: self._create_connection(where.host, None), self.max_connections
            )
        self._backend = NativeBackend()
        self._channel: Channel = self._backend.channel(where)
        self._node = where.base_url
        self._writer = RequestWriter(host_header(where), where.path_prefix)
        self._closed = threading.Event()
        self._retry = retry
        self._is_plain = not self._is_verbose and self._custom is None
        self._set_limits(timeout)

    def _set_limits(self, timeout: Any) -> None:
        self._timeout = timeout
        self._own_limits = None if timeout is None else Timeout.coerce(timeout)

    def _call_limits(self) -> tuple[Timeout, Deadline]:
        """Return the limits of each exchange, and when a call that begins now must have ended."""
        limits = self._own_limits
        if limits is None:
            return Transport._default_limits, _NEVER
        total_s = limits.total
        return limits, _NEVER if total_s is None else Deadline(monotonic() + total_s)

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
        return Transport._default_limits.read or 0.0

    @classmethod
    def set_connection_timeout(cls, timeout: float) -> None:
        """Set :meth:`get_connection_timeout` for the whole process, open clients included."""
        Transport._default_limits = default_limits(timeout)

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
        encoder_args: EncoderArgs,
        output: Callable[[Any], Any] | None = None,
    ) -> Any:
        """See :meth:`v3io.dataplane.transport.abstract.Transport.request`.

        Raises:
            HttpResponseError: The status is not accepted.
            TransportError: The network failed, after the retries that were safe.
        """
        if transport_actions == Actions.encode_only:
            return Request(container, access_key, raise_for_status, encoder, encoder_args, output)
        if not self._is_plain or transport_actions == Actions.encode_and_send:
            return super().request(
                container,
                access_key,
                raise_for_status,
                transport_actions,
                encoder,
                encoder_args,
                output,
            )
        if isinstance(encoder_args, tuple):
            encoded = encoder(container, *encoder_args)
        else:
            encoded = encoder(container, **encoder_args)
        limits = self._own_limits
        if limits is None:
            limits, deadline = Transport._default_limits, _NEVER
        else:
            limits, deadline = self._call_limits()
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
                        output, head, content, self._node, begun[3], monotonic(), 1, reused
                    )
        if response.status_code >= 300 or raise_for_status:
            response.raise_for_status(raise_for_status)
        return response

    # -- many calls

    def send_request(self, request: Request) -> Request:
        """Send a request and leave its answer for :meth:`wait_response`; see the base class.

        A failure to send is kept for :meth:`wait_response`, which may send again.
        """
        if self._is_verbose:
            self._log_request(request)
        if self._custom is not None:
            request.transport = self._custom.send(request)
            return request
        payload: Payload
        try:
            payload = self._writer.write(request.encoded, request.access_key)
        except Exception as error:
            payload = error
        limits, deadline = self._call_limits()
        outcome = self._begin(request, payload, limits, deadline)
        request.transport = payload, outcome, limits, deadline
        return request

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
            response = self._end(request, *request.transport)
            request.transport = None
        if self._is_verbose:
            self.log("Rx", status_code=response.status_code, body=response.body)
        policy = request.raise_for_status or raise_for_status
        if response.status_code >= 300 or policy:
            response.raise_for_status(policy)
        return response

    def carry(
        self, calls: Sequence[QueuedCall], raise_for_status: Any, *, return_errors: bool
    ) -> bool:
        """Send the calls of a batch; see the base class.

        See ``transport.window``. While others keep the pool's connections busy, the batch goes on
        with those it has: two batches never wait for each other.
        """
        if not self._is_plain:
            return super().carry(calls, raise_for_status, return_errors=return_errors)
        window = Window(
            self._channel,
            self.max_connections,
            write=self._writer.write,
            begin=self._begin,
            end=self._end,
            limit=self._call_limits,
        )
        return window.run(calls, raise_for_status, return_errors=return_errors)

    def _begin(
        self, request: Request, payload: Payload, limits: Timeout, deadline: Deadline
    ) -> Any:
        """Send a request without waiting for its answer; return what the channel began, a response, or the error.

        A body that is streamed is sent and answered at once, in its place of the order.
        """
        try:
            if isinstance(payload, bytes):
                return self._channel.begin(payload, limits, deadline)
            if payload is None:
                return self._send_stream(
                    request.encoded, request.access_key, request.output, limits, deadline
                )
        except Exception as error:
            return error
        return payload

    def _end(
        self,
        request: Request,
        payload: Payload,
        outcome: Any,
        limits: Timeout,
        deadline: Deadline,
        expired: bool = False,
    ) -> WireResponse:
        """Return the answer of a request that was begun; ``expired`` when a limit was reached before it came."""
        encoded = request.encoded
        begun = None
        result: TransportError | Answer
        if type(outcome) is tuple:
            begun = outcome
            try:
                result = head, content, reused = self._channel.end(
                    begun, encoded[0], limits, deadline, expired=expired
                )
                if head.status not in _RETRIED:
                    return WireResponse(
                        request.output, head, content, self._node, begun[3], monotonic(), 1, reused
                    )
            except TransportError as error:
                result = error
        elif isinstance(outcome, WireResponse):
            return outcome
        elif isinstance(payload, bytes) and isinstance(outcome, TransportError):
            result = outcome
        else:
            raise outcome
        assert isinstance(payload, bytes)
        return self._persist_with(result, payload, encoded, request.output, limits, deadline, begun)

    def abandon(self, request: Request) -> None:
        """Give up a request that was sent and will not be waited for; its connection is closed."""
        if self._custom is not None:
            self._custom.abandon(request)
        elif request.transport is not None and isinstance(request.transport[1], tuple):
            self._channel.abandon(request.transport[1])

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
            monotonic() if begun is None else begun[3],
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
            settled = settle(
                state, outcome, output, self._node, started, monotonic(), repeatable=idempotent
            )
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
        started = monotonic()

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
