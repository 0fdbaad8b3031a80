"""Check, build and describe a release of one package: ``hatch run release check|build|notes|changelog PACKAGE``.

A package is released by pushing the tag ``<package>-v<version>`` (dots and underscores of the name as dashes). The
version is the literal in its ``_version.py``; tag, literal and changelog must say the same.
``.github/workflows/release.yml`` runs ``pick TAG``, ``check`` and ``build`` and publishes what they leave in ``dist/``.
transport-utils goes first: what the others need of it must have been tagged before them. ``dry-run`` does all of it
for all packages, into a local folder (``rehearsal.py``).
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import itertools
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
PRIVATE = "Private :: Do Not Upload"


class Refused(Exception):
    """The package cannot be released as it is; the message says why."""


class Package:
    """One folder under ``packages/``.

    Args:
        name: Name of the folder, which is the name of the distribution.

    Raises:
        Refused: There is no such package.
    """

    def __init__(self, name: str) -> None:
        self.folder = ROOT / "packages" / name
        if not (self.folder / "pyproject.toml").exists():
            known = ", ".join(
                sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))
            )
            raise Refused(f"no package {name!r}; there are {known}")
        settings = tomllib.loads((self.folder / "pyproject.toml").read_text(encoding="utf-8"))
        self.project = settings["project"]
        self.name: str = self.project["name"]
        self.tag_prefix = f"{canonicalize_name(self.name)}-v"
        self.version_file = self.folder / settings["tool"]["hatch"]["version"]["path"]
        self.import_name = ".".join(self.version_file.parent.relative_to(self.folder / "src").parts)
        self.changelog = self.folder / "CHANGELOG.md"

    @property
    def version(self) -> str:
        """The version literal.

        Raises:
            Refused: The file holds no literal, or it is not a version in its normal form.
        """
        for node in ast.parse(self.version_file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__":
                literal = ast.literal_eval(node.value)
                try:
                    normal = str(Version(literal))
                except InvalidVersion:
                    raise Refused(f"{self.version_file}: {literal!r} is not a version") from None
                if normal != literal:
                    raise Refused(f"{self.version_file}: write {literal!r} as {normal!r}")
                return normal
        raise Refused(f"{self.version_file}: no literal __version__")

    @property
    def tag(self) -> str:
        """The tag of the present version."""
        return self.tag_prefix + self.version

    def tags(self) -> list[tuple[Version, str]]:
        """Return the release tags of this package in the repository, oldest first."""
        names = run("git", "tag", "--list", f"{self.tag_prefix}*").split()
        return sorted((Version(name.removeprefix(self.tag_prefix)), name) for name in names)

    def siblings(self, *, extras: bool = False) -> Iterator[tuple[Requirement, Package]]:
        """Yield the requirements that other packages of this repository fulfil, those of extras too if wanted."""
        by_name = {
            canonicalize_name(path.parent.name): path.parent.name
            for path in ROOT.glob("packages/*/pyproject.toml")
        }
        texts = list(self.project.get("dependencies", []))
        if extras:
            texts += itertools.chain(*self.project.get("optional-dependencies", {}).values())
        for text in texts:
            requirement = Requirement(text)
            name = by_name.get(canonicalize_name(requirement.name))
            if name is not None and name != self.folder.name:
                yield requirement, Package(name)

    def notes(self) -> str:
        """Return the changelog section of the present version, without its heading.

        Raises:
            Refused: There is none, or it is empty.
        """
        text = self.changelog.read_text(encoding="utf-8")
        section = re.search(
            rf"^## {re.escape(self.version)}(?: \([^)]*\))?\n(.*?)(?=^## |\Z)", text, re.M | re.S
        )
        if section is None or not section[1].strip():
            raise Refused(
                f"{self.changelog.relative_to(ROOT)}: nothing under a heading '## {self.version}'"
            )
        return section[1].strip() + "\n"


def in_order() -> list[Package]:
    """Return all packages, each after those it needs.

    Raises:
        Refused: They need each other in a circle.
    """
    waiting = [Package(path.parent.name) for path in sorted(ROOT.glob("packages/*/pyproject.toml"))]
    done: list[Package] = []
    while waiting:
        names = {package.name for package in waiting}
        ready = [
            package
            for package in waiting
            if not names & {sibling.name for _, sibling in package.siblings(extras=True)}
        ]
        if not ready:
            raise Refused(f"these need each other: {', '.join(sorted(names))}")
        done += ready
        waiting = [package for package in waiting if package not in ready]
    return done


def pick(tag: str) -> Package:
    """Return the package a tag releases.

    Raises:
        Refused: No package has this tag's name, or its version is another.
    """
    for path in ROOT.glob("packages/*/pyproject.toml"):
        package = Package(path.parent.name)
        if tag.startswith(package.tag_prefix):
            if tag != package.tag:
                raise Refused(
                    f"tag {tag}: the version of {package.name} is {package.version}, not that"
                )
            return package
    raise Refused(f"tag {tag}: expected <package>-v<version>")


def check(package: Package, *, tagged: bool) -> Iterator[str]:
    """Yield every reason not to release a package as it is.

    Args:
        package: The package.
        tagged: Whether the release is being made now: then siblings must have been released, and no fragment may be
        left.
    """
    try:
        version = Version(package.version)
        package.notes()
    except Refused as reason:
        yield str(reason)
        return
    for name in ("README.md", "LICENSE", "docs"):
        if not (package.folder / name).exists():
            yield f"{name} is missing"
    if not (package.version_file.parent / "py.typed").exists():
        yield "py.typed is missing"
    if PRIVATE in package.project.get("classifiers", []):
        yield f"it is marked {PRIVATE!r}"
    fragments = [
        path.name for path in (package.folder / "changes").glob("*") if path.name[0] != "."
    ]
    if tagged and fragments:
        yield f"fragments are left in changes/: {', '.join(sorted(fragments))} (run towncrier)"
    for stray in (package.folder / "src").glob("*/__init__.py"):
        if (
            "." in package.import_name
            and stray.parent.name == package.import_name.partition(".")[0]
        ):
            yield f"{stray.relative_to(ROOT)} would break the namespace"
    for requirement, sibling in package.siblings():
        if not requirement.specifier.contains(sibling.version):
            yield f"requires {requirement}, but {sibling.name} here is {sibling.version}"
        if not any(one.operator in ("<", "~=", "==") for one in requirement.specifier):
            yield f"requires {requirement}: give it an upper bound"
        if tagged and not any(
            requirement.specifier.contains(released) for released, _ in sibling.tags()
        ):
            yield f"requires {requirement}, and no such {sibling.name} has been released: release it first"
    earlier = [(released, tag) for released, tag in package.tags() if released < version]
    if earlier:
        last, tag = earlier[-1]
        yield from _api_changes(package, tag, allowed=version.major > last.major)


def _api_changes(package: Package, tag: str, *, allowed: bool) -> Iterator[str]:
    source = package.folder.relative_to(ROOT) / "src"
    done = subprocess.run(
        [_tool("griffe"), "check", package.import_name, "-s", str(source), "--against", tag],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and allowed:
        print(
            f"the public API differs from {tag}, as a new major version may:\n{done.stdout}{done.stderr}"
        )
    elif done.returncode:
        yield f"the public API breaks with {tag}; raise the major version or keep it:\n{done.stdout}{done.stderr}"


def build(package: Package) -> list[pathlib.Path]:
    """Build, examine and try out the artifacts of a package; return what is left in ``dist/``.

    That is ``dist/<package>/`` with sdist and wheel, and the bill of materials in ``dist/sbom/``.
    Everything is built twice and must come out the same, byte for byte; the wheel is also built from the unpacked
    sdist, and installed into an empty environment, where it must import and say its version.

    Raises:
        Refused: One of these failed.
    """
    target = DIST / package.folder.name
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = pathlib.Path(scratch_name)
        first = _hatchling(package.folder, scratch / "first")
        second = _hatchling(package.folder, scratch / "second")
        if _digests(first) != _digests(second):
            raise Refused("two builds of the same sources differ")
        (sdist,) = (path for path in first if path.suffix == ".gz")
        (wheel,) = (path for path in first if path.suffix == ".whl")
        shutil.unpack_archive(sdist, scratch / "unpacked")
        (unpacked,) = (scratch / "unpacked").iterdir()
        again = _hatchling(unpacked, scratch / "again", "wheel")
        if _digests(again) != _digests([wheel]):
            raise Refused(
                "the wheel built from the sdist is not the wheel built from the repository"
            )
        run(_tool("twine"), "check", "--strict", *map(str, first))
        run(_tool("check-wheel-contents"), str(wheel), *_contents_options(package))
        _check_members(package, wheel)
        python = _try_out(package, wheel, scratch)
        target.mkdir(parents=True)
        kept = [pathlib.Path(shutil.copy2(path, target)) for path in first]
        sbom = DIST / "sbom" / f"{wheel.stem}.cdx.json"
        sbom.parent.mkdir(exist_ok=True)
        pyproject = str(package.folder / "pyproject.toml")
        options = ["--pyproject", pyproject, "--output-reproducible", "--of", "JSON"]
        run(_tool("cyclonedx-py"), "environment", *options, "-o", str(sbom), str(python))
        return [*kept, sbom]


def _contents_options(package: Package) -> list[str]:
    top = sorted({path.name for path in (package.folder / "src").iterdir() if path.is_dir()})
    # W002: files that only re-export, as old import paths need them, may well be the same.
    return ["--toplevel", ",".join(top), "--ignore", "W002"]


def _check_members(package: Package, wheel: pathlib.Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    folder = package.import_name.replace(".", "/")
    if f"{folder}/py.typed" not in names:
        raise Refused(f"the wheel has no {folder}/py.typed")
    namespace = f"{package.import_name.partition('.')[0]}/__init__.py"
    if "." in package.import_name and namespace in names:
        raise Refused(f"the wheel has a {namespace}, which breaks the namespace")
    if not any(name.endswith("/licenses/LICENSE") for name in names):
        raise Refused("the wheel has no licence")


def _try_out(package: Package, wheel: pathlib.Path, scratch: pathlib.Path) -> pathlib.Path:
    """Install the wheel, with siblings built from here, into an empty environment; return its interpreter."""
    wheels = [wheel]
    for _, sibling in package.siblings():
        wheels += _hatchling(sibling.folder, scratch / "siblings", "wheel")
    uv = os.environ.get("HATCH_UV") or _tool("uv")
    run(uv, "venv", "-q", "--python", sys.executable, str(scratch / "venv"))
    python = scratch / "venv" / "bin" / "python"
    run(uv, "pip", "install", "-q", "--python", str(python), *map(str, wheels))
    run(uv, "pip", "check", "-q", "--python", str(python))
    subject = (package.import_name, package.name, package.version)
    print(run(str(python), "-W", "error", "-c", SMOKE, *subject, cwd=scratch), end="")
    return python


SMOKE = """
import importlib, importlib.metadata, sys
name, distribution, version = sys.argv[1:]
module = importlib.import_module(name)
assert importlib.metadata.version(distribution) == version, "metadata and literal differ"
assert module.__version__ == version, f"{name}.__version__ is {module.__version__}"
extras = importlib.metadata.metadata(distribution).get_all("Provides-Extra")
waiting = []
for public in module.__all__:
    try:
        getattr(module, public)
    except ImportError:
        if not extras:
            raise
        waiting.append(public)
