"""Operators and functions of the expression language, on plain values.

A combination of types that has no meaning raises :class:`EvaluationError`: a condition is then false, an update
refused.
"""

from __future__ import annotations

import base64
import binascii
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from mock_servers.v3io.values import Array, Timestamp, Value, parse_blob

__all__ = ["FUNCTIONS", "EvaluationError", "add", "arithmetic", "compare", "negate"]

MAX_ARRAY_ITEMS = 1_000_000


class EvaluationError(Exception):
    """An expression cannot be evaluated on this item."""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))  # a bool counts as 1 or 0


def _are_comparable(left: Any, right: Any) -> bool:
    if _is_number(left):
        return _is_number(right)
    return type(left) is type(right)


_ORDERINGS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def compare(symbol: str) -> Callable[[Any, Any], bool]:
    """Return a comparison; across kinds ``==`` and orderings are false, ``!=`` true; strings compare by their bytes."""
    if symbol == "==":
        return lambda left, right: _are_comparable(left, right) and bool(left == right)
    if symbol in ("!=", "<>"):
        return lambda left, right: not (_are_comparable(left, right) and bool(left == right))
    order = _ORDERINGS[symbol]

    def ordered(left: Any, right: Any) -> bool:
        if not _are_comparable(left, right) or isinstance(left, Array):
            return False
        if isinstance(left, str):
            return order(left.encode(), right.encode())
        return order(left, right)

    return ordered


def add(left: Any, right: Any) -> Value:
    """Add numbers, or join strings."""
    if isinstance(left, str) and isinstance(right, str):
        return left + right
    return arithmetic("+")(left, right)


def _divide(left: Any, right: Any) -> Any:
    if isinstance(left, float) or isinstance(right, float):
        return left / right
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _remainder(left: Any, right: Any) -> Any:
    if isinstance(left, float) or isinstance(right, float):
        return math.fmod(left, right)
    return left - _divide(left, right) * right


_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "%": _remainder,
}


def arithmetic(symbol: str) -> Callable[[Any, Any], Value]:
    """Return an operation on numbers; int with int stays int, division truncating towards zero as C does."""
    compute = _ARITHMETIC[symbol]

    def run(left: Any, right: Any) -> Value:
        if not _is_number(left) or not _is_number(right):
            raise EvaluationError(f"{left!r:.40} {symbol} {right!r:.40}: expected numbers")
        try:
            result: Value = compute(left, right)
        except (ZeroDivisionError, ValueError, OverflowError) as cause:
            raise EvaluationError(f"{left} {symbol} {right}: {cause}") from cause
        return result

    return run


def negate(value: Any) -> Value:
    """Return the number with its sign changed."""
    if not _is_number(value):
        raise EvaluationError(f"-{value!r:.40}: expected a number")
    result: Value = -value
    return result


