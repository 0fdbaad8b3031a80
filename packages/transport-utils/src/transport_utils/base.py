"""What the transport for threads and the one for asyncio have in common: options, state, opening and reopening.

:mod:`transport_utils.transport` and :mod:`transport_utils.aio.transport` add what sends, sleeps and closes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from transport_utils.auth import Auth
from transport_utils.backends import AsyncHttpBackend, HttpBackend, require_name, watch_pools
from transport_utils.budget import RateLimiter
from transport_utils.call import Call
from transport_utils.compression import Compression, DecodeLimits, Encoding
from transport_utils.discovery import Discovery
from transport_utils.endpoint import Endpoint
from transport_utils.health import HealthPolicy
from transport_utils.hooks import Hooks
from transport_utils.messages import Request
from transport_utils.nodes import NodePool
from transport_utils.retry import RetryPolicy
from transport_utils.selectors import Selector
from transport_utils.serializers import SerializerRegistry
from transport_utils.settings import UNSET, Clock, Settings, TimeoutLike, Unset

__all__ = ["BaseTransport"]

BackendT = TypeVar("BackendT", bound="HttpBackend | AsyncHttpBackend")


class BaseTransport(Generic[BackendT]):
    """The options and the state of a transport.

    Args:
        endpoints: Nodes, as URLs or :class:`~transport_utils.endpoint.Endpoint`; one or several.
        backend: Name or object, see :mod:`transport_utils.backends`; asyncio knows ``"native"`` only.
        retry: A policy, a number of retries, or ``None`` for none (not even after a stale connection). Not given: three
            retries. Policies made from a number share one :class:`~transport_utils.budget.RetryBudget` of this
            transport; one of your own has the budget it names.
        health: When nodes are left alone; ``None`` for the defaults.
        selector: How a node is chosen, see :mod:`transport_utils.selectors`; ``None`` for round robin.
        randomize: Whether to shuffle the nodes once.
        timeout: Limits of calls that bring none; a number is the total, ``None`` no limit. Not given: the first
            endpoint's.
        headers: Sent with every request, unless an endpoint or a call says otherwise.
        auth: ``(user, password)``, ``"user:password"`` or an object of :mod:`transport_utils.auth`; asked for each
            attempt, unless the call brings an ``authorization`` header.
        compression: Of request bodies, see :class:`~transport_utils.compression.Compression`; ``True`` for gzip.
        accept_encoding: Whether to ask for compressed responses; ``None`` for when requests are compressed.
        decode: Limits of decompressing responses; ``True`` for the defaults, ``False`` leaves bodies as they come.
        serializers: Of ``perform_request``; ``None`` for the usual ones.
        hooks: One or more :class:`~transport_utils.hooks.Hooks`.
        rate_limiter: Slows all attempts down once the server has throttled (429, or 503 with Retry-After), batches
            too, see :class:`~transport_utils.budget.RateLimiter`; may be shared by transports. ``None`` for none.
        discovery: How to keep the nodes up to date; ``None`` for the nodes given.
        clock: For tests: the time that deadlines, pauses and health go by, with a backend that needs none of its own
            such as :class:`~transport_utils.testing.RecordingBackend`. ``None`` for the system's.
    """

    def __init__(
        self,
        endpoints: str | Endpoint | Iterable[str | Endpoint],
        *,
        backend: str | BackendT = "native",
        retry: RetryPolicy | int | Unset | None = UNSET,
        health: HealthPolicy | None = None,
        selector: str | Selector | None = None,
        randomize: bool = True,
        timeout: TimeoutLike | Unset = UNSET,
        headers: Mapping[str, str] | None = None,
        auth: Auth | tuple[str, str] | str | None = None,
        compression: Compression | Encoding | bool | None = None,
        accept_encoding: bool | None = None,
        decode: DecodeLimits | bool = True,
        serializers: SerializerRegistry | None = None,
        hooks: Hooks | Iterable[Hooks] | None = None,
        rate_limiter: RateLimiter | None = None,
        discovery: Discovery | None = None,
        clock: Clock | None = None,
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
            compression=compression,
            accept_encoding=accept_encoding,
            decode=decode,
            serializers=serializers,
            hooks=hooks,
            rate_limiter=rate_limiter,
            discovery=discovery,
            clock=clock,
        )
        self._backend_given = backend
        self._discovery = discovery
        self._clock = clock
        self._backend: BackendT = self._open_backend()
        self._begin()

    def _make_backend(self, backend: str | BackendT) -> BackendT:
        raise NotImplementedError

    def _begin(self) -> None:
        """Make the state of an open transport; again when it is reopened."""
        raise NotImplementedError

    def _open_backend(self) -> BackendT:
        backend = self._make_backend(self._backend_given)
        watch_pools(backend, self._settings.hooks)
        return backend

    @property
    def nodes(self) -> NodePool:
        """The nodes and their health."""
        return self._settings.nodes

    @property
    def backend(self) -> BackendT:
        """The backend in use."""
        return self._backend

    @property
    def rate_limiter(self) -> RateLimiter | None:
        """What all attempts keep to; ``None`` for none."""
        return self._settings.rate_limiter

    @property
    def serializers(self) -> SerializerRegistry:
        """The serializers of ``perform_request``."""
        return self._settings.serializers

    @property
    def start_call(self) -> Callable[[Request], Call]:
        """Returns the state of a call; for batches."""
        return self._settings.restart

    @property
    def closed(self) -> bool:
        """Whether the transport has been closed."""
        raise NotImplementedError

    def reopen(self) -> None:
        """Make a closed transport usable again, with new connections; without effect on one that is open.

        Nodes, their health, policies and budgets are kept. Call it when no call is in progress.

        Raises:
            ConfigurationError: The backend was given as an object, which stays closed: build a new transport.
        """
        if self.closed:
            require_name(self._backend_given)
            self._backend = self._open_backend()
            self._begin()
