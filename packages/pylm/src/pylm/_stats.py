"""Counters and latency histograms of one server; cheap enough to be always on.

Every message received ends in exactly one of ``answered``, ``failed`` (here or in a stage before), ``ended`` (a
function without a result) or ``malformed``, or is still in work. ``dropped`` are those answers of them that waited for
their reader in vain. ``pylm top`` and ``pylm graph`` read the snapshot through the cache socket (verb ``_stats``).
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

__all__ = ["Histogram", "Stats"]


class Histogram:
    """Latencies in buckets that double, from 1 microsecond up; ``counts[i]`` holds those below ``2**i`` us."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * 40
        self.total_s = 0.0

    def record(self, seconds: float) -> None:
        """Count one latency."""
        index = int(seconds * 1e6).bit_length()
        self.counts[index if index < 40 else 39] += 1
        self.total_s += seconds

    def quantile(self, share: float) -> float:
        """Return an upper bound in seconds below which ``share`` (0..1) of the latencies lie; 0 when empty."""
        total = sum(self.counts)
        seen = 0
        for index, count in enumerate(self.counts):
            seen += count
            if total and seen >= share * total:
                return float(2**index) / 1e6
        return 0.0


class Stats:
    """The figures of one server.

    Args:
        name: Of the server.
        kind: Class of the server, lower case.
    """

    __slots__ = (
        "answered", "bytes_in", "bytes_out", "dropped", "ended", "failed", "gauges", "kind", "latency", "malformed",
        "name", "received", "requeued", "started",
    )  # fmt: skip

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        self.started = time.monotonic()
        self.received = self.answered = self.failed = self.dropped = self.ended = 0
        self.malformed = self.requeued = self.bytes_in = self.bytes_out = 0
        self.latency = Histogram()
        self.gauges: dict[str, Any] = {}

    def snapshot(self) -> dict[str, Any]:
        """Return the figures as JSON-ready values; times in seconds."""
        return {
            "name": self.name,
            "kind": self.kind,
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self.started, 3),
            "received": self.received,
            "answered": self.answered,
            "failed": self.failed,
            "dropped": self.dropped,
            "ended": self.ended,
            "malformed": self.malformed,
            "requeued": self.requeued,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "p50_s": self.latency.quantile(0.5),
            "p99_s": self.latency.quantile(0.99),
            **{key: value() if callable(value) else value for key, value in self.gauges.items()},
        }

    def encoded(self) -> bytes:
        """Return the snapshot as JSON."""
        return json.dumps(self.snapshot()).encode()
