"""OpenTelemetry: a span per call and per remote function, linked through the envelope. Needs ``opentelemetry-api``.

The context travels in the extension field, so it passes original servers unread and reaches the next one of ours.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from pylm import _tracing
from pylm.config import ConfigurationError

__all__ = ["instrument", "uninstrument"]


def instrument(tracer_provider: Any = None) -> None:
    """Make spans from now on, in this process, for clients, servers and workers.

    Args:
        tracer_provider: Of OpenTelemetry; ``None`` for the global one.

    Raises:
        ConfigurationError: ``opentelemetry-api`` is not installed.
    """
    try:
        from opentelemetry import propagate, trace
    except ImportError as error:
        raise ConfigurationError("spans need the extra: pip install pylm[telemetry]") from error
    tracer = trace.get_tracer("pylm", tracer_provider=tracer_provider)

    @contextlib.contextmanager
    def client_span(route: str) -> Iterator[tuple[dict[str, str], _tracing.Fail]]:
        span = tracer.start_span(f"pylm {route}", kind=trace.SpanKind.CLIENT)
        carrier: dict[str, str] = {}
        propagate.inject(carrier, trace.set_span_in_context(span))

        def fail(error: BaseException) -> None:
            span.record_exception(error)
            span.set_status(trace.StatusCode.ERROR, str(error)[:200])

        try:
            yield carrier, fail
        except Exception as error:
            fail(error)
            raise
        finally:
            span.end()

    @contextlib.contextmanager
    def server_span(where: str, carrier: Mapping[str, str]) -> Iterator[None]:
        context = propagate.extract(dict(carrier))
        with tracer.start_as_current_span(where, context=context, kind=trace.SpanKind.SERVER):
            yield

    _tracing.client_span = client_span
    _tracing.server_span = server_span


def uninstrument() -> None:
    """Make no spans any more."""
    _tracing.client_span = _tracing.server_span = None
