"""Many calls at once over a few connections on one thread, results in the order of submission.

``client.batch`` and ``client.create_batch()`` return one. Every call of the client can be queued, flat and grouped;
nothing is sent before :meth:`Batch.wait`. At most ``max_connections`` requests are in flight; the window moves with
the oldest, so that memory and the server's load stay bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

from v3io.dataplane.request import Request
from v3io.dataplane.response import Response
from v3io.dataplane.transport import Actions

__all__ = ["Batch", "BatchCalls", "QueuedCall"]

_FLAT = [
    "create_schema",
    "create_stream",
    "delete_item",
    "delete_object",
    "describe_stream",
    "get_container_contents",
    "get_containers",
    "get_item",
    "get_items",
    "get_object",
    "get_records",
    "put_item",
    "put_object",
    "put_records",
    "seek_shard",
    "update_item",
    "update_stream",
]
_GROUPED = {
    "kv": ["create_schema", "delete", "get", "put", "scan", "update"],
    "object": ["delete", "get", "head", "put"],
    "stream": ["create", "describe", "get_records", "put_records", "seek", "update"],
    "container": ["list"],
}
_NOT_RUN: Any = object()


class QueuedCall:
    """A call in a batch, and what became of it."""

    __slots__ = ("_outcome", "call")

    def __init__(self, call: Any) -> None:
        self.call = call
        self._outcome: Any = _NOT_RUN

    @property
    def done(self) -> bool:
        """Whether the batch has run this call."""
        return self._outcome is not _NOT_RUN

    def result(self) -> Response:
        """Return the response.

        Raises:
            RuntimeError: The batch has not run, or ended before this call was sent.
            Exception: What the call failed with.
        """
        if self._outcome is _NOT_RUN:
            raise RuntimeError("this call has not been sent: wait() for its batch first")
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        response: Response = self._outcome
        return response

    def exception(self) -> BaseException | None:
        """Return what the call failed with; ``None`` when it succeeded or was not sent."""
        return self._outcome if isinstance(self._outcome, BaseException) else None


class _Group:
    """Holds the queueing calls of one model (``batch.kv.put``, ...)."""

    def __init__(self, calls: dict[str, Callable[..., QueuedCall]]) -> None:
        self.__dict__.update(calls)

    def __getattr__(self, name: str) -> Callable[..., QueuedCall]:
        raise AttributeError(f"a batch cannot queue {name!r}")


class BatchCalls:
    """The queueing side of a batch, the same for the blocking and the asyncio client.

    Each call takes the arguments of the client's call of that name, checks them at once and returns a
    :class:`QueuedCall` (0.7.2 returned ``None``).
    """

    get_containers: Callable[..., QueuedCall]
    get_container_contents: Callable[..., QueuedCall]
    get_object: Callable[..., QueuedCall]
    put_object: Callable[..., QueuedCall]
    delete_object: Callable[..., QueuedCall]
    put_item: Callable[..., QueuedCall]
    update_item: Callable[..., QueuedCall]
    get_item: Callable[..., QueuedCall]
    get_items: Callable[..., QueuedCall]
    delete_item: Callable[..., QueuedCall]
    create_schema: Callable[..., QueuedCall]
    create_stream: Callable[..., QueuedCall]
    update_stream: Callable[..., QueuedCall]
    describe_stream: Callable[..., QueuedCall]
    seek_shard: Callable[..., QueuedCall]
    put_records: Callable[..., QueuedCall]
    get_records: Callable[..., QueuedCall]
    delete_stream: Callable[..., QueuedCall]

    def _register(self, encoding: Any, composite: Any) -> None:
        """Make the queueing calls.

        Args:
            encoding: Client whose calls return a request when told to encode only.
            composite: Client whose calls of several requests are run as they are.
        """
        self._queue: list[QueuedCall] = []
        for name in _FLAT:
            setattr(self, name, self._queueing(getattr(encoding, name)))
        groups = {
            group: {name: self._queueing(getattr(getattr(encoding, group), name)) for name in names}
            for group, names in _GROUPED.items()
        }
        groups["container"]["get"] = groups["container"]["list"]  # compat: as 0.7.2 named it
        groups["stream"]["delete"] = self._queueing_composite(composite.stream.delete)
        self.kv = _Group(groups["kv"])
        self.object = _Group(groups["object"])
        self.stream = _Group(groups["stream"])
        self.container = _Group(groups["container"])
        self.delete_stream = self._queueing_composite(composite.delete_stream)

    def __len__(self) -> int:
        """Return the number of calls that wait to be sent."""
        return len(self._queue)

    def _queueing(self, call: Callable[..., Any]) -> Callable[..., QueuedCall]:
        def queue(*args: Any, **kwargs: Any) -> QueuedCall:
            queued = QueuedCall(call(*args, transport_actions=Actions.encode_only, **kwargs))
            self._queue.append(queued)
            return queued

        return queue

    def _queueing_composite(self, call: Callable[..., Any]) -> Callable[..., QueuedCall]:
        def queue(*args: Any, **kwargs: Any) -> QueuedCall:
            queued = QueuedCall(lambda: call(*args, **kwargs))
            self._queue.append(queued)
            return queued

        return queue


def collect(queue: list[QueuedCall], *, return_errors: bool) -> list[Any]:
    """Return the outcomes of a batch's calls, or raise its first error.

    Args:
        queue: The calls, in the order queued.
        return_errors: Return errors in their place of the list.
    """
    results = [None if queued._outcome is _NOT_RUN else queued._outcome for queued in queue]
    if not return_errors:
        for result in results:
            if isinstance(result, Exception):
                result.batch_results = results  # type: ignore[attr-defined]
                raise result
    return results


class Batch(BatchCalls):
    """A queue of calls of one client.

    Args:
        client: The client whose transport carries the batch.
        return_errors: What :meth:`wait` does with errors unless told otherwise.

    A ``raise_for_status`` given to a call wins over that of :meth:`wait`. Reusable after :meth:`wait`, also after one
    that raised. As a context manager it waits at the end of the block (unless the block raised: its calls are then
    dropped)::

        with client.batch() as batch:
            bob = batch.kv.get("users", "people", "bob")
        bob.result().output.item

    Not thread-safe: each thread takes its own from ``client.create_batch()`` or ``client.batch()``.
    """

    def __init__(self, client: Any, *, return_errors: bool = False) -> None:
        self._client = client
        self._return_errors = return_errors
        self._register(client, client)

    def __call__(self, *, return_errors: bool = False) -> Batch:
        """Return a new, independent batch of the same client: ``with client.batch() as batch``.

        Args:
            return_errors: See :meth:`wait`; then the block does not raise and each call tells its own outcome.
        """
        return type(self)(self._client, return_errors=return_errors)

    def __enter__(self) -> Batch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.wait()
        else:
            self._queue = []

    def wait(self, raise_for_status: Any = None, *, return_errors: bool | None = None) -> list[Any]:
        """Send all queued calls and wait for their responses.

        Args:
            raise_for_status: Policy of the calls that bring none of their own.
            return_errors: Put the exception of a failed call in its place of the result instead of raising it; all
                calls are then sent. ``None`` means as the batch was made, usually false.

        Returns:
            One :class:`~v3io.dataplane.response.Response` (or exception, see above) per call, in the order queued.

        Raises:
            HttpResponseError: A status is not accepted.
            TransportError: A call failed on the network. Of this and the above the first one is raised, after the
                calls in flight have ended; calls not yet sent are dropped. Its attribute ``batch_results`` is the
                list that would have been returned, with ``None`` for calls that were not sent.
        """
        if return_errors is None:
            return_errors = self._return_errors
        queue, self._queue = self._queue, []
        transport = self._client._transport
        window = transport.max_connections
        in_flight: deque[QueuedCall] = deque()
        stop = False
        try:
            for queued in queue:
                call = queued.call
                if not isinstance(call, Request):
                    # A composite call does I/O of its own: it runs alone, in its place of the order.
                    while in_flight:
                        stop = self._receive(in_flight, raise_for_status) or stop
                    if stop and not return_errors:
                        break
                    try:
                        queued._outcome = call()
                    except Exception as error:
                        queued._outcome = error
                        stop = True
                else:
                    if len(in_flight) >= window:
                        stop = self._receive(in_flight, raise_for_status) or stop
                    if stop and not return_errors:
                        break
                    stop = self._send(queued, in_flight, raise_for_status) or stop
                if stop and not return_errors:
                    break
            while in_flight:
                self._receive(in_flight, raise_for_status)
        except BaseException:
            for queued in in_flight:
                transport.abandon(queued.call)
            transport.restart()
            raise
        return collect(queue, return_errors=return_errors)

    def _send(
        self, queued: QueuedCall, in_flight: deque[QueuedCall], raise_for_status: Any
    ) -> bool:
        """Send one request; while other users keep all connections busy, use our own as they come free."""
        transport = self._client._transport
        failed = False
        try:
            while not transport.begin(queued.call, wait_for_connection=not in_flight):
                failed = self._receive(in_flight, raise_for_status) or failed
        except Exception as error:
            queued._outcome = error
            return True
        in_flight.append(queued)
        return failed

    def _receive(self, in_flight: deque[QueuedCall], raise_for_status: Any) -> bool:
        """Wait for the oldest request in flight; return whether it failed."""
        queued = in_flight.popleft()
        try:
            queued._outcome = self._client._transport.wait_response(queued.call, raise_for_status)
        except Exception as error:
            queued._outcome = error
            return True
        return False
