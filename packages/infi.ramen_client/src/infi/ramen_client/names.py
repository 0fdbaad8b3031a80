"""Which names may appear in a Ramen URL; used by the configuration and by ``push``.

Source: ``validate_name`` and ``validate_version`` of 1.40, except that a trailing newline no longer passes.
"""

import functools
import re
from typing import Any

from infi.ramen_client.errors import ValidationError

__all__ = ["is_name", "validate_name", "validate_version"]

_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_VERSION = re.compile(r"[a-zA-Z0-9._-]+")


def is_name(value: Any) -> bool:
    """Whether ``str(value)`` is one or more letters, digits, dashes and underscores."""
    return _is_name(value if isinstance(value, str) else str(value))


@functools.lru_cache(maxsize=1024)
def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def validate_name(value: Any) -> None:
    """Refuse what :func:`is_name` does not accept.

    Raises:
        ValidationError: As the name says; the text is that of 1.40.
    """
    if not is_name(value):
        raise ValidationError(
            f'"{value}" is invalid - only letters, digits, dashes and underscores allowed'
        )


def validate_version(value: Any) -> None:
    """Refuse a system version that holds anything but letters, digits, periods, dashes and underscores.

    Raises:
        ValidationError: As the name says; the text is that of 1.40.
    """
    if _VERSION.fullmatch(str(value)) is None:
        raise ValidationError(
            f'"{value}" is invalid - only letters, digits, periods, dashes and underscores allowed'
        )
