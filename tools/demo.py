"""Run the demo: ``hatch run demo [--only NAME] [--keep] [--console] [--list]``.

Each client has a chapter, ``tools/chapters/<client>.py``, that starts the servers it needs on free ports and walks
through the client's job on real input; ``tools/stage.py`` says how one is written. Chapters run one after the other,
those of :data:`ORDER` first; the demo exits with 0 only if every step of every chapter held. ``--console`` shows their
servers on a web page and, after a first round, runs all of them again and again at the same time, so that the page is
never still. Ctrl-C ends either within seconds, with status 130 unless the demo was to run until then.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import pathlib
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from stage import Stage, StepFailed, Stopped

if TYPE_CHECKING:
    from mock_servers.console import Console as Page

CHAPTERS = pathlib.Path(__file__).parent / "chapters"
ORDER = ("transport", "loudml", "v3io", "ramen", "pylm", "ya-httpx-client")
LIMIT_S = 120.0
STOP_S = 30.0
PAUSE_S = 3.0  # between two runs of a chapter on the page
LOOK_S = 0.5
INTERRUPTED = 130
PLAIN_WIDTH = 120  # where the output goes to a file


@dataclass
class Outcome:
    """How a chapter went."""

    name: str
    steps: int
    duration_s: float
    failure: str | None


def chapter_names() -> list[str]:
    """Return the names of the chapters that exist: those of :data:`ORDER` first, others by name."""
    found = sorted(path.stem for path in CHAPTERS.glob("*.py") if not path.stem.startswith("_"))
    return sorted(found, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


def load(name: str) -> ModuleType:
    """Import one chapter by its file."""
    specification = importlib.util.spec_from_file_location(
        f"chapter_{name}", CHAPTERS / f"{name}.py"
    )
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


class Watchdog:
    """Ends the process when the demo hangs, and says in which step."""

    def __init__(self, limit_s: float, stage: Stage | None = None) -> None:
        self.stage = stage
        self._timer = threading.Timer(limit_s, self._bite, args=(limit_s,))
        self._timer.daemon = True
        self._timer.start()

    def _bite(self, limit_s: float) -> None:
        step = self.stage.current if self.stage else None
        sys.stderr.write(f"\nthe demo hangs after {limit_s:.0f} s, in the step {step!r}; stopped\n")
        os._exit(1)

    def stop(self) -> None:
        """Call the watchdog off."""
        self._timer.cancel()


def run_chapter(name: str, stage: Stage, console: Console) -> Outcome:
    """Run one chapter and report; what fails is shown and does not stop the others.

    Raises:
        Stopped: It was told to end.
    """
    started = time.perf_counter()
    failure = None
    try:
        module = load(name)
        console.print(f"\n[bold]{escape(module.TITLE)}[/]")
        module.run(stage)
    except Exception as error:
        stage.check_stopped()  # what it waited for was ended
        failure = str(error) if isinstance(error, StepFailed) else repr(error)
        if not isinstance(error, StepFailed):
            console.print(escape("".join(traceback.format_exception(error))), style="dim")
    return Outcome(name, stage.steps, time.perf_counter() - started, failure)


def summary(outcomes: list[Outcome]) -> Table:
    """Return the table at the end."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("chapter")
    table.add_column("steps", justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("result")
    for outcome in outcomes:
        result = "[green]held[/]" if outcome.failure is None else "[red]failed[/]"
        table.add_row(outcome.name, str(outcome.steps), f"{outcome.duration_s:.1f}", result)
    return table


class Demo:
    """One run of the demo: chapters, their stages, and the page that shows them if there is one.

    Args:
        names: Chapters to run.
        console: Terminal.
        page: Page of ``--console``.

    Attributes:
        held: Whether every step of every chapter held so far.
    """

    def __init__(self, names: list[str], console: Console, page: Page | None) -> None:
        self.held = bool(names)
        self._names = names
        self._console = console
        self._page = page
        self._stages: dict[str, Stage] = {}
        self._ending = threading.Event()

    def round(self, *, keep: bool) -> None:
        """Run every chapter once; with ``keep`` what a chapter started goes on until the chapter runs again."""
        watchdog = Watchdog(LIMIT_S)
        outcomes = []
        try:
            for name in self._names:
                stage = watchdog.stage = self._open(name, self._console)
                outcomes.append(run_chapter(name, stage, self._console))
                if not keep:
                    stage.close()
        finally:
            watchdog.stop()
        self.held = self.held and all(outcome.failure is None for outcome in outcomes)
        self._console.print()
        self._console.print(summary(outcomes))

    def _open(self, name: str, console: Console) -> Stage:
        if name in self._stages:
            self._stages[name].close()
        stage = self._stages[name] = Stage(console, self._page)
        return stage

    def go_on(self) -> None:
        """Run every chapter again and again, all at the same time, a line for each run; ends by an exception."""
        threads = [threading.Thread(target=self._repeat, args=(name,)) for name in self._names]
        try:
            for thread in threads:
                thread.start()
            while not self._ending.wait(LOOK_S):
                pass  # a signal that comes just before a wait is heard after it
        finally:
            self._ending.set()
            for stage in list(self._stages.values()):
                stage.stop()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()

    def _repeat(self, name: str) -> None:
        width = max(map(len, self._names))
        while not self._ending.wait(PAUSE_S):
            said = Console(file=io.StringIO(), highlight=False, width=PLAIN_WIDTH)
            stage = self._open(name, said)
            if self._ending.is_set():
                return
            watchdog = Watchdog(LIMIT_S, stage)
            try:
                outcome = run_chapter(name, stage, said)
            except Stopped:
                return
            finally:
                watchdog.stop()
            mark = "[green]held[/]" if outcome.failure is None else "[red]failed[/]"
            self._console.print(
                f"{time.strftime('%X')}  {name:{width}}  {outcome.steps} steps in {outcome.duration_s:4.1f} s  {mark}"
            )
            if outcome.failure is not None:
                self.held = False
                assert isinstance(said.file, io.StringIO)
                self._console.print(escape(said.file.getvalue()))

    def show_addresses(self) -> None:
        """Print where the servers listen."""
        for stage in self._stages.values():
            for title, url in stage.addresses:
                self._console.print(f"{title}  {url}")

    def close(self) -> None:
        """End everything that still runs."""
        for stage in self._stages.values():
            stage.close()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", multiple=True, metavar="NAME", help="Run only this chapter; repeatable.")
@click.option("--keep", is_flag=True, help="Leave the servers running until Ctrl-C.")
@click.option(
    "--console",
    "with_page",
    is_flag=True,
    help="Show the servers on a web page, and run the chapters again and again.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    help="How often the chapters run; 1, with --console until Ctrl-C.",
)
@click.option("--list", "only_list", is_flag=True, help="List the chapters and exit.")
def main(
    only: tuple[str, ...], keep: bool, with_page: bool, rounds: int | None, only_list: bool
) -> None:
    """Walk every client through its job against the mock servers; exit 0 only if every step held."""
    names = chapter_names()
    if only_list:
        click.echo("\n".join(names))
        return
    if unknown := sorted(set(only) - set(names)):
        raise click.UsageError(f"no chapter {unknown[0]!r}; there are: {', '.join(names)}")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    waiting, watchdog = keep or (with_page and not rounds), None
    with contextlib.ExitStack() as resources:
        page = None
        if with_page:
            from mock_servers.console import Console as Page

            page = resources.enter_context(Page())
            console.print(f"[bold]watch the servers at {page.url}[/]")
        demo = Demo([name for name in names if not only or name in only], console, page)
        resources.callback(demo.close)
        for number in (signal.SIGTERM, signal.SIGHUP):  # so that nothing is left behind either way
            signal.signal(number, signal.default_int_handler)
        try:
            for _ in range(rounds or 1):
                demo.round(keep=keep or with_page)
            if keep:
                demo.show_addresses()
            if waiting:
                console.print("\n[dim]Ctrl-C stops[/]")
            if with_page and not rounds:
                demo.go_on()
            elif keep:
                while True:
                    time.sleep(LOOK_S)
        except KeyboardInterrupt:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # what follows takes seconds at most
            watchdog = Watchdog(STOP_S)
            console.print("stopped")
    if watchdog is not None:
        watchdog.stop()
        if not waiting:
            sys.exit(INTERRUPTED)
    sys.exit(0 if demo.held else 1)


if __name__ == "__main__":
    main()
