"""Filter, condition and update expressions, built from Python with safe quoting.

``attr("age") > 15`` is an :class:`Expression`; ``str()`` of it is what the platform reads, and every parameter that
takes an expression takes either. An expression can also be evaluated on a dict, so that a filter can be unit-tested or
applied on the client: ``(attr("age") > 15).matches({"age": 42})``.

Source: the platform's expression reference. Rules kept here as on the server: a comparison that names an absent
attribute is false, values of different kinds are unequal and unordered, strings compare bytewise.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

from v3io.dataplane import kv_timestamp

__all__ = [
    "RESERVED",
    "Expression",
    "Update",
    "attr",
    "binary",
    "call",
    "element",
    "if_else",
    "if_not_exists",
    "increment",
    "remove",
    "set_",
    "value",
]

RESERVED = frozenset(
    (
        "min max sqrt avg stddev sum length init_array set remove regexp_replace find find_all_indices "
        "extract_by_indices sort_array blob if_else in true false and or not contains ends starts exists "
        "select str to_int if_not_exists regexp_instr delete as maxdbl inf nan isnan nanaszero"
    ).split()
)
"""Words that, as attribute names, must stand in backticks."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}", re.ASCII)

Item: TypeAlias = Mapping[str, Any]


class _Absent(Exception):
    """An expression names an attribute that the item does not have."""


class Expression:
    """Any expression; combine with comparison and arithmetic operators, ``&`` (and), ``|`` (or), ``~`` (not).

    Python binds ``&`` and ``|`` tighter than comparisons, so put each comparison in parentheses. ``and``, ``or``,
    ``not`` and ``in`` cannot be overloaded and are refused. Immutable; pickles; ``str()`` is the platform's text.
    """

    precedence: ClassVar[int] = 100

    def evaluate(self, item: Item) -> Any:
        """Return the value for one item.

        Raises:
            LookupError: The expression is not a condition and names an absent attribute.
        """
        try:
            return self._value(item)
        except _Absent as cause:
            raise LookupError(f"{self}: the item has no attribute {cause}") from None

    def matches(self, item: Item) -> bool:
        """Return whether the condition holds for one item (a dict as ``kv.get`` returns it)."""
        return self._truth(item)

    def _value(self, item: Item) -> Any:
        raise NotImplementedError

    def _truth(self, item: Item) -> bool:
        try:
            return bool(self._value(item))
        except _Absent:
            return False

    def _inside(self, precedence: int) -> str:
        text = str(self)
        return f"({text})" if self.precedence < precedence else text

    def __bool__(self) -> bool:
        raise TypeError("combine expressions with &, | and ~, not with 'and', 'or' and 'not'")

    def __eq__(self, other: object) -> Expression:  # type: ignore[override]
        return _Binary("==", self, value(other))

    def __ne__(self, other: object) -> Expression:  # type: ignore[override]
        return _Binary("!=", self, value(other))

    __hash__ = object.__hash__

    def __lt__(self, other: Any) -> Expression:
        return _Binary("<", self, value(other))

    def __le__(self, other: Any) -> Expression:
        return _Binary("<=", self, value(other))

    def __gt__(self, other: Any) -> Expression:
        return _Binary(">", self, value(other))

    def __ge__(self, other: Any) -> Expression:
        return _Binary(">=", self, value(other))

    def __add__(self, other: Any) -> Expression:
        return _Binary("+", self, value(other))

    def __radd__(self, other: Any) -> Expression:
        return _Binary("+", value(other), self)

    def __sub__(self, other: Any) -> Expression:
        return _Binary("-", self, value(other))

    def __rsub__(self, other: Any) -> Expression:
        return _Binary("-", value(other), self)

    def __mul__(self, other: Any) -> Expression:
        return _Binary("*", self, value(other))

    def __rmul__(self, other: Any) -> Expression:
        return _Binary("*", value(other), self)

    def __truediv__(self, other: Any) -> Expression:
        return _Binary("/", self, value(other))

    def __mod__(self, other: Any) -> Expression:
        return _Binary("%", self, value(other))

    def __neg__(self) -> Expression:
        return _Unary("-", self)

    def __and__(self, other: Expression) -> Expression:
        return _Binary("AND", self, _condition(other))

    def __or__(self, other: Expression) -> Expression:
        return _Binary("OR", self, _condition(other))

    def __invert__(self) -> Expression:
        return _Unary("NOT ", self)

    def __getitem__(self, index: int | slice | Expression) -> Expression:
        """Return one element, or a slice; both ends of a slice are Python's, the end excluded."""
        if isinstance(index, slice):
            if index.step is not None or index.start is None or index.stop is None:
                raise ValueError("an array slice needs a start and an end, and takes no step")
            return _Index(self, value(index.start), value(index.stop - 1))
        return _Index(self, value(index), None)

    __iter__ = None  # an expression has no elements to walk through here

    def exists(self) -> Expression:
        """Whether the item has the attribute."""
        return _Call("exists", (self,))

    def contains(self, text: str) -> Expression:
        """Whether the string holds ``text``."""
        return _Call("contains", (self, value(text)))

    def startswith(self, text: str) -> Expression:
        """Whether the string begins with ``text``."""
        return _Call("starts", (self, value(text)))

    def endswith(self, text: str) -> Expression:
        """Whether the string ends with ``text``."""
        return _Call("ends", (self, value(text)))

    def isin(self, *choices: Any) -> Expression:
        """Whether the value is one of ``choices``, at least one."""
        if not choices:
            raise ValueError("isin() needs at least one choice")
        return _In(self, tuple(value(choice) for choice in choices))

    def length(self) -> Expression:
        """Number of characters of a string or elements of an array."""
        return _Call("length", (self,))


