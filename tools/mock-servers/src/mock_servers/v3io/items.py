"""Key-value functions: PutItem, UpdateItem, GetItem, GetItems.

Called by :mod:`mock_servers.v3io.app` with the decoded JSON body. An item is an object; its name is the key.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

import orjson

from mock_servers.v3io.errors import (
    condition_failed,
    invalid_argument,
    item_exists,
    no_such_file,
    resource_not_found,
)
from mock_servers.v3io.expressions import compile_condition, compile_update
from mock_servers.v3io.functions import EvaluationError
from mock_servers.v3io.reply import JSON, Reply
from mock_servers.v3io.store import COLUMNS, DIRECTORY, FILE, STREAM, Node, Store, split_path
from mock_servers.v3io.values import Value, check_attributes, check_name, decode, encode

__all__ = ["ScanKnobs", "get_item", "put_item", "scan", "update_item"]

SYSTEM_NAMES = (
    *("__name", "__size", "__mtime_secs", "__mtime_nsecs", "__ctime_secs", "__ctime_nsecs"),
    *("__atime_secs", "__atime_nsecs", "__mode", "__uid", "__gid", "__inode_number"),
    *("__obj_type", "__collection_id"),
)
NS = 1_000_000_000
MAX_SEGMENTS = 1024
MARKER_PREFIX = b"after:"


@dataclass(slots=True)
class ScanKnobs:
    """How scans page.

    Attributes:
        page_items: Most items of one page.
        page_rows: Most items looked at for one page: with a filter pages come short, or empty.
        empty_page_every: Each n-th page is empty, without being the last; 0 for never.
        pages: Pages answered so far.
    """

    page_items: int = 1000
    page_rows: int = 10_000
    empty_page_every: int = 0
    pages: int = 0


def _system_value(node: Node, name: str) -> str | int:
    if name == "__name":
        return node.name
    if name.startswith(("__mtime", "__ctime", "__atime")):
        moment = node.ctime_ns if name.startswith("__ctime") else node.mtime_ns
        return moment // NS if name.endswith("_secs") else moment % NS
    numbers = {
        "__size": node.size,
        "__mode": node.mode,
        "__uid": 0,
        "__gid": 0,
        "__inode_number": node.id,
        "__obj_type": node.kind,
        "__collection_id": node.container,
    }
    return numbers[name]


class ItemAttributes(MutableMapping[str, Value]):
    """The attributes of an item as expressions see them, decoded on first use; system ones cannot be written.

    Args:
        node: The item; ``None`` for one that does not exist, which has no attributes.
    """

    def __init__(self, node: Node | None) -> None:
        self.node = node
        self.typed: dict[str, Any] = orjson.loads(node.attributes) if node else {}
        self._values: dict[str, Value] = {}

    def __getitem__(self, name: str) -> Value:
        if name in self._values:
            return self._values[name]
        if name in self.typed:
            value = self._values[name] = decode(self.typed[name])
            return value
        if self.node is not None and name in SYSTEM_NAMES:
            return _system_value(self.node, name)
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return name in self.typed or (self.node is not None and name in SYSTEM_NAMES)

    def __setitem__(self, name: str, value: Value) -> None:
        if name in SYSTEM_NAMES:
            raise EvaluationError(f"{name} is a system attribute")
        check_name(name)
        self._values[name] = value
        self.typed[name] = encode(value)

    def __delitem__(self, name: str) -> None:
        del self.typed[name]
        self._values.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self.typed)

    def __len__(self) -> int:
        return len(self.typed)


def _check_condition(text: Any, node: Node | None) -> bool:
    """Return whether a condition holds; one that is absent or empty does."""
    if not text:
        return True
    if not isinstance(text, str):
        raise invalid_argument("ConditionExpression: expected a string")
    return compile_condition(text)(ItemAttributes(node))


def _find_item(store: Store, container: int, path: str) -> Node | None:
    if not path:
        raise invalid_argument("the path names no item")
    node = store.find(container, path)
    if node is not None and node.kind in (DIRECTORY, STREAM):
        raise no_such_file(f"{path} is a directory")
    return node


def _save(store: Store, container: int, path: str, node: Node | None, text: bytes) -> Reply:
    if node is None:
        store.make_folders(container, split_path(path)[0])
        mtime = store.insert(container, path, FILE, text).mtime_ns
    else:
        mtime = store.set_attributes(node, text)
    return Reply(200, b"", (_verifier(mtime),))


def _verifier(mtime_ns: int) -> tuple[bytes, bytes]:
    condition = f"__mtime_secs=={mtime_ns // NS} and __mtime_nsecs=={mtime_ns % NS}"
    return b"x-v3io-transaction-verifier", condition.encode()


def put_item(store: Store, container: int, path: str, body: dict[str, Any]) -> Reply:
    """Write the attributes of ``Item``: all of them, or merged by ``UpdateMode``.

    Raises:
        ServiceError: 400 for a malformed item, an unknown mode, a false condition, or an item that may not exist.
    """
    item = check_attributes(body.get("Item", {}))
    node = _find_item(store, container, path)
    mode = body.get("UpdateMode", "OverWriteAttributes")
    if mode not in ("OverWriteAttributes", "CreateOrReplaceAttributes", "CreateNewItemOnly"):
        raise invalid_argument(f"UpdateMode {mode!r} is not known")
    if mode == "CreateNewItemOnly" and node is not None:
        raise item_exists(path)
    if not _check_condition(body.get("ConditionExpression"), node):
        raise condition_failed()
    if mode == "CreateOrReplaceAttributes" and node is not None:
        item = orjson.loads(node.attributes) | item
    return _save(store, container, path, node, orjson.dumps(item))


def update_item(store: Store, container: int, path: str, body: dict[str, Any]) -> Reply:
    """Carry out ``UpdateExpression``, or the alternate one when the condition is false.

    Raises:
        ServiceError: 400 for a bad expression, one this item cannot take, or a false condition without alternate.
    """
    node = _find_item(store, container, path)
    expression = body.get("UpdateExpression")
    if not _check_condition(body.get("ConditionExpression"), node):
        expression = body.get("AlternateUpdateExpression")
        if not expression:
            raise condition_failed()
    if not isinstance(expression, str) or not expression.strip():
        raise invalid_argument("UpdateExpression: expected an expression")
    attributes = ItemAttributes(node)
    try:
        compile_update(expression)(attributes)
    except EvaluationError as error:
        raise invalid_argument(f"expression {expression!r}: {error}") from error
    return _save(store, container, path, node, orjson.dumps(attributes.typed))


def _selected(node: Node, typed: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Return the attributes a client asked for; names that do not exist are left out."""
    chosen: dict[str, Any] = {}
    for name in names:
        if name == "*":
            chosen.update(typed)
        elif name == "**":
            chosen.update(typed)
            chosen.update({name: encode(_system_value(node, name)) for name in SYSTEM_NAMES})
        elif name in typed:
            chosen[name] = typed[name]
        elif name in SYSTEM_NAMES:
            chosen[name] = encode(_system_value(node, name))
    return chosen


