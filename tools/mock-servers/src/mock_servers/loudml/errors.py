"""What the Loud ML server says when it cannot do what was asked: a status and a message, one class per kind.

Raised below the routes, rendered by :mod:`mock_servers.loudml.routes` in the style of the route. Wording follows server
1.6.0, because clients print it.
"""

from __future__ import annotations

__all__ = [
    "BucketNotFound",
    "Conflict",
    "Invalid",
    "LoudError",
    "ModelExists",
    "ModelNotFound",
    "ModelNotTrained",
    "NoData",
    "NotFound",
    "Unsupported",
]


class LoudError(Exception):
    """Root: 500 with its message."""

    status = 500


class Invalid(LoudError):
    """400 ``<name> is invalid: <why>``."""

    status = 400

    def __init__(self, why: str, name: str = "data") -> None:
        super().__init__(f"{name} is invalid: {why}")

    @classmethod
    def because(cls, message: str) -> Invalid:
        """Return the error with a message of its own."""
        error = cls("")
        error.args = (message,)
        return error

    @classmethod
    def field(cls, path: str, why: str) -> Invalid:
        """Return the error about one field of a settings object: ``invalid field a.b.0: <why>``."""
        return cls.because(f"invalid field {path}: {why}")


class NotFound(LoudError):
    """404 with its message."""

    status = 404


class ModelNotFound(NotFound):
    """404 ``Model (n) not found``."""

    def __init__(self, name: str, version: str | None = None) -> None:
        super().__init__(
            f"Model ({name}) not found"
            if version is None
            else f"Model ({name} version {version}) not found"
        )


class BucketNotFound(NotFound):
    """404 ``Bucket not found (name = 'n')``."""

    def __init__(self, name: str | None) -> None:
        super().__init__(f"Bucket not found (name = {name!r})")


class NoData(NotFound):
    """404 that names the time range in which nothing was found."""


class Conflict(LoudError):
    """409 with its message."""

    status = 409


class ModelExists(Conflict):
    """409 ``Model exists``."""

    def __init__(self) -> None:
        super().__init__("Model exists")


class ModelNotTrained(LoudError):
    """400 ``Model not trained``."""

    status = 400

    def __init__(self) -> None:
        super().__init__("Model not trained")


class Unsupported(LoudError):
    """501 ``Unsupported <what> (type = 't')``; ``what`` is model, bucket type or metric."""

    status = 501

    def __init__(self, what: str, kind: object) -> None:
        super().__init__(f"Unsupported {what} (type = {kind!r})")
