"""The expression language: conditions and filters, and update expressions.

Text is parsed once with a lark grammar and compiled to closures over an :class:`Attributes` mapping; both are cached,
so a scan pays for the parser once. Called by :mod:`mock_servers.v3io.items`.

Rules that are easy to get wrong, all of the platform's reference: a comparison that names an absent attribute is false
(and ``NOT`` of it true); a slice includes its end; ``if_else`` evaluates one branch only; a word of :data:`RESERVED`
is an attribute only in backticks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, MutableMapping
from typing import Any, TypeAlias

import lark

from mock_servers.v3io.errors import invalid_argument
from mock_servers.v3io.functions import FUNCTIONS, EvaluationError, add, arithmetic, compare, negate
from mock_servers.v3io.values import Array, Timestamp, Value, parse_number

__all__ = ["Attributes", "Condition", "Update", "compile_condition", "compile_update"]

GRAMMAR = r"""
condition: or_
update: action (";" action)*
?action: SET? target "=" or_   -> assign
       | REMOVE attribute      -> remove
       | DELETE "(" attribute ")" -> remove
       |                       -> nothing
?target: attribute | element | slice
?or_: and_ | or_ OR and_
?and_: not_ | and_ AND not_
?not_: comparison | NOT not_   -> negated
?comparison: sum
    | comparison COMPARE sum            -> compared
    | comparison IN "(" or_ ("," or_)* ")" -> among
?sum: product | sum "+" product -> plus | sum "-" product -> minus
?product: unary | product STAR unary | product SLASH unary | product PERCENT unary
?unary: primary | "-" unary -> negative
?primary: "(" or_ ")" | NUMBER -> number | TIMESTAMP -> timestamp | string | constant
    | call | element | slice | attribute
