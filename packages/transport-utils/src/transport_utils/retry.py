"""Decides, after each failed attempt of a call, whether to try again, when and where.

Used by the sync and async drivers, by batch and by pylm. Policy floor: no clock, no sleep, no HTTP library; ``now`` is
given, in seconds on the monotonic clock. A driver asks :meth:`RetryPolicy.settles` first, so that a call that succeeds
at once pays for one set look-up, and creates a :class:`RetryState` at its first failure::

    if policy.settles(status):
        return response
    state = state or policy.start(method, started=started, deadline=deadline)
    match state.on_response(status, headers, now, response=response):
        case Return(last): return last
        case Raise(error): raise error
        case RetryAfter(delay_s): ...wait, then try again
"""

from __future__ import annotations

import dataclasses
import math
import random
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, TypeAlias

from transport_utils import errors
from transport_utils.backoff import Backoff, Exponential
from transport_utils.budget import RetryBudget
from transport_utils.deadline import Deadline
from transport_utils.errors import ConfigurationError, SentState
from transport_utils.headers import Headers
from transport_utils.idempotency import IDEMPOTENT_METHODS, may_resend

__all__ = [
    "Decision",
    "Raise",
    "RetryAfter",
    "RetryPolicy",
    "RetryState",
    "Return",
    "retry_after_s",
]


@dataclasses.dataclass(frozen=True, slots=True)
class Return:
    """Give the caller this response: the one just received, or the last one before a network failure."""

    response: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Raise:
    """Raise this error; it knows its earlier attempts, the limit and the time spent."""

    error: BaseException


@dataclasses.dataclass(frozen=True, slots=True)
class RetryAfter:
    """Wait ``delay_s`` seconds (0: at once), then send again.

    ``same_node`` is true for the resend after a stale connection, which must not leave the node; otherwise the driver
    should pick a node that this call has not tried.
    """

    delay_s: float
    same_node: bool = False


Decision: TypeAlias = "Return | Raise | RetryAfter"

# Connecting failed, so nothing was sent and another node may do better.
_CONNECT_FAILURES = (
    errors.ConnectError,
    errors.ConnectTimeout,
    errors.DnsError,
    errors.ProxyError,
    errors.TlsError,
)
# Trying the same node again would give the same result.
_NODE_FAULTS = (errors.CertificateError, errors.FingerprintMismatch)
# The request itself or a limit of the caller is at fault: another attempt cannot help.
_FINAL = (
    errors.BodyNotReplayable,
    errors.ConfigurationError,
    errors.DecodeBomb,
    errors.HeaderTooLarge,
    errors.LocalProtocolError,
    errors.NoNodeAvailable,
    errors.PoolTimeout,
    errors.SerializationError,
    errors.TotalTimeout,
    errors.TransportClosed,
)
# After one of these an earlier response of the same call tells the caller more.
_NETWORK = (
    errors.ConnectTimeout,
    errors.ConnectionFailed,
    errors.ProtocolError,
    errors.ReadTimeout,
    errors.RetryBudgetExhausted,
    errors.WriteTimeout,
)


_DEFAULT_BACKOFF = Exponential()


