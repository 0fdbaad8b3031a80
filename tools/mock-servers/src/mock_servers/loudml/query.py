"""Query parameters of the API: their types, and the paging, sorting and field filter of listings.

Source: listing behaviour of Loud ML server 1.6.0, its 500 for an unsortable field included.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mock_servers.loudml.dates import parse_date
from mock_servers.loudml.errors import Invalid

__all__ = ["flag", "listing", "moment", "only_fields", "whole_number"]

Query = Mapping[str, str]
TRUE, FALSE = frozenset({"true", "yes"}), frozenset({"false", "no", ""})


def _bad(name: str) -> Invalid:
    return Invalid(f"invalid value for parameter '{name}'")


def flag(query: Query, name: str, default: bool = False) -> bool:
    """Return a yes-or-no parameter: an integer (non-zero is yes), ``true``, ``yes``, ``false``, ``no`` or nothing.

    Raises:
        Invalid: It is something else.
    """
    value = query.get(name)
    if value is None:
        return default
    if value.lower() in TRUE | FALSE:
        return value.lower() in TRUE
    return whole_number(query, name) != 0


def whole_number(
    query: Query, name: str, default: int = 0, low: int | None = None, high: int | None = None
) -> int:
    """Return an integer parameter within ``low..high``.

    Raises:
        Invalid: It is no integer or outside.
    """
    value = query.get(name)
    if value is None:
        return default
    try:
        number = int(value)
    except ValueError:
        raise _bad(name) from None
    if (low is not None and number < low) or (high is not None and number > high):
        raise _bad(name)
    return number


def moment(query: Query, name: str, now: float, default: str | None = None) -> float:
    """Return a date parameter in seconds.

    Raises:
        Invalid: It is required (no default) and absent, or no date.
    """
    value = query.get(name, default)
    if value is None:
        raise Invalid(f"'{name}' parameter is required")
    return parse_date(value, now, name)


def only_fields(entries: Iterable[Mapping[str, Any]], query: Query) -> list[dict[str, Any]]:
    """Return entries with the fields named by ``fields`` alone, or without them, by ``include_fields``.

    A named field that an entry lacks is ``None`` when included.

    Raises:
        Invalid: ``include_fields`` is no yes-or-no.
    """
    include = flag(query, "include_fields")
    names = [name for name in query.get("fields", "").split(";") if name]
    if not names:
        return [dict(entry) for entry in entries]
    if include:
        return [{name: entry.get(name) for name in names} for entry in entries]
    return [{key: value for key, value in entry.items() if key not in names} for entry in entries]


def listing(
    entries: Iterable[Mapping[str, Any]], query: Query, *, sort: str, inside: str | None = None
) -> list[dict[str, Any]]:
    """Return one page of a collection: filtered, then sorted, then cut.

    Args:
        entries: The whole collection.
        query: ``page`` (0), ``per_page`` (50; 1..100), ``sort`` (``field:1`` or ``field:-1``), ``fields``,
            ``include_fields``.
        sort: Order when the query names none.
        inside: Object of an entry that holds the sort fields; ``None`` for the entry itself.

    Raises:
        Invalid: A parameter has a bad value.
        KeyError, ValueError, TypeError: The sort cannot be done; the route answers 500, as upstream.
    """
    page = whole_number(query, "page", 0, low=0)
    per_page = whole_number(query, "per_page", 50, low=1, high=100)
    shown = only_fields(entries, query)
    field, _, order = query.get("sort", sort).partition(":")
    descending = int(order) < 0
    shown.sort(key=lambda entry: (entry[inside] if inside else entry)[field], reverse=descending)
    return shown[page * per_page : (page + 1) * per_page]