@dataclasses.dataclass(frozen=True, eq=False)
class _Literal(Expression):
    literal: Any

    def _value(self, item: Item) -> Any:
        return self.literal

    def __str__(self) -> str:
        literal = self.literal
        if isinstance(literal, bool):
            return "true" if literal else "false"
        if isinstance(literal, str):
            return _quote(literal)
        if isinstance(literal, datetime.datetime):
            return kv_timestamp.encode(literal)
        return repr(literal)


@dataclasses.dataclass(frozen=True, eq=False)
class _Name(Expression):
    name: str

    def _value(self, item: Item) -> Any:
        try:
            return item[self.name]
        except KeyError:
            raise _Absent(self.name) from None

    def __str__(self) -> str:
        return f"`{self.name}`" if self.name.lower() in RESERVED else self.name


@dataclasses.dataclass(frozen=True, eq=False)
class _Unary(Expression):
    operator: str
    operand: Expression

    @property
    def precedence(self) -> int:  # type: ignore[override]
        return 30 if self.operator == "NOT " else 80

    def _value(self, item: Item) -> Any:
        if self.operator == "NOT ":
            return not self.operand._truth(item)
        return -self.operand._value(item)

    def __str__(self) -> str:
        if self.operator == "NOT ":
            return f"NOT ({self.operand})"
        return f"-{self.operand._inside(81)}"


_KINDS: tuple[tuple[type, ...], ...] = ((bool,), (int, float), (str,), (datetime.datetime,))


def _kind(operand: Any) -> int:
    for index, kinds in enumerate(_KINDS):
        if isinstance(operand, kinds):
            return index
    return len(_KINDS)


def _compare(symbol: str, left: Any, right: Any) -> bool:
    kind = _kind(left)
    if kind != _kind(right) or kind == len(_KINDS):
        equal = kind == _kind(right) and left == right
        return equal if symbol == "==" else (not equal if symbol == "!=" else False)
    if kind == 2:
        left, right = left.encode(), right.encode()
    return bool(_COMPARISONS[symbol](left, right))


