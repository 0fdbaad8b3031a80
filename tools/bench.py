"""Run all benchmarks and write their tables and a chart: ``hatch run bench [NAME ...] [--gate] [--rounds N]``.

Every ``tools/benchmarks/<name>.py`` with a ``--gate`` option runs in turn, alone on the machine as far as we can see to
it, and prints as it goes. Then ``tools/benchmarks/RESULTS.md`` (all tables, with machine and date) and
``tools/benchmarks/results.svg`` (ours beside the original and the best peer) are written anew.
"""

from __future__ import annotations

import argparse
import datetime
import html
import json
import math
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

FOLDER = pathlib.Path(__file__).parent / "benchmarks"
RESULTS = FOLDER / "RESULTS.md"
CHART = FOLDER / "results.svg"


def names() -> list[str]:
    """Return the benchmarks that can be run, by name."""
    return sorted(
        path.stem for path in FOLDER.glob("*.py") if '"--gate"' in path.read_text(encoding="utf-8")
    )


def run(name: str, gate: bool, rounds: int | None) -> tuple[int, list[dict]]:
    """Run one benchmark; return its exit status and its tables."""
    command = [sys.executable, str(FOLDER / f"{name}.py")]
    command += ["--gate"] if gate else []
    command += ["--rounds", str(rounds)] if rounds is not None else []
    with tempfile.TemporaryDirectory() as folder:
        results = pathlib.Path(folder, "results.jsonl")
        status = subprocess.call(command, env={**os.environ, "BENCHMARK_RESULTS": str(results)})
        lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    tables = {table["title"]: table for table in map(json.loads, lines)}  # a repeat replaces
    return status, list(tables.values())


def markdown(measured: dict[str, list[dict]]) -> str:
    """Return the page with all tables."""
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    lines = [
        "# Benchmarks",
        "",
        f"Measured on {today}, CPython {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores, by",
        "`hatch run bench`. Figures are ratios of the same run, lower is better; see the head of each script for what",
        "they are ratios to. The spread is the least and the greatest ratio of a round.",
        "",
        f"![Ours beside the others]({CHART.name})",
    ]
    for name, tables in measured.items():
        lines += ["", f"## {name}"]
        for table in tables:
            bars = {(bar["subject"], bar["figure"]): bar["limit"] for bar in table["bars"]}
            lines += ["", f"### {table['title']}", ""]
            lines += ["| | wall | spread | bar | cpu | bar | µs |", "|---|--:|--:|--:|--:|--:|--:|"]
            for row in table["rows"]:
                wall, cpu = (bars.get((row["name"], figure)) for figure in ("wall", "cpu"))
                low, high = row["spread"]
                lines.append(
                    f"| {row['name']} | {row['wall']:.2f} | {low:.2f}-{high:.2f} | {_limit(wall)} "
                    f"| {row['cpu']:.2f} | {_limit(cpu)} | {row['wall_us']:.1f} |"
                )
    return "\n".join(lines) + "\n"


def _limit(value: float | None) -> str:
    return "" if value is None else f"≤ {value:.2f}"


_ROW, _LEFT, _WIDTH = 16, 330, 460


def chart(measured: dict[str, list[dict]]) -> str:
    """Return an SVG with one bar a row of every table, on a logarithmic scale of the wall ratio."""
    entries: list[tuple[str, float | None, bool]] = []
    for name, tables in measured.items():
        for table in tables:
            entries.append((f"{name}: {table['title']}", None, False))
            gated = {bar["subject"] for bar in table["bars"]}
            entries += [(row["name"], row["wall"], row["name"] in gated) for row in table["rows"]]
    values = [value for _, value, _ in entries if value]
    low = math.log10(min([1.0, *values]))
    span = (math.log10(max([10.0, *values])) - low) or 1.0
    parts = []
    for index, (label, value, ours) in enumerate(entries):
        y = _ROW * (index + 1)
        weight = ' font-weight="bold"' if value is None else ""
        x = 8 if value is None else 24
        parts.append(f'<text x="{x}" y="{y}"{weight}>{html.escape(label)}</text>')
        if value:
            width = max(1.0, (math.log10(value) - low) / span * _WIDTH)
            colour = "#2563eb" if ours else "#9ca3af"
            parts.append(
                f'<rect x="{_LEFT}" y="{y - 10}" width="{width:.1f}" height="11" fill="{colour}"/>'
            )
            parts.append(f'<text x="{_LEFT + width + 5:.1f}" y="{y}">{value:.2f}</text>')
    height = _ROW * (len(entries) + 2)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 70}" height="{height}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(parts)}</svg>\n"
    )


def main() -> int:
    """Run what was asked for, write the page, and return 1 when a gate failed or a benchmark broke."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "name", nargs="*", metavar="NAME", help=f"of {', '.join(names())}; default: all"
    )
    parser.add_argument("--gate", action="store_true", help="exit with 1 when a bar is missed")
    parser.add_argument("--rounds", type=int, help="rounds of each benchmark (default: its own)")
    options = parser.parse_args()
    if unknown := sorted(set(options.name) - set(names())):
        parser.error(f"unknown: {', '.join(unknown)}")
    measured: dict[str, list[dict]] = {}
    failed = []
    for name in options.name or names():
        print(f"\n== {name}", flush=True)
        status, measured[name] = run(name, options.gate, options.rounds)
        if status:
            failed.append(name)
    if not options.name:
        RESULTS.write_text(markdown(measured), encoding="utf-8")
        CHART.write_text(chart(measured), encoding="utf-8")
        print(f"\nwritten: {RESULTS.name}, {CHART.name}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
