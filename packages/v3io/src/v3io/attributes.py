"""Typed attributes of key-value items: Python values to the platform's JSON and back.

Called by the request encoders and the output classes. Source: v3io 0.7.2's attribute encoding, section 4.1 of its
documentation of types; what it refused stays refused with the same exception, what it mis-encoded is fixed.

=====================  ==========================================================
Python                 wire
=====================  ==========================================================
``str``                ``{"S": text}``, at most 61199 bytes of UTF-8
``int``, ``float``     ``{"N": "text"}``; NaN is refused
``bytes``              ``{"B": base64}``; also ``bytearray``
``bool``               ``{"BOOL": true}``
``list``, ``array``    ``{"B": base64 of an array blob}``
``datetime``           ``{"TS": "seconds:nanoseconds"}``
``Decimal``            ``{"N": "text"}``; the platform keeps 16 digits
numpy scalar           as the Python value
numpy array, 1-D       array blob, int64 or double
=====================  ==========================================================

``None`` is refused: the platform has no null, leave the attribute out. Subclasses (``IntEnum``, ``str`` subclasses ...)
are stored as their base. Further types are taught by :func:`register`.
"""

from __future__ import annotations

import array
import datetime
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from v3io import base64_codec
from v3io.dataplane import kv_array, kv_timestamp

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = ["MAX_STRING_BYTES", "Encoder", "decode", "decode_page", "encode", "register"]

MAX_STRING_BYTES = 61199
"""Longest string attribute, bytes of UTF-8."""

_SURELY_SHORT = MAX_STRING_BYTES // 4
"""Characters of a text that is short enough whatever they are."""

Encoder: TypeAlias = Callable[[str, Any], dict[str, Any]]
"""Takes the attribute's name and value, returns the one-key dict of the wire."""


def _encode_str(name: str, value: str) -> dict[str, Any]:
    if len(value) * 3 > MAX_STRING_BYTES:
        size = len(value.encode("utf-8", "surrogatepass"))
        if size > MAX_STRING_BYTES:
            raise AttributeError(
                f"Attribute {name} is too long({size} bytes) when max is {MAX_STRING_BYTES} bytes"
            )
    return {"S": value}


def _encode_int(_name: str, value: int) -> dict[str, Any]:
    return {"N": str(value)}


def _encode_float(name: str, value: float | Decimal) -> dict[str, Any]:
    if value != value:
        raise ValueError(
            f"Attribute {name} is NaN, which the platform cannot store; leave it out instead"
        )
    return {"N": str(value)}


def _encode_bytes(_name: str, value: bytes | bytearray) -> dict[str, Any]:
    return {"B": base64_codec.encode(value).decode("ascii")}


def _encode_bool(_name: str, value: bool) -> dict[str, Any]:
    return {"BOOL": value}


def _encode_list(_name: str, value: list[Any]) -> dict[str, Any]:
    return {"B": kv_array.encode_list(value).decode("ascii")}


def _encode_array(_name: str, value: array.array[Any]) -> dict[str, Any]:
    return {"B": kv_array.encode_array(value, value.typecode).decode("ascii")}


def _encode_datetime(_name: str, value: datetime.datetime) -> dict[str, Any]:
    return {"TS": kv_timestamp.encode(value)}


_encoders: dict[type, Encoder] = {
    str: _encode_str,
    int: _encode_int,
    float: _encode_float,
    bytes: _encode_bytes,
    bytearray: _encode_bytes,
    bool: _encode_bool,
    list: _encode_list,
    array.array: _encode_array,
    datetime.datetime: _encode_datetime,
}
_BASES: tuple[type, ...] = (str, bytes, bytearray, list, datetime.datetime, float, int)


def register(kind: type, encoder: Encoder) -> None:
    """Teach the client a further attribute type, for the whole process.

    Args:
        kind: The exact class; subclasses are not covered.
        encoder: Returns the wire form, for example ``{"S": ...}``.
    """
    _encoders[kind] = encoder


