"""Many calls at once over a few connections of one event loop; see :mod:`v3io.dataplane.batch`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from v3io.dataplane.batch import BatchCalls, QueuedCall, collect
from v3io.dataplane.request import Request

__all__ = ["AsyncBatch"]


class AsyncBatch(BatchCalls):
    """A queue of calls of one asyncio client, with the surface of :class:`v3io.dataplane.batch.Batch`.

    Args:
        client: The client whose transport carries the batch.
        return_errors: What :meth:`wait` does with errors unless told otherwise.

    Queueing is not awaited, :meth:`wait` is::

        async with client.batch() as batch:
            bob = batch.kv.get("users", "people", "bob")
        bob.result().output.item

    At most ``max_connections`` calls are in flight; each starts as soon as another has ended.
    """

    def __init__(self, client: Any, *, return_errors: bool = False) -> None:
        self._client = client
        self._return_errors = return_errors
        self._register(client)

    def __call__(self, *, return_errors: bool = False) -> AsyncBatch:
        """Return a new, independent batch of the same client: ``async with client.batch() as batch``."""
        return type(self)(self._client, return_errors=return_errors)

    async def __aenter__(self) -> AsyncBatch:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            await self.wait()
        else:
            self._recorder.take()

    async def wait(
        self, raise_for_status: Any = None, *, return_errors: bool | None = None
    ) -> list[Any]:
        """Send all queued calls and wait for their responses.

        Args, Returns, Raises: as for :meth:`v3io.dataplane.batch.Batch.wait`.
        """
        if return_errors is None:
            return_errors = self._return_errors
        queue = self._recorder.take()
        with self._traced(queue):
            await self._carry(queue, raise_for_status, return_errors=return_errors)
            return collect(queue, return_errors=return_errors)

    async def _carry(
        self, queue: list[QueuedCall], raise_for_status: Any, *, return_errors: bool
    ) -> None:
        waiting = iter(queue)
        count = min(len(queue), self._client._transport.max_connections)
        workers = [
            asyncio.ensure_future(
                self._work(waiting, raise_for_status, return_errors=return_errors)
            )
            for _ in range(count)
        ]
        try:
            await asyncio.gather(*workers)
        except BaseException:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            raise

    async def _work(
        self, waiting: Iterator[QueuedCall], raise_for_status: Any, *, return_errors: bool
    ) -> None:
        """Run calls one after the other until none is left; several of these share one iterator."""
        transport = self._client._transport
        for queued in waiting:
            call = queued.call
            try:
                if not isinstance(call, Request):
                    queued.outcome = await call()
                    continue
                policy = call.raise_for_status or raise_for_status
                queued.outcome = await transport.request(
                    call.container,
                    call.access_key,
                    policy,
                    None,
                    lambda _, encoded=call.encoded: encoded,
                    {},
                    call.output,
                )
            except Exception as error:
                queued.outcome = error
                if not return_errors:
                    for _ in waiting:  # what has not been sent is dropped
                        pass
                    return
