"""Rules by which the server asks not to be sent certain messages.

Source: ``infi.ramen_client.queue_reader.Blacklist`` of 1.40. Different here: versions are compared as text, equal rules
replace each other, a rule without any field matches nothing unless it says ``"all": true``, and rules survive a
restart when a file is given.
"""

from __future__ import annotations

import datetime
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

from infi.ramen_client._model import Field, Model, to_bool, to_int, to_str
from infi.ramen_client.config import QueueWriterConfig
from infi.ramen_client.diskqueue.files import replacement
from infi.ramen_client.errors import DataError, ValidationError

__all__ = ["Blacklist", "BlacklistRule"]

logger = logging.getLogger("ramen_client")

_TTL_S = 3600


def _to_datetime(value: Any) -> datetime.datetime:
    try:
        moment = (
            value
            if isinstance(value, datetime.datetime)
            else datetime.datetime.fromisoformat(str(value).replace("Z", "+00:00"))
        )
    except ValueError as cause:
        raise ValidationError(f"Could not parse {value}. Should be ISO 8601.") from cause
    return moment.astimezone().replace(tzinfo=None) if moment.tzinfo else moment


class BlacklistRule(Model):
    """One rule: all fields that are given must equal those of a message.

    Attributes:
        added: When it was received, local time.
        last_seen: When it was last received, local time; its life counts from here.
        category: First part of the URL path.
        system_serial: Serial number of the system.
        sender: Name of the sender.
        data_type: What the data is.
        data_version: Version of the data's form.
        system_version: Version of the system.
        all: Matches every message; needed for a rule without other fields.
    """

    fields = {
        "added": Field(_to_datetime),
        "last_seen": Field(_to_datetime),
        "category": Field(to_str),
        "system_serial": Field(to_int),
        "sender": Field(to_str),
        "data_type": Field(to_str),
        "data_version": Field(to_str),
        "system_version": Field(to_str),
        "all": Field(to_bool),
    }
    MATCHED: ClassVar[tuple[str, ...]] = (
        "category",
        "system_serial",
        "sender",
        "data_type",
        "data_version",
        "system_version",
    )

    added: datetime.datetime
    last_seen: datetime.datetime
    category: str | None
    system_serial: int | None
    sender: str | None
    data_type: str | None
    data_version: str | None
    system_version: str | None
    all: bool | None

    def __init__(self, raw_data: Mapping[str, Any] | None = None, **values: Any) -> None:
        super().__init__(raw_data, **values)
        now = datetime.datetime.now()
        self.added = self.added or now
        self.last_seen = self.last_seen or now
        self.dropped = 0
        self.expires_at = 0.0

    def is_empty(self) -> bool:
        """Whether the rule names nothing it could match."""
        return not self.all and all(getattr(self, name) is None for name in self.MATCHED)

    def key(self) -> tuple[Any, ...]:
        """Return what makes two rules the same rule."""
        return (bool(self.all), *(getattr(self, name) for name in self.MATCHED))

    def to_primitive(self) -> dict[str, Any]:
        """Return the fields as JSON values, times as ISO 8601 local time with microseconds."""
        values = super().to_primitive()
        for name in ("added", "last_seen"):
            values[name] = values[name].isoformat(timespec="microseconds")
        if values["all"] is None:
            del values["all"]
        return values

    def __str__(self) -> str:
        names = ("category", "system_serial", "sender", "data_type", "data_version")
        shown = [
            f"{name}={getattr(self, name)}"
            for name in (*names, "system_version", "all")
            if getattr(self, name)
        ]
        return f"Rule({', '.join(shown)})"

    def __repr__(self) -> str:
        return str(self)


