"""The blocking client, what most programs construct."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from transport_utils.retry import RetryPolicy

from v3io.connection_settings import create_logger, resolve_access_key, resolve_endpoint
from v3io.dataplane import container, kv, object, stream
from v3io.dataplane.batch import Batch
from v3io.dataplane.flat import FlatCalls
from v3io.dataplane.kv_cursor import Cursor
from v3io.dataplane.response import Response, Responses
from v3io.paths import item_path
from v3io.telemetry import tracer_if_wanted

__all__ = ["Client"]


class Client(FlatCalls[Response, Cursor]):
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
        retry: When calls are sent again; ``None`` for :data:`v3io.resending.DEFAULT_RETRY`. Calls that may not be
            repeated (see :mod:`v3io.resending`) are not, whatever it says.
        tls_verify: ``None`` verifies certificates unless ``V3IO_TLS_VERIFY`` is ``0``; ``False`` does not, with a
            warning; a path names the authorities to trust; see :func:`v3io.connection_settings.make_endpoint`.

    Attributes:
        kv, object, stream, container: The calls, grouped.
        batch: The client's own :class:`~v3io.dataplane.batch.Batch`.

    Raises:
        RuntimeError: No endpoint.
        ValueError: No access key, or a malformed endpoint.
        AttributeError: Unknown ``transport_kind``.

    Thread-safe, except for the shared ``batch``: threads take their own from :meth:`create_batch`. After a fork the
    child opens connections of its own.

    Source: ``v3io.dataplane.client.Client`` of 0.7.2.
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
        *,
        retry: RetryPolicy | None = None,
        tls_verify: Any = None,
    ) -> None:
        self._logger = logger or self._create_logger(logger_verbosity)
        transport = self._create_transport(
            transport_kind,
            endpoint,
            max_connections,
            timeout,
            transport_verbosity,
            retry=retry,
            tls_verify=tls_verify,
        )
        self._access_key = resolve_access_key(access_key, required=transport.requires_access_key())
        self._tracer = tracer = tracer_if_wanted(getattr(transport, "_endpoint", None))
        self._trace = None if tracer is None else tracer.around
        self._transport = transport
        self._make_models()

    def _make_models(self) -> None:
        self.kv = kv.Model(self)
        self.object = object.Model(self)
        self.stream = stream.Model(self)
        self.container = container.Model(self)
        self.batch = self.create_batch()

    def with_options(
        self,
        *,
        timeout: Any = None,
        retry: RetryPolicy | None = None,
        access_key: str | None = None,
    ) -> Client:
        """Return a client with other options over the same connections, for one call or many.

        ``client.with_options(timeout=2).kv.get(...)``. Closing either closes both.

        Args:
            timeout: As for the constructor; ``None`` keeps what this client has, here and below.
            retry: As for the constructor.
            access_key: As for the constructor.

        Raises:
            TypeError: The transport was given by the caller and has no options.
        """
        other = copy.copy(self)
        if timeout is not None or retry is not None:
            if not hasattr(self._transport, "with_options"):
                raise TypeError(
                    f"transport {self._transport!r} takes no timeout and retry per call"
                )
            other._transport = self._transport.with_options(timeout=timeout, retry=retry)
        other._access_key = access_key or self._access_key
        other._make_models()
        return other

    def create_batch(self) -> Batch:
        """Return a new, independent batch; it may be used in another thread than other batches."""
        return Batch(self)

    def close(self) -> None:
        """Close all connections; may be called more than once. Later calls raise RuntimeError."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def put_items(
        self,
        container: str,
        path: str,
        items: Mapping[str, Mapping[str, Any]],
        access_key: str | None = None,
        raise_for_status: Any = None,
        condition: str | None = None,
    ) -> Responses:
        """Put several items of one table, one request each, in order.

        Args:
            container: Container name or number.
            path: Directory of the table.
            items: Key -> attributes.
            access_key: As for ``kv.put``.
            raise_for_status: As for ``kv.put``, for each request.
            condition: Checked for each item.
        """
        responses = Responses()
        for key, attributes in items.items():
            responses.add_response(
                self.put_item(
                    container,
                    item_path(path, key),
                    attributes,
                    access_key,
                    raise_for_status,
                    condition=condition,
                )
            )
        return responses

    def delete_stream(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
    ) -> Response:
        """Flat form of :meth:`v3io.dataplane.stream.Model.delete`."""
        return self.stream.delete(container, path, access_key, raise_for_status)

    def _create_transport(
        self,
        transport_kind: Any,
        endpoint: str | None,
        max_connections: int | None,
        timeout: Any,
        verbosity: str,
        *,
        retry: RetryPolicy | None,
        tls_verify: Any,
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
            self._logger,
            resolve_endpoint(endpoint),
            max_connections,
            timeout,
            verbosity,
            retry=retry,
            tls_verify=tls_verify,
        )

    @staticmethod
    def _create_logger(verbosity: str | None) -> Any:
        return create_logger(verbosity)
