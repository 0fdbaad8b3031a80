"""One HTTP exchange with one endpoint, in several interchangeable ways.

A backend sends a request and brings the response; it does not retry, decode, log or choose nodes: that is the
transport's.
"""

from __future__ import annotations

import importlib
from typing import Protocol

from transport_utils.deadline import Deadline
from transport_utils.endpoint import Endpoint
from transport_utils.errors import ConfigurationError
from transport_utils.hooks import Hooks
from transport_utils.messages import AsyncResponse, Request, Response

__all__ = ["AsyncHttpBackend", "HttpBackend", "make_backend", "require_name", "watch_pools"]

_CLASSES = {
    "httpx": ("httpx", "HttpxBackend"),
    "httpx2": ("httpx", "HttpxBackend"),
    "native": ("native", "NativeBackend"),
    "requests": ("requests", "RequestsBackend"),
    "urllib3": ("urllib3", "Urllib3Backend"),
}


class HttpBackend(Protocol):
    """A way to make HTTP exchanges; thread-safe."""

    name: str

    def request(self, endpoint: Endpoint, request: Request, deadline: Deadline) -> Response:
        """Send ``request`` once and return the response, undecoded.

        Args:
            endpoint: Where to; its headers and path prefix are added here.
            request: What to send; its ``timeout`` holds per exchange, except for ``total``.
            deadline: When the exchange must have ended.

        Raises:
            TransportError: Any of :mod:`transport_utils.errors` but the drivers' own; ``node``, ``method``, ``target``
                and ``sent`` are set.
        """

    def forget(self, endpoint: Endpoint) -> None:
        """Close the connections to an endpoint that is no longer used."""

    def close(self, drain_s: float = 0.0) -> None:
        """Close all connections; idempotent. Exchanges in progress may go on for ``drain_s`` seconds."""


class AsyncHttpBackend(Protocol):
    """The asynchronous :class:`HttpBackend`; belongs to one event loop at a time."""

    name: str

    async def request(
        self, endpoint: Endpoint, request: Request, deadline: Deadline
    ) -> AsyncResponse:
        """See :meth:`HttpBackend.request`."""

    def forget(self, endpoint: Endpoint) -> None:
        """See :meth:`HttpBackend.forget`."""

    async def aclose(self, drain_s: float = 0.0) -> None:
        """See :meth:`HttpBackend.close`."""


def make_backend(backend: str | HttpBackend) -> HttpBackend:
    """Return a backend from its name, or the one given.

    Raises:
        ConfigurationError: The name is unknown, or the library behind it is not installed.
    """
    if not isinstance(backend, str):
        return backend
    if backend not in _CLASSES:
        raise ConfigurationError(
            f"backend {backend!r}: expected one of {', '.join(sorted(_CLASSES))}, or an object"
        )
    module_name, class_name = _CLASSES[backend]
    try:
        module = importlib.import_module(f"transport_utils.backends.{module_name}")
    except ImportError as cause:
        raise ConfigurationError(
            f"backend {backend!r} needs a library that is not installed: pip install 'transport-utils[{backend}]'"
        ) from cause
    make = getattr(module, class_name)
    made: HttpBackend = make(backend) if module_name == "httpx" else make()
    return made


def watch_pools(backend: HttpBackend | AsyncHttpBackend, hooks: Hooks | None) -> None:
    """Let a backend that can (the native ones) report what happens to its connections."""
    if hooks is not None and hooks.on_pool is not None and hasattr(backend, "on_pool"):
        backend.on_pool = hooks.on_pool


def require_name(backend: object) -> None:
    """Check that a backend was given by name, so that another of its kind can be made.

    Raises:
        ConfigurationError: It was given as an object, which stays closed.
    """
    if not isinstance(backend, str):
        raise ConfigurationError(
            f"reopen: the backend was given as an object ({backend!r}) and stays closed; give it by name, or build a "
            "new transport"
        )
