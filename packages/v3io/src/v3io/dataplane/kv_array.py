"""Arrays as attribute values: a 16-byte little-endian header and 8 bytes an element.

Called by :mod:`v3io.attributes`; the layout (magic, version, payload length in bytes, element type 259 for int64 and
261 for double) is that of v3io 0.7.2, written with explicit sizes so that it is the same on every platform.
"""

from __future__ import annotations

import array
import base64
import struct
from collections.abc import Iterable

__all__ = [
    "ITEM_HEADER_MAGIC",
    "ITEM_HEADER_MAGIC_AND_VERSION",
    "OPERAND_TYPE_DOUBLE",
    "OPERAND_TYPE_LONG",
    "decode",
    "encode_array",
    "encode_list",
]

ITEM_HEADER_MAGIC = 11223344
"""First four bytes, as a little-endian uint32."""
_VERSION = 1
ITEM_HEADER_MAGIC_AND_VERSION = struct.pack("<II", ITEM_HEADER_MAGIC, _VERSION)
"""The eight bytes by which an array is told from other bytes."""
OPERAND_TYPE_LONG = 259
"""Element type int64."""
OPERAND_TYPE_DOUBLE = 261
"""Element type IEEE double."""

_HEADER = struct.Struct("<8sII")
_FORMATS = {OPERAND_TYPE_LONG: "q", OPERAND_TYPE_DOUBLE: "d"}
_TYPES = {
    **dict.fromkeys("bBhHiIlLqQ", OPERAND_TYPE_LONG),
    **dict.fromkeys("fd", OPERAND_TYPE_DOUBLE),
}


def encode_list(list_value: list[int] | list[float]) -> bytes:
    """Return a list of numbers as base64 of an array blob.

    Args:
        list_value: Doubles if the first element is a float, else 64-bit integers; empty makes an integer array.

    Raises:
        struct.error: An element does not fit the type of the first one (``[1, 2.5]``, ``["a"]``, 2**63).
    """
    is_double = bool(list_value) and isinstance(list_value[0], float)
    return _encode(list_value, OPERAND_TYPE_DOUBLE if is_double else OPERAND_TYPE_LONG)


def encode_array(array_value: array.array[int] | array.array[float], typecode: str) -> bytes:
    """Return an ``array.array`` as base64 of an array blob.

    Args:
        array_value: The elements.
        typecode: Any integer typecode is stored as int64, ``f`` and ``d`` as double.

    Raises:
        ValueError: The typecode has no numeric type on the platform (``u``).
        struct.error: An element exceeds int64 (typecodes ``L`` and ``Q``).
    """
    if typecode not in _TYPES:
        raise ValueError(f"array typecode {typecode!r}: expected one of {''.join(_TYPES)}")
    return _encode(array_value, _TYPES[typecode])


def _encode(values: Iterable[float], operand_type: int) -> bytes:
    elements = tuple(values)
    header = _HEADER.pack(ITEM_HEADER_MAGIC_AND_VERSION, 8 * len(elements), operand_type)
    return base64.b64encode(
        header + struct.pack(f"<{len(elements)}{_FORMATS[operand_type]}", *elements)
    )


def decode(encoded_array: bytes) -> list[int] | list[float]:
    """Return the elements of an array blob (not base64).

    Raises:
        ValueError: The bytes are not an array blob: no header, unknown type, or a length that does not match.
    """
    if len(encoded_array) < _HEADER.size:
        raise ValueError("Not an encoded array")
    magic, size_bytes, operand_type = _HEADER.unpack_from(encoded_array)
    valid = magic == ITEM_HEADER_MAGIC_AND_VERSION and operand_type in _FORMATS
    if not valid or size_bytes % 8 or len(encoded_array) != _HEADER.size + size_bytes:
        raise ValueError("Not an encoded array")
    return list(
        struct.unpack_from(f"<{size_bytes // 8}{_FORMATS[operand_type]}", encoded_array, 16)
    )
