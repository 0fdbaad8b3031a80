"""Hooks around a backend, for clients that drive backends themselves instead of through a ``Transport``.

:func:`observed` and :func:`observed_async` return the backend they are given when nobody listens, so that telemetry
that is off costs nothing. Used by loudml's connection classes. Each exchange is an attempt of its own.
"""

from __future__ import annotations

import dataclasses
import time

from transport_utils.backends import AsyncHttpBackend, HttpBackend
from transport_utils.deadline import Deadline
from transport_utils.endpoint import Endpoint
from transport_utils.hooks import Attempt, Hooks, combine_hooks
from transport_utils.messages import AsyncResponse, Request, Response

__all__ = ["AsyncObservedBackend", "ObservedBackend", "observed", "observed_async"]


def observed(backend: HttpBackend, hooks: Hooks | None) -> HttpBackend:
    """Return ``backend`` with hooks around each exchange; itself when there are none."""
    combined = combine_hooks([hooks])
    return backend if combined is None else ObservedBackend(backend, combined)


def observed_async(backend: AsyncHttpBackend, hooks: Hooks | None) -> AsyncHttpBackend:
    """Return ``backend`` with hooks around each exchange; itself when there are none."""
    combined = combine_hooks([hooks])
    return backend if combined is None else AsyncObservedBackend(backend, combined)


class _Observer:
    """Calls the hooks before and after an exchange."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    def _begin(self, endpoint: Endpoint, request: Request) -> tuple[Attempt, Request]:
        attempt = Attempt(request, endpoint, 1, time.monotonic())
        if self._hooks.on_attempt is not None:
            self._hooks.on_attempt(attempt)
        if attempt.headers:
            headers = {**(request.headers or {}), **attempt.headers}
            request = dataclasses.replace(request, headers=headers)
        return attempt, request

    def _answered(self, attempt: Attempt, response: Response | AsyncResponse) -> None:
        if self._hooks.on_response is not None:
            self._hooks.on_response(attempt, response.meta, time.monotonic())

    def _failed(self, attempt: Attempt, error: BaseException) -> None:
        if self._hooks.on_error is not None:
            self._hooks.on_error(attempt, error, time.monotonic())


class ObservedBackend(_Observer):
    """A backend whose exchanges hooks see; as thread-safe as the backend."""

    def __init__(self, backend: HttpBackend, hooks: Hooks) -> None:
        super().__init__(hooks)
        self._backend = backend
        self.name = backend.name

    def request(self, endpoint: Endpoint, request: Request, deadline: Deadline) -> Response:
        """See :meth:`transport_utils.backends.HttpBackend.request`."""
        attempt, request = self._begin(endpoint, request)
        try:
            response = self._backend.request(endpoint, request, deadline)
        except BaseException as error:
            self._failed(attempt, error)
            raise
        self._answered(attempt, response)
        return response

    def forget(self, endpoint: Endpoint) -> None:
        """See :meth:`transport_utils.backends.HttpBackend.forget`."""
        self._backend.forget(endpoint)

    def close(self, drain_s: float = 0.0) -> None:
        """See :meth:`transport_utils.backends.HttpBackend.close`."""
        self._backend.close(drain_s)


class AsyncObservedBackend(_Observer):
    """An asynchronous backend whose exchanges hooks see."""

    def __init__(self, backend: AsyncHttpBackend, hooks: Hooks) -> None:
        super().__init__(hooks)
        self._backend = backend
        self.name = backend.name

    async def request(
        self, endpoint: Endpoint, request: Request, deadline: Deadline
    ) -> AsyncResponse:
        """See :meth:`transport_utils.backends.HttpBackend.request`."""
        attempt, request = self._begin(endpoint, request)
        try:
            response = await self._backend.request(endpoint, request, deadline)
        except BaseException as error:
            self._failed(attempt, error)
            raise
        self._answered(attempt, response)
        return response

    def forget(self, endpoint: Endpoint) -> None:
        """See :meth:`transport_utils.backends.HttpBackend.forget`."""
        self._backend.forget(endpoint)

    async def aclose(self, drain_s: float = 0.0) -> None:
        """See :meth:`transport_utils.backends.HttpBackend.close`."""
        await self._backend.aclose(drain_s)
