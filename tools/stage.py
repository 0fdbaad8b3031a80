"""What a chapter of the demo works on: steps that are timed and checked, tables, servers that end with the chapter.

A chapter is one file ``tools/chapters/<client>.py``, run by ``tools/demo.py``:

    from stage import Stage

    TITLE = "Loud ML: train on real data, forecast, find anomalies"

    def run(stage: Stage) -> None:
        server = stage.enter(LoudmlServer(nodes=3))         # closed at the end; shown by --console
        stage.address("Loud ML", server.url)                # shown with --keep
        with stage.step("Load two weeks of power readings") as step:
            count = server.load("power", stage.data / "power.csv")
            step.note(f"{count} values")                    # shown behind the step
            step.check(count > 4000, "fewer values than the file has")
        with stage.step("Train") as step:
            for progress in job:
                step.progress(progress.done, progress.total)
            step.table(["time", "value"], rows)             # shown under the step

An exception or a failed check fails the step and ends the chapter; the demo then exits with 1. A chapter should take
less than ten seconds.
"""

from __future__ import annotations

import contextlib
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.status import Status
from rich.table import Table

if TYPE_CHECKING:
    from mock_servers.console import Console as Page

__all__ = ["Stage", "Step", "StepFailed", "Stopped"]

Entered = TypeVar("Entered")
INDENT = 4


class StepFailed(Exception):
    """A check of a step did not hold."""


class Stopped(BaseException):
    """The chapter was told to end; no failure."""


class Step:
    """One step while it runs.

    Args:
        text: What it does.
        status: Live line on a terminal.
        stage: What it is a step of.
    """

    def __init__(self, text: str, status: Status, stage: Stage) -> None:
        self.text = text
        self.notes: list[str] = []
        self.shown: list[Table] = []
        self._status = status
        self._stage = stage

    def note(self, text: str) -> None:
        """Show a short remark behind the step."""
        self.notes.append(text)

    def progress(self, done: int, total: int) -> None:
        """Show how far the step is, while it runs on a terminal.

        Raises:
            Stopped: The chapter is to end.
        """
        self._stage.check_stopped()
        self._status.update(f"{escape(self.text)} [dim]{done}/{total}[/]")

    def check(self, holds: Any, message: str) -> None:
        """Fail the step unless a condition holds.

        Args:
            holds: The condition; taken for its truth.
            message: What is wrong when it does not hold.

        Raises:
            StepFailed: It does not hold.
        """
        if not holds:
            raise StepFailed(message)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Show a table under the step; numbers are aligned to the right, floats get three decimals."""
        table = Table(box=None, pad_edge=False, header_style="dim")
        numeric = [
            all(isinstance(row[i], (int, float)) for row in rows) for i in range(len(columns))
        ]
        for column, is_numeric in zip(columns, numeric, strict=True):
            table.add_column(column, justify="right" if is_numeric else "left")
        for row in rows:
            table.add_row(*(_cell(value) for value in row))
        self.shown.append(table)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return escape(str(value))


class Stage:
    """The console and the resources of one chapter.

    Args:
        console: Terminal to print to.
        page: Web page that shows the servers entered; ``None`` without ``--console``.

    Attributes:
        data: Folder with the input files of the chapters.
        addresses: What :meth:`address` was told, in order.
        steps: Number of steps that held.
    """

    def __init__(self, console: Console, page: Page | None = None) -> None:
        self.data = pathlib.Path(__file__).parent / "chapters" / "data"
        self.addresses: list[tuple[str, str]] = []
        self.steps = 0
        self.current: str | None = None
        self._console = console
        self._page = page
        self._resources = contextlib.ExitStack()
        self._stopped = False
        self._on_stop: list[Callable[[], object]] = []

    def enter(self, resource: contextlib.AbstractContextManager[Entered]) -> Entered:
        """Enter a context manager that is left when the chapter ends.

        With ``--keep`` that is when the demo ends, with ``--console`` when the chapter runs again.
        """
        entered = self._resources.enter_context(resource)
        if self._page is not None and hasattr(entered, "traffic") and hasattr(entered, "faults"):
            self._page.add(entered)
        return entered

    def show_cluster(self, name: str, file: pathlib.Path) -> None:
        """Show a pylm cluster and its throughput on the page of ``--console``, as its servers report them."""
        if self._page is not None:
            from mock_servers.console.pipeline import Pipeline

            pipeline = self._resources.enter_context(Pipeline(file))
            self._page.show(name, pipeline.state, pipeline.throughput)

    def address(self, name: str, url: str) -> None:
        """Tell where something listens."""
        self.addresses.append((name, url))

    def stop(self) -> None:
        """Make the chapter end at its next step or progress; from any thread."""
        self._stopped = True
        for callback in list(self._on_stop):
            callback()

    @contextlib.contextmanager
    def stopping(self, callback: Callable[[], object]) -> Iterator[None]:
        """Call a function when the chapter is told to end during the block: for one that waits for something else.

        Raises:
            Stopped: It was told already.
        """
        self._on_stop.append(callback)
        self.check_stopped()
        try:
            yield
        finally:
            self._on_stop.remove(callback)

    def check_stopped(self) -> None:
        """Leave the chapter when it is to end.

        Raises:
            Stopped: It is.
        """
        if self._stopped:
            raise Stopped

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[Step]:
        """Run a block as a timed step; an exception fails it and goes on upwards.

        Raises:
            Stopped: The chapter is to end.
        """
        self.check_stopped()
        self.current = text
        started = time.perf_counter()
        with self._console.status(escape(text)) as status:
            step = Step(text, status, self)
            try:
                yield step
            except Exception as error:
                self.check_stopped()  # what it waited for was ended
                reason = str(error) if isinstance(error, StepFailed) else repr(error)
                self._line("[red]✗[/]", step, time.perf_counter() - started)
                self._console.print(Padding(f"[red]{escape(reason)}[/]", (0, 0, 0, INDENT)))
                raise
        self.steps += 1
        self._line("[green]✓[/]", step, time.perf_counter() - started)

    def _line(self, mark: str, step: Step, duration_s: float) -> None:
        notes = f"  [dim]{escape('; '.join(step.notes))}[/]" if step.notes else ""
        took = f"{duration_s * 1000:,.0f} ms"
        self._console.print(f"  {mark} {escape(step.text)} [cyan]{took}[/]{notes}")
        for table in step.shown:
            self._console.print(Padding(table, (0, 0, 0, INDENT)))

    def close(self) -> None:
        """Leave everything entered, in reverse order."""
        self._resources.close()
