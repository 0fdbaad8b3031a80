"""Which calls may be sent again, and the retry policies of the clients.

Called by the transports after an attempt has failed. The decision itself is :class:`transport_utils.retry.RetryPolicy`;
what this module adds is the knowledge of the API: a PUT is not always idempotent here.

===============================================  =====================================================================
call                                             may be resent when it may already have been applied
===============================================  =====================================================================
lists, head, get, scan, describe, seek,          yes
get_records
object.put, create_schema                        yes
object.put with ``append``                       no
kv.put, kv.update with attributes                yes, unless it has a condition or ``CreateNewItemOnly``
kv.update with an expression                     no
deletes                                          yes; the second answer may be 404
stream.create, stream.update, put_records        no
===============================================  =====================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import orjson
from transport_utils.backoff import Exponential, Schedule
from transport_utils.errors import SentState, TransportError
from transport_utils.messages import HeadLike
from transport_utils.retry import Raise, RetryPolicy, RetryState, Return

from v3io._wire import WireResponse
from v3io.errors import of_transport

__all__ = [
    "AIO_RETRY_INTERVALS",
    "DEFAULT_RETRY",
    "Answer",
    "aio_policy",
    "is_idempotent",
    "settle",
]

Answer: TypeAlias = "tuple[HeadLike, bytes, bool]"
"""Head, body, and whether the connection had served a request before."""

DEFAULT_RETRY = RetryPolicy(
    max_retries=2, backoff=Exponential(base_s=0.1, cap_s=2.0), refused_status=frozenset()
)
"""Policy of the blocking client: two retries with pauses of up to 0.1 and 0.2 s, after connection failures and the
statuses 429, 502, 503, 504. 0.7.2 repeated at once, whatever the call was. A 503 does not prove that nothing was done,
so calls that may not be repeated are not repeated after it either."""

AIO_RETRY_INTERVALS = (0.0, 0.0, 0.1, 0.3, 1.0, *(5.0,) * 12)
"""Pauses of the asyncio client before each retry, seconds, as in 0.7.2."""

_SAFE_FUNCTIONS = frozenset({"DescribeStream", "GetItem", "GetItems", "GetRecords", "SeekShard"})


def aio_policy(intervals: Sequence[float] | None) -> RetryPolicy:
    """Return the policy with one retry per interval, after connection failures only (no status is retried).

    Args:
        intervals: Pauses in seconds, the first one before the first retry; ``None`` for :data:`AIO_RETRY_INTERVALS`,
            empty for no retries.
    """
    pauses = (
        AIO_RETRY_INTERVALS if intervals is None else tuple(float(pause) for pause in intervals)
    )
    if not pauses:
        return RetryPolicy(max_retries=0, on_status=frozenset())
    return RetryPolicy(max_retries=len(pauses), backoff=Schedule(pauses), on_status=frozenset())


def is_idempotent(
    method: str, function: str | None, own_headers: Mapping[str, str] | None, body: Any
) -> bool:
    """Return whether sending this request twice has the effect of sending it once; see the table above.

    Args:
        method: Upper-case method.
        function: ``X-v3io-function``, or ``None``.
        own_headers: Headers of the call; a ``Range`` on PUT appends.
        body: The JSON body as dict or bytes, or anything for calls without a function.
    """
    if function is None:
        return method != "POST" and not (method == "PUT" and own_headers and "Range" in own_headers)
    if function in _SAFE_FUNCTIONS:
        return True
    if function != "PutItem":
        return False
    fields = body if isinstance(body, dict) else orjson.loads(body)
    return not fields.get("ConditionExpression") and fields.get("UpdateMode") != "CreateNewItemOnly"


def settle(
    state: RetryState,
    outcome: TransportError | Answer,
    output: Callable[[Any], Any] | None,
    node: str,
    started: float,
    now: float,
    *,
    repeatable: bool,
) -> WireResponse | float:
    """Return the response that ends a call, or the seconds to wait before its next attempt.

    Args:
        state: Of this call.
        outcome: Of the attempt just made.
        output: For the response.
        node: For the response.
        started: When the call began, monotonic seconds.
        now: Likewise.
        repeatable: Whether the call may be sent twice; if not, the error says so.

    Raises:
        TransportError: The call has failed for good.
    """
    if isinstance(outcome, TransportError):
        decision = state.on_error(outcome, outcome.sent, now)
    else:
        head, content, reused = outcome
        response = WireResponse(
            output, head, content, node, started, now, state.attempts + 1, reused
        )
        decision = state.on_response(head.status, head.headers, now, response=response)
    if isinstance(decision, Return):
        last: WireResponse = decision.response
        return last
    if isinstance(decision, Raise):
        error = decision.error
        if isinstance(error, TransportError):
            if not repeatable and error.sent is not SentState.NOT_SENT:
                error.message += "; it was not sent again, since the platform may have done it: look, then repeat it"
            raise of_transport(error) from error.__cause__
        raise error
    return decision.delay_s
