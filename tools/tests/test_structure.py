"""The shape of the repository: no circle of imports, not even lazy ones or for types; no long module; no dead link."""

import ast
import pathlib
import re
import urllib.parse

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LONGEST = 600
FOLDERS = sorted(
    {
        path.parent
        for place in ("packages/*/tests", "tools", "tests-integration")
        for path in ROOT.glob(f"{place}/**/*.py")
        if "src" not in path.relative_to(ROOT).parts
    }
)
"""Folders of modules that belong to no package: tests, tools, chapters of the demo, benchmarks."""
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob(".github/*.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("packages/*/README.md"),
    *ROOT.glob("tools/*/*.md"),
]


def modules():
    """Return the file of every module we ship."""
    found = {}
    for source in (*ROOT.glob("packages/*/src"), *ROOT.glob("tools/*/src")):
        for path in source.rglob("*.py"):
            parts = path.relative_to(source).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path, known):
    """Yield the modules of ours that a module imports anywhere in its text."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if name in known or node.module in known:
                    yield name if name in known else node.module


def circles(graph):
    """Return the sets of nodes that reach each other."""

    def reached(start):
        seen, waiting = set(), [start]
        while waiting:
            for node in graph[waiting.pop()] - seen:
                seen.add(node)
                waiting.append(node)
        return seen

    reach = {node: reached(node) for node in graph}
    return {
        frozenset(other for other in reach[node] if node in reach[other])
        for node in graph
        if node in reach[node]
    }


def test_circles_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d", "a"}}
    assert circles(graph) == {frozenset("bc"), frozenset("d")}


def test_no_module_imports_one_that_imports_it():
    known = modules()
    graph = {name: set(imports(path, known)) - {name} for name, path in known.items()}
    assert len(graph) > 200
    assert [sorted(circle) for circle in circles(graph)] == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_no_plain_module_imports_one_that_imports_it(folder):
    known = {path.stem: path for path in folder.glob("*.py")}
    graph = {name: set(imports(path, known)) - {name} for name, path in known.items()}
    assert [sorted(circle) for circle in circles(graph)] == []


def test_no_module_is_longer_than_a_person_can_hold_in_mind():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for place in ("packages", "tools", "tests-integration")
        for path in (ROOT / place).rglob("*.py")
        if "_proto" not in path.parts
    }
    assert len(lengths) > 500
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_to_files(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        parts = urllib.parse.urlsplit(link)
        if not parts.scheme and parts.path:
            assert (page.parent / urllib.parse.unquote(parts.path)).exists(), link
