"""Typed records that convert on construction and are judged by ``validate()``; the base of both configurations.

Called by :mod:`infi.ramen_client.config` only. Source: the behaviour of 1.40's models (schematics 2), recorded case by
case in the compatibility table: constructor takes a mapping and converts at once, ranges and required fields are
checked by ``validate()``, attributes stay assignable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from infi.ramen_client.errors import DataError, ValidationError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Field", "Model", "to_bool", "to_float", "to_int", "to_str"]

_TRUE = (True, "True", "true", "1")
_FALSE = (False, "False", "false", "0")


def to_str(value: Any) -> str:
    """Convert to ``str``: text, integers and UTF-8 bytes are accepted.

    Raises:
        ValidationError: Anything else.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as cause:
            raise ValidationError("Invalid UTF-8 data.") from cause
    raise ValidationError(f"Couldn't interpret '{value}' as string.")


def to_int(value: Any) -> int:
    """Convert to ``int``: whole numbers in any form are accepted.

    Raises:
        ValidationError: Anything else.
    """
    try:
        if isinstance(value, float) and not value.is_integer():
            raise ValueError
        return int(value)
    except (TypeError, ValueError, OverflowError) as cause:
        raise ValidationError(f"Value '{value}' is not int.") from cause


def to_float(value: Any) -> float:
    """Convert to ``float``.

    Raises:
        ValidationError: It is no number.
    """
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as cause:
        raise ValidationError(f"Value '{value}' is not float.") from cause


def to_bool(value: Any) -> bool:
    """Convert to ``bool``: True, False, 1, 0 and the words true, True, false, False, "1", "0" are accepted.

    Raises:
        ValidationError: Anything else.
    """
    if isinstance(value, (bool, int, str)):
        if value in _TRUE:
            return True
        if value in _FALSE:
            return False
    raise ValidationError("Must be either true or false.")


class Field(NamedTuple):
    """One field of a model.

    Args:
        convert: Returns the value in the field's type or raises :class:`ValidationError`.
        required: Whether ``validate()`` refuses ``None``.
        default: Value when the mapping has none.
        low: Least value allowed; ``None`` for no limit.
        high: Greatest value allowed; ``None`` for no limit.
        rule: Further check of a value that is not ``None``; raises :class:`ValidationError`.
        secret: Whether the value is kept out of ``repr``.
    """

    convert: Callable[[Any], Any]
    required: bool = False
    default: Any = None
    low: float | None = None
    high: float | None = None
    rule: Callable[[Any], None] | None = None
    secret: bool = False

    def check(self, value: Any) -> None:
        """Judge a value that is in the field's type.

        Raises:
            ValidationError: It is missing, out of range, or breaks the rule.
        """
        if value is None:
            if self.required:
                raise ValidationError("This field is required.")
            return
        kind = "Float" if self.convert is to_float else "Int"
        if self.low is not None and not value >= self.low:
            raise ValidationError(f"{kind} value should be greater than or equal to {self.low}.")
        if self.high is not None and not value <= self.high:
            raise ValidationError(f"{kind} value should be less than or equal to {self.high}.")
        if self.rule is not None:
            self.rule(value)


class Model(Mapping[str, Any]):
    """A record whose class body lists :class:`Field` objects in :attr:`fields`.

    Args:
        raw_data: A mapping (or another model) with the values; unknown names are refused.
        values: The same by keyword, winning over ``raw_data``.

    Raises:
        DataError: A value cannot be converted, or a name is unknown; all such errors at once.
        TypeError: ``raw_data`` is no mapping.

    Not thread-safe while being changed; reading is.
    """

    fields: ClassVar[dict[str, Field]] = {}

    def __init__(self, raw_data: Mapping[str, Any] | None = None, **values: Any) -> None:
        for name, field in self.fields.items():
            self.__dict__[name] = field.default
        self.import_data({**(raw_data if raw_data is not None else {}), **values})

    def import_data(self, raw_data: Mapping[str, Any]) -> Self:
        """Take over the values of a mapping, converted, and return this object; others stay as they are.

        Raises:
            DataError: As for the constructor; nothing is changed then.
        """
        errors: dict[str, Any] = {}
        converted = {}
        for name, value in raw_data.items():
            if name not in self.fields:
                errors[name] = "Rogue field"
                continue
            try:
                converted[name] = None if value is None else self.fields[name].convert(value)
            except ValidationError as error:
                errors[name] = [str(error)]
        if errors:
            raise DataError(errors)
        self.__dict__.update(converted)
        return self

    def validate(self) -> None:
        """Check every field: required ones are there, types convert, ranges and names are right.

        Raises:
            DataError: Otherwise; all errors at once.
        """
        errors = {}
        for name, field in self.fields.items():
            try:
                value = self.__dict__[name]
                value = None if value is None else field.convert(value)
                self.__dict__[name] = value
                field.check(value)
            except ValidationError as error:
                errors[name] = [str(error)]
        if errors:
            raise DataError(errors)

    def to_primitive(self) -> dict[str, Any]:
        """Return the values as a new dict, in the order of the fields; secrets included."""
        return {name: self.__dict__[name] for name in self.fields}

    def to_native(self) -> dict[str, Any]:
        """Return the same as :meth:`to_primitive`: every value is a plain Python value."""
        return self.to_primitive()

    def __getitem__(self, name: str) -> Any:
        if name not in self.fields:
            raise KeyError(name)
        return self.__dict__[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self.fields:
            raise KeyError(name)
        self.__dict__[name] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = (
            f"{name}={'<hidden>' if field.secret and self.__dict__[name] else repr(self.__dict__[name])}"
            for name, field in self.fields.items()
        )
        return f"<{type(self).__name__} {' '.join(shown)}>"
