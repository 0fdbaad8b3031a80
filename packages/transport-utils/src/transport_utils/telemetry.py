"""OpenTelemetry: one client span per attempt, and metrics, after the HTTP semantic conventions.

Needs ``opentelemetry-api``, which is not a dependency. Drivers call :func:`auto_hooks` once, at construction: it
returns hooks if the application has imported OpenTelemetry by then and ``None`` otherwise, so that nothing is imported
or called where nobody listens. :func:`telemetry_hooks` is for those who want providers of their own.

Spans: name and kind as specified, ``http.request.resend_count`` from the second attempt on, ``url.full`` without
credentials; the context travels to the server in ``traceparent``. Metrics: ``http.client.request.duration`` (s) and
``http.client.open_connections``.

Source: OpenTelemetry semantic conventions for HTTP, stable part; the connection metric is in development there.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from transport_utils._version import __version__
from transport_utils.endpoint import Endpoint
from transport_utils.errors import ConfigurationError
from transport_utils.hooks import Attempt, Hooks, PoolEvent
from transport_utils.messages import ResponseMeta
from transport_utils.redact import redact_url

__all__ = ["auto_hooks", "telemetry_hooks"]

_METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
)
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_SWITCH = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"


def auto_hooks() -> Hooks | None:
    """Return :func:`telemetry_hooks` if the application uses OpenTelemetry, else ``None``.

    It counts as used when ``opentelemetry.trace`` is imported already and neither ``OTEL_SDK_DISABLED=true`` nor
    ``transport_utils`` in ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS`` says otherwise.
    """
    if "opentelemetry.trace" not in sys.modules:
        return None
    disabled = {name.strip() for name in os.environ.get(_SWITCH, "").split(",")}
    if "transport_utils" in disabled or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    return telemetry_hooks()


def telemetry_hooks(tracer_provider: Any = None, meter_provider: Any = None) -> Hooks:
    """Return hooks that report every attempt to OpenTelemetry.

    Args:
        tracer_provider: Source of the tracer; ``None`` for the global one.
        meter_provider: Source of the meter; ``None`` for the global one.

    Raises:
        ConfigurationError: ``opentelemetry-api`` is not installed.
    """
    try:
        from opentelemetry import metrics, propagate, trace
    except ImportError as cause:
        raise ConfigurationError(
            "telemetry needs opentelemetry-api: pip install transport-utils[telemetry]"
        ) from cause
    reporter = _Reporter(
        trace,
        propagate,
        trace.get_tracer("transport_utils", __version__, tracer_provider),
        metrics.get_meter("transport_utils", __version__, meter_provider),
    )
    return Hooks(
        on_attempt=reporter.on_attempt,
        on_response=reporter.on_response,
        on_error=reporter.on_error,
        on_pool=reporter.on_pool,
    )


class _Reporter:
    """Turns events into spans and measurements; keeps the span in ``attempt.state``."""

    def __init__(self, trace: Any, propagate: Any, tracer: Any, meter: Any) -> None:
        self._trace = trace
        self._inject = propagate.inject
        self._tracer = tracer
        self._duration = meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests",
            explicit_bucket_boundaries_advisory=_BUCKETS_S,
        )
        self._connections = meter.create_up_down_counter(
            "http.client.open_connections",
            unit="{connection}",
            description="Connections open, by state",
        )

    def on_attempt(self, attempt: Attempt) -> None:
        endpoint, request = attempt.endpoint, attempt.request
        known = request.method in _METHODS
        common = {
            "http.request.method": request.method if known else "_OTHER",
            **_address(endpoint),
        }
        attributes: dict[str, Any] = {
            **common,
            "url.full": redact_url(f"{endpoint.base_url}{request.target}"),
            "network.protocol.name": "http",
        }
        if not known:
            attributes["http.request.method_original"] = request.method
        if attempt.number > 1:
            attributes["http.request.resend_count"] = attempt.number - 1
        span = self._tracer.start_span(
            request.method if known else "HTTP",
            kind=self._trace.SpanKind.CLIENT,
            attributes=attributes,
        )
        self._inject(attempt.headers, self._trace.set_span_in_context(span))
        attempt.state[self] = (span, common)

    def on_response(self, attempt: Attempt, meta: ResponseMeta, now: float) -> None:
        self._end(
            attempt,
            now,
            {
                "http.response.status_code": meta.status,
                "network.protocol.version": meta.http_version,
            },
            str(meta.status) if meta.status >= 400 else None,
        )

    def on_error(self, attempt: Attempt, error: BaseException, now: float) -> None:
        self._end(attempt, now, {}, type(error).__qualname__, error)

    def on_pool(self, endpoint: Endpoint, event: PoolEvent) -> None:
        for state, change in _POOL_CHANGES.get(event, ()):
            self._connections.add(change, {**_address(endpoint), "http.connection.state": state})

    def _end(
        self,
        attempt: Attempt,
        now: float,
        attributes: dict[str, Any],
        error_type: str | None,
        error: BaseException | None = None,
    ) -> None:
        started = attempt.state.pop(self, None)
        if started is None:
            return
        span, common = started
        if error_type is not None:
            attributes["error.type"] = error_type
            description = None if error is None else str(error)
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, description))
        span.set_attributes(attributes)
        span.end()
        self._duration.record(max(0.0, now - attempt.started), {**common, **attributes})


_POOL_CHANGES = {
    PoolEvent.OPENED: (("active", 1),),
    PoolEvent.REUSED: (("idle", -1), ("active", 1)),
    PoolEvent.RETURNED: (("active", -1), ("idle", 1)),
    PoolEvent.CLOSED: (("active", -1),),
    PoolEvent.EXPIRED: (("idle", -1),),
}


def _address(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.uds is not None:
        return {"server.address": endpoint.uds}
    return {"server.address": endpoint.host, "server.port": endpoint.port}
