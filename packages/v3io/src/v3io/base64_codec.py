"""Base64 of record data and blobs: pybase64 where it is installed (five times as fast), else the standard library.

Called by the request encoders, :mod:`v3io.attributes` and the output classes.
"""

from __future__ import annotations

import binascii
from typing import Any

pybase64: Any
try:
    import pybase64
except ImportError:
    pybase64 = None

__all__ = ["decode", "encode"]


def _encode_slowly(data: bytes | bytearray | memoryview) -> bytes:
    return binascii.b2a_base64(data, newline=False)


def _decode_slowly(text: str | bytes, *, validate: bool) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    decoded = binascii.a2b_base64(raw)
    if validate and _encode_slowly(decoded) != raw:
        raise binascii.Error("not base64")
    return decoded


_encode = _encode_slowly if pybase64 is None else pybase64.b64encode
_decode = _decode_slowly if pybase64 is None else pybase64.b64decode


def encode(data: bytes | bytearray | memoryview) -> bytes:
    """Return ``data`` as base64: ASCII bytes without line breaks."""
    encoded: bytes = _encode(data)
    return encoded


def decode(text: str | bytes) -> bytes:
    """Return what a base64 text stands for.

    Raises:
        ValueError: It is not base64.
    """
    decoded: bytes = _decode(text, validate=True)
    return decoded
