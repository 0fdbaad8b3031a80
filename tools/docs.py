"""Build the documentation of all packages into ``site/``: ``hatch run docs [PACKAGE ...]``.

Every warning is an error, every name of ours that a page refers to must exist, and every link inside the site must lead
somewhere, to the section too. transport-utils goes first, since the others link to it, and the pages of ``docs/``,
where the site begins, go last. Needs no network.
"""

from __future__ import annotations

import argparse
import ast
import html.parser
import os
import pathlib
import re
import subprocess
import sys
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
SITE = ROOT / "site"
FIRST = "transport-utils"
OVERVIEW = "service-clients"
"""Name of the section made of ``docs/``, which links to all packages."""
CONF = ROOT / "tools" / "sphinx"


def packages() -> list[pathlib.Path]:
    """Return the folders of the packages that have pages, transport-utils first."""
    found = [path.parent.parent for path in ROOT.glob("packages/*/docs/index.*")]
    return sorted(set(found), key=lambda path: (path.name != FIRST, path.name))


def version_of(package: pathlib.Path) -> str:
    """Return the version literal of a package, which is read and not imported."""
    (path,) = package.glob("src/**/_version.py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__":
            return str(ast.literal_eval(node.value))
    raise SystemExit(f"{path}: no literal __version__")


def build(name: str, pages: pathlib.Path, version: str, linked: list[str]) -> int:
    """Build one section's pages; return Sphinx's exit status."""
    environment = {
        **os.environ,
        "DOCS_SITE": str(SITE),
        "DOCS_NAME": name,
        "DOCS_VERSION": version,
        "DOCS_LINKED": " ".join(linked),
    }
    # Always afresh: a page that is not read again would not repeat its warnings.
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-E", "-a", "-W", "--keep-going", "-q"]
    folders = ["-c", str(CONF), "-d", str(SITE / ".doctrees" / name)]
    return subprocess.call(
        [*command, *folders, str(pages), str(SITE / name)], cwd=ROOT, env=environment
    )


class _Links(html.parser.HTMLParser):
    """Collects what a page links to, and the names that can be linked to."""

    def __init__(self) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.names: set[str] = set()

    def handle_data(self, data: str) -> None:
        # A role whose name cannot be read stays as it was typed.
        self.links.update(re.findall(r"\{external\+[^}]*\}", data))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" or (tag == "a" and name == "name"):
                self.names.add(value or "")
            elif (tag, name) in {
                ("a", "href"),
                ("img", "src"),
                ("link", "href"),
                ("script", "src"),
            }:
                self.links.add(value or "")


def broken_links(site: pathlib.Path) -> list[str]:
    """Return every link between files of the site that leads nowhere, as ``page: link``."""
    pages: dict[pathlib.Path, _Links] = {}
    for path in sorted(site.rglob("*.html")):
        pages[path] = _Links()
        pages[path].feed(path.read_text(encoding="utf-8"))
    broken = []
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path if not parts.path else path.parent / urllib.parse.unquote(parts.path)
            target = pathlib.Path(os.path.normpath(target))
            if target.is_dir():
                target /= "index.html"
            fragment = urllib.parse.unquote(parts.fragment)
            known = pages.get(target)
            if not target.exists() or (
                fragment and known is not None and fragment not in known.names
            ):
                broken.append(f"{path.relative_to(site)}: {link}")
    return broken


def write_entrance(built: list[str]) -> None:
    """Write ``site/index.html``, which leads to the overview, or to the last section built where there is none."""
    start = OVERVIEW if (SITE / OVERVIEW).exists() else built[-1]
    (SITE / "index.html").write_text(
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{OVERVIEW}</title>\n'
        f'<meta http-equiv="refresh" content="0; url={start}/index.html"></head>\n'
        f'<body><a href="{start}/index.html">{OVERVIEW}</a></body></html>\n',
        encoding="utf-8",
    )


def main(arguments: list[str]) -> int:
    """Build the pages asked for, or all, and check their links; return the exit status."""
    parser = argparse.ArgumentParser(prog="hatch run docs", description=__doc__.split("\n")[0])
    parser.add_argument("package", nargs="*", help="folder under packages/; all without one")
    wanted = parser.parse_args(arguments).package
    known = packages()
    unknown = set(wanted) - {path.name for path in known}
    if unknown:
        parser.error(f"no documentation for {', '.join(sorted(unknown))}")
    SITE.mkdir(exist_ok=True)
    built: list[str] = []
    failed = []
    for package in known:
        if wanted and package.name not in (*wanted, FIRST):
            continue
        linked = [name for name in built if name == FIRST]
        print(f"docs of {package.name}", flush=True)
        if build(package.name, package / "docs", version_of(package), linked):
            failed.append(package.name)
        built.append(package.name)
    if not wanted and not failed:
        print("overview", flush=True)
        if build(OVERVIEW, ROOT / "docs", "", built):
            failed.append(OVERVIEW)
    write_entrance(built)
    broken = [] if failed else broken_links(SITE)
    for line in broken:
        print(f"broken link: {line}")
    if failed:
        print(f"failed: {', '.join(failed)}")
    elif not broken:
        print(f"built {len(built)} packages; open {(SITE / 'index.html').relative_to(ROOT)}")
    return 1 if failed or broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
