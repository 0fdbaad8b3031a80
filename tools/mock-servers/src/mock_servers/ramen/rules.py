"""Blacklist rules: which messages the server drops, and what it answers then."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

__all__ = ["FIELDS", "Rules"]

FIELDS = (
    "category",
    "system_serial",
    "sender",
    "data_type",
    "data_version",
    "system_version",
)


class Rules:
    """The active rules; thread-safe.

    A rule is a JSON value. An object matches a message when every known field that is present and not null equals the
    message's, as text. Anything else, and an object without known fields, can be issued on purpose to see what a client
    makes of it, and matches every message.
    """

    def __init__(self) -> None:
        self._rules: dict[int, Any] = {}
        self._last = 0
        self._lock = threading.Lock()

    def add(self, rule: Any) -> int:
        """Activate a rule and return its number."""
        with self._lock:
            self._last += 1
            self._rules[self._last] = rule
            return self._last

    def remove(self, number: int) -> bool:
        """Deactivate a rule; return whether it was active."""
        with self._lock:
            return self._rules.pop(number, None) is not None

    def clear(self) -> None:
        """Deactivate all rules."""
        with self._lock:
            self._rules.clear()

    def shown(self) -> list[dict[str, Any]]:
        """Return number and rule of each, in the order they were added."""
        with self._lock:
            return [{"id": number, "rule": rule} for number, rule in self._rules.items()]

    def match(self, message: Mapping[str, Any]) -> tuple[bool, Any]:
        """Return whether a rule matches, and the first that does."""
        with self._lock:
            for rule in self._rules.values():
                if _matches(rule, message):
                    return True, rule
        return False, None


def _matches(rule: Any, message: Mapping[str, Any]) -> bool:
    if not isinstance(rule, dict):
        return True
    wanted = {name: rule[name] for name in FIELDS if rule.get(name) is not None}
    return all(str(message[name]) == str(value) for name, value in wanted.items())
