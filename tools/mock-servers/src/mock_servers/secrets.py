"""What is never shown of a request: values of headers, query parameters and JSON members whose name says secret.

Used by the record of requests (:mod:`mock_servers.traffic`) and by the console's line for curl, which puts a variable
in the place of each.
"""

from __future__ import annotations

import re

__all__ = ["HIDDEN", "hide", "is_secret", "split"]

HIDDEN = "***"
NAME = r"(?:authorization|cookie|passw(?:or)?d|secret|token|(?:access|api|app|private|session)[-_]?key)"
_HEADER = re.compile(NAME, re.IGNORECASE)
_VALUE = re.compile(
    rf'("[^"\\]*{NAME}[^"\\]*"\s*:\s*")((?:[^"\\]|\\.)+)(?=")'  # a member of a JSON object
    rf"|([?&][^=&]*{NAME}[^=&]*=)([^&]+)",  # a parameter of a query
    re.IGNORECASE,
)


def is_secret(header: str) -> bool:
    """Tell whether the value of a header is a secret, by the header's name."""
    return _HEADER.search(header) is not None


def split(text: str) -> list[str]:
    """Return what stands around the secrets of a body or a target: one part more than there are secrets."""
    parts, end = [], 0
    for found in _VALUE.finditer(text):
        start, stop = found.span(2) if found[2] is not None else found.span(4)
        parts.append(text[end:start])
        end = stop
    return [*parts, text[end:]]


def hide(text: str) -> str:
    """Return a body or a target with ``***`` in the place of each secret."""
    return HIDDEN.join(split(text))
