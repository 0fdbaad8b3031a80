"""One call of a transport: which node, what happened, what next. Shared by the sync and async drivers; no I/O.

A driver does only what the outside world demands::

    call = settings.start(method, target, ...)
    while True:
        node = call.pick()
        try:
            response = backend.request(node.endpoint, call.request, call.deadline)   # or await
        except BaseException as error:
            pause_s = call.failed(error)          # raises when the call is over
        else:
            pause_s = call.answered(response)     # None when the call is over
        if pause_s is None:
            return call.response
        if pause_s:
            sleep(pause_s)
"""

from __future__ import annotations

import enum
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from transport_utils.auth import Auth, coerce_auth
from transport_utils.bodies import BodyStream, measure
from transport_utils.deadline import Deadline, Timeout
from transport_utils.endpoint import Endpoint
from transport_utils.errors import ConfigurationError, TransportError
from transport_utils.health import HealthPolicy, Outcome, outcome_of_error, outcome_of_status
from transport_utils.idempotency import is_idempotent
from transport_utils.messages import AsyncResponse, Body, Request, Response
from transport_utils.nodes import Node, NodePool
from transport_utils.retry import Raise, RetryAfter, RetryPolicy, RetryState, retry_after_s
from transport_utils.selectors import Selector
from transport_utils.url import Params, encode_query

__all__ = ["UNSET", "Call", "Settings", "Unset"]


class Unset(enum.Enum):
    """The type of :data:`UNSET`."""

    UNSET = enum.auto()


UNSET: Final = Unset.UNSET
"""Marks an option that was not given, where ``None`` means something else."""

_NEVER = Deadline()


class Settings:
    """The options of a transport, checked once.

    Args:
        endpoints: See :class:`transport_utils.transport.Transport`, like all others.
        retry: As there.
        health: As there.
        selector: As there.
        randomize: As there.
        timeout: As there.
        headers: As there.
        auth: As there.
    """

    def __init__(
        self,
        endpoints: str | Endpoint | Iterable[str | Endpoint],
        *,
        retry: RetryPolicy | int | None,
        health: HealthPolicy | None,
        selector: str | Selector | None,
        randomize: bool,
        timeout: Timeout | float | tuple[float | None, float | None] | Unset | None,
        headers: Mapping[str, str] | None,
        auth: Auth | tuple[str, str] | str | None,
    ) -> None:
        if isinstance(endpoints, (str, Endpoint)):
            endpoints = [endpoints]
        given = [one if isinstance(one, Endpoint) else Endpoint.from_url(one) for one in endpoints]
        if headers:
            given = [one.replace(headers={**headers, **one.headers}) for one in given]
        self.nodes = NodePool(given, selector=selector, health=health, randomize=randomize)
        self.retry = coerce_retry(retry)
        self.timeout = given[0].timeout if timeout is UNSET else Timeout.coerce(timeout)
        self.auth = coerce_auth(auth)
        self._last_timeout: tuple[Any, Timeout | None] = (None, None)

    def _limits(
        self, timeout: Timeout | float | tuple[float | None, float | None] | None
    ) -> Timeout:
        if isinstance(timeout, Timeout):
            return timeout
        # Callers pass the same figure over and over; checking it anew costs as much as the rest of a start.
        given, limits = self._last_timeout
        if limits is None or given != timeout or type(given) is not type(timeout):
            limits = Timeout.coerce(timeout)
            self._last_timeout = (timeout, limits)
        return limits

    def start(
        self,
        method: str,
        target: str,
        params: Params | None,
        headers: Mapping[str, str | None] | None,
        body: Body,
        timeout: Timeout | float | tuple[float | None, float | None] | Unset | None,
        retry: RetryPolicy | int | Unset | None,
        idempotent: bool | None,
        stream: bool,
        context: Mapping[str, Any] | None,
    ) -> Call:
        """Return the state of a new call."""
        started = time.monotonic()
        if params:
            target = f"{target}{'&' if '?' in target else '?'}{encode_query(params)}"
        limits = self.timeout if timeout is UNSET else self._limits(timeout)
        if body is not None and type(body) is not bytes:
            body = measure(body)  # type: ignore[assignment]
        deadline = _NEVER if limits.total is None else Deadline(started + limits.total)
        policy = self.retry if retry is UNSET else coerce_retry(retry)
        request = Request(method, target, headers, body, limits, stream)
        return Call(self, request, started, deadline, policy, idempotent, context)


