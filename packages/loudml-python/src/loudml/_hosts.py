"""Hosts as users write them, turned into one dict of options per node.

Used by the clients at construction and by the transports when they take over nodes found by sniffing.
Source: loudml-python 1.6.3, ``client._normalize_hosts``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from transport_utils.errors import ConfigurationError
from transport_utils.url import check_host, check_port

from loudml.errors import ImproperlyConfigured

__all__ = ["_normalize_hosts", "parse_publish_address"]

Host = str | Mapping[str, Any]


def _normalize_hosts(hosts: Host | Iterable[Host] | None) -> list[dict[str, Any]]:
    """Return one dict per node.

    ==================================  ==========================================================================
    ``None``                            ``[{}]``: localhost:8077
    ``"h"``, ``"h:99"``                 ``{"host": "h"}``, ``{"host": "h", "port": 99}``
    ``"http://h"``                      ``{"host": "h"}``: port 8077, not 80
    ``"https://h"``                     ``{"host": "h", "port": 443, "use_ssl": True}``
    ``"http://u:p%40x@h:9/p/"``         ``{"host": "h", "port": 9, "http_auth": "u:p@x", "url_prefix": "/p/"}``
    a mapping                           itself: keywords of the connection class for this node
    ==================================  ==========================================================================

    Args:
        hosts: One node or several. The query of a URL is dropped.

    Raises:
        ImproperlyConfigured: A host, port or scheme is impossible; the message hides credentials.
        TypeError: A node is neither a str nor a mapping.
    """
    if hosts is None:
        return [{}]
    if isinstance(hosts, (str, bytes, Mapping)):
        hosts = [hosts]  # bytes are refused below
    elif not isinstance(hosts, Iterable):
        raise TypeError(f"hosts: expected a str, a mapping or several, got {type(hosts).__name__}")
    return [_normalize(host) for host in hosts]


def _normalize(host: Host) -> dict[str, Any]:
    if isinstance(host, Mapping):
        return host if isinstance(host, dict) else dict(host)
    if not isinstance(host, str):
        raise TypeError(f"host: expected a str or a mapping, got {type(host).__name__}")
    shown = f"***@{host.rpartition('@')[2]}" if "@" in host else host
    try:
        parts = urlsplit(host if "://" in host else f"//{host}")
        port = parts.port
    except ValueError:
        # The standard library's message may quote the password.
        raise ImproperlyConfigured(
            f"host {shown!r}: expected [http[s]://][user:password@]name[:port][/prefix], port 1..65535"
        ) from None
    if parts.scheme not in ("", "http", "https"):
        raise ImproperlyConfigured(f"host {shown!r}: expected the scheme http or https")
    if parts.hostname is None:
        raise ImproperlyConfigured(f"host {shown!r}: the name of the host is missing")
    try:
        node: dict[str, Any] = {"host": check_host(parts.hostname)}
        if port is not None:
            node["port"] = check_port(port)
    except ConfigurationError as cause:
        raise ImproperlyConfigured(f"host {shown!r}: {cause}") from cause
    if parts.scheme == "https":
        node.setdefault("port", 443)
        node["use_ssl"] = True
    if parts.username is not None:
        username, password = unquote(parts.username), unquote(parts.password or "")
        if ":" in username:
            raise ImproperlyConfigured(f"host {shown!r}: a user name must not hold ':'")
        node["http_auth"] = f"{username}:{password}"
    if parts.path not in ("", "/"):
        node["url_prefix"] = parts.path
    return node


def parse_publish_address(address: str | None) -> dict[str, Any] | None:
    """Return ``{"host", "port"}`` of a node's publish address, ``None`` if it has none.

    ``ip:port``, ``[ipv6]:port`` and ``name/ip:port`` are understood; of the last the name is used, since a certificate
    is issued for it.

    Raises:
        ImproperlyConfigured: There is an address, but not one that can be used.
    """
    if not address or ":" not in address:
        return None
    host, _, port = address.rpartition(":")
    name, slash, ip = host.partition("/")
    host = name or ip if slash else host
    try:
        return {
            "host": check_host(host.removeprefix("[").removesuffix("]")),
            "port": check_port(int(port)),
        }
    except ValueError as cause:  # ConfigurationError is one
        raise ImproperlyConfigured(f"publish address {address!r}: expected host:port") from cause
