"""The asynchronous transport: the driver of :mod:`transport_utils.transport` for asyncio, name for name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from transport_utils.aio.backends import make_async_backend
from transport_utils.aio.batch import run_batch
from transport_utils.backends import AsyncHttpBackend
from transport_utils.base import BaseTransport
from transport_utils.call import Call
from transport_utils.deadline import Deadline
from transport_utils.discovery import within
from transport_utils.errors import DiscoveryError, TransportClosed, TransportError
from transport_utils.messages import AsyncResponse, Body, Request, ResponseMeta
from transport_utils.retry import RetryPolicy
from transport_utils.settings import UNSET, TimeoutLike, Unset
from transport_utils.url import Params

__all__ = ["AsyncTransport"]

_log = logging.getLogger(__name__)


class AsyncTransport(BaseTransport[AsyncHttpBackend]):
    """A client of one service with one or more nodes, for asyncio.

    Many tasks may use it at once; it belongs to one running event loop at a time. Cancelling a call closes its
    connection and takes nothing from the pool.

    The arguments are those of :class:`transport_utils.base.BaseTransport`;
    with ``discovery.on_start`` the first call asks.

    Raises:
        ConfigurationError: An option is wrong; nothing has been opened.
    """

    def _make_backend(self, backend: str | AsyncHttpBackend) -> AsyncHttpBackend:
        return make_async_backend(backend)

    def _begin(self) -> None:
        self._closed = False
        self._pauses: set[asyncio.Future[None]] = set()

    @property
    def closed(self) -> bool:
        """Whether :meth:`aclose` has been called, and :meth:`reopen` not since."""
        return self._closed

    async def request(
        self,
        method: str,
        target: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str | None] | None = None,
        body: Body = None,
        timeout: TimeoutLike | Unset = UNSET,
        retry: RetryPolicy | int | Unset | None = UNSET,
        idempotent: bool | None = None,
        stream: bool = False,
        context: Mapping[str, Any] | None = None,
    ) -> AsyncResponse:
        """Send a request and return the response, whatever its status.

        See :meth:`transport_utils.transport.Transport.request`; a body may also be an asynchronous iterable.
        """
        return await self._run(
            self._settings.start(
                method, target, params, headers, body, timeout, retry, idempotent, stream, context
            )
        )

    async def perform_request(
        self,
        method: str,
        target: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str | None] | None = None,
        body: Any = None,
        timeout: TimeoutLike | Unset = UNSET,
        retry: RetryPolicy | int | Unset | None = UNSET,
        idempotent: bool | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> tuple[ResponseMeta, Any]:
        """Send a request with a serialized body and return ``(meta, body)``.

        See :meth:`transport_utils.transport.Transport.perform_request`.
        """
        data, headers = self._settings.encode(body, headers)
        call = self._settings.start(
            method, target, params, headers, data, timeout, retry, idempotent, False, context
        )
        return self._settings.decoded(call, await self._run(call))

    async def batch(
        self,
        requests: Iterable[Request],
        *,
        connections: int = 8,
        stop_on_error: bool = False,
    ) -> list[AsyncResponse | TransportError]:
        """Send many requests over several connections at once; see :func:`transport_utils.aio.batch.run_batch`."""
        return await run_batch(self, requests, connections=connections, stop_on_error=stop_on_error)

    async def run_call(self, call: Call) -> AsyncResponse:
        """Make the attempts of a call; for :func:`transport_utils.aio.batch.run_batch`."""
        return await self._run(call)

    async def _run(self, call: Call) -> AsyncResponse:
        send = self._backend.request
        while True:
            if self._discovery is not None:
                await self._discover(call.deadline)
            if self._settings.rate_limiter is not None:
                await self._pace(call)
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
            await self.pause(pause_s)

    async def _pace(self, call: Call) -> None:
        wait_s = call.pace()
        if wait_s:
            try:
                await self.pause(wait_s)
            except BaseException:
                call.unpace()
                raise

    async def pause(self, seconds: float) -> None:
        """Sleep, unless the transport is closed before or meanwhile.

        Raises:
            TransportClosed: It is.
        """
        if self._clock is not None and not self._closed:
            self._clock.sleep(seconds)
        elif not self._closed:
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

    async def _discover(self, deadline: Deadline | None = None) -> None:
        """Ask for the nodes if it is time to."""
        schedule = self._settings.discovery
        assert schedule is not None
        assert self._discovery is not None
        reason = schedule.begin(self._settings.now())
        if reason is None:
            return
        succeeded = False
        try:
            with within(deadline):
                answer: Any = self._discovery.discover(self, reason)
                found = await answer
            gone = self.nodes.replace_all(found)
            succeeded = True
        except Exception as cause:
            if reason == "start":
                raise DiscoveryError(f"the nodes could not be found out: {cause}") from cause
            _log.warning("the nodes could not be found out (%s): %s", reason, cause)
            return
        finally:
            schedule.end(self._settings.now(), succeeded=succeeded)
        for node in gone:
            self._backend.forget(node.endpoint)

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
