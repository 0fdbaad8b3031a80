"""How a method call becomes a request: query parameters, path, and the base class of the groups of methods.

Used by every group (``models``, ``jobs`` ...) of :class:`~loudml.client.Loud` and :class:`~loudml.aio.AsyncLoud`, and
by users who add a group of their own; its historic import path is ``loudml.utils``. Source: loudml-python 1.6.3,
``utils``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any
from urllib.parse import quote

from loudml.errors import NotFoundError, TransportError

__all__ = [
    "CONTROL_PARAMS",
    "GLOBAL_PARAMS",
    "SKIP_IN_PATH",
    "NamespacedClient",
    "_escape",
    "_make_path",
    "query_params",
    "require",
    "require_settings",
    "string_types",
]

SKIP_IN_PATH: tuple[Any, ...] = (None, "", b"", [], ())
"""Values that count as "not given" in a path and for a required argument."""

GLOBAL_PARAMS = ("pretty", "error_trace")
"""Query parameters that every method takes."""

CONTROL_PARAMS = ("ignore", "request_timeout", "idempotent")
"""Options that every method takes and the transport consumes: they are not sent."""

string_types = (str, bytes)

_RENAMED = (("_from", "from"), ("_to", "to"), ("_continue", "continue"))
_PLAIN = re.compile(r"[A-Za-z0-9_~,*\-][A-Za-z0-9_.~,*\-]*", re.ASCII)
_Method = Callable[..., Any]
_VARIADIC = 0x04 | 0x08
"""Flags of a function's code: it takes further positional arguments, or any keyword."""


def _escape(value: Any) -> str | bytes:
    """Return a value as it goes into a query or path, before percent-encoding.

    A list or tuple of str becomes ``a;b``, a date its ISO form, a bool ``true`` or ``false``, bytes stay, str becomes
    UTF-8, anything else its ``str()``.

    Raises:
        TypeError: A list holds something that is not a str.
    """
    if isinstance(value, str):
        return value.encode("utf-8")
    if isinstance(value, bytes):
        return value
    if isinstance(value, (list, tuple)):
        return ";".join(value).encode("utf-8")
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, (date, datetime)):
        return value.isoformat().encode("utf-8")
    return str(value)


def _make_path(*parts: Any) -> str:
    """Return ``/a/b``: the parts that are given, each percent-encoded (a space as ``%20``, a list as ``a%3Bb``).

    Raises:
        ValueError: A part is ``.`` or ``..``, which would name another resource.
    """
    path = ""
    for part in parts:
        if type(part) is str and _PLAIN.fullmatch(part):
            path += "/" + part
        elif part not in SKIP_IN_PATH:
            escaped = _escape(part)
            if escaped in (b".", b"..", ".", ".."):
                raise ValueError(f"{part!r} cannot be a name in a path")
            path += "/" + quote(escaped, ",*")
    return path or "/"


def require(argument: str, value: Any) -> None:
    """Refuse an empty value of a required argument.

    Raises:
        ValueError: ``value`` is one of :data:`SKIP_IN_PATH`.
    """
    if value in SKIP_IN_PATH:
        raise ValueError(f"Empty value passed for a required argument '{argument}'.")


def require_settings(settings: Any) -> None:
    """Refuse settings that cannot be sent.

    Raises:
        TypeError: ``settings`` is not a mapping.
        ValueError: A key is empty.
    """
    if not isinstance(settings, Mapping):
        raise TypeError(f"settings: expected a mapping, got {type(settings).__name__}")
    if any(key in SKIP_IN_PATH for key in settings):
        raise ValueError("Empty value passed for a required argument.")


