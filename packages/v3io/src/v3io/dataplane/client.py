"""The blocking client, what most programs construct."""

import importlib
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from v3io.connection_settings import create_logger, resolve_access_key, resolve_endpoint
from v3io.dataplane import container, kv, object, stream
from v3io.dataplane.batch import Batch
from v3io.dataplane.flat import FlatCalls

__all__ = ["Client"]


class Client(FlatCalls):
    """Client of the data plane: objects, key-values, streams, containers.

    Args:
        logger: Anything with ``debug, info, warn, error`` and their ``*_with`` forms; ``None`` makes one that
            writes to standard output.
        endpoint: Base URL of the web API; ``None`` takes ``V3IO_API``. Without scheme it is http.
        access_key: ``None`` takes ``V3IO_ACCESS_KEY``.
        max_connections: Most open connections, and most requests of a batch in flight; ``None`` and 0 mean 8.
        timeout: Limit of each call in seconds, retries included, or a ``transport_utils.deadline.Timeout``;
            ``None`` means 20 s to connect and for each silence.
        transport_kind: ``"httpclient"`` (native, the default) or ``"requests"``; anything that is not a str is used
            as the transport.
        logger_verbosity: Level of the logger that is made when ``logger`` is ``None``.
        transport_verbosity: ``"DEBUG"`` logs each request and response, the access key hidden.

    Attributes:
        kv, object, stream, container: The calls, grouped.
        batch: The client's own :class:`~v3io.dataplane.batch.Batch`.

    Raises:
        RuntimeError: No endpoint.
        ValueError: No access key, or a malformed endpoint.
        AttributeError: Unknown ``transport_kind``.

    Thread-safe, except for the shared ``batch``: threads take their own from :meth:`create_batch`. After a fork the
    child opens connections of its own.

    Source: ``v3io.dataplane.Client`` of 0.7.2.
    """

    def __init__(
        self,
        logger: Any = None,
        endpoint: str | None = None,
        access_key: str | None = None,
        max_connections: int | None = None,
        timeout: Any = None,
        transport_kind: Any = "httpclient",
        logger_verbosity: str | None = None,
        transport_verbosity: str = "info",
    ) -> None:
        self._logger = logger or self._create_logger(logger_verbosity)
        self._transport = self._create_transport(
            transport_kind, endpoint, max_connections, timeout, transport_verbosity
        )
        self._access_key = resolve_access_key(
            access_key, required=self._transport.requires_access_key()
        )
        self.kv = kv.Model(self)
        self.object = object.Model(self)
        self.stream = stream.Model(self)
        self.container = container.Model(self)
        self.batch = self.create_batch()

    def create_batch(self) -> Batch:
        """Return a new, independent batch; it may be used in another thread than other batches."""
        return Batch(self)

    def close(self) -> None:
        """Close all connections; may be called more than once. Later calls raise RuntimeError."""
        self._transport.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _send(
        self,
        container: str | None,
        access_key: str | None,
        raise_for_status: Any,
        transport_actions: int | None,
        encoder: Callable[..., Any],
        encoder_args: Mapping[str, Any],
        output: Callable[[Any], Any] | None = None,
    ) -> Any:
        return self._transport.request(
            container,
            access_key or self._access_key,
            raise_for_status,
            transport_actions,
            encoder,
            encoder_args,
            output,
        )

    def _create_transport(
        self,
        transport_kind: Any,
        endpoint: str | None,
        max_connections: int | None,
        timeout: Any,
        verbosity: str,
    ) -> Any:
        if not isinstance(transport_kind, str):
            return transport_kind
        try:
            module = importlib.import_module(f"v3io.dataplane.transport.{transport_kind}")
            transport = module.Transport
        except (ImportError, AttributeError) as cause:
            raise AttributeError(
                f"transport_kind {transport_kind!r}: expected 'httpclient' or 'requests'"
            ) from cause
        return transport(
            self._logger, resolve_endpoint(endpoint), max_connections, timeout, verbosity
        )

    @staticmethod
    def _create_logger(verbosity: str | None) -> Any:
        return create_logger(verbosity)
