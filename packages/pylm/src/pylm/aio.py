"""The client of the present API for asyncio, and servers whose functions are coroutines.

Same surface as :mod:`pylm.clients` and :mod:`pylm.servers`, awaited. The event loop itself reads the answers, so a
thousand calls in flight are a thousand futures and no thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import sys
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
)
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pylm import clients, servers
from pylm._aiolink import AsyncCall, AsyncLink
from pylm._jobs import UNSET, InOrder, Timeout, progress_bar
from pylm._link import Answer
from pylm.config import ConfigurationError
from pylm.errors import Closed

__all__ = ["AsyncClient", "Pipeline", "Server", "Sink", "Worker"]


class AsyncClient:
    """Awaitable counterpart of :class:`pylm.clients.Client`; use it as ``async with AsyncClient(...) as client``.

    Args:
        args: As for :class:`pylm.clients.Client`.
        max_calls: Evaluations in progress at a time, above 0; further ones wait their turn.
        kwargs: As for :class:`pylm.clients.Client`.

    The constructor does not block: the server is looked up on entry, or by the first call, in a thread that also asks
    the server's cache. Belongs to one event loop, which must be able to watch descriptors (on Windows: the selector
    loop). A cancelled call gives up its answer at once. Not thread-safe, not fork-safe.

    Raises:
        ConfigurationError: ``max_calls`` is below 1.
    """

    def __init__(self, *args: Any, max_calls: int = 10_000, **kwargs: Any) -> None:
        if isinstance(max_calls, bool) or not isinstance(max_calls, int) or max_calls < 1:
            raise ConfigurationError(f"max_calls={max_calls!r}: expected a whole number above 0")
        self._make: Callable[[], clients.Client] = functools.partial(
            clients.Client, *args, **kwargs
        )
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="pylm-aio")
        self._turns = asyncio.Semaphore(max_calls)
        self._client: clients.Client | None = None
        self._link: AsyncLink | None = None
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

    async def connect(self) -> None:
        """Look the server up; idempotent.

        Raises:
            Closed: The client is closed.
            PylmError: As the constructor of :class:`pylm.clients.Client`.
        """
        await self._found()

    async def _found(self) -> clients.Client:
        async with self._lock:
            if self._closed:
                raise Closed("the client is closed")
            if self._client is None:
                self._client = await self._kept(self._make)
            return self._client

    async def _kept(self, make: Callable[[], clients.Client]) -> clients.Client:
        """Make the client in the thread; when the task is cancelled meanwhile, close what was made."""
        making = asyncio.get_running_loop().run_in_executor(self._pool, make)
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(_close_result)
            raise

    async def _linked(self) -> tuple[clients.Client, AsyncLink]:
        link = self._link
        if link is None or self._client is None or self._closed:
            client = await self._found()
            async with self._lock:
                if self._link is None:
                    made = await self._run(client._connected)
                    if self._closed:
                        raise Closed("the client is closed")
                    self._link = AsyncLink(made)
                return client, self._link
        link.check_loop()
        return self._client, link

    async def eval(
        self,
        function: str | list[str],
        payload: Any,
        messages: int = 1,
        cache: str = "",
        *,
        timeout: Timeout = UNSET,
        idempotent: bool = False,
        serializer: str = "",
    ) -> Any:
        """See :meth:`pylm.clients.Client.eval`."""
        async with self._turns:
            if messages != 1 or idempotent:
                job = self.job(
                    function,
                    [payload],
                    messages,
                    cache,
                    timeout=timeout,
                    idempotent=idempotent,
                    serializer=serializer,
                )
                results = [result async for result in job]
                return results[0] if messages == 1 else results
            client, link = await self._linked()
            terms = client._terms("job", function, cache, timeout, idempotent, serializer)
            with client.opened(link.link, AsyncCall, **terms) as run:
                return client.result(await link.ask(run, payload))

    async def job(
        self,
        function: str | list[str],
        generator: Iterable[Any] | AsyncIterable[Any],
        messages: int = sys.maxsize,
        cache: str = "",
        *,
        timeout: Timeout = UNSET,
        idempotent: bool = False,
        serializer: str = "",
    ) -> AsyncIterator[Any]:
        """See :meth:`pylm.clients.Client.job`; leaving the loop early ends the job.

        ``generator`` may be asynchronous; one that is not, and is no list or the like, is read in one of eight threads.
        """
        client, link = await self._linked()
        terms = client._terms("job", function, cache, timeout, idempotent, serializer)
        run = self._answers(client, link, terms, generator, messages)
        async with contextlib.aclosing(run) as answers:
            async for answer in answers:
                yield client.result(answer)

    async def _answers(
        self,
        client: clients.Client,
        link: AsyncLink,
        terms: dict[str, Any],
        payloads: Iterable[Any] | AsyncIterable[Any],
        messages: int,
    ) -> AsyncGenerator[Answer, None]:
        with client.opened(link.link, AsyncCall, **terms) as run:
            async with contextlib.aclosing(link.run(run, payloads, messages)) as answers:
                async for answer in answers:
                    yield run.noted(answer)

    async def map(
        self,
        function: str | list[str],
        payloads: Iterable[Any] | AsyncIterable[Any],
        *,
        ordered: bool = True,
        progress: bool = False,
        timeout: Timeout = UNSET,
        idempotent: bool = False,
        serializer: str = "",
        return_exceptions: bool = False,
    ) -> AsyncIterator[Any]:
        """See :meth:`pylm.clients.Client.map`; ``payloads`` may be asynchronous."""
        client, link = await self._linked()
        if isinstance(payloads, AsyncIterable):
            payloads = [payload async for payload in payloads]
        known, count = client._mapped(payloads, ordered=ordered)
        terms = client._terms("map", function, "", timeout, idempotent, serializer)
        order = InOrder(ordered=ordered)
        run = self._answers(client, link, terms, known, count)
        bar = progress_bar(terms["describe"], count, shown=progress)
        async with contextlib.aclosing(run) as answers:
            with bar as advance:
                async for answer in answers:
                    advance()
                    for each in order.take(answer):
                        yield client._outcome(each, return_exceptions)

    async def set(self, value: bytes, key: str | None = None) -> str:
        """See :meth:`pylm.clients.Client.set`."""
        stored: str = await self._run((await self._found()).set, value, key)
        return stored

    async def get(self, key: str) -> bytes:
        """See :meth:`pylm.clients.Client.get`."""
        value: bytes = await self._run((await self._found()).get, key)
        return value

    async def delete(self, key: str) -> str:
        """See :meth:`pylm.clients.Client.delete`."""
        removed: str = await self._run((await self._found()).delete, key)
        return removed

    async def aclose(self) -> None:
        """Close every socket; calls in progress end with :class:`~pylm.errors.Closed`. Idempotent."""
        self._closed = True
        if self._link is not None:
            self._link.close()
        if self._client is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._client.close)
        self._pool.shutdown(wait=False)


def _close_result(making: asyncio.Future[clients.Client]) -> None:
    if not making.cancelled() and making.exception() is None:
        making.result().close()


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
