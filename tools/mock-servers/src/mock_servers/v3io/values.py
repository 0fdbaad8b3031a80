"""Typed attribute values between their wire form and what expressions compute with.

========  ===========================================  ==================================
Wire      Example                                      Value
========  ===========================================  ==================================
``S``     ``{"S": "text"}``                            str
``N``     ``{"N": "42"}``, ``{"N": "4.2e1"}``          int, float (``inf`` and ``nan`` too)
``BOOL``  ``{"BOOL": true}``                           bool
``TS``    ``{"TS": "1580702706:789000000"}``           :class:`Timestamp`
``B``     ``{"B": "<base64>"}``                        :class:`Array` when it has an array's header, else bytes
========  ===========================================  ==================================
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from mock_servers.v3io.errors import invalid_argument

__all__ = ["Array", "Timestamp", "Value", "check_attributes", "decode", "encode", "parse_blob"]

ARRAY_MAGIC = 11223344
ARRAY_VERSION = 1
ARRAY_HEADER = struct.Struct("<IIII")
ARRAY_TYPES = {259: "q", 261: "d"}
ARRAY_CODES = {code: number for number, code in ARRAY_TYPES.items()}
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
TIMESTAMP = re.compile(r"(-?\d+):(\d{1,9})")


class Timestamp(NamedTuple):
    """Seconds and nanoseconds since 1970; compares as the moment it is."""

    seconds: int
    nanoseconds: int


@dataclass(slots=True)
class Array:
    """A blob that holds numbers: ``typecode`` ``"q"`` (int64) or ``"d"`` (double)."""

    typecode: str
    items: list[Any]

    def blob(self) -> bytes:
        """Return the array as stored: header and little-endian items."""
        payload = struct.pack(f"<{len(self.items)}{self.typecode}", *self.items)
        kind = ARRAY_CODES[self.typecode]
        return ARRAY_HEADER.pack(ARRAY_MAGIC, ARRAY_VERSION, len(payload), kind) + payload


Value: TypeAlias = "str | int | float | bool | bytes | Timestamp | Array"


def parse_blob(raw: bytes) -> Array | bytes:
    """Return an array when ``raw`` has the header and the length of one, else ``raw`` itself."""
    if len(raw) < ARRAY_HEADER.size:
        return raw
    magic, version, length, kind = ARRAY_HEADER.unpack_from(raw)
    if (magic, version) != (ARRAY_MAGIC, ARRAY_VERSION) or kind not in ARRAY_TYPES:
        return raw
    if length % 8 or length != len(raw) - ARRAY_HEADER.size:
        return raw
    code = ARRAY_TYPES[kind]
    return Array(code, list(struct.unpack_from(f"<{length // 8}{code}", raw, ARRAY_HEADER.size)))


def parse_number(text: str) -> int | float:
    """Return a wire number, an int where it is written as one.

    Raises:
        ValueError: It is no number.
    """
    try:
        return int(text)
    except ValueError:
        return float(text)


def decode(typed: dict[str, Any]) -> Value:
    """Return the value of one typed attribute that :func:`check_attributes` has accepted."""
    ((kind, raw),) = typed.items()
    if kind == "N":
        return parse_number(raw)
    if kind == "B":
        return parse_blob(base64.b64decode(raw))
    if kind == "TS":
        seconds, _, nanoseconds = raw.partition(":")
        return Timestamp(int(seconds), int(nanoseconds))
    value: Value = raw
    return value


def encode(value: Value) -> dict[str, Any]:
    """Return the typed form of a computed value."""
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, int):
        return {"N": str(value)}
    if isinstance(value, float):
        return {"N": repr(value)}
    if isinstance(value, Timestamp):
        return {"TS": f"{value.seconds}:{value.nanoseconds}"}
    raw = value.blob() if isinstance(value, Array) else value
    return {"B": base64.b64encode(raw).decode()}


def check_name(name: str) -> None:
    """Refuse a name no user attribute can have.

    Raises:
        ServiceError: 400.
    """
    if not NAME.fullmatch(name):
        raise invalid_argument(
            f"attribute name {name!r}: expected letters, digits and _, no digit first, at most 255"
        )


def check_attributes(item: Any) -> dict[str, dict[str, Any]]:
    """Return ``item`` when it is an object of well-formed typed attributes.

    Raises:
        ServiceError: 400, naming the attribute.
    """
    if not isinstance(item, dict):
        raise invalid_argument("Item: expected an object of attributes")
    for name, typed in item.items():
        check_name(name)
        if not isinstance(typed, dict) or len(typed) != 1:
            raise invalid_argument(f"attribute {name}: expected an object with one type")
        ((kind, raw),) = typed.items()
        if not _is_well_formed(kind, raw):
            raise invalid_argument(f"attribute {name}: {raw!r:.60} is not a value of type {kind}")
    return item


def _is_well_formed(kind: str, raw: Any) -> bool:
    if kind == "BOOL":
        return isinstance(raw, bool)
    if not isinstance(raw, str):
        return False
    if kind == "S":
        return True
    if kind == "TS":
        return TIMESTAMP.fullmatch(raw) is not None
    try:
        if kind == "N":
            return parse_number(raw) is not None
        return kind == "B" and base64.b64decode(raw, validate=True) is not None
    except (ValueError, binascii.Error):
        return False
