"""The calls of a batch on their way: at most so many at once, on one thread.

Used by :meth:`v3io.dataplane.transport.httpclient.Transport.carry`. Answers are taken in the order in which they come,
and then requests sent in their place, so that a slow call holds up no other. All answers that are there are taken
before anything is sent, and sends follow right after one another: each wakes the server, and one that shares our
processor interrupts us the more often, the longer we are between sends.
"""

from __future__ import annotations

import math
import select
from collections.abc import Callable, Iterable
from itertools import islice
from time import monotonic
from typing import Any, TypeAlias

from transport_utils.backends.native import Channel
from transport_utils.deadline import Deadline, Timeout
from transport_utils.errors import TransportError

from v3io.dataplane.queued_call import QueuedCall
from v3io.dataplane.request import Encoded, Request

__all__ = ["Payload", "Sent", "Window"]

Payload: TypeAlias = "bytes | Exception | None"
"""A request's bytes; ``None`` when it is streamed; why it cannot be written."""

Sent: TypeAlias = "tuple[Payload, Any, Timeout, Deadline]"
"""A request on its way: its bytes, what the channel began (or the response, or the error), limits and deadline."""

_Flight: TypeAlias = "tuple[QueuedCall, Payload, Any, Timeout, Deadline]"
"""A call and the parts of :data:`Sent`."""


class Window:
    """Carries the calls of one batch.

    Args:
        channel: Where to.
        most: The most requests in flight, >= 1; fewer while others keep the pool's connections busy.
        write: Returns the bytes of a request, ``None`` when it is streamed.
        begin: Sends a request that is not whole bytes.
        end: Returns the response to a request that was begun; ``expired`` when a limit was reached before it came.
        limit: Returns limits and deadline of requests that are sent now.
    """

    def __init__(
        self,
        channel: Channel,
        most: int,
        *,
        write: Callable[[Encoded, str | None], bytes | None],
        begin: Callable[[Request, Payload, Timeout, Deadline], Any],
        end: Callable[..., Any],
        limit: Callable[[], tuple[Timeout, Deadline]],
    ) -> None:
        self._channel = channel
        self._most = most
        self._write = write
        self._begin = begin
        self._end = end
        self._limit = limit
        self._flights: dict[int, _Flight] = {}
        self._poll = select.poll()
        self._watched: set[int] = set()

    def run(
        self, calls: Iterable[QueuedCall], raise_for_status: Any, *, return_errors: bool
    ) -> bool:
        """Send the calls and give each its outcome; return whether one failed.

        Args: as for :meth:`v3io.dataplane.transport.abstract.Transport.carry`.
        """
        waiting = iter(calls)
        unsent: list[tuple[QueuedCall, Payload]] = []
        flights, write, end = self._flights, self._write, self._end
        failed = False
        try:
            while True:
                if not unsent:
                    payload: Payload
                    for queued in islice(waiting, self._most - len(flights)):
                        call = queued.call
                        try:
                            payload = write(call.encoded, call.access_key)
                        except Exception as error:
                            payload = error
                        unsent.append((queued, payload))
                    unsent.reverse()
                ready = self._send(unsent)
                if not flights:
                    return failed
                ready = ready or self._take()
                expired = not ready
                for key in ready or [next(iter(flights))]:
                    queued, payload, outcome, limits, deadline = flights.pop(key)
                    call = queued.call
                    try:
                        response = end(call, payload, outcome, limits, deadline, expired)
                        queued.outcome = response
                        policy = call.raise_for_status or raise_for_status
                        if response.status_code >= 300 or policy:
                            response.raise_for_status(policy)
                    except Exception as error:
                        queued.outcome, failed = error, True
                        if not return_errors:
                            unsent.clear()
                            waiting = iter(())
                    queued.call = None
        except BaseException:
            for _, _, outcome, *_ in flights.values():
                if isinstance(outcome, tuple):
                    self._channel.abandon(outcome)
            raise

    def _send(self, unsent: list[tuple[QueuedCall, Payload]]) -> list[int]:
        """Send requests, the last first, while there are connections; return those that need not be waited for."""
        flights, watched, begin = self._flights, self._watched, self._channel.begin
        settled: list[int] = []
        limits, deadline = self._limit()
        while unsent:
            queued, payload = unsent[-1]
            outcome: Any
            if type(payload) is bytes:
                try:
                    outcome = begin(payload, limits, deadline, wait=not flights)
                except TransportError as error:
                    outcome = error
                if outcome is None:
                    break
            else:
                outcome = self._begin(queued.call, payload, limits, deadline)
            if type(outcome) is tuple and outcome[2] == len(outcome[1]):
                key = outcome[0].number
                if key not in watched:
                    watched.add(key)
                    self._poll.register(key, select.POLLIN)
            else:
                key = -len(unsent)
                settled.append(key)
            unsent.pop()
            flights[key] = queued, payload, outcome, limits, deadline
        return settled

    def _take(self) -> list[int]:
        """Wait until answers begin to arrive, and return whose; empty when the limit of the first is reached."""
        flights = self._flights
        # All have the same limits, so that of the first that was sent is reached first.
        _, _, begun, limits, deadline = next(iter(flights.values()))
        due = deadline.at
        if limits.read is not None and begun[3] + limits.read < due:
            due = begun[3] + limits.read
        while True:
            wait_ms = None if due == math.inf else max(0.0, (due - monotonic()) * 1000 + 1)
            ready = self._poll.poll(wait_ms)
            answered = [number for number, _ in ready if number in flights]
            if answered or not ready:
                return answered
            for (
                number,
                _,
            ) in ready:  # idle connections that have been closed, by their peer or by the pool
                self._watched.discard(number)
                self._poll.unregister(number)
