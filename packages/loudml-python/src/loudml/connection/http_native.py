"""The fast connection class: HTTP/1.1 over sockets by transport-utils itself."""

from __future__ import annotations

from loudml.connection.backend import BackendConnection

__all__ = ["NativeHttpConnection"]


class NativeHttpConnection(BackendConnection):
    """A node spoken to without an HTTP library in between: several times faster than the others, no proxies.

    The options are those of :class:`~loudml.connection.backend.BackendConnection`.
    """

    backend_name = "native"
