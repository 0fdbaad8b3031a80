"""Ways to prove who is calling: basic, bearer, or a callable of one's own.

An auth object is called for every attempt with the method, target and body of the request and returns headers to add,
so that tokens can be renewed and requests signed. Used by the drivers and by clients. Policy floor.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import TypeAlias

from transport_utils.errors import ConfigurationError

__all__ = ["Auth", "BasicAuth", "BearerAuth", "coerce_auth"]

Auth: TypeAlias = Callable[[str, str, object], Mapping[str, str]]
"""``auth(method, target, body) -> headers``."""


class BasicAuth:
    """User name and password (RFC 7617), sent as UTF-8.

    Args:
        username: Without ``:``.
        password: Any text; never shown.

    Raises:
        ConfigurationError: Not two str, a ``:`` in the name, or a control character.
    """

    __slots__ = ("_headers", "username")

    def __init__(self, username: str, password: str) -> None:
        for name, value in (("username", username), ("password", password)):
            if not isinstance(value, str):
                raise ConfigurationError(
                    f"basic auth {name}: expected a str, got {type(value).__name__}"
                )
            if any(ord(char) < 32 or ord(char) == 127 for char in value):
                raise ConfigurationError(f"basic auth {name}: holds a control character")
        if ":" in username:
            raise ConfigurationError(f"basic auth username {username!r}: must not hold ':'")
        self.username = username
        token = base64.b64encode(f"{username}:{password}".encode()).decode("ascii")
        self._headers = {"authorization": f"Basic {token}"}

    def __call__(self, method: str, target: str, body: object) -> Mapping[str, str]:
        """Return the ``authorization`` header."""
        return self._headers

    def __repr__(self) -> str:
        return f"BasicAuth({self.username!r}, <hidden>)"


class BearerAuth:
    """A bearer token (RFC 6750).

    Args:
        token: The token, or a function that returns the current one for each attempt.

    Raises:
        ConfigurationError: The token is empty or holds characters a header cannot carry.
    """

    __slots__ = ("_headers", "_source")

    def __init__(self, token: str | Callable[[], str]) -> None:
        self._source: Callable[[], str] | None = None
        self._headers: Mapping[str, str] = {}
        if callable(token):
            self._source = token
        else:
            self._headers = _bearer(token)

    def __call__(self, method: str, target: str, body: object) -> Mapping[str, str]:
        """Return the ``authorization`` header."""
        return self._headers if self._source is None else _bearer(self._source())

    def __repr__(self) -> str:
        return "BearerAuth(<hidden>)"


def coerce_auth(auth: Auth | tuple[str, str] | list[str] | str | None) -> Auth | None:
    """Return an auth object from what users write.

    Args:
        auth: A pair or ``"user:password"`` for basic, a callable as it is, ``None`` for none.

    Raises:
        ConfigurationError: Anything else.
    """
    if auth is None or callable(auth):
        return auth
    if isinstance(auth, (tuple, list)) and len(auth) == 2:
        return BasicAuth(auth[0], auth[1])
    if isinstance(auth, str) and ":" in auth:
        return BasicAuth(*auth.split(":", 1))
    raise ConfigurationError(
        f"auth of type {type(auth).__name__}: expected (user, password), 'user:password', BearerAuth or a callable"
    )


def _bearer(token: str) -> Mapping[str, str]:
    if (
        not isinstance(token, str)
        or not token
        or not token.isascii()
        or any(ord(char) <= 32 for char in token)
    ):
        raise ConfigurationError("bearer token: expected a non-empty ASCII str without spaces")
    return {"authorization": f"Bearer {token}"}
