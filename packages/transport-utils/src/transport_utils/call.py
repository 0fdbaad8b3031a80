"""One call of a transport: which node, what happened, what next. Shared by the sync and async drivers; no I/O.

A driver does only what the outside world demands::

    call = settings.start(method, target, ...)
    while True:
        pause_s = call.pace()                     # 0.0 without a rate limiter
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

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from transport_utils.auth import Auth
from transport_utils.bodies import BodyStream
from transport_utils.budget import RateLimiter
from transport_utils.compression import DecodeLimits
from transport_utils.deadline import Deadline
from transport_utils.decoding import decode_response
from transport_utils.discovery import DiscoverySchedule
from transport_utils.endpoint import Endpoint
from transport_utils.errors import TotalTimeout, TransportError
from transport_utils.health import NodeChange, Outcome, outcome_of_error, outcome_of_status
from transport_utils.hooks import Attempt, Hooks
from transport_utils.idempotency import is_idempotent
from transport_utils.messages import AsyncResponse, Request, Response
from transport_utils.nodes import Node, NodePool
from transport_utils.retry import (
    Decision,
    Raise,
    RetryAfter,
    RetryPolicy,
    RetryState,
    retry_after_s,
)
from transport_utils.trace import log_hooks

__all__ = ["Call", "CallSettings"]

_log = logging.getLogger("transport_utils.transport")
_LOG_HOOKS = log_hooks(_log)


class CallSettings(Protocol):
    """What a call needs of the transport's options; see :mod:`transport_utils.settings`."""

    nodes: NodePool
    now: Callable[[], float]
    auth: Auth | None
    hooks: Hooks | None
    logged_hooks: Hooks | None
    decode: DecodeLimits | None
    rate_limiter: RateLimiter | None
    discovery: DiscoverySchedule | None


