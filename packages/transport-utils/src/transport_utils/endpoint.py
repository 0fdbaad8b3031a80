"""The description of one node: where it is and how to talk to it.

Used by node pools and backends; clients build it from their historic host options. Equality and hash cover address
only (scheme, host, port, path prefix, unix socket), so that a node found again by sniffing is the same node.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from transport_utils.auth import BasicAuth
from transport_utils.deadline import DEFAULT_TIMEOUT, Timeout
from transport_utils.errors import ConfigurationError
from transport_utils.headers import check_field
from transport_utils.url import check_host, check_port, check_prefix, parse_node_url

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
        extras: Free for clients. Selectors read ``weight`` (a number) and ``zone`` (a str) from it.

    Raises:
        ConfigurationError: A field is not what is said above, or options contradict each other.
        LocalProtocolError: A header cannot be sent.
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

    def __post_init__(self) -> None:
        if self.scheme not in ("http", "https"):
            raise ConfigurationError(f"scheme {self.scheme!r}: expected 'http' or 'https'")
        object.__setattr__(self, "host", check_host(self.host))
        check_port(self.port)
        check_prefix(self.path_prefix)
        for name, value in self.headers.items():
            check_field(name, value)
        object.__setattr__(self, "timeout", Timeout.coerce(self.timeout))
        most = self.max_connections
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise ConfigurationError(f"max_connections={most!r}: expected a whole number >= 1")
        for name in ("max_idle_s", "max_age_s"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise ConfigurationError(
                    f"{name}={limit!r}: expected seconds above 0, or None for no limit"
                )
        if self.tls is not None and self.scheme == "http":
            raise ConfigurationError(
                "tls options with the scheme 'http' would protect nothing: use 'https'"
            )
        if self.uds is not None and self.proxy is not None:
            raise ConfigurationError("uds and proxy exclude each other")

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Endpoint:
        """Return the endpoint of a URL ``scheme://[user[:password]@]host[:port][/prefix]``.

        Credentials in the URL become an ``authorization`` header and are not kept elsewhere.

        Args:
            url: See :func:`transport_utils.url.parse_node_url`.
            options: Other fields of the endpoint.

        Raises:
            ConfigurationError: The URL or an option is bad, or credentials are given twice.
        """
        parts = parse_node_url(url)
        if parts.username is not None:
            headers = dict(options.get("headers") or {})
            if any(name.lower() == "authorization" for name in headers):
                raise ConfigurationError(
                    "credentials both in the URL and in an authorization header"
                )
            headers.update(BasicAuth(parts.username, parts.password or "")("", "", None))
            options["headers"] = headers
        options.setdefault("path_prefix", parts.path_prefix)
        return cls(parts.scheme, parts.host, parts.port, **options)

    @property
    def base_url(self) -> str:
        """``scheme://host:port/prefix`` without credentials; ``unix:`` and the path for a socket."""
        if self.uds is not None:
            return f"unix:{self.uds}{self.path_prefix}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path_prefix}"

    def replace(self, **changes: Any) -> Endpoint:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)
