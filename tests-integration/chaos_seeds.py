"""The command line of a chaos suite: one run after the other, each with the next seed; a seed reproduces a run."""

from __future__ import annotations

import argparse
from collections.abc import Callable

__all__ = ["run_seeds"]

INTERRUPTED = 130


def run_seeds(description: str, run: Callable[[int, float], tuple[list[str], str]]) -> int:
    """Run the seeds asked for; print what happened and return 1 when a promise was broken.

    Args:
        description: For ``--help``.
        run: Takes seed and seconds; returns the broken promises and what happened.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default %(default)s)")
    parser.add_argument("--runs", type=int, default=1, help="runs, each with the next seed")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="length of a run (default %(default)s)"
    )
    options = parser.parse_args()
    failed = 0
    for seed in range(options.seed, options.seed + options.runs):
        try:
            broken, report = run(seed, options.seconds)
        except KeyboardInterrupt:
            print(f"stopped at seed {seed}", flush=True)
            return INTERRUPTED
        print(report, flush=True)
        for line in broken:
            print(f"  BROKEN {line}", flush=True)
        failed += bool(broken)
    return 1 if failed else 0
