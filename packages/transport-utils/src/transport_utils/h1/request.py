"""Encodes request heads.

Used by the native backends; :class:`HeadTemplate` also by clients with a raw fast path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from transport_utils.errors import LocalProtocolError
from transport_utils.h1.head import CHUNKED
from transport_utils.headers import check_field

__all__ = ["HeadTemplate", "chunk"]

_BAD_TARGET = re.compile(r"[^\x21\x22\x24-\x7e]").search
_BAD_VALUE = re.compile(r"[\x00\r\n]").search
_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_KNOWN_NAMES: dict[str, str] = {}
_KNOWN_NAMES_MAX = 1024
_KNOWN_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_LENGTH_REQUIRED = frozenset({"PATCH", "POST", "PUT"})


def _field(name: str, value: str) -> str:
    """Return one encoded header line; names seen before skip their check."""
    lower = _KNOWN_NAMES.get(name)
    if lower is None or type(value) is not str or _BAD_VALUE(value) is not None:
        check_field(name, value)
        lower = name.lower()
        if len(_KNOWN_NAMES) < _KNOWN_NAMES_MAX:
            _KNOWN_NAMES[name] = lower
    return f"{lower}: {value}\r\n"


class HeadTemplate:
    """The part of the request head that is the same for all requests to one endpoint, encoded once.

    Args:
        host: Value of the ``host`` header.
        path_prefix: Put in front of every target.
        headers: Sent with every request; names are lower-cased. ``host`` may be among them.

    Immutable and thread-safe.
    """

    __slots__ = ("_block", "_fields", "_prefix")

    def __init__(
        self, host: str, path_prefix: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        self._prefix = path_prefix
        self._fields = {"host": _field("host", host)}
        for name, value in (headers or {}).items():
            self._fields[name.lower()] = _field(name, value)
        self._block = "".join(self._fields.values())

    def encode(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str | None] | None = None,
        length: int | None = None,
    ) -> bytes:
        """Return a complete request head.

        Args:
            method: Upper-case token.
            target: Origin form, percent-encoded.
            headers: Added to the template's, replacing those of the same name; ``None`` removes one.
            length: Bytes of body that will follow; :data:`CHUNKED`; or ``None`` for no body.

        Raises:
            LocalProtocolError: Method, target or a header is not valid, or a framing header contradicts the body.
        """
        if method not in _KNOWN_METHODS and (
            not isinstance(method, str) or _METHOD(method) is None
        ):
            raise LocalProtocolError(f"method {method!r}: expected an HTTP token")
        if target[:1] != "/" and target != "*":
            raise LocalProtocolError(f"target {target!r}: expected a path starting with '/'")
        if _BAD_TARGET(target) is not None:
            raise LocalProtocolError(
                f"target {target!r}: holds a space, a control or a non-ASCII character; percent-encode it"
            )
        block = self._block if not headers else self._merge(headers, length)
        if length is None:
            if method in _LENGTH_REQUIRED:
                block += "content-length: 0\r\n"
        elif length >= 0:
            block += f"content-length: {length}\r\n"
        else:
            block += "transfer-encoding: chunked\r\n"
        try:
            return f"{method} {self._prefix}{target} HTTP/1.1\r\n{block}\r\n".encode("latin-1")
        except UnicodeEncodeError as cause:
            raise LocalProtocolError(
                f"a header value holds {cause.object[cause.start]!r}, which is not Latin-1"
            ) from cause

    def fields(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str | None] | None = None,
        length: int | None = None,
    ) -> dict[str, str]:
        """Return what :meth:`encode` would send as a dict, for libraries that encode themselves.

        Names are lower-case; repeated fields are joined by ``", "``.

        Raises:
            LocalProtocolError: As for :meth:`encode`.
        """
        fields: dict[str, str] = {}
        encoded = self.encode(method, target, headers, length).decode("latin-1")
        for line in encoded.split("\r\n")[1:-2]:
            name, _, value = line.partition(": ")
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
        return fields

    def _merge(self, headers: Mapping[str, str | None], length: int | None) -> str:
        block = self._block
        fields: dict[str, str] | None = None
        for name, value in headers.items():
            lower = _KNOWN_NAMES.get(name) or name.lower()
            if lower == "content-length" or lower == "transfer-encoding":
                _check_framing(lower, value, length)
            elif fields is None and value is not None and lower not in self._fields:
                block += _field(name, value)
            else:
                if fields is None:
                    # From here on lines are kept by name; those added so far go together.
                    fields = dict(self._fields)
                    fields[""] = block[len(self._block) :]
                if value is None:
                    fields.pop(lower, None)
                else:
                    fields[lower] = _field(name, value)
        return block if fields is None else "".join(fields.values())


def _check_framing(name: str, value: str | None, length: int | None) -> None:
    expected: Any = None
    if name == "content-length":
        expected = None if length == CHUNKED else str(length or 0)
    elif length == CHUNKED:
        expected = "chunked"
    if value is not None and value != expected:
        raise LocalProtocolError(
            f"header {name}: {value!r} contradicts the body, for which it is {expected!r}; leave it to the transport"
        )


def chunk(data: bytes) -> bytes:
    """Return ``data`` as one chunk; empty data ends a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