class Blacklist:
    """The rules in force; thread-safe.

    Args:
        config: Gives sender, serial and version to compare with, and ``blacklist_ttl``.
        path: File that keeps the rules over restarts, ``None`` to forget them.
        clock: Monotonic seconds.
        wall: Seconds since 1970; a rule's life is counted on both clocks and ends with the first.
    """

    Rule: TypeAlias = BlacklistRule

    def __init__(
        self,
        config: QueueWriterConfig,
        path: str | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._path = path
        self._clock = clock
        self._wall = wall
        self._rules: list[BlacklistRule] = []
        self._until: dict[tuple[Any, ...], float] = {}
        self._lock = threading.RLock()
        self._saved_counts: list[int] = []
        self._load()

    def _ttl_s(self) -> float:
        return float(getattr(self._config, "blacklist_ttl", None) or _TTL_S)

    def add(self, rule: Mapping[str, Any]) -> BlacklistRule | None:
        """Put a rule in force for ``blacklist_ttl`` seconds; an equal one is replaced.

        Returns:
            The rule, ``None`` when it names nothing to match (it is then ignored).

        Raises:
            DataError: It has an unknown field or a value that cannot be converted.
        """
        made = BlacklistRule(rule)
        if made.is_empty():
            logger.warning(
                "Ignoring a blacklist rule without any field: it would match every message"
            )
            return None
        age_s = self._wall() - made.last_seen.timestamp()
        left_s = min(self._ttl_s(), self._ttl_s() - age_s)
        with self._lock:
            previous = [rule for rule in self._rules if rule.key() == made.key()]
            if previous:
                made.added, made.dropped = previous[0].added, previous[0].dropped
                self._rules.remove(previous[0])
            self._rules.append(made)
            self._keep(made, left_s)
            self._save()
        return made

    def _keep(self, rule: BlacklistRule, left_s: float) -> None:
        rule.expires_at = self._wall() + left_s
        self._until[rule.key()] = self._clock() + left_s

    def matches(self, item: Mapping[str, Any] | Any) -> bool:
        """Whether a rule in force matches a message (a row of the queue)."""
        return self.find(item) is not None

    def find(self, item: Mapping[str, Any] | Any) -> BlacklistRule | None:
        """Return the first rule in force that matches a message, ``None`` for most."""
        if not self._rules:
            return None
        with self._lock:
            self._expire()
            return next((rule for rule in self._rules if self.check_match(rule, item)), None)

    def _expire(self) -> None:
        now, wall = self._clock(), self._wall()
        gone = [
            rule
            for rule in self._rules
            if now >= self._until.get(rule.key(), 0.0) or wall >= rule.expires_at
        ]
        for rule in gone:
            self._rules.remove(rule)
            self._until.pop(rule.key(), None)
        if gone:
            self._save()

    def check_match(self, rule: BlacklistRule, item: Mapping[str, Any] | Any) -> bool:
        """Whether one rule matches a message, whatever its age."""
        if rule.is_empty():
            return False
        config = self._config
        actual = {
            "category": item["category"],
            "data_type": item["data_type"],
            "data_version": item["data_version"],
            "sender": config.sender,
            "system_serial": config.system_serial,
            "system_version": config.system_version,
        }
        return all(
            getattr(rule, name) is None or str(getattr(rule, name)) == str(actual[name])
            for name in BlacklistRule.MATCHED
        )

    def get_list(self) -> list[BlacklistRule]:
        """Return the live list of rules; expired ones leave it when a message is compared."""
        return self._rules

    def _save(self) -> None:
        if self._path is None:
            return
        entries = [
            {**rule.to_primitive(), "expires_at": rule.expires_at, "dropped": rule.dropped}
            for rule in self._rules
        ]
        text = json.dumps({"rules": entries})
        try:
            with (
                replacement(self._path) as fd,
                open(fd, "w", encoding="utf-8", closefd=False) as file,
            ):
                file.write(text)
        except OSError as error:
            logger.warning("Cannot keep the blacklist in %s: %s", self._path, error)

    def save(self) -> None:
        """Write the rules to the file, if there is one, when their counts have changed since."""
        with self._lock:
            if self._saved_counts != (counts := [rule.dropped for rule in self._rules]):
                self._save()
                self._saved_counts = counts

    def _load(self) -> None:
        if self._path is None:
            return
        try:
            with open(self._path, encoding="utf-8") as file:
                entries = json.load(file)["rules"]
            for entry in entries:
                expires_at = float(entry.pop("expires_at"))
                dropped = int(entry.pop("dropped", 0))
                rule = BlacklistRule(entry)
                # Never longer than one life from now, whatever the clock did meanwhile.
                left_s = min(expires_at - self._wall(), self._ttl_s())
                if left_s > 0 and not rule.is_empty():
                    rule.dropped = dropped
                    self._rules.append(rule)
                    self._keep(rule, left_s)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError, DataError) as error:
            logger.warning("Ignoring the blacklist in %s: %s", self._path, error)
