"""Model templates: settings with ``{{variable}}`` in place of values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mock_servers.loudml.errors import Conflict, LoudError, NotFound
from mock_servers.loudml.settings import check_name
from mock_servers.loudml.store import Store

__all__ = ["Templates"]

VARIABLE = re.compile(r"\{\{\s*([a-zA-Z0-9\-_@.]+)\s*\}\}")
DESCRIPTIONS = ("short_desc", "long_desc")


class Templates:
    """The templates of a cluster; thread-safe.

    Args:
        store: Where they are kept.
        is_faithful: Keep the original's 500 for a duplicate and for deleting a missing one (intended: 409 and 404).
    """

    def __init__(self, store: Store, *, is_faithful: bool) -> None:
        self._store = store
        self._is_faithful = is_faithful

    def get(self, names: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return templates as the API shows them, all or those named, in that order.

        Raises:
            NotFound: One does not exist.
        """
        wanted = list(self._store.documents("template")) if names is None else names
        return [self._shown(name, self._settings(name)) for name in wanted]

    def _settings(self, name: str) -> Mapping[str, Any]:
        settings: Mapping[str, Any] | None = self._store.document("template", name)
        if settings is None:
            raise NotFound(f"Template ({name}) not found")
        return settings

    @staticmethod
    def _shown(name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        settings = {key: value for key, value in body.items() if key not in DESCRIPTIONS}
        described = {key: body[key] for key in DESCRIPTIONS if key in body}
        return {"name": name, "params": _variables(settings), "settings": settings, **described}

    def create(self, name: str, settings: Mapping[str, Any]) -> None:
        """Create a template.

        Raises:
            Invalid: The name has characters that are not accepted.
            Conflict: The name is taken.
        """
        check_name(name, "template_name")
        if self._store.document("template", name) is not None:
            raise LoudError("template exists") if self._is_faithful else Conflict("Template exists")
        self._store.put("template", name, dict(settings))

    def delete(self, names: Sequence[str]) -> None:
        """Delete templates.

        Raises:
            NotFound: At the first that is missing; the earlier ones are gone.
        """
        for name in names:
            if not self._store.delete("template", name):
                missing = f"Template ({name}) not found"
                raise LoudError(missing) if self._is_faithful else NotFound(missing)

    def render(self, name: str, variables: Mapping[str, Any]) -> Any:
        """Return a template's settings with its variables filled in; a missing one becomes empty text.

        Raises:
            NotFound: ``Model (t) not found``, as upstream words it.
        """
        settings = self._store.document("template", name)
        if settings is None:
            raise NotFound(f"Model ({name}) not found")
        body = {key: value for key, value in settings.items() if key not in DESCRIPTIONS}
        return _rendered(body, variables)


def _variables(value: Any) -> list[str]:
    """Return the names of the variables in a settings object, in order of appearance."""
    if isinstance(value, str):
        return VARIABLE.findall(value)
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return list(dict.fromkeys(name for part in parts for name in _variables(part)))


def _rendered(value: Any, variables: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _rendered(part, variables) for key, part in value.items()}
    if isinstance(value, list):
        return [_rendered(part, variables) for part in value]
    if not isinstance(value, str):
        return value
    if whole := VARIABLE.fullmatch(value):
        return variables.get(whole[1], "")
    return VARIABLE.sub(lambda match: str(variables.get(match[1], "")), value)