def _strings(test: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    def run(text: Any, part: Any) -> bool:
        return isinstance(text, str) and isinstance(part, str) and test(text, part)

    return run


def _length(value: Any) -> int:
    if isinstance(value, Array):
        return len(value.items)
    if isinstance(value, (str, bytes)):
        return len(value)
    raise EvaluationError(f"length({value!r:.40}): expected a string or an array")


def _extreme(pick: Callable[..., Any]) -> Callable[..., Value]:
    """Return min or max: of an array, or of two values; mixed numbers are promoted, a bool that wins stays one."""

    def run(first: Any, second: Any = None) -> Value:
        if second is None:
            if not isinstance(first, Array) or not first.items:
                raise EvaluationError("min and max of one argument take an array that is not empty")
            winner: Value = pick(first.items)
            return winner
        if not _are_comparable(first, second) or isinstance(first, Array):
            raise EvaluationError(f"{first!r:.40} and {second!r:.40} cannot be compared")
        key = str.encode if isinstance(first, str) else None
        best: Value = pick(first, second, key=key)
        if isinstance(best, int) and (isinstance(first, float) or isinstance(second, float)):
            return best if isinstance(best, bool) else float(best)
        return best

    return run


def _init_array(size: Any, kind: Any, fill: Any = 0) -> Array:
    if not isinstance(size, int) or not 0 <= size <= MAX_ARRAY_ITEMS:
        raise EvaluationError(f"init_array: size {size!r} is not in 0..{MAX_ARRAY_ITEMS}")
    if kind not in ("int", "double") or not _is_number(fill):
        raise EvaluationError("init_array: expected (size, 'int' or 'double'[, number])")
    try:
        return (
            Array("d", [float(fill)] * size) if kind == "double" else Array("q", [int(fill)] * size)
        )
    except (ValueError, OverflowError) as cause:
        raise EvaluationError(f"init_array: an int array cannot hold {fill}") from cause


def _elementwise(compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Array]:
    def run(left: Any, right: Any) -> Array:
        if not isinstance(left, Array) or not isinstance(right, Array):
            raise EvaluationError("expected two arrays or slices")
        if len(left.items) != len(right.items):
            raise EvaluationError(f"arrays of {len(left.items)} and {len(right.items)} elements")
        code = "d" if "d" in (left.typecode, right.typecode) else "q"
        convert = float if code == "d" else int
        pairs = zip(left.items, right.items, strict=True)
        return Array(code, [convert(compute(a, b)) for a, b in pairs])

    return run


def _blob(text: Any) -> Array | bytes:
    try:
        return parse_blob(base64.b64decode(text, validate=True))
    except (TypeError, ValueError, binascii.Error) as cause:
        raise EvaluationError("blob: expected base64 in quotes") from cause


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _numbers(compute: Callable[[list[Any]], Any]) -> Callable[[Any], Value]:
    def run(value: Any) -> Value:
        if not isinstance(value, Array) or not value.items:
            raise EvaluationError("expected an array that is not empty")
        result: Value = compute(value.items)
        return result

    return run


def _standard_deviation(items: list[Any]) -> float:
    mean = sum(items) / len(items)
    return math.sqrt(sum((item - mean) ** 2 for item in items) / len(items))


def _square_root(value: Any) -> float:
    if not _is_number(value) or value < 0:
        raise EvaluationError(f"sqrt({value!r:.40}): expected a number of 0 or more")
    return math.sqrt(value)


def _text(value: Any) -> str:
    if isinstance(value, Timestamp):
        return f"{value.seconds}:{value.nanoseconds}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise EvaluationError("str: expected a string, number, boolean or time")


def _to_int(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as cause:
        raise EvaluationError(f"to_int({value!r:.40}): expected a number") from cause


FUNCTIONS: Mapping[str, tuple[Callable[..., Any], int, int]] = {
    "avg": (_numbers(lambda items: sum(items) / len(items)), 1, 1),
    "blob": (_blob, 1, 1),
    "contains": (_strings(lambda text, part: part in text), 2, 2),
    "ends": (_strings(str.endswith), 2, 2),
    "init_array": (_init_array, 2, 3),
    "isnan": (_is_nan, 1, 1),
    "length": (_length, 1, 1),
    "max": (_extreme(max), 1, 2),
    "min": (_extreme(min), 1, 2),
    "nanaszero": (lambda value: 0.0 if _is_nan(value) else value, 1, 1),
    "pmax": (_elementwise(max), 2, 2),
    "pmin": (_elementwise(min), 2, 2),
    "psum": (_elementwise(operator.add), 2, 2),
    "sqrt": (_square_root, 1, 1),
    "starts": (_strings(str.startswith), 2, 2),
    "stddev": (_numbers(_standard_deviation), 1, 1),
    "str": (_text, 1, 1),
    "sum": (_numbers(sum), 1, 1),
    "to_int": (_to_int, 1, 1),
}
"""Name -> (function of evaluated arguments, least and most arguments)."""
