"""Many requests over several connections on one thread: results in order, an error per request.

Called by :meth:`transport_utils.transport.Transport.batch`. Threads would cost two to three times as much per request,
since they hand the interpreter's lock back and forth; here one thread sends on up to N connections and takes the
responses as they come. What is there to be taken is taken before anything is sent, and requests are written down before
the first of them is sent: each send wakes the server, which disturbs us the less, the closer they are together.
Retries, health and deadlines are those of single calls.
"""

from __future__ import annotations

import collections
import heapq
import math
import select
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeAlias

from transport_utils.backends import HttpBackend
from transport_utils.backends.native import Begun, Channel, NativeBackend
from transport_utils.budget import RateLimiter
from transport_utils.call import Call
from transport_utils.errors import ConfigurationError, TransportClosed, TransportError
from transport_utils.messages import Request, Response

__all__ = ["Sender", "run_batch"]


class Sender(Protocol):
    """What a batch needs of the transport."""

    @property
    def backend(self) -> HttpBackend:
        """The backend in use."""

    @property
    def rate_limiter(self) -> RateLimiter | None:
        """What the attempts keep to."""

    @property
    def start_call(self) -> Callable[[Request], Call]:
        """Returns the state of a call."""

    def run_call(self, call: Call) -> Response:
        """Make the attempts of a call."""

    def pause(self, seconds: float) -> None:
        """Sleep, unless the transport is closed."""


def run_batch(
    transport: Sender,
    requests: Iterable[Request],
    *,
    connections: int = 8,
    stop_on_error: bool = False,
) -> list[Response | TransportError]:
    """Send all requests and return their results, in the order of the requests.

    Args:
        transport: Any; with the native backend requests overlap, with others they are sent one after another.
        requests: What to send; consumed as connections become free. Those without a timeout of their own get the
            transport's. Streamed bodies and responses are sent by themselves, in their turn.
        connections: The most requests in flight, >= 1; an endpoint's ``max_connections`` holds besides.
        stop_on_error: Whether to send nothing more after the first error; requests not sent then get
            :class:`TransportClosed` as their result, those in flight are completed.

    Returns:
        For each request its response (of any status) or the error that ended it.

    Raises:
        ConfigurationError: ``connections`` is below 1.
    """
    if isinstance(connections, bool) or not isinstance(connections, int) or connections < 1:
        raise ConfigurationError(f"connections={connections!r}: expected a whole number >= 1")
    return _Batch(transport, connections, stop_on_error).run(requests)


_Flight: TypeAlias = tuple[int, Call, Channel, Begun, float]
"""A request in flight: its index, its call, where it was begun, and when a limit is reached, monotonic seconds."""

_Written: TypeAlias = tuple[int, Call, Channel, bytes]
"""A request about to be sent: its index, its call, where to, and its bytes; it has its turn at the rate limiter."""