@dataclasses.dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a call is tried again; immutable, shared between threads and tasks.

    Retried by default: connection failures (nothing was sent), the statuses of ``on_status``, and connections that
    broke in the middle when repeating the request does no harm. A request that is not idempotent is never sent again
    once a byte of it left, except after a status of ``refused_status``.

    Args:
        max_retries: Retries after the first attempt; 0 for none, ``None`` for as many as the deadline allows.
        on_status: Response statuses that are retried.
        on_timeout: Whether a read or write timeout is retried (idempotent requests only). A connect timeout counts as a
            connection failure and is retried anyway.
        backoff: Pauses between attempts.
        retry_after_max_s: Longest ``Retry-After`` that is obeyed, seconds.
        retry_after_excess: What a longer one does: ``"raise"`` :class:`~transport_utils.errors.RetryAfterExceeded`, or
            ``"cap"`` the pause at ``retry_after_max_s``.
        idempotent_methods: Upper-case methods that may be repeated without asking.
        refused_status: Those of ``on_status`` by which a server says that it did *not* do the work, so that any method
            may be sent again. 502 and 504 come from gateways and say nothing of the kind.
        resend_stale: Whether an idempotent request that met a closed kept-alive connection is sent again at once,
            once per call, without counting as a retry.
        budget: Shared allowance of retries; ``None`` for no allowance.
        classify: Asked first, with the status or the exception: true to retry, false not to, ``None`` to let the rules
            above decide. It cannot lift the rule about idempotency.
        prefer_response: Whether a call that saw a response and then only network failures returns that response;
            otherwise the error is raised, with the response's ``meta`` and ``body`` attached.
        rng: Source of the jitter.
        wall_clock: Returns seconds since the epoch; used only for a ``Retry-After`` date without a ``Date`` beside it.

    Raises:
        ConfigurationError: An option is out of range.
    """

    max_retries: int | None = 3
    on_status: Collection[int] = frozenset({429, 502, 503, 504})
    on_timeout: bool = False
    backoff: Backoff = _DEFAULT_BACKOFF
    retry_after_max_s: float = 60.0
    retry_after_excess: Literal["raise", "cap"] = "raise"
    idempotent_methods: Collection[str] = IDEMPOTENT_METHODS
    refused_status: Collection[int] = frozenset({429, 503})
    resend_stale: bool = True
    budget: RetryBudget | None = None
    classify: Callable[[int | BaseException], bool | None] | None = None
    prefer_response: bool = True
    rng: random.Random = dataclasses.field(default_factory=random.Random, repr=False, compare=False)
    wall_clock: Callable[[], float] = dataclasses.field(
        default=time.time, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        limit = self.max_retries
        if limit is not None and (
            isinstance(limit, bool) or not isinstance(limit, int) or limit < 0
        ):
            raise ConfigurationError(
                f"max_retries={limit!r}: expected a whole number >= 0, or None for no limit"
            )
        if not (self.retry_after_max_s >= 0 and math.isfinite(self.retry_after_max_s)):
            raise ConfigurationError(
                f"retry_after_max_s={self.retry_after_max_s!r}: expected seconds >= 0"
            )
        if self.retry_after_excess not in ("raise", "cap"):
            raise ConfigurationError(
                f"retry_after_excess={self.retry_after_excess!r}: expected 'raise' or 'cap'"
            )
        for name in ("on_status", "refused_status"):
            statuses = frozenset(getattr(self, name))
            if not all(isinstance(status, int) and 100 <= status <= 599 for status in statuses):
                raise ConfigurationError(
                    f"{name}={sorted(statuses, key=str)!r}: expected HTTP statuses"
                )
            object.__setattr__(self, name, statuses)
        methods = frozenset(self.idempotent_methods)
        if any(method != method.upper() for method in methods):
            raise ConfigurationError(
                f"idempotent_methods={sorted(methods)!r}: expected upper-case methods"
            )
        object.__setattr__(self, "idempotent_methods", methods)

    def replace(self, **changes: Any) -> RetryPolicy:
        """Return a copy with some options changed."""
        return dataclasses.replace(self, **changes)

    def settles(self, status: int) -> bool:
        """Return whether a first response of this status ends the call, and credit the budget if so."""
        if status in self.on_status or self.classify is not None:
            return False
        if self.budget is not None:
            self.budget.credit()
        return True

    def start(
        self,
        method: str,
        *,
        started: float,
        deadline: Deadline,
        idempotent: bool | None = None,
        replayable: bool = True,
    ) -> RetryState:
        """Return the state of one call, after its first attempt.

        Args:
            method: Upper-case method.
            started: When the call began, monotonic seconds.
            deadline: When the call must have ended; no pause is begun that would pass it.
            idempotent: The caller's word on whether repeating does harm (an idempotency key counts as its word, see
                :func:`transport_utils.idempotency.is_idempotent`); ``None`` to go by the method.
            replayable: Whether the body can be sent again; if not, a retry that is due ends in ``BodyNotReplayable``
                unless nothing was sent.
        """
        if idempotent is None:
            idempotent = method in self.idempotent_methods
        return RetryState(self, started, deadline, idempotent, replayable)


class RetryState:
    """The attempts of one call so far; belongs to that call, not thread-safe.

    Attributes:
        attempts: Attempts made, the free resend included.
        retries: Those of them that count against ``max_retries``.
    """

    __slots__ = (
        "_deadline",
        "_history",
        "_idempotent",
        "_policy",
        "_previous_s",
        "_replayable",
        "_resent",
        "_response",
        "_spent",
        "_started",
        "attempts",
        "retries",
    )

    def __init__(
        self,
        policy: RetryPolicy,
        started: float,
        deadline: Deadline,
        idempotent: bool,
        replayable: bool,
    ) -> None:
        self._policy = policy
        self._started = started
        self._deadline = deadline
        self._idempotent = idempotent
        self._replayable = replayable
        self._history: list[int | BaseException] = []
        self._response: Any = None
        self._previous_s = 0.0
        self._resent = False
        self._spent = 0
        self.attempts = 0
        self.retries = 0

    @property
    def history(self) -> tuple[int | BaseException, ...]:
        """Statuses and errors of all attempts so far, newest first."""
        return tuple(reversed(self._history))

    def on_response(
        self, status: int, headers: Mapping[str, str], now: float, *, response: Any = None
    ) -> Decision:
        """Decide after a complete response.

        Args:
            status: Its status.
            headers: Its headers.
            now: Monotonic seconds.
            response: Returned to the caller if this turns out to be the last response of the call.
        """
        policy = self._policy
        self.attempts += 1
        self._history.append(status)
        self._response = response
        verdict = policy.classify(status) if policy.classify is not None else None
        if verdict is None:
            verdict = status in policy.on_status
        if not verdict:
            if policy.budget is not None:
                policy.budget.credit(self._spent)
            return Return(response)
        if not (self._idempotent or status in policy.refused_status):
            return Return(response)
        if not self._retries_left() or not self._replayable:
            return Return(response)
        delay_s = self._next_delay()
        asked_s = retry_after_s(headers, policy.wall_clock)
        if asked_s is not None:
            if asked_s > policy.retry_after_max_s and policy.retry_after_excess == "raise":
                return Raise(self._too_long(status, asked_s, now, response))
            delay_s = max(delay_s, min(asked_s, policy.retry_after_max_s))
        if now + delay_s >= self._deadline.at or not self._pay(
            throttled=status in policy.refused_status
        ):
            return Return(response)
        return self._retry(delay_s)

    def on_error(
        self, error: BaseException, sent: SentState, now: float, *, other_node: bool = False
    ) -> Decision:
        """Decide after an attempt that brought no complete response.

        Args:
            error: What happened.
            sent: How far the request got.
            now: Monotonic seconds.
            other_node: Whether a healthy node that this call has not tried is there; the first retry after a connection
                failure then needs no pause.
        """
        self.attempts += 1
        self._history.append(error)
        if self._resends_free(error, sent) and not self._deadline.expired(now):
            self._resent = True
            return RetryAfter(0.0, same_node=True)
        if not self._is_retried(error, sent, other_node) or not self._retries_left():
            return self._fail(error, now)
        if not self._replayable and sent is not SentState.NOT_SENT:
            return self._fail(self._not_replayable(error), now)
        connect_failed = isinstance(error, _CONNECT_FAILURES)
        delay_s = 0.0 if connect_failed and other_node and self.retries == 0 else self._next_delay()
        if now + delay_s >= self._deadline.at:
            return self._fail(error, now)
        if not self._pay(throttled=False):
            exhausted = errors.RetryBudgetExhausted(
                f"not retried, since recent failures used up the retry budget; the failure was: {error}",
                sent=sent,
            )
            exhausted.__cause__ = error
            return self._fail(exhausted, now)
        return self._retry(delay_s)

    def _is_retried(self, error: BaseException, sent: SentState, other_node: bool) -> bool:
        policy = self._policy
        if not may_resend(self._idempotent, sent):
            return False
        verdict = policy.classify(error) if policy.classify is not None else None
        if verdict is not None:
            return verdict
        if isinstance(error, _FINAL):
            return False
        if isinstance(error, _NODE_FAULTS):
            return other_node
        if isinstance(error, (errors.ReadTimeout, errors.WriteTimeout)):
            return policy.on_timeout
        return isinstance(
            error, (errors.ConnectionFailed, errors.ConnectTimeout, errors.ProtocolError)
        )

    def _resends_free(self, error: BaseException, sent: SentState) -> bool:
        return (
            isinstance(error, errors.StaleConnection)
            and self._policy.resend_stale
            and not self._resent
            and may_resend(self._idempotent, sent)
            and (self._replayable or sent is SentState.NOT_SENT)
        )

    def _retries_left(self) -> bool:
        limit = self._policy.max_retries
        return limit is None or self.retries < limit

    def _next_delay(self) -> float:
        return self._policy.backoff.delay(self.retries + 1, self._previous_s, self._policy.rng)

    def _pay(self, *, throttled: bool) -> bool:
        budget = self._policy.budget
        if budget is None:
            return True
        cost = budget.cost(throttled=throttled)
        if not budget.acquire(cost):
            return False
        self._spent += cost
        return True

    def _retry(self, delay_s: float) -> RetryAfter:
        self.retries += 1
        self._previous_s = delay_s
        last = self._history[-1]
        if isinstance(last, BaseException):
            # A traceback would keep the frames of the attempt alive, and with them its socket.
            last.__traceback__ = None
        return RetryAfter(delay_s)

    def _fail(self, error: BaseException, now: float) -> Return | Raise:
        if (
            self._response is not None
            and self._policy.prefer_response
            and isinstance(error, _NETWORK)
        ):
            return Return(self._response)
        self._describe(error, now)
        return Raise(error)

    def _describe(self, error: BaseException, now: float) -> None:
        if not isinstance(error, errors.TransportError):
            return
        limit = self._policy.max_retries
        error.attempts = self.history[1:]
        error.attempt_limit = 0 if limit is None else limit + 1 + self._resent
        error.elapsed_s = now - self._started
        if self._response is not None and error.meta is None:
            error.meta = getattr(self._response, "meta", None)
            error.body = getattr(self._response, "content", None)

    def _not_replayable(self, cause: BaseException) -> errors.BodyNotReplayable:
        error = errors.BodyNotReplayable(
            "a retry was due, but the body can be read only once: pass bytes or a seekable file, or allow no retries; "
            f"the failure was: {cause}",
            sent=getattr(cause, "sent", SentState.NOT_SENT),
        )
        error.__cause__ = cause
        return error

    def _too_long(
        self, status: int, asked_s: float, now: float, response: Any
    ) -> errors.RetryAfterExceeded:
        error = errors.RetryAfterExceeded(
            f"status {status} with a Retry-After of {asked_s:g} s, longer than retry_after_max_s="
            f"{self._policy.retry_after_max_s:g}; try again later, or allow a longer pause",
            delay_s=asked_s,
            sent=SentState.RESPONSE_STARTED,
        )
        self._describe(error, now)
        return error


def retry_after_s(
    headers: Mapping[str, str], wall_clock: Callable[[], float] = time.time
) -> float | None:
    """Return the pause a response asks for, in seconds >= 0; ``None`` when it asks for none we understand.

    Args:
        headers: Response headers in any case: ``retry-after-ms`` and ``x-ms-retry-after-ms``
            (milliseconds), else ``retry-after`` (seconds or an HTTP date, which is measured from the response's own
            ``date`` when there is one, so that a wrong clock on either side does no harm).
        wall_clock: Returns seconds since the epoch; called only for a date without a ``date`` header.
    """
    if not isinstance(headers, Headers):
        headers = {name.lower(): value for name, value in headers.items()}
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        milliseconds = _number(headers.get(name))
        if milliseconds is not None:
            return milliseconds / 1000
    text = headers.get("retry-after")
    if text is None:
        return None
    seconds = _number(text)
    if seconds is not None:
        return seconds
    due = _http_date(text)
    if due is None:
        return None
    sent_at = _http_date(headers.get("date"))
    return max(0.0, due - (wall_clock() if sent_at is None else sent_at))


def _number(text: str | None) -> float | None:
    text = (text or "").strip()
    if not text.replace(".", "", 1).isdecimal() or not text.isascii():
        return None
    return min(float(text), 1e9)


def _http_date(text: str | None) -> float | None:
    if not text:
        return None
    import calendar
    from email.utils import parsedate_tz  # only for a date, which is rare

    parsed = parsedate_tz(text)
    if parsed is None:
        return None
    try:
        return calendar.timegm(parsed[:9]) - (parsed[9] or 0)
    except (ValueError, OverflowError):
        return None
