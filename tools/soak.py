"""Run the integration and chaos suites again and again, each time with another seed: ``hatch run soak [--runs 20]``.

Every run is ``hatch run tests tests-integration`` as the gate runs it, in both environments, with ``CHAOS_SEED`` set.
A table of seeds, times and results is printed as it grows; the exit status is 1 when a run failed, whose output is
shown. ``CHAOS_SECONDS`` sets how long the chaos lasts in each suite.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import subprocess
import sys
import time

from rich.console import Console
from rich.markup import escape

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHOWN_LINES = 60
INTERRUPTED = 130


def run(seed: int, paths: list[str]) -> tuple[bool, float, str]:
    """Run the suites once; return whether they passed, how long they took in seconds, and what they printed."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/tests.py"), *paths],
        cwd=ROOT,
        env={**os.environ, "CHAOS_SEED": str(seed)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return done.returncode == 0, time.monotonic() - began, done.stdout


def main() -> int:
    """Run the seeds asked for; return 1 when one failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default %(default)s)")
    parser.add_argument(
        "--runs", type=int, default=20, help="runs, each with the next seed (default %(default)s)"
    )
    parser.add_argument("path", nargs="*", help="tests to run instead of all of tests-integration")
    options = parser.parse_args()
    console = Console(highlight=False)
    try:
        return soak(options.seed, options.runs, options.path or ["tests-integration"], console)
    except KeyboardInterrupt:
        console.print("stopped")
        return INTERRUPTED


def soak(first: int, runs: int, paths: list[str], console: Console) -> int:
    """Run the seeds from the first; print the table; return 1 when one failed."""
    failed, total_s = [], 0.0
    last = first + runs - 1
    for seed in range(first, last + 1):
        with console.status(f"seed {seed}, up to {last}"):
            passed, took_s, output = run(seed, paths)
        total_s += took_s
        counts = "; ".join(
            line for line in output.splitlines() if " passed" in line or " failed" in line
        )
        mark = "[green]passed[/]" if passed else "[red]FAILED[/]"
        console.print(f"seed {seed:3}  {took_s:6.1f} s  {mark}  [dim]{escape(counts)}[/]")
        if not passed:
            failed.append(seed)
            console.print(escape("\n".join(output.splitlines()[-SHOWN_LINES:])), style="dim")
    console.print(
        f"{runs - len(failed)} of {runs} runs passed in {total_s / 60:.1f} min"
        + (f"; failed seeds: {', '.join(map(str, failed))}" if failed else "")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
