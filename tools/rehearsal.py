"""The release of all packages, rehearsed: ``hatch run release dry-run [--into FOLDER]``.

From a clean clone, and in the order of their dependencies, each package is tagged (in the clone only), checked as the
release workflow checks it, built, and laid into a local index folder; then each is installed from there by pip, by name
and version, into an empty environment, and must import and pass ``pip check``. ``release.py`` runs it.
"""

from __future__ import annotations

import argparse
import pathlib
import shutil
import sys
import tempfile
import time

from release import ROOT, SMOKE, Package, Refused, in_order, run

__all__ = ["rehearse"]

ARTIFACTS = ("*.whl", "*.tar.gz")
IDENTITY = ("-c", "user.name=rehearsal", "-c", "user.email=rehearsal@localhost")


def rehearse(into: pathlib.Path | None) -> None:
    """Build all packages from a clean clone and install each from a local index folder; print a table.

    Args:
        into: Where the index folder stays; ``None`` for a temporary one.

    Raises:
        Refused: One of the steps failed; the message holds the tool's words.
    """
    began = time.monotonic()
    if changed := run("git", "status", "--porcelain"):
        print(f"not committed, and so not rehearsed:\n{changed.rstrip()}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        scratch = pathlib.Path(name)
        clone, index = scratch / "clone", into or scratch / "index"
        index.mkdir(parents=True, exist_ok=True)
        run("git", "clone", "-q", "--no-local", str(ROOT), str(clone))
        packages = in_order()
        print(f"{'package':20} {'version':8} {'build':>8} {'install':>8}  artifacts", flush=True)
        built = {package.name: _build(clone, package, index) for package in packages}
        for package in packages:
            installed_s = _install(package, index, scratch / "environments")
            build_s, artifacts = built[package.name]
            print(
                f"{package.name:20} {package.version:8} {build_s:6.1f} s {installed_s:6.1f} s  "
                f"{', '.join(path.name for path in artifacts)}",
                flush=True,
            )
        count = len(list(index.iterdir()))
        place = f" in {into}" if into else ""
        print(f"{len(packages)} packages, {count} files{place}, {time.monotonic() - began:.0f} s")


def _build(
    clone: pathlib.Path, package: Package, index: pathlib.Path
) -> tuple[float, list[pathlib.Path]]:
    began = time.monotonic()
    folder, tool = package.folder.name, str(clone / "tools" / "release.py")
    run("git", *IDENTITY, "tag", package.tag, cwd=clone)
    run(sys.executable, tool, "check", folder, "--tag", package.tag, cwd=clone)
    run(sys.executable, tool, "build", folder, cwd=clone)
    found = [path for kind in ARTIFACTS for path in (clone / "dist" / folder).glob(kind)]
    artifacts = [pathlib.Path(shutil.copy2(path, index)) for path in sorted(found)]
    return time.monotonic() - began, artifacts


def _install(package: Package, index: pathlib.Path, environments: pathlib.Path) -> float:
    began = time.monotonic()
    folder = environments / package.folder.name
    run(sys.executable, "-m", "venv", str(folder))
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    wanted = f"{package.name}=={package.version}"
    run(*pip, "install", "-q", "--find-links", str(index), wanted)
    run(*pip, "check")
    subject = (package.import_name, package.name, package.version)
    run(python, "-W", "error", "-c", SMOKE, *subject, cwd=folder)
    return time.monotonic() - began


def main() -> int:
    """Rehearse; return 1 when a step failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--into", type=pathlib.Path, help="keep the index folder here")
    try:
        rehearse(parser.parse_args().into)
    except Refused as reason:
        print(f"dry-run: {reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
