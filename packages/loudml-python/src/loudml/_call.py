"""One call after its first attempt has failed: whether, when and on which node to go on.

Used by the sync and async transports, which do the sending and the sleeping. Decisions are those of
:class:`transport_utils.retry.RetryState`; here the historic errors are translated for it and back.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from transport_utils import errors as transport_errors
from transport_utils.deadline import Deadline, Timeout
from transport_utils.errors import SentState
from transport_utils.health import Outcome, outcome_of_error, outcome_of_status
from transport_utils.retry import RetryAfter, RetryPolicy, Return

from loudml.errors import ConnectionError, ConnectionTimeout, TransportError, from_transport

__all__ = ["Call", "is_node_failure"]


class Call:
    """A call whose first attempt has failed; belongs to that call.

    Args:
        policy: When to retry.
        request: Method, path, query, body and headers, as given to the connection.
        timeout: ``request_timeout`` of the call.
        idempotent: The caller's word on whether repeating does harm; ``None`` to go by the method.
        started: When the call began, monotonic seconds.

    Attributes:
        tried: The connections that have failed.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        method: str,
        path: str,
        timeout: Any,
        idempotent: bool | None,
        started: float,
    ) -> None:
        self.method = method
        self.path = path
        self.tried: list[Any] = []
        self._timeout = timeout
        self._started = started
        total_s = timeout.total if isinstance(timeout, Timeout) else None
        self._deadline = Deadline.after(total_s, started)
        self._state = policy.start(
            method, started=started, deadline=self._deadline, idempotent=idempotent
        )

    def after(self, failure: TransportError, connection: Any, other_node: bool) -> RetryAfter:
        """Return when to try again.

        Args:
            failure: What the attempt raised.
            connection: Where it was made.
            other_node: Whether a live connection that this call has not tried is there.

        Raises:
            TransportError: It is over: this failure, or the last answer of the call if this one is a network failure;
                with its ``attempts``.
        """
        now = time.monotonic()
        if connection not in self.tried:
            self.tried.append(connection)
        if isinstance(failure.status_code, int):
            decision = self._state.on_response(
                failure.status_code, failure.headers, now, response=failure
            )
            final: Any = failure
        else:
            cause = transport_cause(failure)
            known = cause is not None
            if cause is None:
                cause = _assumed_cause(failure)
            decision = self._state.on_error(cause, cause.sent, now, other_node=other_node)
            final = failure
            if isinstance(decision, Return):
                final = decision.response
            elif known and not isinstance(decision, RetryAfter):
                # The cause has learned how many attempts there were; its text is that of the error.
                final = from_transport(decision.error)  # type: ignore[arg-type]
                final.__cause__ = decision.error
        if isinstance(decision, RetryAfter):
            return decision
        raise self.describe(final, connection, now)

    def describe(self, error: TransportError, connection: Any, now: float) -> TransportError:
        """Return the error with what is known about the call; a status also as a note, since its text is historic."""
        error.method = self.method
        error.path = self.path
        error.node = getattr(connection, "host", None) or error.node
        error.attempts = self._state.history
        error.elapsed_s = now - self._started
        if isinstance(error.status_code, int) and hasattr(error, "add_note"):  # CPython 3.11
            tries = max(1, len(error.attempts))
            error.add_note(
                f"{self.method} {self.path} on {error.node}: status {error.status_code} after {tries}"
                f" {'attempt' if tries == 1 else 'attempts'} in {error.elapsed_s:.1f} s"
            )
        return error

    @property
    def timeout(self) -> Any:
        """The limits of the next attempt: what is left of a total."""
        if isinstance(self._timeout, Timeout) and self._timeout.total is not None:
            left_s = self._deadline.remaining(time.monotonic())
            return dataclasses.replace(self._timeout, total=max(left_s, 0.001))
        return self._timeout

    def succeeded(self, status: int) -> None:
        """Note the answer that ended the call, which gives the retry budget back what the retries took."""
        self._state.on_response(status, {}, time.monotonic())


def transport_cause(failure: TransportError) -> transport_errors.TransportError | None:
    """Return the error of transport-utils behind a failure, ``None`` for those of a user's connection class."""
    cause = failure.__cause__
    return cause if isinstance(cause, transport_errors.TransportError) else None


def is_node_failure(failure: TransportError, policy: RetryPolicy) -> bool:
    """Return whether a failure puts the node on hold.

    A status that is retried does, unless the server only asks for less; of the failures without an answer those that
    are the node's: not a full local pool, a closed client or a limit of the caller, and a slow answer only with
    ``retry_on_timeout``.
    """
    if isinstance(failure.status_code, int):
        outcome = outcome_of_status(
            failure.status_code, retry_after="retry-after" in failure.headers
        )
        return failure.status_code in policy.on_status and outcome is not Outcome.OVERLOAD
    cause = transport_cause(failure) or _assumed_cause(failure)
    if isinstance(cause, (transport_errors.ReadTimeout, transport_errors.WriteTimeout)):
        return policy.on_timeout
    return outcome_of_error(cause) in (Outcome.NETWORK, Outcome.SERVER)


def _assumed_cause(failure: TransportError) -> transport_errors.TransportError:
    """Return what a failure of a user's connection class is taken for: everything was sent, unless it was refused."""
    if isinstance(failure, ConnectionTimeout):
        return transport_errors.ReadTimeout(str(failure), sent=SentState.SENT)
    refused = isinstance(failure.info, ConnectionRefusedError) or (
        isinstance(failure, ConnectionError)
        and type(failure.info).__name__ in ("NewConnectionError", "ConnectionRefusedError")
    )
    if refused:
        return transport_errors.ConnectError(str(failure))
    return transport_errors.ConnectionReset(str(failure), sent=SentState.SENT)
