"""The client of the present API for asyncio, and servers whose functions are coroutines.

One thread per client reads the answers and hands them to the event loop, which costs less than polling ZeroMQ's
descriptor from it. Same surface as :mod:`pylm.clients` and :mod:`pylm.servers`, awaited.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pylm import clients, servers
from pylm._jobs import UNSET, Timeout
from pylm.errors import Closed

__all__ = ["AsyncClient", "Pipeline", "Server", "Sink", "Worker"]

_END = object()


class AsyncClient:
    """Awaitable counterpart of :class:`pylm.clients.Client`; use it as ``async with AsyncClient(...) as client``.

    Args:
        args: As for :class:`pylm.clients.Client`.
        max_calls: Calls in progress at a time; further ones wait their turn.
        kwargs: As for :class:`pylm.clients.Client`.

    The constructor does not block: the server is looked up on entry, or by the first call. Belongs to one event loop;
    a cancelled call gives up its answer. Not fork-safe.
    """

    def __init__(self, *args: Any, max_calls: int = 64, **kwargs: Any) -> None:
        self._make: Callable[[], clients.Client] = functools.partial(
            clients.Client, *args, **kwargs
        )
        self._pool = ThreadPoolExecutor(max_calls, thread_name_prefix="pylm-aio")
        self._client: clients.Client | None = None
        self._lock = asyncio.Lock()
        self._closed = False

    async def __aenter__(self) -> AsyncClient:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        call = functools.partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    async def connect(self) -> clients.Client:
        """Look the server up; idempotent. Return the client underneath.

        Raises:
            PylmError: As the constructor of :class:`pylm.clients.Client`.
        """
        async with self._lock:
            if self._closed:
                raise Closed("the client is closed")
            if self._client is None:
                self._client = await self._run(self._make)
            return self._client

    async def eval(self, function: str | list[str], payload: Any, *args: Any, **kwargs: Any) -> Any:
        """See :meth:`pylm.clients.Client.eval`."""
        client = await self.connect()
        return await self._run(client.eval, function, payload, *args, **kwargs)

    async def job(
        self,
        function: str | list[str],
        generator: Iterable[Any],
        messages: int = sys.maxsize,
        cache: str = "",
        *,
        timeout: Timeout = UNSET,
        idempotent: bool = False,
        serializer: str = "",
    ) -> AsyncIterator[Any]:
        """See :meth:`pylm.clients.Client.job`; leaving the loop early ends the job."""
        client = await self.connect()
        answers = client.job(
            function,
            generator,
            messages,
            cache,
            timeout=timeout,
            idempotent=idempotent,
            serializer=serializer,
        )
        async for answer in self._stream(answers):
            yield answer

    async def map(
        self, function: str | list[str], payloads: Iterable[Any], **kwargs: Any
    ) -> AsyncIterator[Any]:
        """See :meth:`pylm.clients.Client.map`."""
        client = await self.connect()
        async for answer in self._stream(client.map(function, payloads, **kwargs)):
            yield answer

    async def _stream(self, answers: Any) -> AsyncIterator[Any]:
        """Yield what a blocking generator yields: a thread runs it, bounded by how fast it is read."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[Any, BaseException | None]] = asyncio.Queue()
        room = threading.Semaphore(1000)
        stopped = threading.Event()

        def put(item: Any, error: BaseException | None = None) -> None:
            with contextlib.suppress(
                RuntimeError
            ):  # the event loop is gone, and its reader with it
                loop.call_soon_threadsafe(queue.put_nowait, (item, error))

        def pump() -> None:
            try:
                for answer in answers:
                    put(answer)
                    while not room.acquire(timeout=0.1):
                        if stopped.is_set():
                            return
                    if stopped.is_set():
                        return
                put(_END)
            except BaseException as error:
                put(None, error)
            finally:
                answers.close()

        done = loop.run_in_executor(self._pool, pump)
        try:
            while True:
                item, error = await queue.get()
                if error is not None:
                    raise error
                if item is _END:
                    break
                room.release()
                yield item
        finally:
            stopped.set()
            room.release()
            if not sys.is_finalizing():
                done.add_done_callback(lambda future: future.exception())

    async def set(self, value: bytes, key: str | None = None) -> str:
        """See :meth:`pylm.clients.Client.set`."""
        client = await self.connect()
        stored: str = await self._run(client.set, value, key)
        return stored

    async def get(self, key: str) -> bytes:
        """See :meth:`pylm.clients.Client.get`."""
        client = await self.connect()
        value: bytes = await self._run(client.get, key)
        return value

    async def delete(self, key: str) -> str:
        """See :meth:`pylm.clients.Client.delete`."""
        client = await self.connect()
        removed: str = await self._run(client.delete, key)
        return removed

    async def aclose(self) -> None:
        """Close every socket; calls in progress end with :class:`~pylm.errors.Closed`. Idempotent."""
        self._closed = True
        if self._client is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._client.close)
        self._pool.shutdown(wait=False)


class _Coroutines:
    """Runs a server's coroutine functions in an event loop of its own, one message at a time, order kept."""

    _has_pool = False  # one event loop, one message at a time
    __pylm_bridge: asyncio.AbstractEventLoop | None = None

    def run_coroutine(self, coroutine: Awaitable[Any]) -> Any:
        """Return the result of a coroutine; called in the server's thread."""
        loop = self.__pylm_bridge
        if loop is None:
            loop = self.__pylm_bridge = asyncio.new_event_loop()
        return loop.run_until_complete(coroutine)

    def close(self) -> None:
        """Close the server and its event loop; idempotent."""
        super().close()  # type: ignore[misc]
        loop, self.__pylm_bridge = self.__pylm_bridge, None
        if loop is not None and not loop.is_running():
            loop.close()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, value in list(vars(cls).items()):
            if inspect.iscoroutinefunction(value) and not name.startswith("_"):
                setattr(cls, name, _blocking(value))

    async def serve(self) -> None:
        """Run the server in a thread until it is stopped; cancelling the task stops it."""
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(None, self.start)  # type: ignore[attr-defined]
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            self.stop()  # type: ignore[attr-defined]
            await running
            raise


def _blocking(function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(self: _Coroutines, *args: Any) -> Any:
        return self.run_coroutine(function(self, *args))

    return call


class Server(_Coroutines, servers.Server):
    """:class:`pylm.servers.Server` whose functions may be coroutines; ``await server.serve()`` runs it."""


class Pipeline(_Coroutines, servers.Pipeline):
    """:class:`pylm.servers.Pipeline` whose functions may be coroutines."""


class Sink(_Coroutines, servers.Sink):
    """:class:`pylm.servers.Sink` whose functions may be coroutines."""


class Worker(_Coroutines, servers.Worker):
    """:class:`pylm.servers.Worker` whose functions may be coroutines."""
