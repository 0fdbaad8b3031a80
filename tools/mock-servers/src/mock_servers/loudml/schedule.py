"""Scheduled jobs: when each runs next, and what running it means: one HTTP request to the cluster itself.

Source: scheduled jobs of Loud ML server 1.6.0 (``every`` with count, unit and ``at``; ``from`` and ``to`` of the
parameters become whole seconds; 5 s timeout).
"""

from __future__ import annotations

import datetime
import http.client
import json
import threading
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mock_servers.clock import Clock
from mock_servers.loudml.dates import parse_date
from mock_servers.loudml.errors import NotFound
from mock_servers.loudml.settings import WEEKDAYS, check_scheduled_job
from mock_servers.loudml.store import Store

__all__ = ["Scheduler", "next_run", "run"]

TIMEOUT_S = 5.0
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}


def next_run(every: Mapping[str, Any], now: float) -> float:
    """Return when a job that was scheduled or ran at ``now`` is due, seconds (calendar units in UTC).

    Example:
        ``{"count": 5, "unit": "minutes"}`` is due 300 s later; ``{"unit": "monday", "at": "06:30"}`` at the next
        Monday's half past six.
    """
    count, unit, at = float(every.get("count", 1)), str(every["unit"]), every.get("at")
    if unit not in WEEKDAYS:
        unit = unit.removesuffix("s")
        due = now + count * SECONDS[unit]
        if at is None or unit not in ("day", "week"):
            return due
        return _at(datetime.datetime.fromtimestamp(due, datetime.timezone.utc), at)
    today = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
    days = (WEEKDAYS.index(unit) - today.weekday()) % 7
    day = today + datetime.timedelta(days=days)
    due = _at(day, at) if at is not None else day.timestamp()
    return due if due > now else due + SECONDS["week"]


def _at(day: datetime.datetime, at: str) -> float:
    parts = [int(part) for part in at.split(":") if part][:3]
    hour, minute, second = (*parts, 0, 0, 0)[:3]
    try:
        return day.replace(hour=hour, minute=minute, second=second, microsecond=0).timestamp()
    except ValueError:
        return day.timestamp()


def run(settings: Mapping[str, Any], address: str, now: float) -> dict[str, Any]:
    """Send the request of a scheduled job and return the fields its listing gains.

    Args:
        settings: As checked by :func:`~mock_servers.loudml.settings.check_scheduled_job`.
        address: ``host:port`` of a live node.
        now: Time that ``now`` stands for in the parameters.

    Returns:
        ``ok``, ``status_code`` (``None`` when no answer came), ``last_run_timestamp``, and ``error`` when not ok.
    """
    params = {
        key: int(parse_date(value, now, key)) if key in ("from", "to") else value
        for key, value in (settings.get("params") or {}).items()
    }
    target = urllib.parse.quote(settings["relative_url"], safe="/%")
    if params:
        target += "?" + urllib.parse.urlencode(
            {key: str(v).lower() if isinstance(v, bool) else v for key, v in params.items()}
        )
    body = json.dumps(settings["json"]) if settings.get("json") else None
    headers = {"Content-Type": "application/json"} if body else {}
    outcome: dict[str, Any] = {"ok": False, "status_code": None, "last_run_timestamp": now}
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT_S)
    try:
        connection.request(settings["method"].upper(), target, body, headers)
        reply = connection.getresponse()
        reply.read()
    except (OSError, http.client.HTTPException) as error:
        outcome["error"] = str(error) or type(error).__name__
    else:
        outcome["status_code"] = reply.status
        outcome["ok"] = 200 <= reply.status < 300
        if not outcome["ok"]:
            outcome["error"] = reply.reason
    finally:
        connection.close()
    return outcome


@dataclass(slots=True)
class _Timer:
    settings: Mapping[str, Any]
    due: float


class Scheduler:
    """The scheduled jobs of a cluster and their timers; thread-safe.

    Args:
        store: Where their settings and last outcome are kept; those found there are scheduled at once.
        clock: Time they run by.
        address: Returns ``host:port`` of a live node, ``None`` when there is none (nothing runs then).
        is_faithful: Keep the original's fault that replacing a job leaves the timer of the old one running too.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        address: Callable[[], str | None],
        *,
        is_faithful: bool,
    ) -> None:
        self._store = store
        self._clock = clock
        self._address = address
        self._is_faithful = is_faithful
        self._lock = threading.RLock()
        self._timers: list[_Timer] = []
        for settings in store.documents("scheduled_job").values():
            self._start_timer(settings)

    def get(self, names: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return scheduled jobs, all or those of the names that exist.

        Raises:
            NotFound: None of the names exists.
        """
        documents = self._store.documents("scheduled_job")
        if names is None:
            return list(documents.values())
        found = [documents[name] for name in dict.fromkeys(names) if name in documents]
        if not found:
            raise NotFound("job(s) not found")
        return found

    def add(self, settings: Any) -> None:
        """Create or replace a scheduled job.

        Raises:
            Invalid: Its settings are not acceptable.
        """
        checked = check_scheduled_job(settings)
        with self._lock:
            if not self._is_faithful:
                self._stop_timers(checked["name"])
            self._store.put("scheduled_job", checked["name"], checked)
            self._start_timer(checked)

    def remove(self, name: str) -> bool:
        """Delete a scheduled job; return whether it existed."""
        with self._lock:
            self._stop_timers(name)
            return self._store.delete("scheduled_job", name)

    def clear(self) -> None:
        """Delete all scheduled jobs."""
        for name in self._store.documents("scheduled_job"):
            self.remove(name)

    def _start_timer(self, settings: Mapping[str, Any]) -> None:
        self._timers.append(_Timer(settings, next_run(settings["every"], self._clock.now())))

    def _stop_timers(self, name: str) -> None:
        self._timers = [timer for timer in self._timers if timer.settings["name"] != name]

    def run_due(self) -> None:
        """Run the jobs that are due, one after the other, and note how each went."""
        now = self._clock.now()
        address = self._address()
        if address is None:
            return
        with self._lock:
            due = [timer for timer in self._timers if timer.due <= now]
            for timer in due:
                timer.due = next_run(timer.settings["every"], now)
        for timer in due:
            outcome = run(timer.settings, address, now)
            with self._lock:
                name = timer.settings["name"]
                current = self._store.document("scheduled_job", name)
                if current is not None:
                    kept = {key: value for key, value in current.items() if key != "error"}
                    self._store.put("scheduled_job", name, {**kept, **outcome})
