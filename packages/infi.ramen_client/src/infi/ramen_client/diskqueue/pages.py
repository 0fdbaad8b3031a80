"""Messages read from the bare pages of a damaged SQLite file, without its header and inner pages.

Every leaf page of the ``queue`` table says for itself what it is, so the pages of the database and of its log are
looked at one by one, and whatever decodes as a complete row of seven columns is taken. The newest copy of a page wins.
Source: the database file format, https://www.sqlite.org/fileformat2.html, sections 1.6, 2.1 and 4.
"""

from __future__ import annotations

import mmap
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
    with _Pages(path) as table:
        for number in range(1, table.count + 1):
            yield from _leaf(table.get(number), table)


class _Pages:
    """The newest copy of each page of a database and its log, mapped and not read as a whole."""

    def __init__(self, path: str) -> None:
        self._main = _mapped(path)
        self._log = _mapped(path + "-wal")
        self._newer: dict[int, int] = {}
        self._read_log()
        self.count = max(len(self._main) // PAGE, max(self._newer, default=0))

    def _read_log(self) -> None:
        log = self._log
        salts = log[16:24]
        pending: dict[int, int] = {}
        for at in range(_WAL_HEADER, len(log) - PAGE - _FRAME_HEADER + 1, PAGE + _FRAME_HEADER):
            if log[at + 8 : at + 16] != salts:
                break
            pending[int.from_bytes(log[at : at + 4], "big")] = at + _FRAME_HEADER
            if int.from_bytes(log[at + 4 : at + 8], "big"):  # last frame of a commit
                self._newer.update(pending)
                pending.clear()

    def get(self, number: int) -> bytes:
        if number in self._newer:
            at = self._newer[number]
            return bytes(self._log[at : at + PAGE])
        return bytes(self._main[(number - 1) * PAGE : number * PAGE]) if number > 0 else b""

    def __enter__(self) -> _Pages:
        return self

    def __exit__(self, *_: object) -> None:
        for mapped in (self._main, self._log):
            if isinstance(mapped, mmap.mmap):
                mapped.close()


def _mapped(path: str) -> mmap.mmap | bytes:
    try:
        with open(path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (FileNotFoundError, ValueError):  # an empty file cannot be mapped
        return b""


def _leaf(page: bytes, table: _Pages) -> Iterator[tuple[Any, ...]]:
    if len(page) < PAGE or page[0] != LEAF:
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


def _row(page: bytes, offset: int, table: _Pages) -> tuple[Any, ...] | None:
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


def _payload(page: bytes, offset: int, size: int, table: _Pages) -> bytes:
    if not 0 < size <= table.count * PAGE:
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
        if len(extra) < PAGE:
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
