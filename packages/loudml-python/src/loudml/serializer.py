"""Objects to request bodies, and response bodies to objects.

Used by the transports. Pass an object of your own as ``serializer``, usually a subclass of :class:`JSONSerializer` that
overrides ``default``, or more of them by mimetype as ``serializers``. Source: loudml-python 1.6.3, ``serializer``.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from transport_utils import errors as transport_errors
from transport_utils import serializers as transport_serializers

from loudml.errors import ImproperlyConfigured, SerializationError

__all__ = ["DEFAULT_SERIALIZERS", "Deserializer", "JSONSerializer", "TextSerializer"]


class TextSerializer:
    """``text/plain``: str as they are."""

    mimetype = "text/plain"

    def loads(self, s: str) -> Any:
        """Return the text."""
        return s

    def dumps(self, data: Any) -> str:
        """Return the text.

        Raises:
            SerializationError: ``data`` is not a str.
        """
        if isinstance(data, str):
            return data
        raise SerializationError(f"Cannot serialize {data!r} into text.")


class JSONSerializer:
    """``application/json``, compact, non-ASCII characters kept.

    A str or bytes passes through as a body that is JSON already. Thread-safe if an overridden ``default`` is.
    """

    mimetype = "application/json"

    def __init__(self) -> None:
        # An overridden default must see every object that JSON does not know, also those orjson would take itself.
        overridden = type(self).default is not JSONSerializer.default
        self._json = transport_serializers.JsonSerializer(self.default, fast=not overridden)
        self._fast_json = transport_serializers.JsonSerializer()

    def default(self, data: Any) -> Any:
        """Return the JSON form of an object JSON does not know; override it to add types.

        Dates become their ISO form, ``Decimal`` a number, ``UUID`` text.

        Raises:
            TypeError: None of these.
        """
        if isinstance(data, (date, datetime)):
            return data.isoformat()
        if isinstance(data, Decimal):
            return float(data)
        if isinstance(data, uuid.UUID):
            return str(data)
        raise TypeError(f"Unable to serialize {data!r} (type: {type(data)})")

    def loads(self, s: str | bytes) -> Any:
        """Return the object.

        Raises:
            SerializationError: Not JSON.
        """
        try:
            return self._fast_json.loads(
                s if isinstance(s, bytes) else s.encode("utf-8", "surrogatepass")
            )
        except transport_errors.SerializationError as cause:
            raise SerializationError(s, cause.__cause__ or cause) from cause

    def dumps(self, data: Any) -> str:
        """Return the JSON text.

        Raises:
            SerializationError: An object in ``data`` has no JSON form.
        """
        if isinstance(data, (str, bytes)):
            return data  # type: ignore[return-value]  # compat: bytes stay bytes
        try:
            return self._json.dumps(data).decode("utf-8")
        except transport_errors.SerializationError as cause:
            raise SerializationError(data, cause.__cause__ or cause) from cause


DEFAULT_SERIALIZERS: dict[str, Any] = {
    JSONSerializer.mimetype: JSONSerializer(),
    TextSerializer.mimetype: TextSerializer(),
}
"""The serializers of every transport, by mimetype."""


class Deserializer:
    """Chooses the serializer of a response.

    Args:
        serializers: By mimetype.
        default_mimetype: Of a response that names none.

    Attributes:
        serializers: As given.
        default: The serializer of the default mimetype.

    Raises:
        ImproperlyConfigured: There is none for the default mimetype.
    """

    def __init__(
        self, serializers: Mapping[str, Any], default_mimetype: str = "application/json"
    ) -> None:
        if default_mimetype not in serializers:
            raise ImproperlyConfigured(f"Cannot find default serializer ({default_mimetype})")
        self.serializers = serializers
        self.default = serializers[default_mimetype]

    def loads(self, s: str, mimetype: str | None = None) -> Any:
        """Return the object of a response body.

        Args:
            s: The body.
            mimetype: The content type as sent, in any case, with or without parameters; ``None`` or empty for the
                default. ``text/*`` without a serializer of its own is text.

        Raises:
            SerializationError: There is no serializer for it, or the body does not decode.
        """
        if not mimetype:
            return self.default.loads(s)
        serializer = self.serializers.get(mimetype)
        if serializer is None:
            name = mimetype.partition(";")[0].strip().lower()
            serializer = self.serializers.get(name)
            if serializer is None:
                if name.startswith("text/"):
                    return s
                raise SerializationError(f"Unknown mimetype, unable to deserialize: {name}")
        return serializer.loads(s)
