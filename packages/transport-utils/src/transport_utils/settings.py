"""The options of a transport, checked and prepared once; shared by the sync and async drivers.

Used by :mod:`transport_utils.transport` and :mod:`transport_utils.aio.transport` only.
"""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol, TypeAlias

from transport_utils.auth import Auth, coerce_auth
from transport_utils.bodies import measure
from transport_utils.budget import RateLimiter, RetryBudget
from transport_utils.call import Call
from transport_utils.compression import (
    DEFAULT_DECODE_LIMITS,
    Compression,
    DecodeLimits,
    Encoding,
    accept_encoding,
)
from transport_utils.deadline import DEFAULT_TIMEOUT, Deadline, Timeout
from transport_utils.discovery import Discovery, DiscoverySchedule, current_deadline
from transport_utils.endpoint import Endpoint
from transport_utils.errors import ConfigurationError, SerializationError
from transport_utils.health import HealthPolicy
from transport_utils.hooks import Hooks, combine_hooks
from transport_utils.messages import AsyncResponse, Body, Request, Response, ResponseMeta
from transport_utils.nodes import NodePool
from transport_utils.retry import RetryPolicy
from transport_utils.selectors import Selector
from transport_utils.serializers import SerializerRegistry
from transport_utils.telemetry import auto_hooks
from transport_utils.trace import log_hooks
from transport_utils.url import Params, encode_query

__all__ = ["UNSET", "Clock", "Settings", "TimeoutLike", "Unset"]


class Unset(enum.Enum):
    """The type of :data:`UNSET`."""

    UNSET = enum.auto()


UNSET: Final = Unset.UNSET
"""Marks an option that was not given, where ``None`` means something else."""

TimeoutLike: TypeAlias = "Timeout | float | tuple[float | None, float | None] | None"
"""A ``Timeout``, the total in seconds, ``(connect, read)``, or ``None`` for no limit."""

_NEVER = Deadline()


