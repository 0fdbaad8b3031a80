"""Paths of the web API: joining container, path and key, and their percent-encoding.

Called by the request encoders of :mod:`v3io.dataplane.request`. Source: path rules of v3io 0.7.2 (``common.helpers``
and ``dataplane.request``), with empty parts refused by name instead of ending in ``IndexError``.
"""

from __future__ import annotations

import re
import urllib.parse

__all__ = [
    "encode_query",
    "is_safe",
    "item_path",
    "object_path",
    "quote_path",
    "shard_path",
    "url_join",
    "with_trailing_slash",
]

is_safe = re.compile(r"[A-Za-z0-9_.\-~/]*", re.ASCII).fullmatch
"""Whether a path goes out as it is: :func:`quote_path` would not change it."""


def url_join(base: str, *parts: str) -> str:
    """Join a container and path parts by single slashes, never collapsing slashes that are already there.

    Args:
        base: Container name or number; a leading ``/`` is added when it lacks one.
        parts: Path parts; one that starts with ``/`` is appended as it is. ``""`` is refused.

    Returns:
        An unescaped path that starts with ``/``.

    Raises:
        ValueError: ``base`` or a part is empty or not a str.
    """
    if not isinstance(base, str) or not base:
        raise ValueError(f"container {base!r}: expected a non-empty str")
    joined = base if base[0] == "/" else "/" + base
    for part in parts:
        if not isinstance(part, str) or not part:
            raise ValueError(f"path {part!r} in container {base!r}: expected a non-empty str")
        joined += part if part[0] == "/" else "/" + part
    return joined


def object_path(container: str, path: str) -> str:
    """Return ``url_join(container, path)``, sooner."""
    if type(container) is str and type(path) is str and container and path and container[0] != "/":
        return f"/{container}{path}" if path[0] == "/" else f"/{container}/{path}"
    return url_join(container, path)


def item_path(table_path: str, key: str) -> str:
    """Return the path of one item: ``key`` below ``table_path``; an absolute key replaces the table.

    Raises:
        ValueError: ``key`` is empty or not a str, or ``table_path`` is not a str.
    """
    if type(key) is str and type(table_path) is str and key and table_path and key[0] != "/":
        return table_path + key if table_path[-1] == "/" else f"{table_path}/{key}"
    if not isinstance(key, str) or not key:
        raise ValueError(f"key {key!r}: expected a non-empty str")
    if not isinstance(table_path, str):
        raise ValueError(f"table path {table_path!r}: expected a str")
    if key[0] == "/" or not table_path:
        return key
    return table_path + key if table_path[-1] == "/" else f"{table_path}/{key}"


def shard_path(stream_path: str, shard_id: int | str) -> str:
    """Return the path of one shard, with the trailing slash that every stream call carries."""
    return with_trailing_slash(item_path(stream_path, str(shard_id)))


def with_trailing_slash(path: str) -> str:
    """Return ``path`` with exactly the slash it has, or with one added when it has none.

    Raises:
        ValueError: ``path`` is not a str.
    """
    if not isinstance(path, str):
        raise ValueError(f"path {path!r}: expected a str")
    return path if path.endswith("/") else path + "/"


def quote_path(path: str) -> str:
    """Percent-encode a path: ``/`` and unreserved characters stay, all else as UTF-8 ``%XX``."""
    return path if is_safe(path) else urllib.parse.quote(path)


def encode_query(query: dict[str, str | int]) -> str:
    """Encode query parameters in their order; a space is ``%20`` and a slash ``%2F``."""
    return urllib.parse.urlencode(query, safe="", quote_via=urllib.parse.quote)
