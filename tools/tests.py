"""Run the test suite: ``hatch run tests [--gate] [PYTEST ARGUMENTS]``.

Without ``--gate`` the arguments go to pytest as they are. With it (``.ci/run``) the whole suite runs under
coverage and every distribution must reach its floor.

What runs on yapapi needs an environment of its own. The whole suite, and paths that name ``ya-httpx-client``, are
therefore followed by ``hatch run golem:tests`` (``--golem`` here); ``hatch run real-yagna:tests`` (``--real-yagna``)
adds the tests against the real daemon.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import checks

ROOT = pathlib.Path(__file__).resolve().parent.parent
PYTEST = ["-m", "pytest", "-c", "tools/pytest.ini", "--rootdir", "."]
COVERAGE = ["-m", "coverage", "run", "--rcfile", "tools/coveragerc"]


GOLEM = ["packages/ya-httpx-client/tests", "tests-integration/golem"]
REAL_YAGNA = ["packages/ya-httpx-client/tests/real_yagna"]
NOTHING_COLLECTED = 5
# Of the old releases yapapi asks for, on newer Pythons.
OLD_WARNINGS = [
    *("-W", "ignore:path is deprecated:DeprecationWarning"),
    *("-W", "ignore:the (type, exc, tb) signature of athrow() is deprecated:DeprecationWarning"),
]


def run_pytest(arguments: list[str], *, coverage: bool) -> int:
    """Run pytest in this environment; return its exit status."""
    command = [sys.executable, *(COVERAGE if coverage else []), *PYTEST, *arguments]
    return subprocess.call(command, cwd=ROOT)


def golem_arguments(arguments: list[str]) -> list[str] | None:
    """Return the arguments for the golem environment, ``None`` when nothing in it is asked for."""
    paths = [word for word in arguments if (ROOT / word.partition("::")[0]).exists()]
    ours = [word for word in paths if "ya-httpx-client" in word or "golem" in word]
    for word in paths:  # a folder above
        ours += [
            path for path in GOLEM if path.startswith(f"{word.rstrip('/')}/") and word not in ours
        ]
    if paths and not ours:
        return None
    return [word for word in arguments if word not in paths] + (ours or GOLEM)


def main(arguments: list[str]) -> int:
    """Run pytest, and the coverage floors when asked; return the exit status."""
    gate = "--gate" in arguments
    arguments = [argument for argument in arguments if argument != "--gate"]
    if "--golem" in arguments or "--real-yagna" in arguments:
        place = GOLEM if "--golem" in arguments else REAL_YAGNA
        rest = [argument for argument in arguments if argument not in ("--golem", "--real-yagna")]
        named = any((ROOT / word.partition("::")[0]).exists() for word in rest)
        return run_pytest([*OLD_WARNINGS, *rest, *([] if named else place)], coverage=gate)
    if gate:
        subprocess.check_call([sys.executable, *COVERAGE[:2], "erase", *COVERAGE[3:]], cwd=ROOT)
    status = run_pytest(arguments, coverage=gate)
    golem = golem_arguments(arguments)
    if golem is not None and status in (0, NOTHING_COLLECTED):
        command = ["hatch", "run", "golem:tests", *(["--gate"] if gate else []), *golem]
        soak = {"YA_HTTPX_SOAK_S": "60"} if gate else {}
        status = subprocess.call(command, cwd=ROOT, env={**soak, **os.environ}) or (
            0 if status == NOTHING_COLLECTED else status
        )
    if gate and status == 0:
        status = checks.check_coverage()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