class Clock(Protocol):
    """Time as a transport sees it; see :class:`transport_utils.testing.FakeClock`."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""


class Settings:
    """The options of a transport.

    Args:
        endpoints: See :class:`transport_utils.transport.Transport`, like all others.
        retry: As there.
        health: As there.
        selector: As there.
        randomize: As there.
        timeout: As there.
        headers: As there.
        auth: As there.
        compression: As there.
        accept_encoding: As there.
        decode: As there.
        serializers: As there.
        hooks: As there.
        rate_limiter: As there.
        discovery: As there.
        clock: As there.
    """

    def __init__(
        self,
        endpoints: str | Endpoint | Iterable[str | Endpoint],
        *,
        retry: RetryPolicy | int | Unset | None,
        health: HealthPolicy | None,
        selector: str | Selector | None,
        randomize: bool,
        timeout: TimeoutLike | Unset,
        headers: Mapping[str, str] | None,
        auth: Auth | tuple[str, str] | str | None,
        compression: Compression | Encoding | bool | None,
        accept_encoding: bool | None,
        decode: DecodeLimits | bool,
        serializers: SerializerRegistry | None,
        hooks: Hooks | Iterable[Hooks] | None,
        rate_limiter: RateLimiter | None,
        discovery: Discovery | None,
        clock: Clock | None,
    ) -> None:
        self.now: Callable[[], float] = time.monotonic if clock is None else clock.monotonic
        self.compression = Compression.coerce(compression)
        if accept_encoding or (accept_encoding is None and self.compression is not None):
            headers = {"accept-encoding": _accepted(), **(headers or {})}
        given = _endpoints(endpoints)
        if headers:
            given = [one.replace(headers={**headers, **one.headers}) for one in given]
        self.nodes = NodePool(given, selector=selector, health=health, randomize=randomize)
        # Only policies made here share it; a policy of the caller's names its own.
        self._budget = RetryBudget()
        self._by_number: dict[int, RetryPolicy] = {}
        self.retry = self._policy(3 if retry is UNSET else retry)
        self.timeout = given[0].timeout if timeout is UNSET else Timeout.coerce(timeout)
        self.auth = coerce_auth(auth)
        self.decode: DecodeLimits | None = (
            DEFAULT_DECODE_LIMITS if decode is True else decode or None
        )
        self._serializers = serializers
        many: list[Hooks | None] = (
            [hooks] if hooks is None or isinstance(hooks, Hooks) else list(hooks)
        )
        many.append(auto_hooks())
        self.hooks = combine_hooks(many)
        self.logged_hooks = combine_hooks([*many, log_hooks()])
        self.rate_limiter = rate_limiter
        self.discovery = None if discovery is None else DiscoverySchedule(discovery)
        self._last_timeout: tuple[Any, Timeout | None] = (None, None)
        self._lock = threading.Lock()

    @property
    def serializers(self) -> SerializerRegistry:
        """The serializers, made on first use."""
        if self._serializers is None:
            with self._lock:
                if self._serializers is None:
                    self._serializers = SerializerRegistry()
        return self._serializers

    def start(
        self,
        method: str,
        target: str,
        params: Params | None,
        headers: Mapping[str, str | None] | None,
        body: Body,
        timeout: TimeoutLike | Unset,
        retry: RetryPolicy | int | Unset | None,
        idempotent: bool | None,
        stream: bool,
        context: Mapping[str, Any] | None,
    ) -> Call:
        """Return the state of a new call; see :meth:`transport_utils.transport.Transport.request`."""
        started = self.now()
        if params:
            target = f"{target}{'&' if '?' in target else '?'}{encode_query(params)}"
        limits = self.timeout if timeout is UNSET else self._limits(timeout)
        if body is not None:
            if type(body) is not bytes:
                body = measure(body)  # type: ignore[assignment]
            if self.compression is not None and type(body) is bytes:
                headers, body = _compressed(self.compression, headers, body)
        deadline = _NEVER if limits.total is None else Deadline(started + limits.total)
        if self.discovery is not None:
            deadline = current_deadline(deadline)
        policy = self.retry if retry is UNSET else self._policy(retry)
        request = Request(method, target, headers, body, limits, stream, None, idempotent)
        call = Call(self, request, started, deadline, policy, context)
        if self.hooks is not None and self.hooks.on_request_start is not None:
            self.hooks.on_request_start(request)
        return call

    def restart(self, request: Request) -> Call:
        """Return the state of a new call for a ready-made request, as batches take them."""
        limits = self.timeout if request.timeout is DEFAULT_TIMEOUT else request.timeout
        if (
            limits is request.timeout
            and (request.body is None or type(request.body) is bytes)
            and self.compression is None
            and self.hooks is None
            and self.discovery is None
        ):
            started = self.now()
            deadline = _NEVER if limits.total is None else Deadline(started + limits.total)
            return Call(self, request, started, deadline, self.retry, None)
        return self.start(
            request.method,
            request.target,
            None,
            request.headers,
            request.body,
            limits,
            UNSET,
            request.idempotent,
            request.stream,
            None,
        )

    def encode(
        self, body: Any, headers: Mapping[str, str | None] | None
    ) -> tuple[bytes | None, Mapping[str, str | None] | None]:
        """Return the serialized body and the headers with a content type for it.

        Raises:
            SerializationError: The body has no form in the content type.
        """
        if body is None:
            return None, headers
        content_type = _find(headers, "content-type")
        if content_type is None:
            content_type = self.serializers.default_mimetype
            headers = {**(headers or {}), "content-type": content_type}
        return self.serializers.dumps(body, content_type), headers

    def decoded(self, call: Call, response: Response | AsyncResponse) -> tuple[ResponseMeta, Any]:
        """Return the facts of a response and its decoded body.

        Raises:
            SerializationError: The status is 2xx and the body is not what its content type says; ``meta`` and ``body``
                hold the response.
        """
        content = response.content
        if call.request.method == "HEAD" or not content:
            return response.meta, None
        if response.decode_error is not None:
            return response.meta, content
        try:
            body, reason = self.serializers.decode(
                content, response.headers.get("content-type"), response.status
            )
        except SerializationError as error:
            error.meta, error.body = response.meta, content
            error.node, error.method = response.node, call.request.method
            error.target, error.sent = call.request.target, response.sent
            raise
        if reason is not None:
            response.decode_error = reason
            response.meta.decode_error = reason
        return response.meta, body

    def _policy(self, retry: RetryPolicy | int | None) -> RetryPolicy:
        """Return a policy from what users write: a policy, a number of retries, or ``None`` for none."""
        if isinstance(retry, RetryPolicy):
            return retry
        if retry is None:
            return _NO_RETRY
        if isinstance(retry, bool) or not isinstance(retry, int):
            raise ConfigurationError(
                f"retry={retry!r}: expected a RetryPolicy, a number of retries, or None"
            )
        policy = self._by_number.get(retry)
        if policy is None:
            policy = RetryPolicy(max_retries=retry, budget=self._budget)
            self._by_number[retry] = policy
        return policy

    def _limits(self, timeout: TimeoutLike) -> Timeout:
        if isinstance(timeout, Timeout):
            return timeout
        # Callers pass the same figure over and over; checking it anew costs as much as the rest of a start.
        given, limits = self._last_timeout
        if limits is None or given != timeout or type(given) is not type(timeout):
            limits = Timeout.coerce(timeout)
            self._last_timeout = (timeout, limits)
        return limits


_NO_RETRY = RetryPolicy(max_retries=0, resend_stale=False)


def _endpoints(given: str | Endpoint | Iterable[str | Endpoint]) -> list[Endpoint]:
    if isinstance(given, (str, Endpoint)):
        given = [given]
    return [one if isinstance(one, Endpoint) else Endpoint.from_url(one) for one in given]


def _accepted() -> str:
    return accept_encoding()


def _find(headers: Mapping[str, str | None] | None, wanted: str) -> str | None:
    for name, value in (headers or {}).items():
        if name.lower() == wanted:
            return value
    return None


def _compressed(
    compression: Compression, headers: Mapping[str, str | None] | None, body: bytes
) -> tuple[Mapping[str, str | None] | None, bytes]:
    if len(body) < compression.min_size or _find(headers, "content-encoding") is not None:
        return headers, body
    smaller = compression.compress(body)
    if smaller is None:
        return headers, body
    return {**(headers or {}), "content-encoding": compression.encoding}, smaller
