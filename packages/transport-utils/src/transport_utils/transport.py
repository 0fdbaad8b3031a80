"""The synchronous transport: sends a request to one of several nodes, retries within the policy, keeps the deadline.

What clients build on. The policy is in :mod:`transport_utils.call` and below, the bytes in
:mod:`transport_utils.backends`; this driver only sends, sleeps and closes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from transport_utils.auth import Auth
from transport_utils.backends import HttpBackend, make_backend
from transport_utils.call import UNSET, Call, Settings, Unset
from transport_utils.deadline import Timeout
from transport_utils.endpoint import Endpoint
from transport_utils.errors import TransportClosed
from transport_utils.health import HealthPolicy
from transport_utils.messages import Body, Response
from transport_utils.nodes import NodePool
from transport_utils.retry import RetryPolicy
from transport_utils.selectors import Selector
from transport_utils.url import Params

__all__ = ["Transport"]


class Transport:
    """A client of one service with one or more nodes; thread-safe, fork-safe.

    Args:
        endpoints: Nodes, as URLs or :class:`~transport_utils.endpoint.Endpoint`; one or several.
        backend: Name or object, see :mod:`transport_utils.backends`.
        retry: A policy, a number of retries, or ``None`` for none.
        health: When nodes are left alone; ``None`` for the defaults.
        selector: How a node is chosen, see :mod:`transport_utils.selectors`; ``None`` for round robin.
        randomize: Whether to shuffle the nodes once.
        timeout: Limits of calls that bring none; a number is the total, ``None`` no limit. Not given: the first
            endpoint's.
        headers: Sent with every request, unless an endpoint or a call says otherwise.
        auth: ``(user, password)``, ``"user:password"`` or an object of :mod:`transport_utils.auth`.

    Raises:
        ConfigurationError: An option is wrong; nothing has been opened.
    """

    def __init__(
        self,
        endpoints: str | Endpoint | Iterable[str | Endpoint],
        *,
        backend: str | HttpBackend = "native",
        retry: RetryPolicy | int | None = RetryPolicy(),  # noqa: B008 - immutable
        health: HealthPolicy | None = None,
        selector: str | Selector | None = None,
        randomize: bool = True,
        timeout: Timeout | float | tuple[float | None, float | None] | Unset | None = UNSET,
        headers: Mapping[str, str] | None = None,
        auth: Auth | tuple[str, str] | str | None = None,
    ) -> None:
        self._settings = Settings(
            endpoints,
            retry=retry,
            health=health,
            selector=selector,
            randomize=randomize,
            timeout=timeout,
            headers=headers,
            auth=auth,
        )
        self._backend = make_backend(backend)
        self._closing = threading.Event()

    @property
    def nodes(self) -> NodePool:
        """The nodes and their health."""
        return self._settings.nodes

    @property
    def backend(self) -> HttpBackend:
        """The backend in use."""
        return self._backend

    def request(
        self,
        method: str,
        target: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str | None] | None = None,
        body: Body = None,
        timeout: Timeout | float | tuple[float | None, float | None] | Unset | None = UNSET,
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
        call = self._settings.start(
            method, target, params, headers, body, timeout, retry, idempotent, stream, context
        )
        return self._run(call)

    def _run(self, call: Call) -> Response:
        send = self._backend.request
        while True:
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
            if self._closing.wait(pause_s):
                raise TransportClosed("the transport was closed during a pause between attempts")

    def close(self, drain_s: float = 0.0) -> None:
        """Close all connections; idempotent. Calls that wait or pause end with :class:`TransportClosed`.

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
