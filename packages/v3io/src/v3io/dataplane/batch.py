"""Many calls at once over a few connections on one thread, results in the order of submission.

``client.batch`` and ``client.create_batch()`` return one. Every call of the client can be queued, flat and grouped;
nothing is sent before :meth:`Batch.wait`. At most ``max_connections`` requests are in flight; the window moves with
the oldest, so that memory and the server's load stay bounded.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from v3io.dataplane.request import Request
from v3io.dataplane.response import Response
from v3io.dataplane.transport import Actions

__all__ = ["Batch"]

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

    def __init__(self, calls: dict[str, Callable[..., None]]) -> None:
        self.__dict__.update(calls)

    def __getattr__(self, name: str) -> Callable[..., None]:
        raise AttributeError(f"a batch cannot queue {name!r}")


class Batch:
    """A queue of calls of one client.

    Args:
        client: The client whose transport carries the batch.

    Each call takes the arguments of the client's call of that name, checks them at once and returns ``None``. A
    ``raise_for_status`` given to a call wins over that of :meth:`wait`. Reusable after :meth:`wait`, also after one
    that raised. Not thread-safe: each thread takes its own from ``client.create_batch()``.
    """

    get_containers: Callable[..., None]
    get_container_contents: Callable[..., None]
    get_object: Callable[..., None]
    put_object: Callable[..., None]
    delete_object: Callable[..., None]
    put_item: Callable[..., None]
    update_item: Callable[..., None]
    get_item: Callable[..., None]
    get_items: Callable[..., None]
    delete_item: Callable[..., None]
    create_schema: Callable[..., None]
    create_stream: Callable[..., None]
    update_stream: Callable[..., None]
    describe_stream: Callable[..., None]
    seek_shard: Callable[..., None]
    put_records: Callable[..., None]
    get_records: Callable[..., None]

    def __init__(self, client: Any) -> None:
        self._client = client
        self._queue: list[Request | Callable[[], Response]] = []
        for name in _FLAT:
            setattr(self, name, self._queueing(getattr(client, name)))
        groups = {
            group: {name: self._queueing(getattr(getattr(client, group), name)) for name in names}
            for group, names in _GROUPED.items()
        }
        groups["container"]["get"] = groups["container"]["list"]  # compat: as 0.7.2 named it
        groups["stream"]["delete"] = self._queueing_composite(client.stream.delete)
        self.kv = _Group(groups["kv"])
        self.object = _Group(groups["object"])
        self.stream = _Group(groups["stream"])
        self.container = _Group(groups["container"])
        self.delete_stream = self._queueing_composite(client.delete_stream)

    def __len__(self) -> int:
        """Return the number of calls that wait to be sent."""
        return len(self._queue)

    def _queueing(self, call: Callable[..., Any]) -> Callable[..., None]:
        def queue(*args: Any, **kwargs: Any) -> None:
            self._queue.append(call(*args, transport_actions=Actions.encode_only, **kwargs))

        return queue

    def _queueing_composite(self, call: Callable[..., Response]) -> Callable[..., None]:
        def queue(*args: Any, **kwargs: Any) -> None:
            self._queue.append(lambda: call(*args, **kwargs))

        return queue

    def wait(self, raise_for_status: Any = None, *, return_errors: bool = False) -> list[Any]:
        """Send all queued calls and wait for their responses.

        Args:
            raise_for_status: Policy of the calls that bring none of their own.
            return_errors: Put the exception of a failed call in its place of the result instead of raising it; all
                calls are then sent.

        Returns:
            One :class:`~v3io.dataplane.response.Response` (or exception, see above) per call, in the order queued.

        Raises:
            HttpResponseError: A status is not accepted.
            TransportError: A call failed on the network. Of this and the above the first one is raised, after the
                calls in flight have ended; calls not yet sent are dropped. Its attribute ``batch_results`` is the
                list that would have been returned, with ``None`` for calls that were not sent.
        """
        queue, self._queue = self._queue, []
        transport = self._client._transport
        results: list[Any] = [None] * len(queue)
        in_flight: deque[tuple[int, Request]] = deque()
        failed: Exception | None = None
        try:
            for index, call in enumerate(queue):
                # a composite call does I/O of its own: it runs alone, in its place of the order
                window = transport.max_connections if isinstance(call, Request) else 1
                while len(in_flight) >= window:
                    failed = self._receive(in_flight, raise_for_status, results) or failed
                if failed is not None and not return_errors:
                    break
                try:
                    if isinstance(call, Request):
                        in_flight.append((index, transport.send_request(call)))
                    else:
                        results[index] = call()
                except Exception as error:
                    results[index] = error
                    failed = failed or error
                    if not return_errors:
                        break
            while in_flight:
                failed = self._receive(in_flight, raise_for_status, results) or failed
        except BaseException:
            transport.restart()
            raise
        if failed is not None and not return_errors:
            first = next(result for result in results if isinstance(result, Exception))
            first.batch_results = results  # type: ignore[attr-defined]
            raise first
        return results

    def _receive(
        self,
        in_flight: deque[tuple[int, Request]],
        raise_for_status: Any,
        results: list[Any],
    ) -> Exception | None:
        index, request = in_flight.popleft()
        try:
            results[index] = self._client._transport.wait_response(request, raise_for_status)
        except Exception as error:
            results[index] = error
            return error
        return None
