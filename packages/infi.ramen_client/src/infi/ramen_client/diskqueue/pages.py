"""Messages read from the bare pages of a damaged SQLite file, without its header and inner pages.

Every leaf page of the ``queue`` table says for itself what it is, so the pages of the database and of its log are
looked at one by one, and whatever decodes as a complete row of seven columns is taken. The newest copy of a page wins.
Source: the database file format, https://www.sqlite.org/fileformat2.html, sections 1.6, 2.1 and 4.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from typing import Any

__all__ = ["rows"]

PAGE = 4096
LEAF = 0x0D
_COLUMNS = 7
_WAL_HEADER = 32
_FRAME_HEADER = 24


class _Broken(Exception):
    pass


def rows(path: str) -> Iterator[tuple[Any, ...]]:
    """Yield ``(id, ts, category, data_type, data_version, reqid, data)`` of every complete row found.

    A row whose data is not a whole zlib stream is left out. Removed rows are not found unless their page was lost
    before it was rewritten; a message may then come twice, under its old request id.

    Args:
        path: The damaged database; its ``-wal`` is read too.

    Raises:
        OSError: The file cannot be read.
    """
    table = _pages(path)
    for page in table.values():
        yield from _leaf(page, table)


def _pages(path: str) -> dict[int, bytes]:
    table: dict[int, bytes] = {}
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        number = 1
        while len(page := file.read(PAGE)) == PAGE:
            table[number] = page
            number += 1
    with contextlib.suppress(FileNotFoundError), open(path + "-wal", "rb") as file:
        salts = file.read(_WAL_HEADER)[16:24]
        pending: dict[int, bytes] = {}
        while len(head := file.read(_FRAME_HEADER)) == _FRAME_HEADER:
            page = file.read(PAGE)
            if len(page) < PAGE or head[8:16] != salts:
                break
            pending[int.from_bytes(head[:4], "big")] = page
            if int.from_bytes(head[4:8], "big"):  # last frame of a commit
                table.update(pending)
                pending.clear()
    return table


def _leaf(page: bytes, table: dict[int, bytes]) -> Iterator[tuple[Any, ...]]:
    if page[0] != LEAF:
        return
    cells = int.from_bytes(page[3:5], "big")
    for index in range(min(cells, PAGE // 2)):
        offset = int.from_bytes(page[8 + 2 * index : 10 + 2 * index], "big")
        try:
            row = _row(page, offset, table)
        except (_Broken, IndexError, UnicodeDecodeError, zlib.error):
            continue
        if row is not None:
            yield row


def _row(page: bytes, offset: int, table: dict[int, bytes]) -> tuple[Any, ...] | None:
    size, offset = _varint(page, offset)
    number, offset = _varint(page, offset)
    payload = _payload(page, offset, size, table)
    head, at = _varint(payload, 0)
    kinds = []
    while at < head:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    if len(kinds) != _COLUMNS or kinds[0] != 0:
        return None
    values: list[Any] = []
    for kind in kinds:
        value, at = _value(payload, at, kind)
        values.append(value)
    _, stamp, category, data_type, data_version, reqid, data = values
    texts = (stamp, category, data_type)
    if not all(isinstance(text, str) for text in texts) or not isinstance(data, bytes):
        return None
    zlib.decompress(data)
    return (number, stamp, category, data_type, data_version, reqid, data)


def _payload(page: bytes, offset: int, size: int, table: dict[int, bytes]) -> bytes:
    if not 0 < size <= len(table) * PAGE:
        raise _Broken
    local = size
    if size > PAGE - 35:
        least = (PAGE - 12) * 32 // 255 - 23
        local = least + (size - least) % (PAGE - 4)
        local = local if local <= PAGE - 35 else least
    parts = [page[offset : offset + local]]
    left = size - local
    following = int.from_bytes(page[offset + local : offset + local + 4], "big") if left else 0
    while left > 0:
        extra = table.get(following)
        if extra is None:
            raise _Broken
        parts.append(extra[4 : 4 + min(left, PAGE - 4)])
        left -= PAGE - 4
        following = int.from_bytes(extra[:4], "big")
    payload = b"".join(parts)
    if len(payload) != size:
        raise _Broken
    return payload


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(9):
        byte = data[at + index]
        if index == 8:
            return (value << 8) | byte, at + 9
        value = (value << 7) | (byte & 0x7F)
        if byte < 0x80:
            return value, at + index + 1
    raise _Broken


def _value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    integers = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
    if kind == 0:
        return None, at
    if kind in integers:
        end = at + integers[kind]
        return int.from_bytes(data[at:end], "big", signed=True), end
    if kind in (8, 9):
        return kind - 8, at
    if kind < 12:
        raise _Broken
    end = at + (kind - 12) // 2
    if end > len(data):
        raise _Broken
    return (data[at:end] if kind % 2 == 0 else data[at:end].decode("utf-8")), end
