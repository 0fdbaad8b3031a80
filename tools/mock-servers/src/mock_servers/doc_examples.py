"""Run the examples of a documentation page, so that what users copy works.

Called by the test suites of all packages::

    def test_quickstart_runs(server):
        assert run_page("packages/x/docs/quickstart.md", {"url": server.url}) > 3

The Python blocks of a page run in order in one namespace, as a reader would type them. In Markdown these are fences
marked ``python`` or ``pycon``; in reStructuredText ``code-block:: python`` directives and, where asked for, the plain
literal blocks after ``::``. A block may use ``await``. What a block prints is compared with the ``output`` block that
follows it, if there is one, where ``...`` stands for anything. A comment ``example: not run`` in the line before
(``<!-- -->`` or ``..``) leaves a block out. Tracebacks name page and line.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import inspect
import io
import pathlib
import re
import textwrap
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Example", "find_examples", "run_examples", "run_page"]

NOT_RUN = "example: not run"
_FENCE = re.compile(r"[ ]*(?P<ticks>`{3,}|~{3,})[ ]*(?P<info>[^`]*)")
_DIRECTIVE = re.compile(
    r"(?P<indent>[ ]*)\.\.[ ]+(?:code-block|code|sourcecode)::[ ]*(?P<language>\S*)[ ]*"
)


@dataclass(frozen=True, slots=True)
class Example:
    """One block of code on a page.

    Args:
        path: The page.
        line: Number of its first line of code, from 1.
        language: As marked, lower case; empty for none.
        source: The code, without the indentation of the page.
        output: What it must print, ``None`` when the page does not say.
        skipped: Whether the page says that it is not run.
    """

    path: pathlib.Path
    line: int
    language: str
    source: str
    output: str | None = None
    skipped: bool = False


def find_examples(path: str | pathlib.Path) -> list[Example]:
    """Return all blocks of code of a Markdown (``.md``) or reStructuredText page, in order."""
    path = pathlib.Path(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    blocks = _markdown_blocks(lines) if path.suffix == ".md" else _rst_blocks(lines)
    found: list[Example] = []
    for start, end, language, marker in blocks:
        source = textwrap.dedent("\n".join(lines[start:end])) + "\n"
        if language == "output" and found and found[-1].output is None:
            found[-1] = replace(found[-1], output=source)
            continue
        skipped = NOT_RUN in "".join(lines[max(0, marker - 2) : marker])
        found.append(Example(path, start + 1, language, source, skipped=skipped))
    return found


def run_page(
    path: str | pathlib.Path,
    namespace: dict[str, Any] | None = None,
    *,
    languages: Collection[str] = ("python", "pycon"),
    skip: Callable[[Example], bool] | None = None,
) -> int:
    """Run the examples of a page and return how many ran.

    Args:
        path: The page.
        namespace: Names the page takes for granted; examples add to it. ``None`` for none.
        languages: Marks of the blocks to run; ``""`` stands for blocks without one.
        skip: Says which blocks of these languages to leave out; ``None`` for none.

    Raises:
        AssertionError: A block printed something else than the page says.
        Exception: Whatever a block raised.
    """
    chosen = [
        example
        for example in find_examples(path)
        if example.language in languages and not example.skipped and not (skip and skip(example))
    ]
    run_examples(chosen, {} if namespace is None else namespace)
    return len(chosen)


def run_examples(examples: Collection[Example], namespace: dict[str, Any]) -> None:
    """Run examples in order in one namespace, and on one event loop.

    Raises:
        AssertionError: A block printed something else than the page says.
        Exception: Whatever a block raised.
    """
    namespace.setdefault("__name__", "__main__")
    loop = asyncio.new_event_loop()
    try:
        for example in examples:
            if example.language == "pycon" or example.source.lstrip().startswith(">>>"):
                _run_session(example, namespace)
            else:
                _run_block(example, namespace, loop)
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def _run_block(
    example: Example, namespace: dict[str, Any], loop: asyncio.AbstractEventLoop
) -> None:
    # Empty lines in front make the line numbers of tracebacks those of the page.
    source = "\n" * (example.line - 1) + example.source
    code = compile(source, str(example.path), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    printed = io.StringIO()
    capture = (
        contextlib.nullcontext() if example.output is None else contextlib.redirect_stdout(printed)
    )
    with capture:
        result = eval(code, namespace)
        if inspect.isawaitable(result):
            loop.run_until_complete(result)
    if example.output is not None:
        checker = doctest.OutputChecker()
        if not checker.check_output(example.output, printed.getvalue(), doctest.ELLIPSIS):
            raise AssertionError(
                f"{example.path}:{example.line} printed\n{printed.getvalue()}\n"
                f"and should have printed\n{example.output}"
            )


def _run_session(example: Example, namespace: dict[str, Any]) -> None:
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    test = parser.get_doctest(
        example.source, namespace, f"line {example.line}", str(example.path), example.line - 1
    )
    report = io.StringIO()
    runner.run(test, out=report.write, clear_globs=False)
    namespace.update(test.globs)
    if runner.failures:
        raise AssertionError(report.getvalue())


_Block = tuple[int, int, str, int]
"""First line, line after the last, language, and the line of the mark; from 0."""


def _markdown_blocks(lines: list[str]) -> Iterator[_Block]:
    at = 0
    while at < len(lines):
        fence = _FENCE.fullmatch(lines[at])
        if fence is None:
            at += 1
            continue
        words = fence["info"].replace("{code-block}", "").split()
        end = at + 1
        while end < len(lines) and lines[end].strip() != fence["ticks"]:
            end += 1
        yield at + 1, end, words[0].lower() if words else "", at
        at = end + 1


def _rst_blocks(lines: list[str]) -> Iterator[_Block]:
    at = 0
    while at < len(lines):
        line = lines[at]
        directive = _DIRECTIVE.fullmatch(line)
        is_literal = line.rstrip().endswith("::") and not line.lstrip().startswith("..")
        if directive is None and not is_literal:
            at += 1
            continue
        indent = len(line) - len(line.lstrip())
        start = at + 1
        while start < len(lines) and (
            not lines[start].strip() or lines[start].lstrip().startswith(":")
        ):
            start += 1
        end = start
        while end < len(lines) and (not lines[end].strip() or _indent(lines[end]) > indent):
            end += 1
        last = end
        while last > start and not lines[last - 1].strip():
            last -= 1
        if last > start:
            yield start, last, (directive["language"].lower() if directive else ""), at
        at = max(end, at + 1)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