note = f", of which {', '.join(waiting)} need an extra" if waiting else ""
print(f"{distribution} {version} imports, with {len(module.__all__)} public names{note}")
"""


def _hatchling(folder: pathlib.Path, target: pathlib.Path, *kinds: str) -> list[pathlib.Path]:
    chosen = [argument for kind in kinds or ("sdist", "wheel") for argument in ("-t", kind)]
    run(sys.executable, "-m", "hatchling", "build", *chosen, "-d", str(target), cwd=folder)
    return sorted(target.iterdir())


def _digests(paths: list[pathlib.Path]) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _tool(name: str) -> str:
    found = shutil.which(
        name, path=f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    if found is None:
        raise Refused(f"{name} is not installed; run this through `hatch run release ...`")
    return found


def run(*command: str, cwd: pathlib.Path | None = None) -> str:
    """Run a command in a folder, by default the repository, and return what it printed.

    Raises:
        Refused: It failed; the message holds its words.
    """
    done = subprocess.run(command, cwd=cwd or ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"{pathlib.Path(command[0]).name} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def main(arguments: list[str]) -> int:
    """Run one command; return the exit status."""
    parser = argparse.ArgumentParser(prog="release.py", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("check", "say what stands against a release"),
        ("build", "build, examine and try out the artifacts, into dist/"),
        ("notes", "print the changelog section of the version"),
        ("changelog", "move the fragments in changes/ into the changelog, under the version"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("package", help="folder under packages/")
        if name == "check":
            command.add_argument("--tag", help="the tag that was pushed; makes the check final")
    dry_run = commands.add_parser("dry-run", help="release all packages into a local folder")
    dry_run.add_argument("--into", type=pathlib.Path, help="keep the index folder here")
    commands.add_parser("pick", help="print the package a tag releases").add_argument("tag")
    options = parser.parse_args(arguments)
    try:
        if options.command == "pick":
            print(pick(options.tag).folder.name)
            return 0
        if options.command == "dry-run":
            rehearsal = pathlib.Path(__file__).with_name("rehearsal.py")
            into = [] if options.into is None else ["--into", str(options.into)]
            return subprocess.call([sys.executable, str(rehearsal), *into])
        package = Package(options.package)
        if options.command == "changelog":
            where = [
                "--config",
                str(package.folder / "pyproject.toml"),
                "--dir",
                str(package.folder),
            ]
            print(run(_tool("towncrier"), "build", "--yes", *where, "--version", package.version))
        elif options.command == "notes":
            print(package.notes(), end="")
        elif options.command == "build":
            for path in build(package):
                print(path.relative_to(ROOT))
        else:
            reasons = list(check(package, tagged=options.tag is not None))
            if options.tag is not None and options.tag != package.tag:
                reasons.insert(0, f"tag {options.tag}: expected {package.tag}")
            for reason in reasons:
                print(f"{package.name}: {reason}")
            if not reasons:
                print(f"{package.name} {package.version} can be released as {package.tag}")
            return 1 if reasons else 0
    except Refused as reason:
        print(f"{options.command}: {reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