def _wanted_names(body: dict[str, Any]) -> list[str]:
    text = body.get("AttributesToGet", "*")
    if not isinstance(text, str):
        raise invalid_argument("AttributesToGet: expected names separated by commas")
    return [name.strip() for name in text.split(",")]


def get_item(store: Store, container: int, path: str, body: dict[str, Any]) -> Reply:
    """Return the attributes of one item.

    Raises:
        ServiceError: 404, also for a directory.
    """
    node = _find_item(store, container, path)
    if node is None:
        raise no_such_file(path)
    names = _wanted_names(body)
    if names == ["*"]:
        text = b'{"Item":' + node.attributes + b"}"
    else:
        text = orjson.dumps({"Item": _selected(node, orjson.loads(node.attributes), names)})
    return Reply(200, text, (JSON, _verifier(node.mtime_ns)))


def _number(body: dict[str, Any], name: str) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if isinstance(value, bool) or number < 0:
        raise invalid_argument(f"{name}={value!r}: expected a number of 0 or more")
    return number


def _parse_marker(body: dict[str, Any]) -> str:
    marker = body.get("Marker") or ""
    if not marker:
        return ""
    try:
        raw = base64.urlsafe_b64decode(marker)
        if not raw.startswith(MARKER_PREFIX):
            raise ValueError
        return raw[len(MARKER_PREFIX) :].partition(b"\0")[0].decode()
    except (TypeError, ValueError, binascii.Error):
        raise invalid_argument(f"Marker {marker!r:.80} is not one this server gave") from None