_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _divide(left: Any, right: Any) -> Any:
    if isinstance(left, int) and isinstance(right, int):
        return int(math.copysign(1, left * right)) * (abs(left) // abs(right)) if left else 0
    return left / right


_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "%": math.fmod,
}
_PRECEDENCE = {
    "OR": 10,
    "AND": 20,
    **dict.fromkeys(_COMPARISONS, 40),
    "+": 60,
    "-": 60,
    "*": 70,
    "/": 70,
    "%": 70,
}


@dataclasses.dataclass(frozen=True, eq=False)
class _Binary(Expression):
    operator: str
    left: Expression
    right: Expression

    @property
    def precedence(self) -> int:  # type: ignore[override]
        return _PRECEDENCE[self.operator]

    def _value(self, item: Item) -> Any:
        if self.operator == "AND":
            return self.left._truth(item) and self.right._truth(item)
        if self.operator == "OR":
            return self.left._truth(item) or self.right._truth(item)
        left, right = self.left._value(item), self.right._value(item)
        if self.operator in _COMPARISONS:
            return _compare(self.operator, left, right)
        return _ARITHMETIC[self.operator](left, right)

    def __str__(self) -> str:
        own = self.precedence
        return f"{self.left._inside(own)} {self.operator} {self.right._inside(own + 1)}"


@dataclasses.dataclass(frozen=True, eq=False)
class _In(Expression):
    operand: Expression
    choices: tuple[Expression, ...]
    precedence = 40

    def _value(self, item: Item) -> bool:
        wanted = self.operand._value(item)
        return any(_compare("==", wanted, choice._value(item)) for choice in self.choices)

    def __str__(self) -> str:
        return f"{self.operand._inside(41)} IN ({', '.join(map(str, self.choices))})"


@dataclasses.dataclass(frozen=True, eq=False)
class _Index(Expression):
    array: Expression
    start: Expression
    end: Expression | None

    def _value(self, item: Item) -> Any:
        elements, start = self.array._value(item), self.start._value(item)
        if self.end is None:
            return elements[start]
        return elements[start : self.end._value(item) + 1]

    def __str__(self) -> str:
        index = str(self.start) if self.end is None else f"{self.start}..{self.end}"
        return f"{self.array._inside(90)}[{index}]"


@dataclasses.dataclass(frozen=True, eq=False)
class _Call(Expression):
    function: str
    arguments: tuple[Expression, ...]

    def _value(self, item: Item) -> Any:
        if self.function == "exists":
            try:
                self.arguments[0]._value(item)
            except _Absent:
                return False
            return True
        if self.function == "if_not_exists":
            try:
                return self.arguments[0]._value(item)
            except _Absent:
                return self.arguments[1]._value(item)
        if self.function == "if_else":
            condition, then, otherwise = self.arguments
            return then._value(item) if condition._truth(item) else otherwise._value(item)
        if self.function not in _FUNCTIONS:
            raise NotImplementedError(f"{self.function}() runs on the platform only")
        return _FUNCTIONS[self.function](*(argument._value(item) for argument in self.arguments))

    def __str__(self) -> str:
        return f"{self.function}({', '.join(map(str, self.arguments))})"


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "contains": lambda text, part: isinstance(text, str) and part in text,
    "starts": lambda text, part: isinstance(text, str) and text.startswith(part),
    "ends": lambda text, part: isinstance(text, str) and text.endswith(part),
    "length": len,
    "isnan": lambda number: number != number,
    "min": min,
    "max": max,
    "sqrt": math.sqrt,
}


def _quote(text: str) -> str:
    if "'" not in text:
        return f"'{text}'"
    if '"' not in text:
        return f'"{text}"'
    raise ValueError(
        f"the platform cannot quote a string that holds both kinds of quotes: {text!r}"
    )


def _condition(operand: Any) -> Expression:
    if not isinstance(operand, Expression):
        raise TypeError(f"{operand!r}: expected an expression such as attr('age') > 15")
    return operand


