"""Objects and listings: GET, HEAD, PUT and DELETE without a function header.

Called by :mod:`mock_servers.v3io.app` with the container's number and a clean path.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import re
from collections.abc import Mapping
from xml.sax.saxutils import escape

from mock_servers.v3io.errors import invalid_argument, no_such_file, range_past_end
from mock_servers.v3io.reply import Reply
from mock_servers.v3io.store import DIRECTORY, FILE, SHARD, STREAM, Node, Store, split_path

__all__ = ["delete_object", "get_object", "list_containers", "list_contents", "put_object"]

READ_RANGE = re.compile(r"bytes=(\d+)(?:-(\d*))?")
DEFAULT_MAX_KEYS = 1000
XML = (b"content-type", b"application/xml")


def _http_date(ns: int) -> bytes:
    return email.utils.formatdate(ns / 1e9, usegmt=True).encode()


def _iso_time(ns: int) -> str:
    moment = dt.datetime.fromtimestamp(ns // 1_000_000_000, dt.timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ns % 1_000_000_000 // 1000:06d}Z"


def list_containers(store: Store) -> Reply:
    """Answer ``GET /``."""
    buckets = "".join(
        f"<Bucket><Name>{escape(name)}</Name><CreationDate>{_iso_time(created)[:-1]}+00:00</CreationDate>"
        f"<Id>{number}</Id></Bucket>"
        for number, name, created in store.containers()
    )
    text = f"<ListAllMyBucketsResult><Buckets>{buckets}</Buckets></ListAllMyBucketsResult>"
    return Reply(200, text.encode(), (XML,))


def _details(node: Node) -> str:
    """Return the elements that ``prefix-info`` adds."""
    text = (
        f"<AccessTime>{_iso_time(node.mtime_ns)}</AccessTime><CreatingTime>{_iso_time(node.ctime_ns)}</CreatingTime>"
        f"<GID>0</GID><UID>0</UID><Mode>0{node.mode:o}</Mode><InodeNumber>{node.id}</InodeNumber>"
    )
    if node.kind == STREAM and node.retention_hours is not None:
        text += (
            f"<ShardCount>{node.shard_count}</ShardCount><RetentionPeriodHours>{node.retention_hours}"
            f"</RetentionPeriodHours><RetentionPeriodSec>{node.retention_hours * 3600}</RetentionPeriodSec>"
        )
    if node.kind == SHARD:
        last = node.next_sequence - 1
        text += f"<LastSequenceId>{last}</LastSequenceId><LastSequenceID>{last}</LastSequenceID>"
    return text


def _entry(node: Node, *, detailed: bool) -> str:
    details = _details(node) if detailed else ""
    modified = f"<LastModified>{_iso_time(node.mtime_ns)}</LastModified>"
    if node.kind in (DIRECTORY, STREAM):
        modified = modified if detailed else ""
        return f"<CommonPrefixes><Prefix>{escape(node.path)}/</Prefix>{modified}{details}</CommonPrefixes>"
    return f"<Contents><Key>{escape(node.path)}</Key><Size>{node.size}</Size>{modified}{details}</Contents>"


def list_contents(store: Store, container: int, name: str, query: Mapping[str, str]) -> Reply:
    """Answer ``GET /container?prefix=...``: one level of one directory.

    Raises:
        ServiceError: 404 when the prefix is no directory, 400 for a bad ``max-keys``.
    """
    prefix = query.get("prefix", "")
    path = "/".join(part for part in prefix.split("/") if part)
    folder = store.find(container, path)
    if folder is None or folder.kind not in (DIRECTORY, STREAM):
        raise no_such_file(path)
    try:
        limit = int(query.get("max-keys", DEFAULT_MAX_KEYS))
    except ValueError:
        limit = -1
    if limit < 0:
        raise invalid_argument(f"max-keys={query['max-keys']!r}: expected a number of 0 or more")
    marker = query.get("marker", "")
    after = split_path(marker.rstrip("/"))[1]
    kinds = "1, 2" if query.get("prefix-only") == "1" else "0, 1, 2, 3"
    nodes = list(store.children(folder, after=after, limit=limit + 1, kinds=kinds))
    truncated = len(nodes) > limit
    nodes = nodes[:limit]
    detailed = query.get("prefix-info") == "1"
    entries = "".join(_entry(node, detailed=detailed) for node in nodes)
    text = (
        f"<ListBucketResult><Name>{escape(name)}</Name><Prefix>{escape(prefix)}</Prefix>"
        f"<Marker>{escape(marker)}</Marker><Delimiter>/</Delimiter>"
        f"<NextMarker>{escape(nodes[-1].path) if nodes else ''}</NextMarker><MaxKeys>{limit}</MaxKeys>"
        f"<IsTruncated>{'true' if truncated and limit else 'false'}</IsTruncated>{entries}</ListBucketResult>"
    )
    return Reply(200, text.encode(), (XML,))


def get_object(store: Store, container: int, path: str, wanted: str | None, *, head: bool) -> Reply:
    """Answer GET and HEAD of an object; a directory exists for HEAD only.

    Args:
        store: The data.
        container: Number of the container.
        path: Clean path.
        wanted: The ``Range`` header: ``bytes=a``, ``bytes=a-`` or ``bytes=a-b``; ``None`` for everything.
        head: Whether only the headers are wanted.

    Raises:
        ServiceError: 404, 400 for another form of range, 416 for one past the end.
    """
    node = store.find(container, path)
    if node is None or (node.kind in (DIRECTORY, STREAM) and not head):
        raise no_such_file(path)
    modified = (b"last-modified", _http_date(node.mtime_ns))
    if head:
        return Reply(200, b"", (modified, (b"content-length", str(node.size).encode())))
    kind = (b"content-type", b"application/octet-stream")
    if wanted is None:
        return Reply(200, store.read(node, 0, node.size), (modified, kind))
    match = READ_RANGE.fullmatch(wanted)
    if match is None:
        raise invalid_argument(f"Range {wanted!r}: expected bytes=first or bytes=first-last")
    start = int(match[1])
    stop = int(match[2]) + 1 if match[2] else node.size
    if start >= node.size or stop <= start:
        raise range_past_end(start, node.size)
    stop = min(stop, node.size)
    sent = (b"content-range", f"bytes {start}-{stop - 1}/{node.size}".encode())
    return Reply(206, store.read(node, start, stop), (modified, kind, sent))


def put_object(
    store: Store, container: int, path: str, body: bytes, wanted: str | None, *, directory: bool
) -> Reply:
    """Answer PUT and POST: write, append (``Range: -1``), or make a directory (trailing slash).

    User attributes of an object stay when its bytes are replaced.

    Raises:
        ServiceError: 400 for another range, or a path that is a directory or below an object.
    """
    if directory:
        store.make_folders(container, path)
        return Reply(200)
    if wanted not in (None, "-1"):
        raise invalid_argument(f"Range {wanted!r} on PUT: expected -1, which appends")
    node = store.find(container, path)
    if node is None:
        store.make_folders(container, split_path(path)[0])
        node = store.insert(container, path, FILE)
    elif node.kind != FILE:
        raise invalid_argument(f"{path} is a directory or a shard, not an object")
    store.write(node, body, append=wanted is not None)
    return Reply(200)


def delete_object(store: Store, container: int, path: str) -> Reply:
    """Answer DELETE of an object, an item, a shard or an empty directory.

    Raises:
        ServiceError: 404 or 409.
    """
    store.delete(container, path)
    return Reply(204)