def query_params(*names: str) -> Callable[[_Method], _Method]:
    """Return a decorator that gathers query parameters from the keywords of a call into ``params``.

    The decorated method keeps the names as its attribute ``query_params``.

    The method is called with ``params=`` a new dict, filled in this order, which is the order on the wire: the caller's
    ``params``, the declared ``names``, ``pretty`` and ``error_trace`` (each through :func:`_escape`, ``None`` left
    out), the options of :data:`CONTROL_PARAMS` as they are, and ``_from``, ``_to``, ``_continue`` (which are keywords
    or builtins of Python without the underscore) as they are, ``None`` left out.

    Args:
        names: Query parameters of the method, in their order.

    Raises:
        TypeError: (from the decorated method) a keyword that is none of these, or a query parameter without its
            keyword; the message lists the keywords.
    """
    escaped = (*names, *GLOBAL_PARAMS)

    def decorate(method: _Method) -> _Method:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            given = kwargs.pop("params", None)
            params: dict[str, Any] = dict(given) if given else {}
            if kwargs:
                for name in escaped:
                    if name in kwargs:
                        value = kwargs.pop(name)
                        if value is not None:
                            params[name] = _escape(value)
                for name in CONTROL_PARAMS:
                    if name in kwargs:
                        params[name] = kwargs.pop(name)
                for spelled, name in _RENAMED:
                    if spelled in kwargs:
                        value = kwargs.pop(spelled)
                        if value is not None:
                            params[name] = value
            try:
                return method(*args, params=params, **kwargs)
            except TypeError:
                _check_arguments(method, names, args, kwargs)
                raise

        call.query_params = names  # type: ignore[attr-defined]
        return call

    return decorate


def _check_arguments(
    method: _Method, names: tuple[str, ...], args: tuple[Any, ...], keywords: Mapping[str, Any]
) -> None:
    """Refuse what a method does not take, with the query parameters that it does.

    Raises:
        TypeError: A keyword is unknown, or there are more positional arguments than before ``params``.
    """
    code = getattr(method, "__code__", None)
    if code is None or code.co_flags & _VARIADIC:
        return
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    spelled = {name: word for word, name in _RENAMED}
    offered = ", ".join(spelled.get(name, name) for name in (*names, *GLOBAL_PARAMS))
    for keyword in keywords:
        if keyword not in known:
            raise TypeError(
                f"{method.__name__}() got an unexpected keyword argument {keyword!r}; query parameters: {offered}"
            ) from None
    required = known.index("params") if "params" in known else len(known)
    if len(args) > required:
        raise TypeError(
            f"{method.__name__}() takes {required - 1} positional arguments, got {len(args) - 1}; "
            f"query parameters are keywords: {offered}"
        ) from None


class NamespacedClient:
    """A group of methods of a client.

    Args:
        client: The :class:`~loudml.client.Loud` or :class:`~loudml.aio.AsyncLoud` it belongs to.
    """

    _names_end_paging = True
    """Whether a listing by name ignores paging, as it does except where the name is that of a parent."""

    def __init__(self, client: Any) -> None:
        self.client = client

    @property
    def transport(self) -> Any:
        """The client's transport."""
        return self.client.transport

    def _exists(self, path: str, params: dict[str, Any] | None) -> Any:
        """Return whether ``HEAD path`` finds something; an error other than 404 is raised, never taken for "no"."""
        try:
            return self.transport.perform_request("HEAD", path, params=params)
        except NotFoundError:
            return False

    def _each(self, names: Any, send: Callable[[Any], Any]) -> Any:
        """Send one request per name, all of them, and return the last answer; a single name makes one request.

        The server takes some actions for one name at a time only.

        Raises:
            TransportError: The first failure, once every name has been tried.
        """
        if not isinstance(names, (list, tuple)):
            return send(names)
        failures = []
        answer: Any = ""
        for name in names:
            try:
                answer = send(name)
            except TransportError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return answer

    def _pages(self, names: Any, per_page: int, options: Mapping[str, Any]) -> Any:
        """Iterate over the entries of the group's listing, page after page until an empty one.

        With ``names`` there is one page only, since the server does not page a listing by name.
        """
        page = 0
        while True:
            entries = self.get(names, page=page, per_page=per_page, **options)  # type: ignore[attr-defined]
            yield from entries
            if not entries or (names not in SKIP_IN_PATH and self._names_end_paging):
                return
            page += 1
