"""What the page is told four times a second: rates of each server, and as many requests as a person can follow.

At a thousand requests per second a page that shows every one is neither smooth nor readable. Each update carries at
most :data:`ROWS` requests, of each server as many as of any other, those with a fault or an error first and then the
newest, and says how many there were.
"""

from __future__ import annotations

import itertools
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mock_servers.console.panel import Panel
from mock_servers.secrets import hide
from mock_servers.traffic import Exchange, TrafficLog

__all__ = ["ROWS", "Sampler"]

ROWS = 25
TARGET_LENGTH = 300


def _row(panel: str, exchange: Exchange) -> dict[str, Any]:
    return {
        "panel": panel,
        "number": exchange.number,
        "node": exchange.node,
        "at": exchange.started_at,
        "method": exchange.method,
        "target": hide(exchange.target)[:TARGET_LENGTH],
        "status": exchange.status,
        "ms": round(exchange.duration_s * 1000, 2),
        "size": exchange.response_size,
        "fault": exchange.fault,
    }


def _is_bad(exchange: Exchange) -> bool:
    return exchange.fault is not None or exchange.status is None or exchange.status >= 500


def _quantile(durations: Sequence[float], share: float) -> float | None:
    if not durations:
        return None
    return round(durations[min(len(durations) - 1, int(share * len(durations)))] * 1000, 2)


def _sample(fresh: Mapping[str, Sequence[Exchange]]) -> list[tuple[str, Exchange]]:
    """Return at most :data:`ROWS` requests, the panels taking turns."""
    turns: list[list[tuple[str, Exchange]]] = []
    for panel, exchanges in fresh.items():
        best = sorted(exchanges, key=lambda exchange: (_is_bad(exchange), exchange.number))
        turns.append([(panel, exchange) for exchange in reversed(best[-ROWS:])])
    taken = [pair for turn in itertools.zip_longest(*turns) for pair in turn if pair is not None]
    return taken[:ROWS]


class Sampler:
    """Reads the records of all panels from where it read last; one per page that watches.

    Args:
        panels: Returns the panels shown at the moment.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        panels: Callable[[], Sequence[Panel]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._panels = panels
        self._clock = clock
        self._seen: weakref.WeakKeyDictionary[TrafficLog, int] = weakref.WeakKeyDictionary()
        self._read_at: float | None = None

    def update(self) -> dict[str, Any]:
        """Return what is new.

        Shape: ``{"panels": [...], "rows": [...], "new": N}``. Per panel: name, nodes, total, requests per second since
        the last update (0 in the first), how many of them were bad, p50 and p99 of their durations in ms (``None``
        without requests), active faults; of what is no server its messages and their rate, if it tells. Rows, oldest
        first: see ``_row``; ``new`` is how many they were taken from.
        """
        now = self._clock()
        elapsed_s = None if self._read_at is None else max(now - self._read_at, 1e-3)
        self._read_at = now
        shown: list[dict[str, Any]] = []
        fresh: dict[str, list[Exchange]] = {}
        new = 0
        for panel in self._panels():
            entry: dict[str, Any] = {"name": panel.name, "nodes": panel.nodes}
            if panel.server is not None:
                log = panel.server.traffic
                last = self._seen.get(log, 0)
                exchanges = log.since(last)
                count = exchanges[-1].number - last if exchanges else 0
                self._seen[log] = last + count
                durations = sorted(exchange.duration_s for exchange in exchanges)
                entry |= {
                    "total": last + count,
                    "rate": round(count / elapsed_s, 1) if elapsed_s else 0.0,
                    "bad": sum(_is_bad(exchange) for exchange in exchanges),
                    "p50": _quantile(durations, 0.5),
                    "p99": _quantile(durations, 0.99),
                    "faults": panel.server.faults.shown(),
                }
                fresh[panel.name] = exchanges
                new += count
            elif panel.throughput is not None:
                total, rate = panel.throughput()
                entry |= {"total": total, "rate": round(rate, 1), "p50": None, "unit": "messages"}
            shown.append(entry)
        chosen = sorted(_sample(fresh), key=lambda pair: pair[1].started_at)
        return {"panels": shown, "rows": [_row(*pair) for pair in chosen], "new": new}
