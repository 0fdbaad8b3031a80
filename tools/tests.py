"""Run the test suite: ``hatch run tests [--gate] [PYTEST ARGUMENTS]``.

Without ``--gate`` the arguments go to pytest as they are. With it (``.ci/run``) the whole suite runs under
coverage and every distribution must reach its floor.

What runs on yapapi needs an environment of its own: beside the whole suite, and beside paths that name
``ya-httpx-client``, runs ``hatch run golem:tests`` (``--golem`` here). Beside the whole suite, pylm's tests are a
process of their own too. Both wait for killed and frozen processes more than they compute; their lines are shown when
the rest has ended. ``hatch run real-yagna:tests`` (``--real-yagna``) adds the tests against the real daemon.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

import checks

ROOT = pathlib.Path(__file__).resolve().parent.parent
PYTEST = ["-m", "pytest", "-c", "tools/pytest.ini", "--rootdir", "."]
COVERAGE = ["-m", "coverage", "run", "--rcfile", "tools/coveragerc"]
PYLM = "packages/pylm/tests"
GOLEM = ["packages/ya-httpx-client/tests", "tests-integration/golem"]
REAL_YAGNA = ["packages/ya-httpx-client/tests/real_yagna"]
NOTHING_COLLECTED = 5
STOP_WITHIN_S = 30.0
LOOK_AGAIN_S = 0.25
# Of the old releases yapapi asks for, on newer Pythons.
OLD_WARNINGS = [
    *("-W", "ignore:path is deprecated:DeprecationWarning"),
    *("-W", "ignore:the (type, exc, tb) signature of athrow() is deprecated:DeprecationWarning"),
]


def pytest_command(arguments: list[str], *, coverage: bool) -> list[str]:
    """Return the command that runs pytest in this environment."""
    return [sys.executable, *(COVERAGE if coverage else []), *PYTEST, *arguments]


def names_a_path(arguments: list[str]) -> bool:
    """Return whether an argument is a path, or a test in one."""
    return any((ROOT / word.partition("::")[0]).exists() for word in arguments)


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


class SuiteBeside:
    """Tests in a process of their own, beside the block that it surrounds."""

    def __init__(self, command: list[str], environment: Mapping[str, str] = os.environ) -> None:
        """Take what runs; an empty command is a suite without a test."""
        self._command = command
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._output = tempfile.NamedTemporaryFile(prefix="tests-beside-")  # noqa: SIM115

    def __enter__(self) -> SuiteBeside:
        if self._command:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environment,
                stdout=self._output,
                stderr=subprocess.STDOUT,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            try:  # Ctrl-C has reached its process group too
                self._process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.terminate()
        self._output.close()

    def finish(self) -> int:
        """Show what the suite writes until it ends; return its exit status."""
        if self._process is None:
            return NOTHING_COLLECTED
        with open(self._output.name, "rb") as written:
            while True:
                ended = self._process.poll()
                shutil.copyfileobj(written, sys.stdout.buffer)
                sys.stdout.flush()
                if ended is not None:
                    return ended
                time.sleep(LOOK_AGAIN_S)


def main(arguments: list[str]) -> int:
    """Run pytest, and the coverage floors when asked; return the exit status."""
    gate = "--gate" in arguments
    arguments = [argument for argument in arguments if argument != "--gate"]
    if "--golem" in arguments or "--real-yagna" in arguments:
        place = GOLEM if "--golem" in arguments else REAL_YAGNA
        rest = [argument for argument in arguments if argument not in ("--golem", "--real-yagna")]
        all_there = [*OLD_WARNINGS, *rest, *([] if names_a_path(rest) else place)]
        return subprocess.call(pytest_command(all_there, coverage=gate), cwd=ROOT)
    if gate:
        subprocess.check_call([sys.executable, *COVERAGE[:2], "erase", *COVERAGE[3:]], cwd=ROOT)
    whole = not names_a_path(arguments)
    golem = golem_arguments(arguments)
    golem_command = ["hatch", "run", "golem:tests", *(["--gate"] if gate else []), *(golem or [])]
    soak = {"YA_HTTPX_SOAK_S": "60"} if gate else {}
    pylm_command = pytest_command([*arguments, PYLM], coverage=gate)
    rest = [*arguments, f"--ignore={PYLM}"] if whole else arguments
    with (
        SuiteBeside([] if golem is None else golem_command, {**soak, **os.environ}) as on_yapapi,
        SuiteBeside(pylm_command if whole else []) as of_pylm,
    ):
        status = subprocess.call(pytest_command(rest, coverage=gate), cwd=ROOT)
        statuses = {status, of_pylm.finish(), on_yapapi.finish()}
    if len(statuses) > 1:  # not each has to do with what was asked for
        statuses.discard(NOTHING_COLLECTED)
    status = next((each for each in statuses if each), 0)  # a signal is below 0
    if gate and status == 0:
        status = checks.check_coverage()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
