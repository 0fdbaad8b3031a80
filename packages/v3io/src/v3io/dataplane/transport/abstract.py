"""What every transport has; subclassed by the transports of this package and by users' own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from v3io.dataplane.queued_call import QueuedCall
from v3io.dataplane.request import EncoderArgs, Request
from v3io.dataplane.response import Response
from v3io.dataplane.transport import Actions

__all__ = ["DEFAULT_MAX_CONNECTIONS", "Transport"]

DEFAULT_MAX_CONNECTIONS = 8


class Transport:
    """Base of all transports.

    Args:
        logger: A :class:`v3io.logger.logger.Logger` or anything with its methods.
        endpoint: Base URL; ``http://`` is put in front when it has no scheme. ``None`` for none.
        max_connections: Most open connections, and most requests of a batch in flight; ``None`` and 0 mean 8.
        timeout: Limit of each call, seconds; ``None`` uses the transport's default.
        verbosity: ``"DEBUG"`` logs each request and response, the access key hidden; anything else does not.
    """

    def __init__(
        self,
        logger: Any,
        endpoint: str | None = None,
        max_connections: int | None = None,
        timeout: Any = None,
        verbosity: str | None = None,
    ) -> None:
        self._logger = logger
        self._endpoint = endpoint
        self._timeout = timeout
        self.max_connections = max_connections or DEFAULT_MAX_CONNECTIONS
        self._is_verbose = verbosity == "DEBUG"

    def log(self, message: str, **details: Any) -> None:
        """Write one debug line when the transport is verbose."""
        if self._is_verbose:
            self._logger.debug_with(message, **details)

    def close(self) -> None:
        """Release what the transport holds; may be called more than once."""

    def requires_access_key(self) -> bool:
        """Return whether a client needs an access key to use this transport."""
        return False

    def restart(self) -> None:
        """Drop whatever is in flight, after a batch has failed."""

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
        """Encode a request and take it as far as ``transport_actions`` says.

        Returns:
            A :class:`Request` for ``encode_only`` and ``encode_and_send``, else a :class:`Response`.
        """
        request = Request(container, access_key, raise_for_status, encoder, encoder_args, output)
        if transport_actions == Actions.encode_only:
            return request
        sent = self.send_request(request)
        if transport_actions == Actions.encode_and_send:
            return sent
        return self.wait_response(sent)

    def send_request(self, request: Request) -> Request:
        """Begin the exchange; the request's ``transport`` attribute keeps what :meth:`wait_response` needs."""
        raise NotImplementedError

    def carry(
        self, calls: Sequence[QueuedCall], raise_for_status: Any, *, return_errors: bool
    ) -> bool:
        """Send the calls of a batch and give each its outcome; at most ``max_connections`` are on their way.

        Args:
            calls: Each holds a :class:`Request`.
            raise_for_status: Policy for requests that bring none of their own.
            return_errors: Whether to go on after a failure; otherwise what has not been sent is left alone.

        Returns:
            Whether a call failed.
        """
        in_flight: deque[QueuedCall] = deque()
        failed = False
        try:
            for queued in calls:
                if len(in_flight) >= self.max_connections:
                    failed = self._receive(in_flight.popleft(), raise_for_status) or failed
                if failed and not return_errors:
                    break
                try:
                    queued.call = self.send_request(queued.call)
                except Exception as error:
                    queued.outcome = error
                    failed = True
                    continue
                in_flight.append(queued)
            while in_flight:
                failed = self._receive(in_flight.popleft(), raise_for_status) or failed
        except BaseException:
            for queued in in_flight:
                self.abandon(queued.call)
            self.restart()
            raise
        return failed

    def _receive(self, queued: QueuedCall, raise_for_status: Any) -> bool:
        try:
            queued.outcome = self.wait_response(queued.call, raise_for_status)
        except Exception as error:
            queued.outcome = error
            return True
        finally:
            queued.call = None
        return False

    def abandon(self, request: Request) -> None:
        """Give up a request that was sent, after a batch has been interrupted."""

    def wait_response(
        self, request: Request, raise_for_status: Any = None, num_retries: int = 1
    ) -> Response:
        """Wait for the answer of a request that was sent.

        Args:
            request: As returned by :meth:`send_request`.
            raise_for_status: Policy for requests that bring none of their own.
            num_retries: How often the exchange may be repeated when that is safe.
        """
        raise NotImplementedError
