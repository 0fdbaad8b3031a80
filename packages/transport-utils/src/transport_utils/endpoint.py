"""The description of one node: where it is and how to talk to it.

Used by node pools and backends; clients build it from their historic host options. Equality and hash cover address
only (scheme, host, port, path prefix, unix socket), so that a node found again by sniffing is the same node.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from transport_utils.deadline import DEFAULT_TIMEOUT, Timeout

__all__ = ["Endpoint"]


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoint:
    """One node.

    Args:
        scheme: ``"http"`` or ``"https"``.
        host: Name or address; IPv6 without brackets.
        port: 1..65535.
        path_prefix: Put in front of every target; empty or starting with ``/``, never ending with one.
        headers: Sent with every request, credentials included; hidden in ``repr``.
        timeout: Limits of requests that bring none.
        max_connections: Hard limit of open connections to this node, >= 1.
        tls: ``transport_utils.tls.TlsConfig`` for https; ``None`` means its defaults.
        uds: Path of a unix socket to connect to instead of host and port; ``None`` for TCP.
        proxy: URL of an HTTP proxy (urllib3 backend only); ``None`` for a direct connection.
        max_idle_s: Idle connections older than this are not reused; ``None`` means no limit. 55 s stays below the
            idle limit of common load balancers.
        max_age_s: Connections older than this are not reused; ``None`` means no limit.
        socket_options: ``(level, option, value)`` triples set on each TCP socket besides ``TCP_NODELAY``.
        extras: Free for clients; not used by the transport.
    """

    scheme: str
    host: str
    port: int
    path_prefix: str = ""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False, repr=False)
    timeout: Timeout = dataclasses.field(default=DEFAULT_TIMEOUT, compare=False)
    max_connections: int = dataclasses.field(default=10, compare=False)
    tls: Any = dataclasses.field(default=None, compare=False, repr=False)
    uds: str | None = None
    proxy: str | None = dataclasses.field(default=None, compare=False, repr=False)
    max_idle_s: float | None = dataclasses.field(default=55.0, compare=False)
    max_age_s: float | None = dataclasses.field(default=None, compare=False)
    socket_options: tuple[tuple[int, int, int | bytes], ...] = dataclasses.field(
        default=(), compare=False
    )
    extras: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    def replace(self, **changes: Any) -> Endpoint:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)