call: FUNCTION "(" [or_ ("," or_)*] ")"
element: attribute "[" or_ "]"
slice: attribute "[" or_ ".." or_ "]"
attribute: NAME -> attribute | QUOTED -> quoted
string: SINGLE | DOUBLE
constant: TRUE | FALSE | INF | NAN | MAXDBL
SINGLE: /'(\\.|[^'\\])*'/
DOUBLE: /"(\\.|[^"\\])*"/
QUOTED: /`[^`]+`/
STAR: "*"
SLASH: "/"
PERCENT: "%"
COMPARE: "==" | "!=" | "<>" | "<=" | ">=" | "<" | ">"
TIMESTAMP.4: /\d+:\d+/
NUMBER.3: /\d+\.(?!\.)\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|\d+([eE][+-]?\d+)?/
OR.3: /or\b/i
AND.3: /and\b/i
NOT.3: /not\b/i
IN.3: /in\b/i
SET.3: /set\b/i
REMOVE.3: /remove\b/i
DELETE.4: /delete\b(?=\s*\()/i
TRUE.3: /true\b/i
FALSE.3: /false\b/i
INF.3: /inf\b/i
NAN.3: /nan\b/i
MAXDBL.3: /maxdbl\b/i
FUNCTION.2: /[A-Za-z_][A-Za-z0-9_]*(?=\s*\()/
NAME.1: /[A-Za-z_][A-Za-z0-9_]*/
%ignore /\s+/
"""

# fmt: off
RESERVED = frozenset({
    "min", "max", "sqrt", "avg", "stddev", "sum", "length", "init_array", "set", "remove",
    "regexp_replace", "find", "find_all_indices", "extract_by_indices", "sort_array", "blob",
    "if_else", "in", "true", "false", "and", "or", "not", "contains", "ends", "starts",
    "exists", "select", "str", "to_int", "if_not_exists", "regexp_instr", "delete", "as",
    "maxdbl", "inf", "nan", "isnan", "nanaszero",
})
# fmt: on
CONSTANTS: dict[str, Value] = {
    "true": True,
    "false": False,
    "inf": float("inf"),
    "nan": float("nan"),
    "maxdbl": 1.7976931348623157e308,
}
CACHED_EXPRESSIONS = 4096

Attributes: TypeAlias = MutableMapping[str, Value]
"""The attributes of one item, system attributes included; an absent one raises ``KeyError``."""

Condition: TypeAlias = Callable[[Attributes], bool]
Update: TypeAlias = Callable[[Attributes], None]
Term: TypeAlias = Callable[[Attributes], Any]


class _AttributeTerm:
    """A term that is a bare attribute: what ``exists`` takes and assignments write to."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, attributes: Attributes) -> Value:
        try:
            return attributes[self.name]
        except KeyError:
            raise EvaluationError(f"attribute {self.name} does not exist") from None


class _SliceTerm:
    """A term ``array[first..last]`` or ``array[index]``, readable and assignable."""

    __slots__ = ("array", "first", "last")

    def __init__(self, array: _AttributeTerm, first: Term, last: Term | None) -> None:
        self.array = array
        self.first = first
        self.last = last

    def bounds(self, attributes: Attributes) -> tuple[Array, int, int]:
        """Return the array with the first and last index, both inside it."""
        array = self.array(attributes)
        if not isinstance(array, Array):
            raise EvaluationError(f"attribute {self.array.name} is not an array")
        first = self.first(attributes)
        last = first if self.last is None else self.last(attributes)
        for index in (first, last):
            if not isinstance(index, int) or not 0 <= index < len(array.items):
                raise EvaluationError(
                    f"index {index!r} is outside {self.array.name}, an array of {len(array.items)}"
                )
        if last < first:
            raise EvaluationError(f"slice {first}..{last} ends before it begins")
        return array, first, last

    def __call__(self, attributes: Attributes) -> Value:
        array, first, last = self.bounds(attributes)
        if self.last is None:
            element: Value = array.items[first]
            return element
        return Array(array.typecode, array.items[first : last + 1])

    def assign(self, attributes: Attributes, value: Any) -> None:
        """Write one element, or as many elements as the slice has."""
        array, first, last = self.bounds(attributes)
        values = [value] if self.last is None else value.items if isinstance(value, Array) else None
        if values is None or len(values) != last - first + 1:
            raise EvaluationError(
                f"{self.array.name}[{first}..{last}] takes an array of {last - first + 1} elements"
            )
        convert = float if array.typecode == "d" else int
        items = list(array.items)
        try:
            items[first : last + 1] = [convert(item) for item in values]
        except (TypeError, ValueError, OverflowError) as cause:
            raise EvaluationError(
                f"{self.array.name}: {value!r:.60} is no array element"
            ) from cause
        attributes[self.array.name] = Array(array.typecode, items)


def _truth(term: Term, attributes: Attributes) -> bool:
    """Return whether a term holds; one that cannot be evaluated does not."""
    try:
        return bool(term(attributes))
    except EvaluationError:
        return False


def _equal_to(value: Value, choice: Term) -> Term:
    equal = compare("==")
    return lambda attributes: equal(value, choice(attributes))


@lark.v_args(inline=True)
class _Compiler(lark.Transformer[lark.Token, Any]):
    """Turns the parse tree into closures, bottom up."""

    def condition(self, term: Term) -> Condition:
        return functools.partial(_truth, term)

    def update(self, *actions: Update) -> Update:
        def run(attributes: Attributes) -> None:
            for action in actions:
                action(attributes)

        return run

    def nothing(self) -> Update:
        return lambda attributes: None

    def assign(self, *parts: Any) -> Update:
        target, term = parts[-2:]

        def run(attributes: Attributes) -> None:
            value = term(attributes)
            if isinstance(target, _SliceTerm):
                target.assign(attributes, value)
            else:
                attributes[target.name] = value

        return run

    def remove(self, _word: lark.Token, target: _AttributeTerm) -> Update:
        def run(attributes: Attributes) -> None:
            attributes.pop(target.name, None)

        return run

    def or_(self, left: Term, _word: lark.Token, right: Term) -> Term:
        return lambda attributes: _truth(left, attributes) or _truth(right, attributes)

    def and_(self, left: Term, _word: lark.Token, right: Term) -> Term:
        return lambda attributes: _truth(left, attributes) and _truth(right, attributes)

    def negated(self, _word: lark.Token, term: Term) -> Term:
        return lambda attributes: not _truth(term, attributes)

    def compared(self, left: Term, operator: lark.Token, right: Term) -> Term:
        test = compare(str(operator))

        def run(attributes: Attributes) -> bool:
            try:
                return test(left(attributes), right(attributes))
            except EvaluationError:
                return False

        return run

    def among(self, left: Term, _word: lark.Token, *choices: Term) -> Term:
        def run(attributes: Attributes) -> bool:
            try:
                value = left(attributes)
            except EvaluationError:
                return False
            return any(_truth(_equal_to(value, choice), attributes) for choice in choices)

        return run

    def plus(self, left: Term, right: Term) -> Term:
        return lambda attributes: add(left(attributes), right(attributes))

    def minus(self, left: Term, right: Term) -> Term:
        compute = arithmetic("-")
        return lambda attributes: compute(left(attributes), right(attributes))

    def product(self, left: Term, operator: lark.Token, right: Term) -> Term:
        compute = arithmetic(str(operator))
        return lambda attributes: compute(left(attributes), right(attributes))

    def negative(self, term: Term) -> Term:
        return lambda attributes: negate(term(attributes))

    def number(self, token: lark.Token) -> Term:
        value = parse_number(str(token))
        return lambda attributes: value

    def timestamp(self, token: lark.Token) -> Term:
        seconds, _, nanoseconds = token.partition(":")
        value = Timestamp(int(seconds), int(nanoseconds))
        return lambda attributes: value

    def string(self, token: lark.Token) -> Term:
        quote = token[0]
        value = token[1:-1].replace("\\" + quote, quote).replace("\\\\", "\\")
        return lambda attributes: value

    def constant(self, token: lark.Token) -> Term:
        value = CONSTANTS[token.lower()]
        return lambda attributes: value

    def attribute(self, token: lark.Token) -> _AttributeTerm:
        if token.lower() in RESERVED:
            raise EvaluationError(f"{token} is a reserved word: write `{token}`")
        return _AttributeTerm(str(token))

    def quoted(self, token: lark.Token) -> _AttributeTerm:
        return _AttributeTerm(token[1:-1])

    def element(self, array: _AttributeTerm, index: Term) -> _SliceTerm:
        return _SliceTerm(array, index, None)

    def slice(self, array: _AttributeTerm, first: Term, last: Term) -> _SliceTerm:
        return _SliceTerm(array, first, last)

    def call(self, token: lark.Token, *arguments: Term | None) -> Term:
        terms = [term for term in arguments if term is not None]
        name = token.lower()
        if name == "exists" and len(terms) == 1 and isinstance(terms[0], _AttributeTerm):
            target = terms[0].name
            return lambda attributes: target in attributes
        if name == "if_not_exists" and len(terms) == 2 and isinstance(terms[0], _AttributeTerm):
            known, default = terms
            target = terms[0].name
            return lambda attributes: (known if target in attributes else default)(attributes)
        if name == "if_else" and len(terms) == 3:
            test, when_true, when_false = terms
            return lambda attributes: (when_true if _truth(test, attributes) else when_false)(
                attributes
            )
        if name not in FUNCTIONS:
            raise EvaluationError(f"function {token}(...) with {len(terms)} arguments is not known")
        function, least, most = FUNCTIONS[name]
        if not least <= len(terms) <= most:
            raise EvaluationError(f"function {token} takes {least}..{most} arguments")
        return lambda attributes: function(*[term(attributes) for term in terms])


_PARSER = lark.Lark(GRAMMAR, parser="lalr", start=["condition", "update"], maybe_placeholders=False)


def _compile(text: str, start: str) -> Any:
    try:
        return _Compiler().transform(_PARSER.parse(text, start=start))
    except lark.exceptions.VisitError as error:
        raise invalid_argument(f"expression {text!r}: {error.orig_exc}") from error
    except lark.exceptions.UnexpectedInput as error:
        column = getattr(error, "column", -1)
        raise invalid_argument(f"expression {text!r}: syntax error at column {column}") from error


@functools.lru_cache(CACHED_EXPRESSIONS)
def compile_condition(text: str) -> Condition:
    """Return the test a condition or filter expression describes.

    Raises:
        ServiceError: 400, with the column of a syntax error.
    """
    condition: Condition = _compile(text, "condition")
    return condition


@functools.lru_cache(CACHED_EXPRESSIONS)
def compile_update(text: str) -> Update:
    """Return the change an update expression describes.

    The change raises :class:`~mock_servers.v3io.functions.EvaluationError` when it cannot be carried out; what it
    had changed before is then up to the caller to throw away.

    Raises:
        ServiceError: 400, with the column of a syntax error.
    """
    update: Update = _compile(text, "update")
    return update
