"""URLs of nodes, and the targets of requests.

Used by :class:`transport_utils.endpoint.Endpoint` and by clients to build paths. Policy floor: strict where a mistake
would reach the wire, and never an error message with a password in it.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote, urlsplit

from transport_utils.errors import ConfigurationError, LocalProtocolError

__all__ = [
    "DEFAULT_PORTS",
    "NodeUrl",
    "check_host",
    "check_port",
    "check_prefix",
    "check_target",
    "encode_query",
    "join_path",
    "parse_node_url",
]

DEFAULT_PORTS: Mapping[str, int] = {"http": 80, "https": 443}
"""Port of a URL that names none, by scheme."""

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]{0,252})", re.ASCII)
_BAD_TARGET = re.compile(r"[^\x21-\x7e]|#")
_UNRESERVED = "-._~"

Scalar = str | bytes | int | float | bool | None
Params = Mapping[str, Scalar | Iterable[Scalar]] | Iterable[tuple[str, Scalar | Iterable[Scalar]]]


@dataclasses.dataclass(frozen=True, slots=True)
class NodeUrl:
    """The parts of a node's URL.

    Args:
        scheme: ``"http"`` or ``"https"``.
        host: Name or address, lower case, without brackets, international names in their ASCII form.
        port: 1..65535; the default of the scheme if the URL named none.
        path_prefix: Empty, or starting with ``/`` and not ending with one.
        username: Decoded; ``None`` without credentials.
        password: Decoded; ``None`` without credentials, empty if only a name was given.
    """

    scheme: str
    host: str
    port: int
    path_prefix: str = ""
    username: str | None = dataclasses.field(default=None, repr=False)
    password: str | None = dataclasses.field(default=None, repr=False)


def parse_node_url(url: str, *, default_port: int | None = None) -> NodeUrl:
    """Take apart ``scheme://[user[:password]@]host[:port][/prefix]`` (RFC 1738).

    Args:
        url: The URL; user and password percent-encoded where they hold ``@ : /``.
        default_port: Port for a URL that names none; ``None`` for 80 or 443 by scheme.

    Raises:
        ConfigurationError: Not a str, another scheme, no host, a bad host or port, a query or a fragment.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"node URL: expected a str, got {type(url).__name__}")
    shown = re.sub(r"//[^/]*@", "//<hidden>@", url)
    if re.search(r"[\x00-\x20\x7f]", url):
        raise ConfigurationError(f"node URL {shown!r}: holds a space or a control character")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as cause:
        # The standard library's own message may quote the password.
        raise ConfigurationError(
            f"node URL {shown!r}: expected scheme://host[:port][/prefix] with a port from 1 to 65535"
        ) from (None if "@" in url else cause)
    if parts.scheme not in DEFAULT_PORTS:
        raise ConfigurationError(f"node URL {shown!r}: expected http:// or https:// in front")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ConfigurationError(f"node URL {shown!r}: a query or fragment has no place in it")
    if not parts.hostname:
        raise ConfigurationError(f"node URL {shown!r}: the host is missing")
    if "[" in parts.netloc and ":" not in parts.hostname:
        raise ConfigurationError(f"node URL {shown!r}: brackets are for IPv6 addresses")
    username = None if parts.username is None else unquote(parts.username)
    password = None if parts.username is None else unquote(parts.password or "")
    if port is None:
        port = default_port or DEFAULT_PORTS[parts.scheme]
    return NodeUrl(
        parts.scheme,
        check_host(parts.hostname),
        check_port(port),
        check_prefix(parts.path.rstrip("/")),
        username,
        password,
    )


def check_host(host: str) -> str:
    """Return a host name or address in the form it is used: lower case, ASCII, IPv6 without brackets.

    Raises:
        ConfigurationError: It is neither a host name nor an address.
    """
    if not isinstance(host, str) or not host:
        raise ConfigurationError(f"host {host!r}: expected a name or an address")
    if ":" in host:
        address, _, zone = host.partition("%")
        try:
            ipaddress.IPv6Address(address)
        except ValueError:
            raise ConfigurationError(
                f"host {host!r}: not an IPv6 address (give the port apart)"
            ) from None
        if zone and not _HOST.fullmatch(zone):
            raise ConfigurationError(f"host {host!r}: bad zone of an IPv6 address")
        return host.lower()
    ascii_host = host
    if not host.isascii():
        try:
            ascii_host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise ConfigurationError(f"host {host!r}: not an international host name") from None
    if not _HOST.fullmatch(ascii_host):
        raise ConfigurationError(
            f"host {host!r}: expected a name or an address, without scheme, port or path"
        )
    return ascii_host.lower()


def check_target(target: str) -> str:
    """Return a request target if it can go on the wire as it is.

    Raises:
        LocalProtocolError: It does not start with ``/`` (or is ``*``), or holds a space, a control character, ``#`` or
            anything outside ASCII: percent-encode those.
    """
    if target == "*" or (target.startswith("/") and not _BAD_TARGET.search(target)):
        return target
    raise LocalProtocolError(
        f"target {target!r}: expected a path that starts with '/' and is percent-encoded"
    )


def join_path(*segments: str | int) -> str:
    """Return ``/a/b/c`` with every segment percent-encoded, slashes too.

    Raises:
        ConfigurationError: A segment is empty, ``.`` or ``..``: the path would mean another resource.
    """
    for segment in segments:
        if str(segment) in ("", ".", ".."):
            raise ConfigurationError(f"path segment {segment!r}: must name something")
    return "".join(f"/{quote(str(segment), safe=_UNRESERVED)}" for segment in segments)


def encode_query(params: Params | None) -> str:
    """Return a query string without the ``?``; empty for no parameters.

    ``None`` leaves a parameter out; ``True`` and ``False`` become ``true`` and ``false``; a list or tuple repeats the
    name. Spaces become ``%20``.

    Args:
        params: A mapping, or pairs of name and value.
    """
    if not params:
        return ""
    pairs = params.items() if isinstance(params, Mapping) else params
    encoded = []
    for name, value in pairs:
        values = [value] if isinstance(value, (str, bytes, int, float)) or value is None else value
        encoded += [f"{_quote(name)}={_quote(one)}" for one in values if one is not None]
    return "&".join(encoded)


def _quote(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return quote(value if isinstance(value, (str, bytes)) else str(value), safe=_UNRESERVED)


def check_port(port: int) -> int:
    """Return the port.

    Raises:
        ConfigurationError: It is not a whole number from 1 to 65535.
    """
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        raise ConfigurationError(f"port {port!r}: expected a whole number from 1 to 65535")
    return port


def check_prefix(prefix: str) -> str:
    """Return the path prefix.

    Raises:
        ConfigurationError: It is neither empty nor a percent-encoded path without ``/`` at its end.
    """
    if prefix and (
        prefix[0] != "/" or prefix[-1] == "/" or _BAD_TARGET.search(prefix) or "?" in prefix
    ):
        raise ConfigurationError(
            f"path prefix {prefix!r}: expected '' or a percent-encoded path that starts with '/' and ends otherwise"
        )
    return prefix
