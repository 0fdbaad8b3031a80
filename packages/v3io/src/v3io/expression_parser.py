"""Reads a condition of the platform's expression language into an :class:`~v3io.expressions.Expression`.

For programs that want to test or explain a filter they hold as text: ``parse("age > 15").matches(item)``. Precedence,
high to low: parentheses, calls and indices; unary minus; ``* / %``; ``+ -``; comparisons and ``IN``; ``NOT``; ``AND``;
``OR``; operators are left-associative, keywords and function names ignore case. Update expressions are the server's
business and are not read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from v3io import expressions
from v3io.dataplane import kv_timestamp
from v3io.expressions import Expression, value

__all__ = ["ExpressionSyntaxError", "parse"]


class ExpressionSyntaxError(ValueError):
    """The text is not an expression; the message shows where."""


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


_TOKEN = re.compile(
    r"""\s*(?:
      (?P<timestamp>-?\d+:\d+)
    | (?P<number>\d+(?:\.(?!\.)\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)
    | (?P<string>'[^']*'|"[^"]*")
    | (?P<quoted>`[A-Za-z_][A-Za-z0-9_]*`)
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<symbol>\.\.|==|!=|<>|<=|>=|[-+*/%<>()\[\],])
    )""",
    re.VERBOSE | re.ASCII,
)
_WORD_LITERALS = {"true": True, "false": False, "inf": float("inf")}
_BINARY = {
    **dict.fromkeys(("==", "!=", "<>", "<", "<=", ">", ">=", "in"), 40),
    "or": 10,
    "and": 20,
    "+": 60,
    "-": 60,
    "*": 70,
    "/": 70,
    "%": 70,
}
_NOT_PRECEDENCE = 30
_MINUS_PRECEDENCE = 80
_MAX_DEPTH = 100


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            at = position + len(text[position:]) - len(text[position:].lstrip())
            raise ExpressionSyntaxError(f"{text!r}: unexpected {text[at]!r} at position {at}")
        yield _Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup))
        position = match.end()
    yield _Token("end", "end of text", len(text))


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._index = 0
        self._depth = 0

    def whole(self) -> Expression:
        parsed = self._expression(0)
        if self._peek().kind != "end":
            raise self._error("an operator or the end")
        return parsed

    def _peek(self) -> _Token:
        return self._tokens[self._index]

    def _next(self) -> _Token:
        self._index += 1
        return self._tokens[self._index - 1]

    def _is_symbol(self, symbol: str) -> bool:
        token = self._peek()
        return token.kind == "symbol" and token.text == symbol

    def _expect(self, symbol: str) -> None:
        if not self._is_symbol(symbol):
            raise self._error(repr(symbol))
        self._index += 1

    def _error(self, expected: str) -> ExpressionSyntaxError:
        token = self._peek()
        return ExpressionSyntaxError(
            f"{self._text!r}: expected {expected} at position {token.position}, found {token.text!r}"
        )

    def _operator(self) -> str | None:
        token = self._peek()
        if token.kind == "symbol" and token.text in _BINARY:
            return token.text
        if token.kind == "word" and token.text.lower() in ("and", "or", "in"):
            return token.text.lower()
        return None

    def _expression(self, floor: int) -> Expression:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ExpressionSyntaxError(f"{self._text!r}: nested deeper than {_MAX_DEPTH} levels")
        left = self._operand()
        while True:
            symbol = self._operator()
            if symbol is None or _BINARY[symbol] < floor:
                break
            self._index += 1
            if symbol == "in":
                left = left.isin(*self._arguments())
            else:
                right = self._expression(_BINARY[symbol] + 1)
                left = _combine(symbol, left, right)
        self._depth -= 1
        return left

    def _operand(self) -> Expression:
        token = self._next()
        word = token.text.lower()
        if token.kind == "number":
            is_integer = token.text.isdigit()
            return value(int(token.text) if is_integer else float(token.text))
        if token.kind == "timestamp":
            try:
                return value(kv_timestamp.decode(token.text))
            except (ValueError, OverflowError) as cause:
                raise ExpressionSyntaxError(f"{self._text!r}: {cause}") from cause
        if token.kind == "string":
            return value(token.text[1:-1])
        if token.kind == "quoted":
            return self._indexed(expressions.attr(token.text[1:-1]))
        if token.kind == "word" and word == "not":
            return ~self._expression(_NOT_PRECEDENCE)
        if token.kind == "word" and self._is_symbol("("):
            return self._call(word)
        if token.kind == "word" and word in _WORD_LITERALS:
            return value(_WORD_LITERALS[word])
        if token.kind == "word" and word not in expressions.RESERVED:
            return self._indexed(expressions.attr(token.text))
        if token.kind == "symbol" and token.text == "(":
            inner = self._expression(0)
            self._expect(")")
            return inner
        if token.kind == "symbol" and token.text == "-":
            return -self._expression(_MINUS_PRECEDENCE)
        self._index -= 1
        raise self._error("an attribute, a literal or '('")

    def _call(self, function: str) -> Expression:
        arguments = self._arguments()
        return self._indexed(expressions.call(function, *arguments))

    def _arguments(self) -> list[Expression]:
        self._expect("(")
        arguments = [self._expression(0)]
        while self._is_symbol(","):
            self._index += 1
            arguments.append(self._expression(0))
        self._expect(")")
        return arguments

    def _indexed(self, operand: Expression) -> Expression:
        while self._is_symbol("["):
            self._index += 1
            start = self._expression(0)
            end = None
            if self._is_symbol(".."):
                self._index += 1
                end = self._expression(0)
            self._expect("]")
            operand = expressions.element(operand, start, end)
        return operand


def _combine(symbol: str, left: Expression, right: Expression) -> Expression:
    if symbol == "and":
        return left & right
    if symbol == "or":
        return left | right
    return expressions.binary("!=" if symbol == "<>" else symbol, left, right)


def parse(text: str) -> Expression:
    """Return the condition that ``text`` spells.

    Raises:
        ExpressionSyntaxError: It is not a condition; the message gives position and what was expected.
        ValueError: A literal or name is not acceptable (see :mod:`v3io.expressions`).
    """
    return _Parser(text).whole()
