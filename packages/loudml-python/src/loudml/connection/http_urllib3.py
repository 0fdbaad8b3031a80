"""The default connection class: urllib3. Source: loudml-python 1.6.3, ``connection.http_urllib3``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loudml.connection.backend import BackendConnection

if TYPE_CHECKING:
    import ssl

__all__ = ["VERIFY_CERTS_DEFAULT", "Urllib3HttpConnection", "create_ssl_context"]

VERIFY_CERTS_DEFAULT = None
"""Certificates are verified unless ``verify_certs=False``."""


def create_ssl_context(**kwargs: Any) -> ssl.SSLContext:
    """Return ``ssl.create_default_context(**kwargs)``, for the option ``ssl_context``."""
    import ssl  # takes a while to load

    return ssl.create_default_context(**kwargs)


class Urllib3HttpConnection(BackendConnection):
    """A node spoken to through urllib3, which is imported when the first one is made.

    The options are those of :class:`~loudml.connection.backend.BackendConnection`.
    """

    backend_name = "urllib3"