class Call:
    """The state of one call; belongs to one thread or task.

    Attributes:
        request: What the attempt sends.
        deadline: When the call must have ended.
        response: The result, once a method has returned ``None``.
    """

    __slots__ = (
        "_attempt",
        "_context",
        "_hooks",
        "_node",
        "_original",
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
        settings: CallSettings,
        request: Request,
        started: float,
        deadline: Deadline,
        policy: RetryPolicy,
        context: Mapping[str, Any] | None,
    ) -> None:
        self._settings = settings
        self._hooks = settings.logged_hooks if _log.isEnabledFor(logging.DEBUG) else settings.hooks
        self._policy = policy
        self._context = context
        self._started = self._picked_at = started
        self._node: Node | None = None
        self._state: RetryState | None = None
        self._attempt: Attempt | None = None
        self._stay = False
        self._tried: tuple[Node, ...] = ()
        self.request = self._original = request
        self.deadline = deadline
        self.response: Any = None

    @property
    def begun(self) -> bool:
        """Whether an attempt has been made."""
        return self._state is not None

    def pace(self) -> float:
        """Return how long to wait before the next attempt so as to keep to the rate limiter's rate, in seconds.

        The attempt's place is taken: send it, or call :meth:`unpace`.

        Raises:
            TotalTimeout: The deadline would come first; the place is given back.
        """
        limiter = self._settings.rate_limiter
        if limiter is None:
            return 0.0
        now = self._settings.now()
        wait_s = limiter.reserve(now)
        if now + wait_s > self.deadline.at:
            limiter.cancel()
            raise TotalTimeout(
                f"not sent: the server has throttled this client, its turn would come in {wait_s:.1f} s at "
                f"{limiter.rate:.1f} requests/s, after the call's deadline; allow more time or send less",
                method=self.request.method,
                target=self.request.target,
            )
        return wait_s

    def unpace(self) -> None:
        """Give back the place that :meth:`pace` took."""
        if self._settings.rate_limiter is not None:
            self._settings.rate_limiter.cancel()

    def pick(self) -> Node:
        """Return the node for the next attempt, and prepare :attr:`request` for it.

        Raises:
            NoNodeAvailable: All nodes have been removed.
        """
        settings = self._settings
        if self._state is not None:
            self._picked_at = settings.now()
        node = self._node
        if node is None or not self._stay:
            node = self._node = settings.nodes.pick(
                self._picked_at, context=self._context, tried=self._tried
            )
        if settings.auth is not None or self._hooks is not None:
            self._prepare(node.endpoint, self._hooks)
        return node

    def _prepare(self, endpoint: Endpoint, hooks: Hooks | None) -> None:
        """Add to the request what differs from attempt to attempt: credentials, and what hooks add."""
        request = self._original
        added: dict[str, str | None] = {}
        auth = self._settings.auth
        if auth is not None and not any(
            name.lower() == "authorization" for name in request.headers or ()
        ):
            added.update(auth(request.method, endpoint.path_prefix + request.target, request.body))
        if hooks is not None:
            number = 1 if self._state is None else self._state.attempts + 1
            outgoing = request
            if added:
                outgoing = dataclasses.replace(
                    request, headers={**(request.headers or {}), **added}
                )
            self._attempt = attempt = Attempt(outgoing, endpoint, number, self._picked_at)
            if hooks.on_attempt is not None:
                hooks.on_attempt(attempt)
                added.update(attempt.headers)
        if added:
            request = dataclasses.replace(request, headers={**(request.headers or {}), **added})
        self.request = request

    def answered(self, response: Response | AsyncResponse) -> float | None:
        """Take a response; return ``None`` when the call is over, else the pause before the next attempt in seconds.

        Raises:
            TransportError: The response ends the call: it cannot be decoded, or asks for too long a pause.
        """
        settings = self._settings
        if response.head.is_encoded and settings.decode is not None:
            try:
                decode_response(response, settings.decode)
            except TransportError as error:
                error.node, error.sent = response.node, response.sent
                error.method, error.target = self.request.method, self.request.target
                return self.failed(error)
        now = settings.now()
        status = response.status
        node = self._node
        assert node is not None
        if status < 400:
            change = settings.nodes.record(node, Outcome.OK, self._picked_at, now)
            if settings.rate_limiter is not None:
                settings.rate_limiter.on_success(now)
        else:
            change = self._record_failure_status(node, response, now)
        response.duration_s = now - self._started
        if change is not None:
            self._tell(node, change)
        hooks = self._hooks
        if hooks is not None and hooks.on_response is not None and self._attempt is not None:
            hooks.on_response(self._attempt, response.meta, now)
        if self._state is None:
            if self._policy.settles(status):
                self.response = response
                return None
            self._state = self._begin()
        decision = self._state.on_response(status, response.headers, now, response=response)
        response.note_attempts(self._state.attempts)
        return self._follow(decision)

    def _record_failure_status(
        self, node: Node, response: Response | AsyncResponse, now: float
    ) -> NodeChange | None:
        slow_s = retry_after_s(response.headers)
        outcome = outcome_of_status(response.status, retry_after=slow_s is not None)
        limiter = self._settings.rate_limiter
        if limiter is not None:
            (limiter.on_throttle if outcome is Outcome.OVERLOAD else limiter.on_success)(now)
        return self._settings.nodes.record(node, outcome, self._picked_at, now, slow_s=slow_s)

    def failed(self, error: BaseException) -> float | None:
        """Take an error; return as :meth:`answered`, or raise it when the call is over.

        Raises:
            TransportError: The call is over.
            BaseException: ``error`` itself, when it is not a :class:`~transport_utils.errors.TransportError`.
        """
        settings = self._settings
        now = settings.now()
        node = self._node
        assert node is not None
        outcome = outcome_of_error(error)
        change = settings.nodes.record(node, outcome, self._picked_at, now)
        if change is not None:
            self._tell(node, change)
        hooks = self._hooks
        if hooks is not None and hooks.on_error is not None and self._attempt is not None:
            hooks.on_error(self._attempt, error, now)
        if not isinstance(error, TransportError):
            raise error
        if error.method is None:
            error.method, error.target = self.request.method, self.request.target
        if settings.discovery is not None and outcome is Outcome.NETWORK:
            settings.discovery.note_failure()
        if self._state is None:
            self._state = self._begin()
        other = settings.nodes.other_than((*self._tried, node))
        return self._follow(self._state.on_error(error, error.sent, now, other_node=other))

    def _tell(self, node: Node, change: NodeChange) -> None:
        for hooks in self._listening():
            if hooks.on_node_state is not None:
                hooks.on_node_state(node.endpoint, change)

    def _tell_retry(self, delay_s: float) -> None:
        attempt, node = self._attempt, self._node
        assert node is not None
        if attempt is None:
            number = 1 if self._state is None else self._state.attempts
            attempt = Attempt(self.request, node.endpoint, number, self._picked_at)
        for hooks in self._listening():
            if hooks.on_retry is not None:
                hooks.on_retry(attempt, delay_s)

    def _listening(self) -> Iterator[Hooks]:
        """Yield whom to tell what happens seldom: the log hears of it at every level."""
        if self._hooks is not None:
            yield self._hooks
        if self._hooks is not self._settings.logged_hooks:
            yield _LOG_HOOKS

    def _begin(self) -> RetryState:
        request = self._original
        body = request.body
        return self._policy.start(
            request.method,
            started=self._started,
            deadline=self.deadline,
            idempotent=is_idempotent(
                request.method, request.idempotent, request.headers, self._policy.idempotent_methods
            ),
            replayable=body.replayable if isinstance(body, BodyStream) else True,
        )

    def _follow(self, decision: Decision) -> float | None:
        if isinstance(decision, RetryAfter):
            self._stay = decision.same_node
            if not decision.same_node and self._node is not None:
                self._tried = (*self._tried, self._node)
            self._tell_retry(decision.delay_s)
            return decision.delay_s
        if isinstance(decision, Raise):
            raise decision.error
        self.response = decision.response
        return None
