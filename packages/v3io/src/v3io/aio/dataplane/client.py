"""The asyncio client."""

from __future__ import annotations

import copy
from collections.abc import Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any

from transport_utils.retry import RetryPolicy

from v3io.aio.dataplane import container, kv, object, stream
from v3io.aio.dataplane.batch import AsyncBatch
from v3io.aio.dataplane.kv_cursor import Cursor
from v3io.aio.dataplane.transport.native import Transport
from v3io.connection_settings import create_logger, resolve_access_key, resolve_endpoint
from v3io.dataplane.flat import FlatCalls
from v3io.dataplane.response import Response, Responses
from v3io.paths import item_path
from v3io.telemetry import tracer_if_wanted

__all__ = ["Client"]


class Client(FlatCalls[Coroutine[Any, Any, Response], Cursor]):
    """Asyncio client of the data plane: objects, key-values, streams, containers.

    Args:
        logger: As for :class:`v3io.dataplane.client.Client`.
        endpoint: Base URL of the web API; ``None`` takes ``V3IO_API``.
        access_key: ``None`` takes ``V3IO_ACCESS_KEY``.
        max_connections: Most open connections; ``None`` and 0 mean 8.
        timeout: Limit of each call, as for the blocking client.
        logger_verbosity: Level of the logger that is made when ``logger`` is ``None``.
        transport_verbosity: ``"DEBUG"`` logs each request and response, the access key hidden.
        retry_intervals: Pauses before each retry of a call whose connection failed, seconds; ``None`` uses
            ``(0, 0, 0.1, 0.3, 1.0)`` and twelve times 5.0. Writes that may have been applied are not retried.
        retry: A policy that replaces ``retry_intervals``.
        tls_verify: As for the blocking client.

    Raises:
        ValueError: No access key, or a malformed endpoint.
        RuntimeError: No endpoint.

    May be constructed outside a running loop; belongs to the loop of its first call. Task-safe; not thread-safe.

    Source: ``v3io.aio.dataplane.Client`` of 0.7.2.
    """

    def __init__(
        self,
        logger: Any = None,
        endpoint: str | None = None,
        access_key: str | None = None,
        max_connections: int | None = None,
        timeout: Any = None,
        logger_verbosity: str | None = None,
        transport_verbosity: str = "info",
        retry_intervals: Sequence[float] | None = None,
        *,
        retry: RetryPolicy | None = None,
        tls_verify: Any = None,
    ) -> None:
        self._logger = logger or create_logger(logger_verbosity)
        self._access_key = resolve_access_key(access_key, required=True)
        transport = self._create_transport(
            resolve_endpoint(endpoint),
            max_connections,
            timeout,
            transport_verbosity,
            retry_intervals,
            retry=retry,
            tls_verify=tls_verify,
        )
        self._tracer = tracer = tracer_if_wanted(getattr(transport, "_endpoint", None))
        self._trace = None if tracer is None else tracer.around_async
        self._transport = transport
        self._make_models()

    def _make_models(self) -> None:
        self.kv = kv.Model(self)
        self.object = object.Model(self)
        self.stream = stream.Model(self)
        self.container = container.Model(self)
        self.batch = self.create_batch()

    def create_batch(self) -> AsyncBatch:
        """Return a new, independent batch."""
        return AsyncBatch(self)

    def with_options(
        self,
        *,
        timeout: Any = None,
        retry: RetryPolicy | None = None,
        access_key: str | None = None,
    ) -> Client:
        """Return a client with other options over the same connections; see the blocking client's."""
        other = copy.copy(self)
        other._transport = self._transport.with_options(timeout=timeout, retry=retry)
        other._access_key = access_key or self._access_key
        other._make_models()
        return other

    def _create_transport(
        self,
        endpoint: str,
        max_connections: int | None,
        timeout: Any,
        verbosity: str,
        retry_intervals: Sequence[float] | None,
        *,
        retry: RetryPolicy | None,
        tls_verify: Any,
    ) -> Any:
        return Transport(
            self._logger,
            endpoint,
            max_connections,
            timeout,
            verbosity,
            retry_intervals,
            retry=retry,
            tls_verify=tls_verify,
        )

    async def close(self) -> None:
        """Close all connections; may be called more than once."""
        await self._transport.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def put_items(
        self,
        container: str,
        path: str,
        items: Mapping[str, Mapping[str, Any]],
        access_key: str | None = None,
        raise_for_status: Any = None,
        condition: str | None = None,
    ) -> Responses:
        """Put several items of one table; see :meth:`v3io.dataplane.client.Client.put_items`."""
        responses = Responses()
        for key, attributes in items.items():
            responses.add_response(
                await self.put_item(
                    container,
                    item_path(path, key),
                    attributes,
                    access_key,
                    raise_for_status,
                    condition=condition,
                )
            )
        return responses

    async def delete_stream(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
    ) -> Response:
        """Flat form of :meth:`v3io.dataplane.stream.Model.delete`."""
        return await self.stream.delete(container, path, access_key, raise_for_status)
