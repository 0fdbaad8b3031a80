"""The market's constraint language: LDAP-like filters over flat property maps.

Called by ``market`` to match offers with demands. A property that is a list matches when one of its elements does; an
absent property matches nothing but a negation. Source: Golem demand and offer specification, filter syntax of RFC
4515.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any

import lark

__all__ = ["ConstraintError", "matches"]

_GRAMMAR = r"""
?start: filter
filter: "(" (all | any | not | test) ")"
all: "&" filter*
any: "|" filter*
not: "!" filter
test: NAME OPERATOR VALUE?
NAME: /[^()<>=&|!*~\s][^()<>=*\s]*/
OPERATOR: ">=" | "<=" | "=" | ">" | "<"
VALUE: /[^()]+/
%ignore /[ \t\r\n]+/
"""

_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


class ConstraintError(ValueError):
    """A constraint expression that does not parse."""


@functools.lru_cache(maxsize=1)
def _parser() -> lark.Lark:
    return lark.Lark(_GRAMMAR, parser="lalr")


@functools.lru_cache(maxsize=512)
def _parse(expression: str) -> lark.Tree[lark.Token]:
    try:
        return _parser().parse(expression.strip())
    except lark.exceptions.LarkError as cause:
        raise ConstraintError(f"cannot parse constraints {expression!r}: {cause}") from cause


def matches(expression: str, properties: Mapping[str, Any]) -> bool:
    """Return whether ``properties`` satisfy ``expression``.

    Args:
        expression: Such as ``(&(golem.inf.mem.gib>=0.5)(golem.runtime.name=vm))``; empty text and ``()`` match
        anything.
        properties: Flat property names -> text, number, truth value or list of those.

    Raises:
        ConstraintError: ``expression`` does not parse.
    """
    if expression.strip() in ("", "()"):
        return True
    return _holds(_parse(expression), properties)


def _holds(node: lark.Tree[lark.Token], properties: Mapping[str, Any]) -> bool:
    children: list[Any] = node.children
    if node.data == "filter":
        return _holds(children[0], properties)
    if node.data == "all":
        return all(_holds(child, properties) for child in children)
    if node.data == "any":
        return any(_holds(child, properties) for child in children)
    if node.data == "not":
        return not _holds(children[0], properties)
    name, relation, value = str(children[0]), str(children[1]), "".join(map(str, children[2:]))
    if name not in properties:
        return False
    actual = properties[name]
    elements = actual if isinstance(actual, (list, tuple)) else [actual]
    return any(_compare(element, relation, value) for element in elements)


def _compare(actual: Any, relation: str, value: str) -> bool:
    if relation == "=":
        if "*" in value:
            return _wildcard(str(actual), value)
        if isinstance(actual, bool):
            return value.lower() == str(actual).lower()
        return str(actual) == value or _numbers(actual, value, operator.eq)
    return _numbers(actual, value, _COMPARISONS[relation])


def _numbers(actual: Any, value: str, compare: Callable[[Any, Any], bool]) -> bool:
    try:
        return compare(float(actual), float(value))
    except (TypeError, ValueError):
        return False


def _wildcard(actual: str, pattern: str) -> bool:
    first, *middle, last = pattern.split("*")
    if len(actual) < len(first) + len(last):
        return False
    if not (actual.startswith(first) and actual.endswith(last)):
        return False
    rest = actual[len(first) : len(actual) - len(last)]
    for part in middle:
        found = rest.find(part)
        if found < 0:
            return False
        rest = rest[found + len(part) :]
    return True
