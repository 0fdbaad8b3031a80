"""Refuses options that no class in use would take, which otherwise would be swallowed without a word.

Used by the transports at construction and for each node.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from loudml.errors import ImproperlyConfigured

__all__ = ["accepted_options", "check_options"]

_NOT_OPTIONS = {"connections", "hosts"}
_OWN_PACKAGE = __name__.partition(".")[0] + "."


def accepted_options(takers: Iterable[Any]) -> set[str] | None:
    """Return the names of the keywords that the constructors take together; ``None`` for any.

    A class of this package that has ``**kwargs`` hands them on to its base class; one of a user's is taken at its word.
    """
    names: set[str] = set()
    for taker in takers:
        if not isinstance(taker, type):
            return None
        for base in taker.__mro__:
            constructor = base.__dict__.get("__init__")
            if constructor is None or base is object:
                continue
            parameters = list(inspect.signature(constructor).parameters.values())[1:]
            names.update(
                parameter.name
                for parameter in parameters
                if parameter.kind
                in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
            )
            if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
                break
            if not base.__module__.startswith(_OWN_PACKAGE):
                return None
    return names


def check_options(
    options: Iterable[str], takers: Iterable[Any], what: str, also: Any = None
) -> None:
    """Refuse names that none of the classes takes.

    Args:
        options: The names.
        takers: The classes that are given them.
        what: How the message calls such an option.
        also: A class whose options the message may suggest as well; ``None`` for none.

    Raises:
        ImproperlyConfigured: There is one; the message names the nearest known one.
    """
    options = list(options)
    if not options:
        return
    known = accepted_options(takers)
    if known is None:
        return
    for name in options:
        if name not in known:
            import difflib  # only to explain a mistake

            known = (known | (accepted_options([also]) or set())) - _NOT_OPTIONS
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = (
                f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}"
            )
            raise ImproperlyConfigured(f"unknown {what} {name!r}: {hint}")