class _Batch:
    def __init__(self, transport: Sender, connections: int, stop_on_error: bool) -> None:
        self._transport = transport
        self._start = transport.start_call
        self._unlimited = transport.rate_limiter is None
        backend = transport.backend
        self._native = backend if isinstance(backend, NativeBackend) else None
        self._most = connections
        self._stop_on_error = stop_on_error
        self._results: list[Any] = []
        self._flights: dict[int, _Flight] = {}
        self._unsent: collections.deque[_Written] = collections.deque()
        self._poll = select.poll()
        self._watched: set[int] = set()
        self._earliest = math.inf
        self._again: list[tuple[float, int, Call, bool]] = []
        self._stopped = False

    def run(self, requests: Iterable[Request]) -> list[Response | TransportError]:
        """Send all and return the results."""
        waiting = iter(requests)
        flights, unsent, most = self._flights, self._unsent, self._most
        try:
            while True:
                while len(flights) + len(unsent) < most:
                    if self._again and self._resume():
                        continue
                    request = next(waiting, None)
                    if request is None:
                        break
                    self._take(request)
                if unsent:
                    self._send()
                elif flights:
                    self._collect()
                elif self._again:
                    self._sleep()
                else:
                    return self._results
        except BaseException:
            for _, _, channel, begun, _ in flights.values():
                channel.abandon(begun)
            for _, call, _, _ in unsent:
                call.unpace()
            for _, _, call, paced in self._again:
                if paced:
                    call.unpace()
            raise

    def _take(self, request: Request) -> None:
        index = len(self._results)
        self._results.append(None)
        if self._stopped:
            self._leave_out(index, request)
            return
        try:
            call = self._start(request)
        except TransportError as error:
            self._finish(index, error)
            return
        self._attempt(index, call)

    def _leave_out(self, index: int, request: Request) -> None:
        self._results[index] = TransportClosed(
            "not sent: the batch stops at its first error",
            method=request.method,
            target=request.target,
        )

    def _attempt(self, index: int, call: Call, paced: bool = False) -> None:
        """Write a call's request down to be sent, or make the whole call here if it cannot be overlapped.

        ``paced`` says that it has waited for its turn at the rate limiter.
        """
        backend = self._native
        request = call.request
        body = request.body
        if backend is None or request.stream or not (body is None or type(body) is bytes):
            self._send()
            try:
                self._finish(index, self._transport.run_call(call))
            except TransportError as error:
                self._finish(index, error)
            return
        try:
            if not (self._unlimited or paced) and (wait_s := call.pace()):
                heapq.heappush(self._again, (time.monotonic() + wait_s, index, call, True))
                return
            node = call.pick()
        except TransportError as error:
            self._finish(index, error)
            return
        try:
            request = call.request
            channel = backend.channel(node.endpoint)
            if body is None:
                payload = channel.template.encode(request.method, request.target, request.headers)
            else:
                payload = channel.template.encode(
                    request.method, request.target, request.headers, len(body)
                )
                payload += body
        except BaseException as error:
            self._failed(index, call, error)
            return
        self._unsent.append((index, call, channel, payload))

    def _send(self) -> None:
        """Send what has been written down."""
        flights, unsent, watched = self._flights, self._unsent, self._watched
        while unsent:
            index, call, channel, payload = unsent.popleft()
            timeout = call.request.timeout
            try:
                # Never wait for a connection while ours are unread: they might be those we wait for.
                while (
                    begun := channel.begin(payload, timeout, call.deadline, wait=not flights)
                ) is None:
                    self._collect()
            except BaseException as error:
                self._failed(index, call, error)
                continue
            limit_s = timeout.read
            due = call.deadline.at
            if limit_s is not None and begun[3] + limit_s < due:
                due = begun[3] + limit_s
            if due < self._earliest:
                self._earliest = due
            number = begun[0].number
            if number not in watched:
                watched.add(number)
                self._poll.register(number, select.POLLIN)
            flights[number] = (index, call, channel, begun, due)

    def _collect(self) -> None:
        """Wait until responses begin to arrive or a limit is reached, and complete what is ready."""
        flights = self._flights
        wake = min(self._earliest, self._again[0][0]) if self._again else self._earliest
        wait_ms = None if wake == math.inf else max(0, (wake - time.monotonic()) * 1000 + 1)
        ready = self._poll.poll(wait_ms)
        for number, _ in ready:
            flight = flights.pop(number, None)
            if flight is None:
                # An idle connection has been closed, by its peer or by the pool.
                self._watched.discard(number)
                self._poll.unregister(number)
            else:
                self._complete(flight)
        if not ready:
            now = time.monotonic()
            for number, flight in list(flights.items()):
                if flight[4] <= now:
                    del flights[number]
                    # The exchange itself finds out which limit it was.
                    self._complete(flight, expired=True)
            self._earliest = min((flight[4] for flight in flights.values()), default=math.inf)

    def _complete(self, flight: _Flight, *, expired: bool = False) -> None:
        index, call, channel, begun, _ = flight
        request = call.request
        try:
            head, content, reused = channel.end(
                begun, request.method, request.timeout, call.deadline, expired=expired
            )
            pause_s = call.answered(Response(head, content, channel.base_url, reused))
        except BaseException as error:
            self._failed(index, call, error)
            return
        if pause_s is None:
            self._results[index] = call.response
        else:
            heapq.heappush(self._again, (time.monotonic() + pause_s, index, call, False))

    def _failed(self, index: int, call: Call, error: BaseException) -> None:
        try:
            pause_s = call.failed(error)
        except TransportError as final:
            self._finish(index, final)
            return
        if pause_s is None:
            self._finish(index, call.response)
        else:
            heapq.heappush(self._again, (time.monotonic() + pause_s, index, call, False))

    def _resume(self) -> bool:
        """Send the call whose pause is over, if there is one."""
        if self._again[0][0] > time.monotonic():
            return False
        _, index, call, paced = heapq.heappop(self._again)
        self._attempt(index, call, paced)
        return True

    def _sleep(self) -> None:
        try:
            self._transport.pause(max(0.0, self._again[0][0] - time.monotonic()))
        except TransportClosed as closed:
            for _, index, call, paced in self._again:
                if paced:
                    call.unpace()
                self._finish(index, closed)
            self._again.clear()

    def _finish(self, index: int, result: Any) -> None:
        self._results[index] = result
        if self._stop_on_error and isinstance(result, TransportError):
            self._stopped = True
            unsent, kept = list(self._unsent), self._unsent
            kept.clear()
            for written in unsent:
                if written[1].begun:  # a further attempt of a call that was in flight
                    kept.append(written)
                else:
                    written[1].unpace()
                    self._leave_out(written[0], written[1].request)
