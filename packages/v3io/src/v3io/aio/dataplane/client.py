"""The asyncio client."""

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from v3io.aio.dataplane import container, kv, object, stream
from v3io.connection_settings import create_logger, resolve_access_key, resolve_endpoint

__all__ = ["Client"]


class Client:
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
    ) -> None:
        self._logger = logger or create_logger(logger_verbosity)
        self._access_key = resolve_access_key(access_key, required=True)
        self._transport = self._create_transport(
            resolve_endpoint(endpoint),
            max_connections,
            timeout,
            transport_verbosity,
            retry_intervals,
        )
        self.kv = kv.Model(self)
        self.object = object.Model(self)
        self.stream = stream.Model(self)
        self.container = container.Model(self)

    def _create_transport(
        self,
        endpoint: str,
        max_connections: int | None,
        timeout: Any,
        verbosity: str,
        retry_intervals: Sequence[float] | None,
    ) -> Any:
        from v3io.aio.dataplane.transport.native import Transport

        return Transport(
            self._logger, endpoint, max_connections, timeout, verbosity, retry_intervals
        )

    async def close(self) -> None:
        """Close all connections; may be called more than once."""
        await self._transport.close()

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _send(
        self,
        container: str | None,
        access_key: str | None,
        raise_for_status: Any,
        transport_actions: int | None,
        encoder: Callable[..., Any],
        encoder_args: Mapping[str, Any],
        output: Callable[[Any], Any] | None = None,
    ) -> Any:
        return await self._transport.request(
            container,
            access_key or self._access_key,
            raise_for_status,
            transport_actions,
            encoder,
            encoder_args,
            output,
        )