def _rows_query(container: int, folder: str, body: dict[str, Any]) -> tuple[str, list[Any]]:
    """Return the SQL of a scan's rows and its parameters, without the marker and the limit."""
    where = "container = ? AND folder = ? AND kind IN (0, 3)"
    values: list[Any] = [container, folder]
    total = _number(body, "TotalSegment")
    segment = _number(body, "Segment")
    sharding = body.get("ShardingKey")
    if total is not None or segment is not None:
        if total is None or segment is None or not 1 <= total <= MAX_SEGMENTS or segment >= total:
            raise invalid_argument(
                f"Segment {segment} of {total}: expected 0 <= Segment < TotalSegment <= {MAX_SEGMENTS}"
            )
        if sharding:
            raise invalid_argument("ShardingKey and Segment exclude each other")
        where += " AND hash % ? = ?"
        values += [total, segment]
    if sharding:
        where += " AND name >= ? AND name < ?"
        start = f"{sharding}.{body.get('SortKeyRangeStart') or ''}"
        end = body.get("SortKeyRangeEnd")
        values += [start, f"{sharding}.{end}" if end else f"{sharding}/"]  # "/" is next to "."
    elif body.get("SortKeyRangeStart") or body.get("SortKeyRangeEnd"):
        raise invalid_argument("a sort key range needs a ShardingKey")
    return where, values


def scan(store: Store, container: int, path: str, body: dict[str, Any], knobs: ScanKnobs) -> Reply:
    """Return one page of the items of a table, ordered by key.

    Raises:
        ServiceError: 404 for a missing table, 400 for a bad argument.
    """
    folder = store.find(container, path)
    if folder is None or folder.kind not in (DIRECTORY, STREAM):
        raise resource_not_found(path)
    limit = _number(body, "Limit")
    items_left = knobs.page_items if limit is None else min(limit, knobs.page_items)
    names = _wanted_names(body)
    text = body.get("FilterExpression")
    condition = compile_condition(text) if text else None
    where, values = _rows_query(container, path, body)
    after = _parse_marker(body)
    page = knobs.pages = knobs.pages + 1
    if limit == 0 or (knobs.empty_page_every and page % knobs.empty_page_every == 0):
        return _page([], _marker(after, page))
    rows_limit = knobs.page_rows if condition else items_left
    rows = store.sql.execute(
        f"SELECT {COLUMNS} FROM nodes WHERE {where} AND name > ? ORDER BY name LIMIT ?",
        (*values, after, rows_limit + 1),
    )
    found: list[bytes] = []
    plain = names == ["*"]
    seen = 0
    for row in rows:
        node = Node._make(row)
        if seen == rows_limit or len(found) == items_left:
            rows.close()
            return _page(found, _marker(after, page))
        seen += 1
        after = node.name
        attributes = None
        if condition is not None:
            attributes = ItemAttributes(node)
            if not condition(attributes):
                continue
        if plain:
            named = b'{"__name":{"S":' + orjson.dumps(node.name) + b"}"
            rest = node.attributes[1:]
            found.append(named + (b"," if rest != b"}" else b"") + rest)
        else:
            typed = attributes.typed if attributes else orjson.loads(node.attributes)
            chosen = _selected(node, typed, names)
            if "*" in names:
                chosen["__name"] = {"S": node.name}
            found.append(orjson.dumps(chosen))
    return _page(found, None)


def _marker(after: str, page: int) -> str:
    """Return an opaque marker; the page number makes each one new, as a platform's is."""
    return base64.urlsafe_b64encode(MARKER_PREFIX + f"{after}\0{page}".encode()).decode()


def _page(items: list[bytes], marker: str | None) -> Reply:
    head = b'{"LastItemIncluded":"TRUE","Items":['
    if marker is not None:
        head = b'{"LastItemIncluded":"FALSE","NextMarker":"%b","Items":[' % marker.encode()
    return Reply(200, head + b",".join(items) + b"]}", (JSON,))
