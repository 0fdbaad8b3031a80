"""Many calls at once over a few connections on one thread, results in the order of submission.

``client.batch`` and ``client.create_batch()`` return one. Every call of the client can be queued, flat and grouped;
nothing is sent before :meth:`Batch.wait`. At most ``max_connections`` requests are in flight, and each is
forgotten as soon as it has been answered, so that the server's load and our memory stay bounded.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from v3io.dataplane.queued_call import NOT_RUN, QueuedCall
from v3io.dataplane.recorder import Recorder
from v3io.dataplane.request import Request
from v3io.telemetry import Tracer

__all__ = ["Batch", "BatchCalls", "QueuedCall", "collect"]

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

    _client: Any

    def _register(self, client: Any) -> None:
        """Make the queueing calls.

        Args:
            client: Its calls of several requests are run as they are.
        """
        self._recorder = recorder = Recorder(client._access_key)
        for name in _FLAT:
            setattr(self, name, getattr(recorder, name))
        groups: dict[str, dict[str, Callable[..., QueuedCall]]] = {
            group: {name: getattr(getattr(recorder, group), name) for name in names}
            for group, names in _GROUPED.items()
        }
        groups["container"]["get"] = groups["container"]["list"]  # compat: as 0.7.2 named it
        groups["stream"]["delete"] = self._queueing(client.stream.delete)
        self.kv = _Group(groups["kv"])
        self.object = _Group(groups["object"])
        self.stream = _Group(groups["stream"])
        self.container = _Group(groups["container"])
        self.delete_stream = self._queueing(client.delete_stream)

    def _traced(self, queue: list[QueuedCall]) -> contextlib.AbstractContextManager[None]:
        """Return a span around the sending of these calls, where calls are traced."""
        tracer: Tracer | None = self._client._tracer
        return contextlib.nullcontext() if tracer is None or not queue else tracer.batch(queue)

    def __len__(self) -> int:
        """Return the number of calls that wait to be sent."""
        return len(self._recorder.queue)

    def _queueing(self, call: Callable[..., Any]) -> Callable[..., QueuedCall]:
        """Return what queues a call of several requests."""

        def queue(*args: Any, **kwargs: Any) -> QueuedCall:
            queued = QueuedCall(lambda: call(*args, **kwargs))
            self._recorder.queue.append(queued)
            return queued

        return queue


def collect(queue: list[QueuedCall], *, return_errors: bool) -> list[Any]:
    """Return the outcomes of a batch's calls, or raise its first error.

    Args:
        queue: The calls, in the order queued.
        return_errors: Return errors in their place of the list.
    """
    results = [None if queued.outcome is NOT_RUN else queued.outcome for queued in queue]
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
        self._register(client)

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
            self._recorder.take()

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
        queue = self._recorder.take()
        with self._traced(queue):
            self._carry(queue, raise_for_status, return_errors=return_errors)
            return collect(queue, return_errors=return_errors)

    def _carry(
        self, queue: list[QueuedCall], raise_for_status: Any, *, return_errors: bool
    ) -> None:
        transport = self._client._transport
        for is_request, calls in itertools.groupby(queue, _is_request):
            if is_request:
                failed = transport.carry(list(calls), raise_for_status, return_errors=return_errors)
            else:
                failed = _run(calls, return_errors=return_errors)
            if failed and not return_errors:
                break


def _is_request(queued: QueuedCall) -> bool:
    return isinstance(queued.call, Request)


def _run(calls: Iterable[QueuedCall], *, return_errors: bool) -> bool:
    """Run calls that do I/O of their own, in their place of the order; return whether one failed."""
    failed = False
    for queued in calls:
        try:
            queued.outcome = queued.call()
        except Exception as error:
            queued.outcome = error
            failed = True
            if not return_errors:
                break
    return failed
