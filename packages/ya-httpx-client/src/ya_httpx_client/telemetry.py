"""OpenTelemetry spans of requests, if opentelemetry-api is installed; looked up once, no cost without it.

Called by ``delivery``. One client span per request, from the call to the head of the answer, repeats included.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from ya_httpx_client._version import __version__

__all__ = ["span"]


@functools.lru_cache(maxsize=1)
def _opentelemetry() -> Any:
    try:
        from opentelemetry import trace
    except ImportError:
        return None
    return trace


@contextlib.contextmanager
def span(request: Any) -> Iterator[Any]:
    """Open a span for a request; yield it, or ``None`` without OpenTelemetry. An exception is recorded on it."""
    trace = _opentelemetry()
    if trace is None:
        yield None
        return
    tracer = trace.get_tracer("ya_httpx_client", __version__)
    attributes = {
        "http.request.method": request.method,
        "server.address": request.url.host,
        "url.path": request.url.path,
    }
    name = f"ya_httpx_client {request.method}"
    with tracer.start_as_current_span(
        name, kind=trace.SpanKind.CLIENT, attributes=attributes
    ) as opened:
        yield opened
