"""Run all benchmarks and write their tables and a chart: ``hatch run bench [NAME ...] [--gate] [--rounds N]``.

Every ``tools/benchmarks/<name>.py`` with a ``--gate`` option runs in turn, in its own environment, alone on the machine
as far as we can see to it, and prints as it goes. Then ``tools/benchmarks/RESULTS.md`` (first all promises, then all
tables, with machine and date) and ``tools/benchmarks/results.svg`` are written anew, and the README refers to them. A
bar that is missed shows in the table; only with ``--gate`` is it a failure too.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile
import time

from bench_chart import chart

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tools" / "benchmarks"
RESULTS = FOLDER / "RESULTS.md"
CHART = FOLDER / "results.svg"
README = ROOT / "README.md"
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
ENVIRONMENTS = {"ya_httpx": "golem"}
"""Benchmarks that need another environment than ``bench``."""


def names() -> list[str]:
    """Return the benchmarks that can be run, by name."""
    return sorted(
        path.stem for path in FOLDER.glob("*.py") if '"--gate"' in path.read_text(encoding="utf-8")
    )


def run(name: str, gate: bool, rounds: int | None) -> tuple[int, list[dict]]:
    """Run one benchmark; return its exit status and its tables."""
    environment = ENVIRONMENTS.get(name)
    command = ["hatch", "run", f"{environment}:python"] if environment else [sys.executable]
    command += [str(FOLDER / f"{name}.py")]
    command += ["--gate"] if gate else []
    command += ["--rounds", str(rounds)] if rounds is not None else []
    with tempfile.TemporaryDirectory() as folder:
        results = pathlib.Path(folder, "results.jsonl")
        status = subprocess.call(
            command, cwd=ROOT, env={**os.environ, "BENCHMARK_RESULTS": str(results)}
        )
        lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    tables = {table["title"]: table for table in map(json.loads, lines)}  # a repeat replaces
    return status, list(tables.values())


def machine() -> str:
    """Return what was measured on, in a line."""
    text = pathlib.Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", text.read_text()) if text.exists() else None
    model = found[1] if found else platform.processor() or platform.machine()
    return f"CPython {platform.python_version()}, {os.cpu_count()} cores of {model}, {platform.system()}"


def promises(tables: list[dict]) -> list[tuple[str, str, str, bool]]:
    """Return what was promised: figure, measured, bar, and whether it holds."""
    found = []
    for table in tables:
        rows = {row["name"]: row for row in table["rows"]}
        for bar in table["bars"]:
            value = rows.get(bar["subject"], {}).get(bar["figure"])
            what = f"{table['title']}: {bar['subject']}, {bar['figure']}"
            holds = value is not None and value <= bar["limit"]
            shown = "not measured" if value is None else f"{value:.2f}"
            found.append((what, shown, f"<= {bar['limit']:.2f}", holds))
        for figure in table["figures"]:
            title = "" if figure["what"] == table["title"] else f"{table['title']}: "
            what = f"{title}{figure['what']}"
            found.append((what, figure["value"], figure["bar"], figure["holds"]))
    return found


def markdown(measured: dict[str, list[dict]], failed: list[str]) -> str:
    """Return the page: promises first, then all tables."""
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    lines = [
        "# Benchmarks",
        "",
        f"Measured on {today} by `hatch run bench`: {machine()}.",
        "",
        "Ratios compare with the floor of the same rounds, lower is better; the head of each script in this folder",
        "says what is measured and how. A spread is the least and the greatest ratio of a round.",
        "",
        f"![Ours beside the others, and figures as shares of their bars]({CHART.name})",
        "",
        "## Promises",
        "",
        "| benchmark | figure | measured | bar | |",
        "|---|---|--:|--:|---|",
    ]
    for name, tables in measured.items():
        for what, value, bar, holds in promises(tables):
            verdict = "held" if holds else "**missed**"
            lines.append(f"| {name} | {_cell(what)} | {_cell(value)} | {_cell(bar)} | {verdict} |")
    lines += [f"\n`{name}` broke off; its figures are not complete." for name in failed]
    for name, tables in measured.items():
        lines += ["", f"## {name}"]
        for table in tables:
            if table["rows"]:
                lines += _ratios(table)
            if others := [figure for figure in table["figures"] if figure["others"]]:
                lines += _beside(table["title"], others)
    return "\n".join(lines) + "\n"


def _ratios(table: dict) -> list[str]:
    lines = ["", f"### {table['title']}", ""]
    lines += ["| | wall | spread | cpu | µs |", "|---|--:|--:|--:|--:|"]
    for row in table["rows"]:
        low, high = row["spread"]
        cpu = "" if row["cpu"] is None else f"{row['cpu']:.2f}"
        name = _cell(row["name"])
        lines.append(
            f"| {name} | {row['wall']:.2f} | {low:.2f}-{high:.2f} | {cpu} | {row['wall_us']:.1f} |"
        )
    return lines


def _beside(title: str, figures: list[dict]) -> list[str]:
    names = list(dict.fromkeys(name for figure in figures for name in figure["others"]))
    lines = ["", f"### {title}", "", f"| | ours | {' | '.join(map(_cell, names))} |"]
    lines.append(f"|---|{'--:|' * (len(names) + 1)}")
    for figure in figures:
        cells = [
            figure["what"],
            figure["value"],
            *(figure["others"].get(name, "") for name in names),
        ]
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def refer(measured: dict[str, list[dict]]) -> None:
    """Have the README show the chart, with machine and date."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    found = [promise for tables in measured.values() for promise in promises(tables)]
    held = sum(holds for *_, holds in found)
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    folder = FOLDER.relative_to(ROOT).as_posix()
    block = (
        f"{BEGIN}\n{held} of {len(found)} speed promises held on {today} ({machine()});\n"
        f"[all figures]({folder}/{RESULTS.name}) beside the originals, the best peers and the raw floor.\n\n"
        f"![Ours beside the others]({folder}/{CHART.name})\n{END}"
    )
    README.write_text(before + block + after, encoding="utf-8")


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
    chosen = options.name or names()
    measured: dict[str, list[dict]] = {}
    failed, broken, began = [], [], time.monotonic()
    for number, name in enumerate(chosen, 1):
        so_far = f"{time.monotonic() - began:.0f} s so far"
        print(f"\n== {name} ({number} of {len(chosen)}, {so_far})", flush=True)
        status, measured[name] = run(name, options.gate, options.rounds)
        if status:
            failed.append(name)
            if not options.gate or not measured[name]:
                broken.append(name)
    for name, tables in measured.items():
        for what, value, bar, holds in promises(tables):
            if not holds:
                print(f"missed: {name}: {what}: {value}, {bar}")
    if not options.name:
        RESULTS.write_text(markdown(measured, broken), encoding="utf-8")
        CHART.write_text(chart(measured), encoding="utf-8")
        refer(measured)
        print(f"\nwritten: {RESULTS.name}, {CHART.name}, and the README's reference to them")
    print(f"{len(chosen)} benchmarks in {(time.monotonic() - began) / 60:.1f} min")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