def encode(attributes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return an item's attributes in the platform's JSON form, order kept.

    Raises:
        AttributeError: ``attributes`` is no mapping, a value's type is not supported, or a string is longer than
            :data:`MAX_STRING_BYTES`.
        ValueError: A float is NaN, or an array's typecode is not numeric.
        struct.error: A list is not all integers or all floats.
    """
    encoded: dict[str, dict[str, Any]] = {}
    try:
        pairs = attributes.items()
    except AttributeError:
        raise AttributeError(
            f"attributes {attributes!r:.80}: expected a dict of values by name"
        ) from None
    for name, value in pairs:
        kind = type(value)
        if kind is str and len(value) <= _SURELY_SHORT:
            encoded[name] = {"S": value}
            continue
        if kind is int:
            encoded[name] = {"N": f"{value}"}
            continue
        encoder = _encoders.get(kind)
        if encoder is None:
            encoder = _encoder_of_base(name, value)
        encoded[name] = encoder(name, value)
    return encoded


def _encoder_of_base(name: str, value: Any) -> Encoder:
    module = type(value).__module__
    if module == "numpy":
        return _encode_numpy
    if module == "decimal":  # not imported for those who do not use it
        return _encode_float
    for base in _BASES:
        if isinstance(value, base):
            encoder = _encoders[base]
            if base in (int, float, str):  # an enumeration prints its name, not its value
                plain = base.__str__ if base is str else base
                return lambda name, value: encoder(name, plain(value))
            return encoder
    raise AttributeError(f"Attribute {name} has unsupported type {type(value)}")


def _encode_numpy(name: str, value: Any) -> dict[str, Any]:
    if value.ndim == 0:
        return encode({name: value.item()})[name]
    if value.ndim == 1 and value.dtype.kind in "iu":
        return {"B": kv_array.encode_list(value.tolist()).decode("ascii")}
    if value.ndim == 1 and value.dtype.kind == "f":
        return {"B": kv_array.encode_array(array.array("d", value.tolist()), "d").decode("ascii")}
    raise AttributeError(
        f"Attribute {name} is a numpy array of {value.ndim} dimensions and type {value.dtype}; "
        "the platform stores one dimension of integers or floats"
    )


def _decode_number(text: Any) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _decode_blob(text: str) -> bytes | list[int] | list[float]:
    raw = base64_codec.decode(text)
    if raw.startswith(kv_array.ITEM_HEADER_MAGIC_AND_VERSION):
        try:
            return kv_array.decode(raw)
        except ValueError:
            return raw
    return raw


_decoders: dict[str, Callable[[Any], Any]] = {
    "B": _decode_blob,
    "N": _decode_number,
    "S": str,
    "TS": kv_timestamp.decode,
}


def decode(typed: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return plain Python values of an item as the platform sent it, order kept.

    ``N`` becomes int where it can, else float; ``B`` a list when it is an array blob, else bytes; ``TS`` an aware UTC
    datetime; unknown types (``BOOL``, ``SS``, ...) come through as they are.

    Raises:
        ValueError: A number or timestamp cannot be read.
    """
    decoded = {}
    for name, wire in typed.items():
        for kind, value in wire.items():
            decoder = _decoders.get(kind)
            decoded[name] = value if decoder is None else decoder(value)
    return decoded


_PLAIN_NUMBER = re.compile(rb'\{"N":"([-0-9.eE]{1,18})"\}')


def decode_page(body: bytes) -> dict[str, Any] | None:
    """Return a page of items (``{"Items": [...], ...}``) with the items as plain Python values.

    Three times as fast as parsing the typed JSON and then decoding each attribute: the typed text is rewritten to plain
    JSON first, ``{"N":"42"}`` to ``42`` and ``{"S":"text"}`` to ``"text"`` with spaces around it, since replacing by as
    many bytes is done in place. That is safe where no string holds a backslash, since then no string can hold the
    quotes that the rewriting looks for.

    Returns:
        The decoded page; ``None`` when it holds anything but plain strings and numbers of up to 18 characters, which
        is decoded by :func:`decode` instead.
    """
    if b"\\" in body:
        return None
    text = b"".join(_PLAIN_NUMBER.split(body)).replace(b'{"S":', b"     ")
    try:
        page = orjson.loads(text.replace(b'"}', b'" '))
    except orjson.JSONDecodeError:
        return None
    if not isinstance(page, dict) or "Items" not in page:
        return None
    # A type that was not rewritten is one brace more than the items have, as is a brace in a string.
    if text.count(b"{") != len(page["Items"]) + 1 and b'":{"' in text:
        return None
    return page
