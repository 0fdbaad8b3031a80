"""Turns objects into bodies and bodies into objects, by mimetype.

Used by the drivers, by clients and by pylm. JSON goes through orjson where it is installed; what orjson refuses or
would change without a word (NaN, integers beyond 64 bits, lone surrogates, keys that are not strings) goes through the
standard library, so both give the same result. orjson is imported at the first JSON body, not before.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, Protocol

from transport_utils.errors import ConfigurationError, SerializationError

__all__ = [
    "BytesSerializer",
    "JsonSerializer",
    "NdjsonSerializer",
    "Serializer",
    "SerializerRegistry",
    "TextSerializer",
    "json_default",
]

_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"0" * 9)
# The shortest integer outside 64 bits has 19 digits: -9223372036854775809.
_BIG_INTEGER = b"0" * 19
_SAMPLED = 2048


class Serializer(Protocol):
    """What a serializer must offer; it is shared by threads."""

    mimetype: str

    def dumps(self, data: Any) -> bytes:
        """Return the body.

        Raises:
            SerializationError: ``data`` has no form in this mimetype.
        """
        ...

    def loads(self, data: bytes) -> Any:
        """Return the object.

        Raises:
            SerializationError: The body is malformed.
        """
        ...


def json_default(value: Any) -> Any:
    """Return the JSON form of what JSON does not know.

    Dates and times in ISO form, UUID as text, Decimal as a number, enumerations by value, dataclasses as objects,
    arrays and scalars of numpy (anything with ``tolist``) as lists and numbers.

    Raises:
        TypeError: None of these.
    """
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"no JSON form for {type(value).__name__}: {value!r:.100}")


class JsonSerializer:
    """``application/json``, compact, UTF-8.

    A ``str`` or ``bytes`` passes through as a body that is already JSON. An empty body loads as ``None``.

    Args:
        default: Gives the JSON form of other objects; :func:`json_default` if not given.
        fast: Whether to use orjson where it is installed.
    """

    mimetype = "application/json"

    def __init__(self, default: Callable[[Any], Any] = json_default, *, fast: bool = True) -> None:
        self._default = default
        self._fast = fast

    @cached_property
    def _orjson(self) -> Any:
        if not self._fast:
            return None
        try:
            import orjson
        except ImportError:
            return None
        return orjson

    @cached_property
    def _options(self) -> int:
        orjson = self._orjson
        return int(orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_PASSTHROUGH_DATACLASS)

    def dumps(self, data: Any) -> bytes:
        """Return the body; see the class.

        Raises:
            SerializationError: An object has no JSON form, or contains itself.
        """
        if isinstance(data, bytes):
            return data
        if isinstance(data, str):
            return data.encode("utf-8", "surrogatepass")
        orjson = self._orjson
        if orjson is not None:
            try:
                body: bytes = orjson.dumps(data, self._default, self._options)
            except TypeError:
                pass
            else:
                # orjson writes NaN and infinity as null; only then is a look at the floats due.
                if b"null" not in body or not _may_hold_non_finite(data):
                    return body
        return self._slow_dumps(data)

    def _slow_dumps(self, data: Any) -> bytes:
        try:
            text = json.dumps(
                data, default=self._default, ensure_ascii=False, separators=(",", ":")
            )
            try:
                return text.encode()
            except UnicodeEncodeError:
                return json.dumps(data, default=self._default, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError) as cause:
            raise SerializationError(
                f"body of type {type(data).__name__} has no JSON form: {cause}"
            ) from cause

    def loads(self, data: bytes) -> Any:
        """Return the object; see the class.

        Raises:
            SerializationError: Not JSON; ``body`` holds the bytes.
        """
        if not data:
            return None
        orjson = self._orjson
        if orjson is not None and not _may_hold_big_integer(data):
            try:
                return orjson.loads(data)
            except ValueError:
                pass
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as cause:
            raise SerializationError(
                f"not JSON: {cause} in {data[:80]!r}", body=bytes(data)
            ) from cause


def _may_hold_big_integer(data: bytes) -> bool:
    """Return whether a number may be too long for orjson, which would load it as an inexact float."""
    if len(data) > _SAMPLED and b"000" not in data[::6].translate(_DIGITS_TO_ZERO):
        # 19 digits in a row would show as three in a row in every sixth byte.
        return False
    return _BIG_INTEGER in data.translate(_DIGITS_TO_ZERO)


def _may_hold_non_finite(data: Any) -> bool:
    """Return whether a float is NaN or infinite, or an object is there that cannot be looked into."""
    todo = [data]
    while todo:
        value = todo.pop()
        if isinstance(value, float):
            if value - value != 0:
                return True
        elif isinstance(value, dict):
            todo.extend(value.values())
        elif isinstance(value, (list, tuple)):
            todo.extend(value)
        elif value is not None and not isinstance(value, (str, int)):
            return True
    return False


class NdjsonSerializer:
    """``application/x-ndjson``: one JSON document per line, each line ended.

    Args:
        json_serializer: Used for the lines; ``None`` for a :class:`JsonSerializer`.
    """

    mimetype = "application/x-ndjson"

    def __init__(self, json_serializer: Serializer | None = None) -> None:
        self._json = json_serializer or JsonSerializer()

    def dumps(self, data: Any) -> bytes:
        """Return the body of an iterable of documents, where ``str`` and ``bytes`` are lines already.

        Raises:
            SerializationError: Not an iterable of documents, or a document has no JSON form or spans lines.
        """
        if isinstance(data, (str, bytes)):
            data = [data]
        if isinstance(data, Mapping) or not isinstance(data, Iterable):
            raise SerializationError(
                f"NDJSON: expected an iterable of documents, got {type(data).__name__}"
            )
        lines = []
        for document in data:
            line = self._json.dumps(document)
            lines.append(line if line.endswith(b"\n") else line + b"\n")
        return b"".join(lines)

    def loads(self, data: bytes) -> list[Any]:
        """Return the documents; empty lines are skipped.

        Raises:
            SerializationError: A line is not JSON.
        """
        return [self._json.loads(line) for line in data.split(b"\n") if line.strip()]


class TextSerializer:
    """``text/*`` as ``str``, UTF-8 unless the content type names another charset."""

    mimetype = "text/*"

    def dumps(self, data: Any) -> bytes:
        """Return the body.

        Raises:
            SerializationError: Neither ``str`` nor ``bytes``.
        """
        if isinstance(data, bytes):
            return data
        if isinstance(data, str):
            return data.encode("utf-8", "surrogatepass")
        raise SerializationError(f"text body: expected str or bytes, got {type(data).__name__}")

    def loads(self, data: bytes, charset: str = "utf-8") -> str:
        """Return the text.

        Raises:
            SerializationError: Not in this charset, or the charset is unknown.
        """
        try:
            if charset.lower() in ("utf-8", "utf8"):
                return data.decode("utf-8", "surrogatepass")
            return data.decode(charset)
        except (UnicodeError, LookupError) as cause:
            raise SerializationError(f"not text in {charset}: {cause}", body=bytes(data)) from cause


class BytesSerializer:
    """``application/octet-stream``: bytes as they are."""

    mimetype = "application/octet-stream"

    def dumps(self, data: Any) -> bytes:
        """Return the body.

        Raises:
            SerializationError: Not bytes, bytearray or memoryview.
        """
        if isinstance(data, (bytes, bytearray, memoryview)):
            return bytes(data)
        raise SerializationError(f"binary body: expected bytes, got {type(data).__name__}")

    def loads(self, data: bytes) -> bytes:
        """Return the bytes."""
        return data


class SerializerRegistry:
    """The serializers of one transport, looked up by mimetype.

    Knows JSON, NDJSON, ``text/*`` and bytes from the start. Look-up takes the exact mimetype, then ``+json`` as JSON,
    then ``type/*``. Change it while building a client; after that it is safe to share between threads.

    Args:
        serializers: Added to, or put in the place of, the known ones; a mapping by mimetype, or a list.
        default_mimetype: Of bodies whose headers name none.
    """

    def __init__(
        self,
        serializers: Mapping[str, Serializer] | Iterable[Serializer] = (),
        *,
        default_mimetype: str = "application/json",
    ) -> None:
        self.default_mimetype = default_mimetype
        self._by_mimetype: dict[str, Serializer] = {}
        known: list[Serializer] = [
            JsonSerializer(),
            NdjsonSerializer(),
            TextSerializer(),
            BytesSerializer(),
        ]
        for serializer in known:
            self.register(serializer)
        if isinstance(serializers, Mapping):
            for mimetype, serializer in serializers.items():
                self.register(serializer, mimetype)
        else:
            for serializer in serializers:
                self.register(serializer)

    def register(self, serializer: Serializer, mimetype: str | None = None) -> None:
        """Use a serializer for a mimetype.

        Args:
            serializer: Has ``dumps`` and ``loads``.
            mimetype: ``type/subtype`` or ``type/*``; ``None`` for the serializer's own.

        Raises:
            ConfigurationError: Not a serializer, or no mimetype.
        """
        name = mimetype if mimetype is not None else getattr(serializer, "mimetype", None)
        if not isinstance(name, str) or "/" not in name:
            raise ConfigurationError(
                f"serializer {serializer!r}: expected a mimetype such as 'application/json'"
            )
        for method in ("dumps", "loads"):
            if not callable(getattr(serializer, method, None)):
                raise ConfigurationError(f"serializer {serializer!r}: has no {method}()")
        self._by_mimetype[name.lower()] = serializer

    def find(self, mimetype: str) -> Serializer | None:
        """Return the serializer of a mimetype without parameters; ``None`` if there is none."""
        known = self._by_mimetype
        found = known.get(mimetype)
        if found is None:
            found = known.get(mimetype.lower())
        if found is None and mimetype.lower().endswith("+json"):
            found = known.get("application/json")
        return found or known.get(f"{mimetype.partition('/')[0].lower()}/*")

    def dumps(self, data: Any, content_type: str | None = None) -> bytes:
        """Return the body for a content type; bytes go through under any.

        Args:
            data: The object.
            content_type: With or without parameters; ``None`` for the default mimetype.

        Raises:
            SerializationError: No serializer for it, or ``data`` has no form in it.
        """
        mimetype, _ = _split(content_type or self.default_mimetype)
        serializer = self.find(mimetype)
        if serializer is not None:
            return serializer.dumps(data)
        if isinstance(data, (bytes, bytearray, memoryview)):
            return bytes(data)
        raise SerializationError(
            f"no serializer for {mimetype!r}: register one, or give the body as bytes"
        )

    def loads(self, data: bytes, content_type: str | None = None) -> Any:
        """Return the object of a body; the bytes themselves when nothing is known about the content type.

        Args:
            data: The body, already decompressed.
            content_type: As sent, with parameters; empty or ``None`` for the default mimetype.

        Raises:
            SerializationError: The body is not what the content type says; ``body`` holds it.
        """
        mimetype, charset = _split(content_type or self.default_mimetype)
        serializer = self.find(mimetype)
        if serializer is None:
            return data
        if charset is not None and isinstance(serializer, TextSerializer):
            return serializer.loads(data, charset)
        return serializer.loads(data)

    def decode(self, data: bytes, content_type: str | None, status: int) -> tuple[Any, str | None]:
        """Return the object of a response body, and why it could not be decoded.

        A failure status is never hidden by its body: if that does not decode, the bytes are returned with the reason.

        Args:
            data: The body, already decompressed.
            content_type: As sent, with parameters; ``None`` if the server sent none.
            status: HTTP status.

        Raises:
            SerializationError: The status is 2xx and the body is not what the content type says.
        """
        try:
            return self.loads(data, content_type), None
        except SerializationError as error:
            if 200 <= status < 300:
                raise
            return data, error.message


def _split(content_type: str) -> tuple[str, str | None]:
    """Return the mimetype of a content type, and its charset."""
    if ";" not in content_type:
        return content_type.strip(), None
    mimetype, *parameters = content_type.split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value:
            return mimetype.strip(), value.strip().strip("\"'")
    return mimetype.strip(), None
