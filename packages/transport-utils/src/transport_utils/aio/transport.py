"""The asynchronous transport: the driver of :mod:`transport_utils.transport` for asyncio, name for name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from transport_utils.aio.backends import make_async_backend
from transport_utils.auth import Auth
from transport_utils.backends import AsyncHttpBackend
from transport_utils.call import UNSET, Call, Settings, Unset
from transport_utils.deadline import Timeout
from transport_utils.endpoint import Endpoint
from transport_utils.errors import TransportClosed
from transport_utils.health import HealthPolicy
from transport_utils.messages import AsyncResponse, Body
from transport_utils.nodes import NodePool
from transport_utils.retry import RetryPolicy
from transport_utils.selectors import Selector
from transport_utils.url import Params

__all__ = ["AsyncTransport"]


class AsyncTransport:
    """A client of one service with one or more nodes, for asyncio.

    Options as :class:`transport_utils.transport.Transport`. Many tasks may use it at once; it belongs to one running
    event loop at a time. Cancelling a call closes its connection and takes nothing from the pool.

    Args:
        endpoints: See :class:`~transport_utils.transport.Transport`.
        backend: ``"native"`` or an object.
        retry: As there.
        health: As there.
        selector: As there.
        randomize: As there.
        timeout: As there.
        headers: As there.
        auth: As there.

    Raises:
        ConfigurationError: An option is wrong; nothing has been opened.
    """

    def __init__(
        self,
        endpoints: str | Endpoint | Iterable[str | Endpoint],
        *,
        backend: str | AsyncHttpBackend = "native",
        retry: RetryPolicy | int | None = RetryPolicy(),  # noqa: B008 - immutable
        health: HealthPolicy | None = None,
        selector: str | Selector | None = None,
        randomize: bool = True,
        timeout: Timeout | float | tuple[float | None, float | None] | Unset | None = UNSET,
        headers: Mapping[str, str] | None = None,
        auth: Auth | tuple[str, str] | str | None = None,
    ) -> None:
        self._settings = Settings(
            endpoints,
            retry=retry,
            health=health,
            selector=selector,
            randomize=randomize,
            timeout=timeout,
            headers=headers,
            auth=auth,
        )
        self._backend = make_async_backend(backend)
        self._closed = False
        self._pauses: set[asyncio.Future[None]] = set()

    @property
    def nodes(self) -> NodePool:
        """The nodes and their health."""
        return self._settings.nodes

    @property
    def backend(self) -> AsyncHttpBackend:
        """The backend in use."""
        return self._backend

    async def request(
        self,
        method: str,
        target: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str | None] | None = None,
        body: Body = None,
        timeout: Timeout | float | tuple[float | None, float | None] | Unset | None = UNSET,
        retry: RetryPolicy | int | Unset | None = UNSET,
        idempotent: bool | None = None,
        stream: bool = False,
        context: Mapping[str, Any] | None = None,
    ) -> AsyncResponse:
        """Send a request and return the response; see :meth:`transport_utils.transport.Transport.request`."""
        call = self._settings.start(
            method, target, params, headers, body, timeout, retry, idempotent, stream, context
        )
        return await self._run(call)

    async def _run(self, call: Call) -> AsyncResponse:
        send = self._backend.request
        while True:
            node = call.pick()
            try:
                response = await send(node.endpoint, call.request, call.deadline)
                if response.is_streaming and response.status >= 400:
                    await response.read()
            except BaseException as error:
                pause_s = call.failed(error)
            else:
                pause_s = call.answered(response)
            if pause_s is None:
                result: AsyncResponse = call.response
                return result
            await self._pause(pause_s)

    async def _pause(self, seconds: float) -> None:
        """Sleep, unless the transport is closed meanwhile."""
        if not self._closed:
            loop = asyncio.get_running_loop()
            pause = loop.create_future()
            timer = loop.call_later(seconds, _wake, pause)
            self._pauses.add(pause)
            try:
                await pause
            finally:
                timer.cancel()
                self._pauses.discard(pause)
        if self._closed:
            raise TransportClosed("the transport was closed during a pause between attempts")

    async def aclose(self, drain_s: float = 0.0) -> None:
        """Close all connections; idempotent. See :meth:`transport_utils.transport.Transport.close`."""
        self._closed = True
        for pause in self._pauses:
            _wake(pause)
        await self._backend.aclose(drain_s)

    async def __aenter__(self) -> AsyncTransport:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


def _wake(pause: asyncio.Future[None]) -> None:
    if not pause.done():
        pause.set_result(None)
