"""OpenTelemetry spans of calls: one per call, retries included; needs ``opentelemetry-api``, which is no dependency.

Called by the clients when they are made: if the application has imported OpenTelemetry by then, their calls are traced;
otherwise nothing is imported and calls cost nothing more. A batch's calls are part of the span that is current.

A span is called ``v3io <call>`` (``v3io put_item``), of kind CLIENT, with ``server.address``, ``server.port``,
``v3io.container``, ``http.response.status_code`` and, for failures, ``error.type``. No path, key or value is recorded.
"""

from __future__ import annotations

import os
import sys
import urllib.parse
from collections.abc import Callable
from typing import Any

from v3io._version import __version__
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
        from opentelemetry import trace

        self._trace = trace
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

    def around(self, send: Callable[..., Any]) -> Callable[..., Any]:
        """Return a blocking transport's ``request`` with a span around each call that is sent."""

        def send_traced(*arguments: Any) -> Any:
            if arguments[3] == Actions.encode_only:
                return send(*arguments)
            with self._span(arguments) as span:
                try:
                    response = send(*arguments)
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
                    response = await send(*arguments)
                except BaseException as error:
                    self._failed(span, error)
                    raise
                self._answered(span, response)
                return response

        return send_traced
