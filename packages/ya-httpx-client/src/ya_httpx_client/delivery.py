"""Delivering one request: find a provider, execute, and decide after a failure whether to execute again.

Called by ``YagnaTransport``. The caller's own task runs all of it, so there is exactly one outcome and cancelling
needs no bookkeeping. The rules are those of :class:`transport_utils.retry.RetryPolicy`: nothing is executed twice
that could do harm twice, unless the caller said it may.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Any, Protocol

from transport_utils import errors
from transport_utils.backoff import Exponential
from transport_utils.deadline import Deadline
from transport_utils.errors import SentState
from transport_utils.idempotency import is_idempotent
from transport_utils.retry import Raise, RetryAfter, RetryPolicy, RetryState

from ya_httpx_client.errors import Attempt, to_httpx
from ya_httpx_client.events import ExecutionRepeated
from ya_httpx_client.exchange import Timeouts, replayable_content
from ya_httpx_client.instance import Instance
from ya_httpx_client.telemetry import span

__all__ = ["EXTENSION", "Providers", "Rules", "deliver"]

EXTENSION = "ya_httpx_client"
"""Key of a request's ``extensions`` that holds a mapping with ``reexecute``, ``max_executions`` and ``deadline``."""

POLICY = RetryPolicy(max_retries=None, backoff=Exponential(base_s=0.05, cap_s=2.0))


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """How hard a request is tried.

    Args:
        reexecute: Whether a request that is not idempotent may be executed again after it was sent.
        max_executions: Times a request is sent to a provider before it is given up; ``None`` for no limit.
        deadline_s: Longest time from the call to the head of the answer, waiting and repeats included, seconds;
            ``None`` for no limit.
    """

    reexecute: bool = False
    max_executions: int | None = 3
    deadline_s: float | None = 600.0

    def of(self, request: Any) -> Rules:
        """Return these rules with what the request's extension says.

        Raises:
            LocalProtocolError: The extension has an unknown key or is no mapping.
        """
        found = request.extensions.get(EXTENSION)
        if not found:
            return self
        try:
            changed = {
                "deadline_s" if name == "deadline" else name: value for name, value in found.items()
            }
            return dataclasses.replace(self, **changed)
        except (AttributeError, TypeError) as cause:
            raise errors.LocalProtocolError(
                f"extensions[{EXTENSION!r}]={found!r}: expected a mapping with some of "
                "'reexecute', 'max_executions', 'deadline'"
            ) from cause


class Providers(Protocol):
    """Who executes the requests of one URL, as a delivery sees it; :class:`ya_httpx_client.cluster.Cluster`."""

    url: str
    closing: bool
    served: int
    failed: int

    @property
    def rules(self) -> Rules:
        """When requests are executed again."""

    async def acquire(self, timeout_s: float | None, *, first: bool) -> Instance:
        """Return an instance with a slot reserved."""

    def has_free(self) -> bool:
        """Return whether an instance would take a request now."""

    def repeated(self, event: ExecutionRepeated) -> None:
        """Count and announce a repeated execution."""


async def deliver(cluster: Providers, request: Any) -> Any:
    """Return the response to a request.

    Raises:
        httpx.TransportError: A subclass, of the request's own library; ``attempts`` tells what happened on each
        provider. asyncio.CancelledError: The caller was cancelled; the execution was broken off.
    """
    attempts: list[Attempt] = []
    with span(request) as opened:
        try:
            response, provider = await _deliver(cluster, request, attempts)
        except errors.TransportError as error:
            cluster.failed += 1
            raise to_httpx(error, request, attempts) from error
        if opened is not None:
            opened.set_attribute("http.response.status_code", response.status_code)
            opened.set_attribute("ya_httpx_client.executions", len(attempts) + 1)
            opened.set_attribute("ya_httpx_client.provider", provider)
    cluster.served += 1
    return response


async def _deliver(cluster: Providers, request: Any, attempts: list[Attempt]) -> tuple[Any, str]:
    """Return the response and the name of the provider that gave it."""
    rules = cluster.rules.of(request)
    timeouts = Timeouts.of(request)
    started = time.monotonic()
    deadline = Deadline.after(rules.deadline_s, started)
    idempotent = is_idempotent(request.method, rules.reexecute or None, request.headers)
    replayable = replayable_content(request) is not None
    state: RetryState | None = None
    executions = 0
    while True:
        instance = await cluster.acquire(
            deadline.bound(timeouts.pool, time.monotonic()), first=bool(attempts)
        )
        began = time.monotonic()
        try:
            settle = idempotent and replayable
            return await instance.execute(request, timeouts, settle=settle), instance.label
        except errors.TransportError as failure:
            error = failure
        now = time.monotonic()
        attempts.append(Attempt(instance.label, error.sent, now - began, str(error.args[0])))
        executions += error.sent is not SentState.NOT_SENT
        if cluster.closing:
            raise error
        if rules.max_executions is not None and executions >= rules.max_executions:
            raise _given_up(error, executions)
        state = state or POLICY.start(
            request.method,
            started=started,
            deadline=deadline,
            idempotent=idempotent,
            replayable=replayable,
        )
        match state.on_error(error, error.sent, now, other_node=cluster.has_free()):
            case RetryAfter(delay_s=delay_s):
                pass
            case Raise(error=final):
                if not idempotent and error.sent is not SentState.NOT_SENT:
                    error.args = (
                        f"{error.args[0]}; {request.method} may have been executed and is not repeated"
                        f" unless extensions['{EXTENSION}'] says reexecute",
                    )
                raise final
        cluster.repeated(
            ExecutionRepeated(
                cluster.url, request.method, request.url.path, instance.label, str(error)
            )
        )
        if delay_s:
            await asyncio.sleep(delay_s)


def _given_up(error: errors.TransportError, executions: int) -> errors.TransportError:
    """Return an error of the same kind that says the request itself may be what kills providers."""
    return type(error)(
        f"given up after {executions} executions, each of which failed; last: {error.args[0]}",
        sent=error.sent,
    )
