"""How data becomes the JSON text and the zlib stream of a message.

Called by the writers. ``dump_json`` and ``compress`` keep the output of 1.40; what it silently turned into ``null``
is an error here, except for sets, UUIDs, enums and paths, which have an obvious form.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import enum
import functools
import json
import math
import os
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from infi.ramen_client.errors import EncodingError

__all__ = ["compress", "deflate", "dump_json", "encode", "inflate", "load"]

LEVEL = 1
"""zlib level of stored messages: a kilobyte of metrics is within 2 % of level 6 at half the time."""


def _milliseconds(value: datetime.datetime) -> int:
    if value.tzinfo is not None and value.utcoffset() is not None:
        return math.floor(value.replace(microsecond=0).timestamp()) * 1000 + (
            value.microsecond // 1000
        )
    return int(time.mktime(value.timetuple()) * 1000 + value.microsecond / 1000)


def _plain(value: Any) -> Any:
    """Return the JSON form of what ``json`` does not know; called back by the encoder.

    Raises:
        EncodingError: There is none.
    """
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, datetime.datetime):
        return _milliseconds(value)
    if isinstance(value, datetime.date):
        return int(time.mktime(value.timetuple()) * 1000)
    if isinstance(value, (set, frozenset)):
        try:
            return sorted(value)
        except TypeError:
            return list(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, os.PathLike) or type(value).__module__ == "uuid":
        return str(value)
    raise EncodingError(type(value).__name__)


def dump_json(data: Any, *, allow_nan: bool = False) -> str:
    """Return ``data`` as JSON: ASCII, no blanks, keys in their order.

    Decimal becomes a number, date and datetime the integer milliseconds since 1970 (naive values are local time,
    aware ones are converted), a set a list (sorted where that is possible), UUID and path a string, an enum its value.

    Args:
        data: Anything made of these and of what ``json`` knows.
        allow_nan: Write ``NaN`` and ``Infinity``, as 1.40 did; they are not JSON and a strict server refuses them.

    Raises:
        EncodingError: A value has no JSON form; the text says where it is. 1.40 wrote ``null``.
        ValueError: NaN or infinity without ``allow_nan``, or a structure that contains itself.

    Source: ``infi.ramen_client.utils.dump_json`` of 1.40.
    """
    try:
        return json.dumps(data, default=_plain, separators=(",", ":"), allow_nan=allow_nan)
    except EncodingError as error:
        raise _located(data, str(error)) from None
    except ValueError as error:
        if "Out of range float" in str(error):
            raise ValueError(
                f"{_find(data, _is_not_finite) or 'data'} is NaN or infinite, which JSON cannot express; "
                "replace it, or pass allow_nan=True"
            ) from None
        raise


def encode(data: Any, *, allow_nan: bool = False) -> bytes:
    """Return the body of a message: text and bytes as they are, anything else as :func:`dump_json` writes it.

    orjson writes the plain cases; its result is used when it cannot differ in meaning from that of ``json``.

    Raises:
        EncodingError: As for :func:`dump_json`.
        ValueError: As for :func:`dump_json`.
        UnicodeEncodeError: Text that is not valid Unicode.
    """
    if isinstance(data, str):
        return data.encode("utf-8")
    if isinstance(data, bytes):
        return data
    try:
        text = _codec().dumps(data)
    except (TypeError, ValueError, RecursionError):
        text = b"null"
    # orjson writes NaN as null, and does not escape; looking for one letter first takes a tenth of the time.
    if (b"u" not in text or b"null" not in text) and text.isascii():
        return text
    return dump_json(data, allow_nan=allow_nan).encode("ascii")


def compress(data: bytes) -> bytes:
    """Return ``data`` as a zlib stream, byte for byte as 1.40 did."""
    return zlib.compress(data)


def deflate(data: bytes) -> bytes:
    """Return ``data`` as a zlib stream of level 1, by ISA-L where it is installed: what writers store."""
    return _codec().deflate(data)


def inflate(stream: bytes) -> bytes:
    """Return what :func:`deflate` or :func:`compress` was given.

    Raises:
        ValueError: The stream is damaged or cut short.
    """
    codec = _codec()
    try:
        return codec.inflate(stream)
    except codec.errors as cause:
        raise ValueError(f"not a whole zlib stream: {cause}") from cause


class _Codec:
    """The fastest libraries that are installed, loaded with the first message."""

    __slots__ = ("deflate", "dumps", "errors", "inflate")

    def __init__(self) -> None:
        self.deflate: Callable[[bytes], bytes] = _zlib_deflate
        self.inflate: Callable[[bytes], bytes] = zlib.decompress
        self.errors: tuple[Any, ...] = (zlib.error,)
        self.dumps: Callable[[Any], bytes] = _dumps_nothing
        with contextlib.suppress(ImportError):
            from isal import isal_zlib

            fast = isal_zlib.compress
            self.deflate = lambda data: fast(data, LEVEL)
            self.inflate = isal_zlib.decompress
            self.errors = (zlib.error, isal_zlib.error)
        with contextlib.suppress(ImportError):
            import orjson

            dumps = orjson.dumps
            options = (
                orjson.OPT_PASSTHROUGH_DATETIME
                | orjson.OPT_PASSTHROUGH_DATACLASS
                | orjson.OPT_PASSTHROUGH_SUBCLASS
            )
            self.dumps = lambda data: dumps(data, None, options)


@functools.cache
def _codec() -> _Codec:
    return _Codec()


def load() -> None:
    """Load the libraries that the first message would load."""
    _codec()


def _zlib_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(LEVEL)
    return compressor.compress(data) + compressor.flush()


def _dumps_nothing(data: Any) -> bytes:
    raise TypeError(data)


def _is_not_finite(value: Any) -> bool:
    return isinstance(value, (float, decimal.Decimal)) and not math.isfinite(value)


def _is_unknown(value: Any) -> bool:
    if value is None or isinstance(value, (str, int, float, Mapping, list, tuple)):
        return False
    try:
        _plain(value)
    except EncodingError:
        return True
    return False


def _located(data: Any, kind: str) -> EncodingError:
    place = _find(data, _is_unknown) or "data"
    return EncodingError(
        f"{place} is of type {kind}, which has no JSON form; convert it before pushing"
    )


def _find(data: Any, wanted: Callable[[Any], bool], place: str = "data") -> str | None:
    """Return where the first wanted value is, written as Python would reach it; ``None`` when there is none."""
    if wanted(data):
        return place
    if isinstance(data, Mapping):
        inner = ((f"{place}[{key!r}]", value) for key, value in data.items())
    elif isinstance(data, (list, tuple, set, frozenset)):
        inner = ((f"{place}[{index}]", value) for index, value in enumerate(data))
    else:
        return None
    return next((found for where, value in inner if (found := _find(value, wanted, where))), None)
