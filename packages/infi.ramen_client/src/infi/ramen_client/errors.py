"""Every error of this package.

::

    RamenError
    ├── DataError                     a configuration is wrong (also schematics' DataError where that is installed)
    ├── AutheticationError            the server refuses the token (historic spelling; AuthenticationError is the same)
    ├── EncodingError (TypeError)     a value cannot be written as JSON
    └── QueueError (OSError, sqlite3.OperationalError)   the queue on disk cannot be used
        ├── QueueFull                 no room on the disk; the queue is as it was before
        └── QueueBusy (TimeoutError)  another process holds the queue for too long; nothing was stored
    ValidationError (ValueError)      one value is wrong (also schematics' ValidationError where that is installed)

``QueueError`` is also a ``sqlite3.OperationalError`` because that is what 1.40 let through, and ``DataError`` and
``ValidationError`` become subclasses of those of schematics when that library is installed, so old ``except`` clauses
go on working without the dependency.
"""

from __future__ import annotations

import importlib
import json
import sqlite3
from typing import Any

__all__ = [
    "AuthenticationError",
    "AutheticationError",
    "DataError",
    "EncodingError",
    "QueueBusy",
    "QueueError",
    "QueueFull",
    "RamenError",
    "ValidationError",
]


class RamenError(Exception):
    """Root of the errors of this package."""


class ValidationError(RamenError, ValueError):
    """One value breaks a rule; ``str()`` is the rule's text."""

    def __new__(cls, *args: Any, **kwargs: Any) -> ValidationError:
        """Build an instance of the class that schematics' handlers catch too, where schematics is installed."""
        error: ValidationError = super().__new__(_with_schematics(cls, "ValidationError"))
        return error

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the class of this module, whatever the receiving side has installed."""
        return ValidationError, self.args


class DataError(RamenError):
    """A configuration is wrong.

    Args:
        errors: Field name -> list of texts, or one text for an unknown field. All errors of one stage come together.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> DataError:
        """Build an instance of the class that schematics' handlers catch too, where schematics is installed."""
        error: DataError = super().__new__(_with_schematics(cls, "DataError"))
        return error

    def __init__(self, errors: dict[str, Any]) -> None:
        Exception.__init__(self, errors)

    @property
    def errors(self) -> dict[str, Any]:
        """Field name -> texts, as given."""
        errors: dict[str, Any] = self.args[0]
        return errors

    @property
    def messages(self) -> dict[str, Any]:
        """The same as :attr:`errors`."""
        return self.errors

    def to_primitive(self) -> dict[str, Any]:
        """Return the errors as plain values: ``{"server_timeout": ["Value 'x' is not int."]}``."""
        return dict(self.errors)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the class of this module, whatever the receiving side has installed."""
        return DataError, (self.errors,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DataError) and other.errors == self.errors

    __hash__ = Exception.__hash__

    def __str__(self) -> str:
        return json.dumps(self.errors)

    def __repr__(self) -> str:
        return f"DataError({self.errors!r})"


class AutheticationError(RamenError):
    """The server answered 401 or 403: the token is missing, wrong, or not allowed for this system.

    ``args`` is the text and the server's reply, where 1.40 had an unformatted template as text. The message stays in
    the queue.

    Args:
        message: ``"<code> - <details>"`` of the reply, or what came instead.
        reply: The decoded reply, or its text when it is not JSON.
    """

    def __init__(self, message: str, reply: Any = None) -> None:
        super().__init__(message, reply)
        self.reply = reply

    def __str__(self) -> str:
        return str(self.args[0])


AuthenticationError = AutheticationError


class EncodingError(RamenError, TypeError):
    """A value has no JSON form; the text names the value's place in the data."""


class QueueError(RamenError, OSError, sqlite3.OperationalError):
    """The queue on disk cannot be opened, read or written; the cause is chained."""


class QueueFull(QueueError):
    """The disk (or the process's file size limit) has no room for the message; the queue is as it was before."""


class QueueBusy(QueueError, TimeoutError):
    """Another process kept the queue locked for the whole waiting time; nothing was stored."""


_combined: dict[tuple[type, str], type] = {}


def _with_schematics(cls: type, name: str) -> type:
    """Return ``cls``, or a subclass of it and of schematics' class ``name`` when that library is installed."""
    key = (cls, name)
    if key not in _combined:
        _combined[key] = cls
        if not any(base.__module__.startswith("schematics") for base in cls.__mro__):
            try:
                theirs = getattr(importlib.import_module("schematics.exceptions"), name)
                _combined[key] = type(cls.__name__, (cls, theirs), {"__module__": cls.__module__})
            except (ImportError, AttributeError, TypeError):
                pass
    return _combined[key]