def attr(name: str) -> Expression:
    """Return the attribute called ``name``; reserved words are put in backticks.

    Raises:
        ValueError: The name is not 1..255 letters, digits and ``_`` beginning with no digit.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"attribute name {name!r}: expected 1..255 letters, digits and _, not beginning with a digit"
        )
    return _Name(name)


def value(literal: Any) -> Expression:
    """Return a literal: str, int, float, bool or datetime; an expression is returned as it is.

    Raises:
        TypeError: Another type.
        ValueError: NaN, or a string with both kinds of quotes (the platform has no escape).
    """
    if isinstance(literal, Expression):
        return literal
    if isinstance(literal, str):
        _quote(literal)
    elif not isinstance(literal, (bool, int, float, datetime.datetime)):
        raise TypeError(f"{literal!r}: expected str, int, float, bool, datetime or an expression")
    elif literal != literal:
        raise ValueError("NaN is equal to nothing; test with isnan on the platform instead")
    return _Literal(literal)


_ARITIES = {"exists": 1, "contains": 2, "starts": 2, "ends": 2, "length": 1, "isnan": 1, "sqrt": 1}


def call(function: str, *arguments: Any) -> Expression:
    """Return a call of one of the platform's functions, such as ``call("max", attr("a"), 3)``.

    Functions that this module does not know are rendered as given and cannot be evaluated here.

    Raises:
        ValueError: The name is not a word, or the number of arguments is wrong for a function known here.
    """
    if not _NAME.fullmatch(function):
        raise ValueError(f"function name {function!r}: expected a word")
    arity = _ARITIES.get(function)
    if arity is not None and len(arguments) != arity:
        raise ValueError(f"{function}() takes {arity} arguments, got {len(arguments)}")
    return _Call(function, tuple(value(argument) for argument in arguments))


def binary(symbol: str, left: Any, right: Any) -> Expression:
    """Return ``left symbol right`` for one of ``== != < <= > >= + - * / %``.

    Raises:
        ValueError: Another operator.
    """
    if symbol not in _COMPARISONS and symbol not in _ARITHMETIC:
        raise ValueError(f"operator {symbol!r}: unknown")
    return _Binary(symbol, value(left), value(right))


def element(array: Expression, start: Any, end: Any = None) -> Expression:
    """Return ``array[start]``, or the slice ``array[start..end]`` whose end is included, as the platform counts."""
    return _Index(array, value(start), None if end is None else value(end))


def if_not_exists(name: str, default: Any) -> Expression:
    """Return the attribute's value, or ``default`` while the item has none."""
    return _Call("if_not_exists", (attr(name), value(default)))


def if_else(condition: Expression, then: Any, otherwise: Any) -> Expression:
    """Return ``then`` where the condition holds, else ``otherwise``; the other one is not evaluated."""
    return _Call("if_else", (_condition(condition), value(then), value(otherwise)))


@dataclasses.dataclass(frozen=True)
class Update:
    """An update expression: actions in order, joined with ``&``; ``str()`` is what the platform reads."""

    actions: tuple[str, ...]

    def __and__(self, other: Update) -> Update:
        """Return both updates, this one's actions first."""
        return Update(self.actions + other.actions)

    def __str__(self) -> str:
        return "; ".join(self.actions)


def set_(target: str | Expression, new: Any) -> Update:
    """Return the update that assigns ``new`` to an attribute, an array element or a slice."""
    if isinstance(target, str):
        target = attr(target)
    if not isinstance(target, (_Name, _Index)):
        raise TypeError(f"{target}: only an attribute or an element of an array can be assigned")
    return Update((f"SET {target} = {value(new)}",))


def remove(name: str) -> Update:
    """Return the update that removes an attribute."""
    return Update((f"REMOVE {attr(name)}",))


def increment(name: str, by: float = 1, *, start: float = 0) -> Update:
    """Return the update that adds ``by`` to a number, beginning at ``start`` while the item has none."""
    return set_(name, if_not_exists(name, start) + by)
