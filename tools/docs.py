"""Build the documentation of all packages into ``site/``: ``hatch run docs [PACKAGE ...]``.

Every warning is an error, every name of ours that a page refers to must exist, and every link inside the site must lead
somewhere, to the section too. transport-utils goes first, since the others link to it. Needs no network.
"""

from __future__ import annotations

import argparse
import ast
import html
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


def summary_of(package: pathlib.Path) -> str:
    """Return the one-line description of a package's metadata."""
    text = (package / "pyproject.toml").read_text(encoding="utf-8")
    match = re.search(r'^description = "(.*)"$', text, re.MULTILINE)
    return match[1] if match else ""


def build(package: pathlib.Path, linked: list[str]) -> int:
    """Build one package's pages; return Sphinx's exit status."""
    environment = {
        **os.environ,
        "DOCS_PACKAGE": str(package),
        "DOCS_SITE": str(SITE),
        "DOCS_NAME": package.name,
        "DOCS_VERSION": version_of(package),
        "DOCS_LINKED": " ".join(linked),
    }
    # Always afresh: a page that is not read again would not repeat its warnings.
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-E", "-a", "-W", "--keep-going", "-q"]
    folders = ["-c", str(CONF), "-d", str(SITE / ".doctrees" / package.name)]
    return subprocess.call(
        [*command, *folders, str(package / "docs"), str(SITE / package.name)],
        cwd=ROOT,
        env=environment,
    )


class _Links(html.parser.HTMLParser):
    """Collects what a page links to, and the names that can be linked to."""

    def __init__(self) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.names: set[str] = set()

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


def write_landing_page(built: list[pathlib.Path]) -> None:
    """Write ``site/index.html``: one line per package."""
    rows = "\n".join(
        f'<li><a href="{path.name}/index.html"><b>{path.name}</b> {version_of(path)}</a>'
        f"<br>{html.escape(summary_of(path))}</li>"
        for path in built
    )
    (SITE / "index.html").write_text(
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8"><title>service-clients</title>\n'
        '<meta name="viewport" content="width=device-width">\n'
        "<style>body{font:1.1rem/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}"
        "li{margin:.8rem 0}@media(prefers-color-scheme:dark){body{background:#131416;color:#ddd}a{color:#7ab8ff}}"
        "</style></head>\n<body><h1>service-clients</h1>\n"
        "<p>Drop-in successors of five client libraries, over one transport.</p>\n"
        f"<ul>\n{rows}\n</ul></body></html>\n",
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
    built: list[pathlib.Path] = []
    failed = []
    for package in known:
        if wanted and package.name not in (*wanted, FIRST):
            continue
        linked = [path.name for path in built if path.name == FIRST]
        print(f"docs of {package.name}", flush=True)
        if build(package, linked):
            failed.append(package.name)
        built.append(package)
    write_landing_page(built)
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