class Call:
    """The state of one call; belongs to one thread or task.

    Attributes:
        request: What is sent.
        deadline: When the call must have ended.
        response: The result, once a method has returned ``None``.
    """

    __slots__ = (
        "_context",
        "_idempotent",
        "_node",
        "_picked_at",
        "_policy",
        "_settings",
        "_started",
        "_state",
        "_stay",
        "_tried",
        "deadline",
        "request",
        "response",
    )

    def __init__(
        self,
        settings: Settings,
        request: Request,
        started: float,
        deadline: Deadline,
        policy: RetryPolicy,
        idempotent: bool | None,
        context: Mapping[str, Any] | None,
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._idempotent = idempotent
        self._context = context
        self._started = self._picked_at = started
        self._node: Node | None = None
        self._state: RetryState | None = None
        self._stay = False
        self._tried: tuple[Node, ...] = ()
        self.request = request
        self.deadline = deadline
        self.response: Any = None

    def pick(self) -> Node:
        """Return the node for the next attempt.

        Raises:
            NoNodeAvailable: All nodes have been removed.
        """
        if self._state is not None:
            self._picked_at = time.monotonic()
        node = self._node
        if node is None or not self._stay:
            node = self._node = self._settings.nodes.pick(
                self._picked_at, context=self._context, tried=self._tried
            )
        if self._settings.auth is not None:
            self._authenticate(self._settings.auth)
        return node

    def _authenticate(self, auth: Auth) -> None:
        request = self.request
        headers = dict(request.headers or {})
        if any(name.lower() == "authorization" for name in headers) and self._state is None:
            return
        headers.update(auth(request.method, request.target, request.body))
        request.headers = headers

    def answered(self, response: Response | AsyncResponse) -> float | None:
        """Take a response; return ``None`` when the call is over, else the pause before the next attempt in seconds.

        Raises:
            TransportError: The response ends the call with an error (``Retry-After`` too long).
        """
        now = time.monotonic()
        node = self._node
        assert node is not None
        status = response.status
        outcome = Outcome.OK if status < 400 else self._outcome(response)
        if outcome is Outcome.OK:
            self._settings.nodes.record(node, outcome, self._picked_at, now)
        else:
            slow_s = retry_after_s(response.headers) if outcome is Outcome.OVERLOAD else None
            self._settings.nodes.record(node, outcome, self._picked_at, now, slow_s=slow_s)
        response.duration_s = now - self._started
        if self._state is None:
            if self._policy.settles(status):
                self.response = response
                return None
            self._state = self._begin()
        decision = self._state.on_response(status, response.headers, now, response=response)
        response.attempts = self._state.attempts
        return self._follow(decision)

    def failed(self, error: BaseException) -> float | None:
        """Take an error; return as :meth:`answered`, or raise it when the call is over.

        Raises:
            TransportError: The call is over.
            BaseException: ``error`` itself, when it is not a :class:`~transport_utils.errors.TransportError`.
        """
        now = time.monotonic()
        node = self._node
        assert node is not None
        self._settings.nodes.record(node, outcome_of_error(error), self._picked_at, now)
        if not isinstance(error, TransportError):
            raise error
        if self._state is None:
            self._state = self._begin()
        other = self._settings.nodes.other_than((*self._tried, node))
        return self._follow(self._state.on_error(error, error.sent, now, other_node=other))

    def _outcome(self, response: Response | AsyncResponse) -> Outcome:
        return outcome_of_status(response.status, retry_after="retry-after" in response.headers)

    def _begin(self) -> RetryState:
        request = self.request
        body = request.body
        return self._policy.start(
            request.method,
            started=self._started,
            deadline=self.deadline,
            idempotent=is_idempotent(
                request.method, self._idempotent, request.headers, self._policy.idempotent_methods
            ),
            replayable=body.replayable if isinstance(body, BodyStream) else True,
        )

    def _follow(self, decision: RetryAfter | Raise | Any) -> float | None:
        if isinstance(decision, RetryAfter):
            self._stay = decision.same_node
            if not decision.same_node and self._node is not None:
                self._tried = (*self._tried, self._node)
            return decision.delay_s
        if isinstance(decision, Raise):
            raise decision.error
        self.response = decision.response
        return None


def coerce_retry(retry: RetryPolicy | int | None) -> RetryPolicy:
    """Return a policy from what users write: a policy, a number of retries, or ``None`` for none.

    Raises:
        ConfigurationError: Anything else.
    """
    if isinstance(retry, RetryPolicy):
        return retry
    if retry is None:
        return RetryPolicy(max_retries=0)
    if isinstance(retry, int):
        return RetryPolicy(max_retries=retry)
    raise ConfigurationError(
        f"retry={retry!r}: expected a RetryPolicy, a number of retries, or None"
    )
