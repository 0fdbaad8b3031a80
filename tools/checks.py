"""Repository checks that need more than one command: strict types of every package, coverage floors.

Called by ``hatch run types:check`` and, for the floors, by ``tools/tests.py --gate``.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
COVERAGE_FLOOR_PERCENT = 90


def source_roots() -> list[pathlib.Path]:
    """Return every ``src`` folder of the monorepo, packages first."""
    return [*sorted(ROOT.glob("packages/*/src")), *sorted(ROOT.glob("tools/*/src"))]


def import_names(source_root: pathlib.Path) -> list[str]:
    """Return the dotted import names below one ``src`` folder, namespaces followed down."""
    names: list[str] = []
    for folder in sorted(path for path in source_root.iterdir() if path.is_dir()):
        if (folder / "__init__.py").exists():
            names.append(folder.name)
        elif folder.name.isidentifier():
            names += [f"{folder.name}.{name}" for name in import_names(folder)]
    return names


def check_types(only: list[str]) -> int:
    """Run mypy in strict mode over all packages, or over the import names given."""
    names = only or [name for root in source_roots() for name in import_names(root)]
    packages = [argument for name in names for argument in ("-p", name)]
    path = os.pathsep.join(str(root) for root in source_roots())
    return subprocess.call(
        [sys.executable, "-m", "mypy", "--config-file", "tools/mypy.ini", *packages],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": path},
    )


def check_coverage() -> int:
    """Report branch coverage per distribution; return 1 when one is below the floor."""
    coverage = [sys.executable, "-m", "coverage"]
    settings = ["--rcfile", "tools/coveragerc"]
    subprocess.check_call([*coverage, "combine", "-q", *settings], cwd=ROOT)
    failed = 0
    for root in source_roots():
        distribution = root.parent.relative_to(ROOT)
        print(f"coverage of {distribution} (floor {COVERAGE_FLOOR_PERCENT} %)", flush=True)
        failed |= subprocess.call(
            [
                *coverage,
                "report",
                *settings,
                f"--include={distribution}/src/*",
                f"--fail-under={COVERAGE_FLOOR_PERCENT}",
            ],
            cwd=ROOT,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["types", *only]:
            sys.exit(check_types(only))
        case ["coverage"]:
            sys.exit(check_coverage())
        case _:
            sys.exit("usage: python tools/checks.py types [IMPORT_NAME ...] | coverage")
