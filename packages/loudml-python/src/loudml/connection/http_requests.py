"""The connection class over requests. Source: loudml-python 1.6.3, ``connection.http_requests``."""

from __future__ import annotations

from typing import Any

from loudml.connection.backend import BackendConnection
from loudml.errors import ImproperlyConfigured

__all__ = ["RequestsHttpConnection"]


class RequestsHttpConnection(BackendConnection):
    """A node spoken to through requests, which is imported when the first one is made.

    For ``http_auth`` objects that sign requests of that library, such as ``AWS4Auth``, and for the proxies of the
    environment. The other options are those of :class:`~loudml.connection.backend.BackendConnection`.

    Raises:
        ImproperlyConfigured: ``ca_certs`` with ``verify_certs=False``, or as for the base class.
    """

    backend_name = "requests"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("ca_certs") and kwargs.get("verify_certs") is False:
            raise ImproperlyConfigured("You cannot pass CA certificates when verify SSL is off.")
        super().__init__(*args, **kwargs)
