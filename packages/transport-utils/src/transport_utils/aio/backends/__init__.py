"""Asynchronous backends; see :mod:`transport_utils.backends`."""

from __future__ import annotations

from transport_utils.backends import AsyncHttpBackend
from transport_utils.errors import ConfigurationError

__all__ = ["make_async_backend"]


def make_async_backend(backend: str | AsyncHttpBackend) -> AsyncHttpBackend:
    """Return an asynchronous backend from its name, or the one given.

    Raises:
        ConfigurationError: The name is unknown, or the library behind it is not installed.
    """
    if not isinstance(backend, str):
        return backend
    if backend == "native":
        from transport_utils.aio.backends.native import AsyncNativeBackend

        return AsyncNativeBackend()
    raise ConfigurationError(f"asynchronous backend {backend!r}: expected 'native' or an object")
