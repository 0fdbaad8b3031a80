"""Header mapping: case-insensitive, ordered, repeated fields kept, safe to print and safe to send.

Used for request and response headers by every backend and client. Policy floor: standard library only. Response
headers arrive as raw bytes pairs and are decoded on first use, since most callers look at one or two of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping

from transport_utils.errors import LocalProtocolError

__all__ = ["SECRET_HEADERS", "Headers", "check_field"]

SECRET_HEADERS = frozenset(
    {
        "authorization",
        "cookie",
        "proxy-authorization",
        "set-cookie",
        "x-api-token",
        "x-v3io-session-key",
    }
)
"""Lower-case names whose values are never shown in ``repr``, logs, curl lines, errors and spans."""

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)
_BAD_VALUE = re.compile(r"[\x00\r\n]")


class Headers(MutableMapping[str, str]):
    """A list of header fields, looked up without regard to case.

    ``headers[name]`` is the values of all fields of that name joined by ``", "`` (RFC 9110, 5.2), except that of
    ``set-cookie`` it is the first; :meth:`get_all` returns them one by one. Setting a name replaces all its fields.

    Args:
        fields: A mapping, or pairs of name and value; repeated names are kept.

    Raises:
        LocalProtocolError: A name is not an HTTP token, or a value holds CR, LF or NUL (header injection).

    Not thread-safe while being changed; reading from many threads is.
    """

    __slots__ = ("_fields", "_raw")

    def __init__(self, fields: Mapping[str, str] | Iterable[tuple[str, str]] | None = None) -> None:
        self._raw: list[tuple[bytes, bytes]] | None = None
        self._fields: list[tuple[str, str]] = []
        if fields is not None:
            pairs = fields.items() if isinstance(fields, Mapping) else fields
            for name, value in pairs:
                self.add(name, value)

    @classmethod
    def from_raw(cls, raw: list[tuple[bytes, bytes]]) -> Headers:
        """Wrap received ``(name, value)`` pairs without decoding them; the parser has checked them."""
        headers = cls.__new__(cls)
        headers._raw = raw
        headers._fields = []
        return headers

    def _pairs(self) -> list[tuple[str, str]]:
        if self._raw is not None:
            self._fields = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in self._raw]
            self._raw = None
        return self._fields

    def add(self, name: str, value: str) -> None:
        """Append a field, keeping those of the same name.

        Raises:
            LocalProtocolError: As for the constructor.
        """
        check_field(name, value)
        self._pairs().append((name, value))

    def get_all(self, name: str) -> list[str]:
        """Return the values of all fields called ``name``, in order of arrival; empty when there is none."""
        wanted = name.lower()
        return [value for field, value in self._pairs() if field.lower() == wanted]

    def items_all(self) -> list[tuple[str, str]]:
        """Return every field as a pair, repeated ones too, in order and in the case they were given."""
        return list(self._pairs())

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return values[0] if name.lower() == "set-cookie" else ", ".join(values)

    def __setitem__(self, name: str, value: str) -> None:
        check_field(name, value)
        wanted = name.lower()
        fields = self._pairs()
        for index, (field, _) in enumerate(fields):
            if field.lower() == wanted:
                rest = [pair for pair in fields[index + 1 :] if pair[0].lower() != wanted]
                self._fields = [*fields[:index], (name, value), *rest]
                return
        fields.append((name, value))

    def __delitem__(self, name: str) -> None:
        wanted = name.lower()
        kept = [pair for pair in self._pairs() if pair[0].lower() != wanted]
        if len(kept) == len(self._fields):
            raise KeyError(name)
        self._fields = kept

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_all(name))

    def __iter__(self) -> Iterator[str]:
        seen: set[str] = set()
        for field, _ in self._pairs():
            if field.lower() not in seen:
                seen.add(field.lower())
                yield field

    def __len__(self) -> int:
        return len({field.lower() for field, _ in self._pairs()})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        theirs = other if isinstance(other, Headers) else Headers(other)
        return _folded(self) == _folded(theirs)

    __hash__ = None  # type: ignore[assignment]

    def copy(self) -> Headers:
        """Return an independent copy."""
        return Headers(self._pairs())

    def redacted(self, secret: Iterable[str] = SECRET_HEADERS) -> dict[str, str]:
        """Return a plain dict for people: secret values replaced by ``<hidden>``, an auth scheme kept.

        Args:
            secret: Lower-case names to hide.
        """
        hidden = frozenset(secret)
        shown: dict[str, str] = {}
        for name in self:
            value = self[name]
            if name.lower() in hidden:
                scheme, _, rest = value.partition(" ")
                value = (
                    f"{scheme} <hidden>" if rest and "authorization" in name.lower() else "<hidden>"
                )
            shown[name] = value
        return shown

    def __repr__(self) -> str:
        return f"Headers({self.redacted()!r})"


def check_field(name: str, value: str) -> None:
    """Refuse a header field that is not valid HTTP.

    Raises:
        LocalProtocolError: ``name`` is not a token, or ``value`` is not a str, holds CR, LF or NUL, or is not Latin-1.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise LocalProtocolError(f"header name {name!r}: expected an HTTP token")
    if not isinstance(value, str):
        raise LocalProtocolError(f"header {name}: expected a str, got {type(value).__name__}")
    if _BAD_VALUE.search(value):
        raise LocalProtocolError(f"header {name}: the value holds CR, LF or NUL")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError as cause:
        raise LocalProtocolError(f"header {name}: the value is not Latin-1") from cause


def _folded(headers: Headers) -> list[tuple[str, str]]:
    return sorted((name.lower(), value) for name, value in headers.items_all())
