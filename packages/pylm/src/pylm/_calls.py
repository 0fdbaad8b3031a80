"""Which functions may be called from outside, and how one is called: payload in, payload or typed error out.

Called by servers and workers of both generations. Only public methods defined below the framework's classes are
callable (the original let any attribute be reached, ``start`` and ``__init__`` included); once a class marks a
method with :func:`remote`, only marked ones are.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pylm import _tracing, serializers
from pylm.errors import UnknownFunction, WrongType

__all__ = [
    "FunctionTable",
    "call",
    "check_bytes",
    "entry",
    "prepare",
    "remote",
    "split_route",
    "traced",
]

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__pylm_remote__"


def remote(function: F) -> F:
    """Mark a method as callable from outside; its class then exposes marked methods only."""
    setattr(function, _MARK, True)
    return function


def split_route(route: str, stage: int) -> tuple[str, str]:
    """Return server and function of position ``stage`` in a route ``"server.function server2.function2"``.

    A route with a single entry serves every stage, as in the original. The entry is split at its first dot.

    Raises:
        UnknownFunction: The route has no such stage, or its entry no dot.
    """
    chosen = entry(route, stage)
    server, dot, function = chosen.partition(".")
    if not dot or not function:
        raise UnknownFunction(f"{chosen!r} is not of the form server.function")
    return server, function


def entry(route: str, stage: int) -> str:
    """Return position ``stage`` of a route; a route with a single entry serves every stage.

    Raises:
        UnknownFunction: The route has no such stage.
    """
    if " " not in route:
        return route
    entries = route.split()
    if not 0 <= stage < len(entries):
        raise UnknownFunction(
            f"the route {route!r} has {len(entries)} stages and no stage {stage}; "
            "name one server.function per server of the pipeline"
        )
    return entries[stage]


class FunctionTable:
    """The callable functions of one object, looked up by name.

    Args:
        owner: The user's server or worker.
        name: Its name, for messages.
        builtins: Framework methods that are callable too (``echo``; ``set``, ``get``, ``delete``).
    """

    def __init__(self, owner: object, name: str, builtins: tuple[str, ...] = ()) -> None:
        self._owner = owner
        self._name = name
        self._builtins = builtins
        self._found: dict[str, Callable[[Any], Any]] = {}

    def names(self) -> list[str]:
        """Return the names that may be called, sorted."""
        return sorted(name for name in dir(type(self._owner)) if self._is_open(name))

    def _is_open(self, name: str) -> bool:
        if name in self._builtins:
            return True
        if name.startswith("_"):
            return False
        own = self._owner.__dict__.get(name)
        if isinstance(own, (types.FunctionType, types.MethodType)):
            return True
        user_classes = [
            kind for kind in type(self._owner).__mro__ if not _is_framework(kind.__module__)
        ]
        defined = next((vars(kind)[name] for kind in user_classes if name in vars(kind)), None)
        if defined is None or isinstance(defined, (property, type)):
            return False
        target = getattr(defined, "__func__", defined)
        if not callable(target):
            return False
        is_marked_class = any(
            hasattr(value, _MARK) for kind in user_classes for value in vars(kind).values()
        )
        if is_marked_class:
            return hasattr(target, _MARK)
        return not _overrides_framework(type(self._owner), name)

    def __call__(self, name: str) -> Callable[[Any], Any]:
        """Return the function of that name.

        Raises:
            UnknownFunction: There is none, or it may not be called from outside.
        """
        found = self._found.get(name)
        if found is None:
            if not self._is_open(name):
                raise UnknownFunction(
                    f"{self._name} has no function {name!r} that may be called; "
                    f"it offers {', '.join(self.names()) or 'none'}"
                )
            found = self._found[name] = prepare(getattr(self._owner, name), f"{self._name}.{name}")
        return found


def _is_framework(module: str) -> bool:
    return module == "builtins" or module == "pylm" or module.startswith("pylm.")


def _overrides_framework(kind: type, name: str) -> bool:
    return any(_is_framework(base.__module__) and name in vars(base) for base in kind.__mro__)


def prepare(function: Callable[..., Any], where: str) -> Callable[..., Any]:
    """Return ``function`` with its type hints enforced; unchanged when it has none beyond ``bytes``."""
    target = inspect.unwrap(function)
    try:
        hints = typing.get_type_hints(target)
    except Exception:
        return function
    names = [name for name in inspect.signature(function).parameters if name in hints]
    if not hints or not (names or "return" in hints):
        return function
    return _checked(function, [hints[name] for name in names], hints.get("return", Any), where)


def _checked(
    function: Callable[..., Any], arguments: list[Any], result: Any, where: str
) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*values: Any) -> Any:
        for value, hint in zip(values, arguments, strict=False):
            _check(value, hint, f"the argument of {where}")
        value = function(*values)
        if not inspect.isgenerator(value) and value is not None:
            _check(value, result, f"the result of {where}")
        return value

    return call


def _check(value: Any, hint: Any, what: str) -> None:
    if hint is Any or (isinstance(hint, type) and type(value) is hint):
        return
    from typeguard import TypeCheckError, check_type

    try:
        check_type(value, hint)
    except TypeCheckError as error:
        raise WrongType(f"{what}: {error}") from error


def call(
    function: Callable[..., Any], payload: bytes, serializer: str, where: str, *more: Any
) -> bytes | None:
    """Call ``function`` with the decoded payload; return the encoded result, ``None`` when there is none.

    Args:
        function: From a :class:`FunctionTable`.
        payload: As it arrived.
        serializer: Name of the payload's serializer; empty for bytes.
        where: ``server.function``, for messages.
        more: Further arguments, as they are.

    Raises:
        WrongType: The result is neither ``bytes`` nor ``None`` and there is no serializer.
        Exception: Whatever the function raises.
    """
    if serializer:
        codec = serializers.lookup(serializer)
        result = function(codec.loads(payload), *more)
        return None if result is None and not codec.has_none else codec.dumps(result)
    result = function(payload, *more)
    return check_bytes(result, where) if result is not None else None


def check_bytes(result: Any, where: str) -> bytes:
    """Return the result as ``bytes``.

    Raises:
        WrongType: It is something else.
    """
    if type(result) is bytes:
        return result
    if isinstance(result, (bytes, bytearray, memoryview)):
        return bytes(result)
    kind = "None" if result is None else type(result).__name__
    raise WrongType(f"{where} returned {kind}; without a serializer a function returns bytes")


def traced(
    function: Callable[..., Any], where: str, carrier: Mapping[str, str]
) -> Callable[..., Any]:
    """Return ``function`` with a span around each call, under the context its message brought along."""
    make = _tracing.server_span
    assert make is not None

    def call(*values: Any) -> Any:
        with make(where, carrier):
            return function(*values)

    return call
