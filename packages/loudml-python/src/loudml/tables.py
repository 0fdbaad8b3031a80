"""What the server returns, as tables of text: points, predictions, versions and jobs.

Each function yields lines, header first, cells left-justified in columns two wider than the longest cell. Used by the
command line tool and ``write_points(verbose=True)``, historically through ``loudml.misc``.
Source: loudml-python 1.6.3, ``misc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

__all__ = [
    "bucket_rows",
    "format_buckets",
    "format_jobs",
    "format_model_versions",
    "format_points",
    "job_rows",
    "point_rows",
    "version_rows",
]

Rows = list[list[str]]


def format_buckets(data: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a result of ``buckets.read``, ``models.eval_model`` or ``models.forecast``.

    Columns: ``timestamp``, ``@<feature>`` as observed, ``loudml.<feature>`` as predicted, with the score and a ``*``
    for an anomaly where there are ``stats``. A value of ``None`` is shown as ``None``.
    """
    return _lines(bucket_rows(data), common_width=True)


def format_points(points: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of points as given to ``buckets.write``; a field that a point lacks is left empty."""
    return _lines(point_rows(list(points)), common_width=True)


def format_model_versions(versions: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of model versions as returned by ``models.versions.get``."""
    return _lines(version_rows(versions), common_width=True)


def format_jobs(jobs: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of jobs as returned by ``jobs.get``."""
    return _lines(job_rows(jobs), common_width=False)


def bucket_rows(data: dict[str, Any]) -> Rows:
    """Return header and cells for :func:`format_buckets`."""
    observed, predicted = data.get("observed") or {}, data.get("predicted") or {}
    features = sorted(observed)
    forecast = sorted(name for name in predicted if not name.startswith(("lower_", "upper_")))
    rows = [
        ["timestamp", *(f"@{name}" for name in features), *(f"loudml.{name}" for name in forecast)]
    ]
    for index, timestamp in enumerate(data["timestamps"]):
        cells = [str(timestamp)]
        cells += [_value(observed[name][index]) for name in features]
        for name in forecast:
            cells.append(_value(predicted[name][index]) + _score(data, index))
        rows.append(cells)
    return rows


def point_rows(points: Sequence[dict[str, Any]]) -> Rows:
    """Return header and cells for :func:`format_points`."""
    fields: dict[str, None] = {}
    for point in points:
        fields.update(dict.fromkeys(name for name in point if name not in ("timestamp", "tags")))
    rows = [["timestamp", *fields, "tags"]]
    for point in points:
        tags = ",".join(f"{key}={value}" for key, value in (point.get("tags") or {}).items())
        values = [_number(point[name]) if name in point else "" for name in fields]
        rows.append([str(point["timestamp"]), *values, tags])
    return rows


def version_rows(versions: Iterable[dict[str, Any]]) -> Rows:
    """Return header and cells for :func:`format_model_versions`."""
    rows = [["version", "active", "loss", "trained"]]
    for entry in versions:
        version, state = entry["version"], entry.get("state") or {}
        loss = state.get("loss")
        rows.append(
            [
                str(version["name"]),
                "*" if version.get("active") else "",
                "" if loss is None else _number(loss),
                str(state.get("trained", "")),
            ]
        )
    return rows


def job_rows(jobs: Iterable[dict[str, Any]]) -> Rows:
    """Return header and cells for :func:`format_jobs`."""
    rows = [["id", "name", "state", "x/N", "time_left", "duration"]]
    for job in jobs:
        progress = job.get("progress") or {}
        done = f"{int(progress['eval'])}/{progress['max_evals']}" if "eval" in progress else ""
        rows.append(
            [
                str(job["id"]),
                f"{job['type']}({job.get('model')})",
                str(job["state"]),
                done,
                _optional(job.get("remaining_time")),
                _optional(job.get("duration")),
            ]
        )
    return rows


def _lines(rows: Rows, *, common_width: bool) -> Iterator[str]:
    """Yield rows as lines; all columns are as wide as the widest, or each as wide as its own cells need."""
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    if common_width:
        widths = [max(widths)] * len(widths)
    for cells in rows:
        yield "".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))


def _number(value: Any) -> str:
    """Return ``1.5``, ``1.``, ``0.333``: three decimals, zeros at the end left out."""
    return f"{float(value):.3f}".rstrip("0")


def _value(value: Any) -> str:
    return "None" if value is None else _number(value)


def _optional(value: Any) -> str:
    return "" if value is None else _number(value)


def _score(data: dict[str, Any], index: int) -> str:
    """Return ``" [* 100.0]"`` for an anomaly, ``" [ 1.0]"`` otherwise, empty without stats."""
    if not data.get("stats"):
        return ""
    stats = data["stats"][index]
    return f" [{'*' if stats.get('anomaly') else ''} {float(stats['score']):.1f}]"
