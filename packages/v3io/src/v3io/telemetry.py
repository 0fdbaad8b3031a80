"""OpenTelemetry spans of calls: one per call, retries included; needs ``opentelemetry-api``, which is no dependency.

Called by the clients when they are made: if the application has imported OpenTelemetry by then, their calls are traced;
otherwise nothing is imported and calls cost nothing more. A batch is one span, whatever its length.

A span is called ``v3io <call>`` (``v3io put_item``), of kind CLIENT, with ``server.address``, ``server.port``,
``v3io.container``, ``http.response.status_code`` and, for failures, ``error.type``; that of a batch ``v3io batch``,
with ``v3io.batch.calls`` and ``v3io.batch.failed``. No path, key or value is recorded. The context travels to the
platform in the headers of the propagator that is set, ``traceparent`` unless the application chose another.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from transport_utils.headers import check_field

from v3io._version import __version__
from v3io.dataplane.queued_call import QueuedCall
from v3io.dataplane.request import Encoded, Request
from v3io.dataplane.transport import Actions

__all__ = ["Tracer", "tracer_if_wanted"]


def tracer_if_wanted(endpoint: str | None) -> Tracer | None:
    """Return what traces the calls to an endpoint; ``None`` unless the application uses OpenTelemetry.

    It counts as used when ``opentelemetry.trace`` is imported and ``OTEL_SDK_DISABLED`` is not ``true``.
    """
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if disabled or "opentelemetry.trace" not in sys.modules:
        return None
    return Tracer(endpoint or "")


class Tracer:
    """Begins and ends the spans of one client; thread- and task-safe."""

    def __init__(self, endpoint: str) -> None:
        from opentelemetry import propagate, trace

        self._trace = trace
        self._propagate = propagate
        self._tracer = trace.get_tracer("v3io", __version__)
        parts = urllib.parse.urlsplit(endpoint)
        self._address: dict[str, Any] = {"server.address": parts.hostname or ""}
        if parts.port is not None:
            self._address["server.port"] = parts.port

    def _span(self, arguments: tuple[Any, ...]) -> Any:
        """Return the context manager of one call, given the arguments of a transport's ``request``."""
        container, _, _, _, encoder, *_ = arguments
        attributes = dict(self._address)
        if container is not None:
            attributes["v3io.container"] = str(container)
        return self._tracer.start_as_current_span(
            f"v3io {encoder.__name__.removeprefix('encode_')}",
            kind=self._trace.SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        )

    def _answered(self, span: Any, response: Any) -> None:
        """Note the status of the answer."""
        status = getattr(response, "status_code", None)
        if status is not None:
            span.set_attribute("http.response.status_code", status)

    def _failed(self, span: Any, error: BaseException) -> None:
        """Note why there is none."""
        status = getattr(error, "status_code", None)
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        span.set_attribute("error.type", type(error).__qualname__)
        span.set_status(self._trace.Status(self._trace.StatusCode.ERROR))

    def _context(self) -> dict[str, str]:
        """Return the headers that carry the current context."""
        headers: dict[str, str] = {}
        self._propagate.inject(headers)
        for name, value in headers.items():
            check_field(name, value)
        return headers

    def _carrying(self, encoder: Callable[..., Encoded]) -> Callable[..., Encoded]:
        """Return an encoder whose requests carry the current context."""
        context = self._context()

        @functools.wraps(encoder)
        def encode(*arguments: Any, **options: Any) -> Encoded:
            return _with_headers(encoder(*arguments, **options), context)

        return encode

    def around(self, send: Callable[..., Any]) -> Callable[..., Any]:
        """Return a blocking transport's ``request`` with a span around each call that is sent."""

        def send_traced(*arguments: Any) -> Any:
            if arguments[3] == Actions.encode_only:
                return send(*arguments)
            with self._span(arguments) as span:
                try:
                    response = send(*arguments[:4], self._carrying(arguments[4]), *arguments[5:])
                except BaseException as error:
                    self._failed(span, error)
                    raise
                self._answered(span, response)
                return response

        return send_traced

    def around_async(self, send: Callable[..., Any]) -> Callable[..., Any]:
        """Return an asyncio transport's ``request`` with a span around each call that is sent."""

        async def send_traced(*arguments: Any) -> Any:
            with self._span(arguments) as span:
                try:
                    response = await send(
                        *arguments[:4], self._carrying(arguments[4]), *arguments[5:]
                    )
                except BaseException as error:
                    self._failed(span, error)
                    raise
                self._answered(span, response)
                return response

        return send_traced

    @contextlib.contextmanager
    def batch(self, queue: Sequence[QueuedCall]) -> Iterator[None]:
        """Put a span around the sending of a batch; its requests carry that span's context."""
        with self._tracer.start_as_current_span(
            "v3io batch",
            kind=self._trace.SpanKind.CLIENT,
            attributes={**self._address, "v3io.batch.calls": len(queue)},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            context = self._context()
            for queued in queue:
                if isinstance(queued.call, Request):
                    queued.call.encoded = _with_headers(queued.call.encoded, context)
            try:
                yield
            except BaseException as error:
                self._failed(span, error)
                raise
            finally:
                failed = sum(queued.exception() is not None for queued in queue)
                span.set_attribute("v3io.batch.failed", failed)


def _with_headers(encoded: Encoded, headers: dict[str, str]) -> Encoded:
    method, path, query, function, own, body = encoded
    return method, path, query, function, {**(own or {}), **headers}, body
