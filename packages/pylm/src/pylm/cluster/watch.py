"""``pylm top`` and ``pylm graph``: what every server of a cluster reports about itself, as a table and as a picture.

Source of the figures: cache verb ``_stats``; a server that does not know it (an original) is shown as opaque.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from typing import Any
from xml.sax.saxutils import escape

from rich.table import Table
from rich.text import Text

from pylm import _wire
from pylm._cacheclient import CacheClient
from pylm.cluster.config import Cluster, ServerEntry
from pylm.cluster.role import curve_of
from pylm.config import ServerOptions
from pylm.errors import TimedOut

__all__ = ["Reading", "Watch", "as_line", "draw", "table"]


@dataclasses.dataclass(frozen=True)
class Reading:
    """One server at one time.

    Args:
        name: Of the server.
        kind: Of the server.
        state: ``up``, ``opaque`` (answers, but reports nothing) or ``down``.
        figures: What it reports; empty unless ``up``.
        rate: Messages received per second since the previous reading; ``None`` for the first.
    """

    name: str
    kind: str
    state: str
    figures: dict[str, Any]
    rate: float | None


class Watch:
    """Asks every server of a cluster for its figures.

    Args:
        cluster: The file.
        timeout_s: Longest wait for one server, seconds.
    """

    def __init__(self, cluster: Cluster, timeout_s: float = 0.5) -> None:
        self.cluster = cluster
        self.timeout_s = timeout_s
        self._options = ServerOptions(curve=curve_of(cluster, server=False))
        self._before: dict[str, tuple[float, int]] = {}

    def read(self) -> list[Reading]:
        """Return one reading per server, in the order of the file."""
        return [self._one(entry.name, entry.kind) for entry in self.cluster.servers]

    def _one(self, name: str, kind: str) -> Reading:
        client = CacheClient(
            self.cluster.address(name, "db"),
            name,
            _wire.new_uuid(),
            _wire.PalmMessage,
            self._options,
        )
        try:
            answer = client.ask("_stats", b"", timeout_s=self.timeout_s)
        except TimedOut:
            self._before.pop(name, None)
            return Reading(name, kind, "down", {}, None)
        finally:
            client.close()
        with contextlib.suppress(ValueError):
            figures = json.loads(answer)
            now, count = time.monotonic(), int(figures["received"])
            before = self._before.get(name)
            self._before[name] = now, count
            rate = None
            if before is not None and now > before[0] and count >= before[1]:
                rate = (count - before[1]) / (now - before[0])
            return Reading(name, kind, "up", figures, rate)
        return Reading(name, kind, "opaque", {}, None)


def as_line(cluster: Cluster, readings: list[Reading]) -> str:
    """Return the readings as one line of JSON, for other programs.

    Shape: ``{"cluster": NAME, "servers": [{"name", "kind", "state", "rate", ...}]}``, the figures of a server that is
    ``up`` beside its name; ``rate`` is null in the first reading.
    """
    servers = [
        {
            "name": each.name,
            "kind": each.kind,
            "state": each.state,
            "rate": each.rate,
            **each.figures,
        }
        for each in readings
    ]
    return json.dumps({"cluster": cluster.name, "servers": servers})


def table(cluster: Cluster, readings: list[Reading]) -> Table:
    """Return the readings as a table for a person."""
    shown = Table(title=Text(f"pylm top: {cluster.name}"))
    for column in ("server", "kind", "state"):
        shown.add_column(column)
    for column in ("msg/s", "received", "answered", "failed", "dropped", "waiting", "queue", "p99"):
        shown.add_column(column, justify="right")
    shown.add_column("workers (jobs in hand, seconds since last sign of life)")
    for each in readings:
        figures = each.figures
        workers = ", ".join(
            f"{worker['name']} {worker['busy']} {worker['seen_s']:.1f}s"
            for worker in figures.get("workers", [])
        )
        p99 = figures.get("p99_s") or 0.0
        numbers = [
            str(figures.get(key, ""))
            for key in ("received", "answered", "failed", "dropped", "waiting", "queue")
        ]
        shown.add_row(
            Text(each.name),
            each.kind,
            Text(each.state, style={"up": "green", "down": "red"}.get(each.state, "")),
            "" if each.rate is None else f"{each.rate:.0f}",
            *numbers,
            f"{p99 * 1000:.2f} ms" if p99 else "",
            Text(workers),
        )
    return shown


_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 170, 64, 90, 36
_COLOURS = {"up": "#e5f3e8", "down": "#fbe3e3", "opaque": "#eeeeee", "": "#eaf0fb"}


def draw(cluster: Cluster, readings: list[Reading] | None = None) -> str:
    """Return the topology as an SVG picture, stream from left to right, with rates where there are readings."""
    depth = _depths(cluster)
    columns: dict[int, list[str]] = {}
    for entry in cluster.servers:
        columns.setdefault(depth[entry.name], []).append(entry.name)
    spots = {
        name: (20 + column * (_WIDTH + _GAP_X), 50 + row * (_HEIGHT + _GAP_Y) * 1.0)
        for column, names in columns.items()
        for row, name in enumerate(names)
    }
    known = {each.name: each for each in readings or []}
    worker_counts = {
        entry.name: sum(worker.replicas for worker in cluster.workers if worker.of == entry.name)
        for entry in cluster.servers
    }
    width = 40 + max((x for x, _ in spots.values()), default=0) + _WIDTH
    height = 60 + max((y for _, y in spots.values()), default=0) + _HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        'font-family="sans-serif" font-size="12">',
        '<defs><marker id="arrow" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>',
        f'<text x="20" y="28" font-size="16">{escape(cluster.name)}</text>',
    ]
    parts += [
        _edge(spots[source], spots[entry.name], known.get(entry.name))
        for entry in cluster.servers
        for source in entry.after
    ]
    parts += [
        _box(entry, spots[entry.name], worker_counts[entry.name], known.get(entry.name))
        for entry in cluster.servers
    ]
    return "\n".join([*parts, "</svg>", ""])


def _depths(cluster: Cluster) -> dict[str, int]:
    after = {entry.name: entry.after for entry in cluster.servers}
    found: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in found:
            found[name] = 0
            found[name] = 1 + max((depth(each) for each in after[name]), default=-1)
        return found[name]

    return {name: depth(name) for name in after}


def _edge(start: tuple[float, float], end: tuple[float, float], reading: Reading | None) -> str:
    x1, y1 = start[0] + _WIDTH, start[1] + _HEIGHT / 2
    x2, y2 = end[0], end[1] + _HEIGHT / 2
    middle = (x1 + x2) / 2
    line = (
        f'<path d="M{x1:.0f},{y1:.0f} C{middle:.0f},{y1:.0f} {middle:.0f},{y2:.0f} {x2:.0f},{y2:.0f}" '
        'fill="none" stroke="#555" marker-end="url(#arrow)"/>'
    )
    if reading is None or reading.rate is None:
        return line
    label = f'<text x="{middle:.0f}" y="{(y1 + y2) / 2 - 6:.0f}" text-anchor="middle">{reading.rate:.0f}/s</text>'
    return line + label


def _box(
    entry: ServerEntry, spot: tuple[float, float], workers: int, reading: Reading | None
) -> str:
    x, y = spot
    colour = _COLOURS[reading.state if reading is not None else ""]
    lines = [f'<tspan font-weight="bold">{escape(entry.name)}</tspan>', entry.kind]
    if workers:
        lines[1] += f", {workers} worker{'s' if workers > 1 else ''}"
    if reading is not None:
        rate = "" if reading.rate is None else f", {reading.rate:.0f}/s"
        count = reading.figures.get("received")
        lines.append(f"{reading.state}{rate}" + ("" if count is None else f", {count} received"))
    text = "".join(
        f'<text x="{x + 10:.0f}" y="{y + 20 + 17 * index:.0f}">{line}</text>'
        for index, line in enumerate(lines)
    )
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{_WIDTH}" height="{_HEIGHT}" rx="8" '
        f'fill="{colour}" stroke="#555"/>{text}'
    )
