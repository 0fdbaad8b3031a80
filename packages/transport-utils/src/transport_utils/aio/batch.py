"""Many requests over several connections from one task: results in order, an error per request.

Called by :meth:`transport_utils.aio.transport.AsyncTransport.batch`; the counterpart of :mod:`transport_utils.batch`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from transport_utils.call import Call
from transport_utils.errors import ConfigurationError, TransportClosed, TransportError
from transport_utils.messages import AsyncResponse, Request

__all__ = ["AsyncSender", "run_batch"]


class AsyncSender(Protocol):
    """What a batch needs of the transport."""

    @property
    def start_call(self) -> Callable[[Request], Call]:
        """Returns the state of a call."""

    async def run_call(self, call: Call) -> AsyncResponse:
        """Make the attempts of a call."""


async def run_batch(
    transport: AsyncSender,
    requests: Iterable[Request],
    *,
    connections: int = 8,
    stop_on_error: bool = False,
) -> list[AsyncResponse | TransportError]:
    """Send all requests and return their results, in the order of the requests.

    Args:
        transport: Any.
        requests: What to send; consumed as connections become free. Those without a timeout of their own get the
            transport's.
        connections: The most requests in flight, >= 1; an endpoint's ``max_connections`` holds besides.
        stop_on_error: As for :func:`transport_utils.batch.run_batch`.

    Returns:
        For each request its response (of any status) or the error that ended it.

    Raises:
        ConfigurationError: ``connections`` is below 1.
    """
    if isinstance(connections, bool) or not isinstance(connections, int) or connections < 1:
        raise ConfigurationError(f"connections={connections!r}: expected a whole number >= 1")
    results: list[AsyncResponse | TransportError] = []
    waiting = enumerate(requests)
    stopped = False

    async def work() -> None:
        nonlocal stopped
        for index, request in waiting:
            placeholder = TransportClosed(
                "not sent: the batch stops at its first error",
                method=request.method,
                target=request.target,
            )
            results.append(placeholder)
            if stopped:
                continue
            try:
                results[index] = await transport.run_call(transport.start_call(request))
            except TransportError as error:
                results[index] = error
                stopped = stop_on_error

    workers = [asyncio.ensure_future(work()) for _ in range(connections)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return results
