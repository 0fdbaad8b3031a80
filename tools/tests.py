"""Run the test suite: ``hatch run tests [--gate] [PYTEST ARGUMENTS]``.

Without ``--gate`` the arguments go to pytest as they are. With it (``.ci/run``) the whole suite runs under
coverage and every distribution must reach its floor.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys

import checks

ROOT = pathlib.Path(__file__).resolve().parent.parent
PYTEST = ["-m", "pytest", "-c", "tools/pytest.ini", "--rootdir", "."]
COVERAGE = ["-m", "coverage", "run", "--rcfile", "tools/coveragerc"]


def main(arguments: list[str]) -> int:
    """Run pytest, and the coverage floors when asked; return the exit status."""
    gate = "--gate" in arguments
    arguments = [argument for argument in arguments if argument != "--gate"]
    if gate:
        subprocess.check_call([sys.executable, *COVERAGE[:2], "erase", *COVERAGE[3:]], cwd=ROOT)
    command = [sys.executable, *(COVERAGE if gate else []), *PYTEST, *arguments]
    status = subprocess.call(command, cwd=ROOT)
    if gate and status == 0:
        status = checks.check_coverage()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
