"""Drives an asynchronous backend from synchronous code, so that one contract suite serves both kinds."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from transport_utils.backends import AsyncHttpBackend
from transport_utils.deadline import Deadline
from transport_utils.endpoint import Endpoint
from transport_utils.messages import Request, Response

__all__ = ["AsyncAsSync"]


class AsyncAsSync:
    """Runs an asynchronous backend in a loop of its own, so that the contract can be asked of it.

    Args:
        backend: Any asynchronous backend.
    """

    def __init__(self, backend: AsyncHttpBackend) -> None:
        self.name = backend.name
        self._backend = backend
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="contract loop")
        self._thread.start()
        self._closed = False

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def request(self, endpoint: Endpoint, request: Request, deadline: Deadline) -> Response:
        """Make the exchange in the loop."""
        answer = self._run(self._backend.request(endpoint, request, deadline))
        if not answer.is_streaming:
            return Response(answer.head, answer.content, answer.node, answer.reused)
        return Response(answer.head, None, answer.node, answer.reused, _Bridge(self, answer))

    def forget(self, endpoint: Endpoint) -> None:
        """Forget in the loop."""

        async def forget() -> None:
            self._backend.forget(endpoint)

        self._run(forget())

    def close(self, drain_s: float = 0.0) -> None:
        """Close the backend and end the loop."""
        if self._closed:
            return
        self._closed = True
        self._run(self._backend.aclose(drain_s))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _Bridge:
    """A streamed body read from another thread."""

    def __init__(self, owner: AsyncAsSync, answer: Any) -> None:
        self._owner = owner
        self._answer = answer
        self._pieces: Any = None

    def read(self, limit: int) -> bytes:
        if self._pieces is None:
            self._pieces = self._answer.aiter_bytes(limit)

        async def advance() -> bytes:
            piece: bytes = await anext(self._pieces, b"")
            return piece

        data: bytes = self._owner._run(advance())
        return data

    def read_into(self, buffer: memoryview) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        async def close() -> None:
            if self._pieces is not None:
                await self._pieces.aclose()
            await self._answer.aclose()

        self._owner._run(close())
