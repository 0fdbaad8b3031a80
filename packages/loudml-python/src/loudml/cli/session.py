"""What the commands share: the client, the output, waiting for jobs.

One :class:`Session` per run of the tool; the shell keeps it over its commands.
"""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Callable, Iterable
from typing import Any

import click

from loudml import Loud, NativeHttpConnection, NotFoundError
from loudml.cli.status import Failed

__all__ = ["Session", "pass_session", "read_file"]

_POLL_S = 0.2


class Session:
    """The client of one run of the tool, and where its output goes.

    Args:
        addr: Address of the server.
        quiet: Whether tables are suppressed.
    """

    def __init__(self, addr: str, quiet: bool = False) -> None:
        self.addr = addr
        self.quiet = quiet
        self._loud: Loud | None = None

    @property
    def loud(self) -> Loud:
        """The client, made on first use."""
        if self._loud is None:
            self._loud = Loud([self.addr], connection_class=NativeHttpConnection, timeout=60)
        return self._loud

    def close(self) -> None:
        """Close the client."""
        if self._loud is not None:
            self._loud.close()

    def names(self, names: Iterable[str]) -> None:
        """Show names, one a line."""
        if not self.quiet:
            for name in names:
                click.echo(name)

    def yaml(self, data: Any) -> None:
        """Show data as YAML."""
        import yaml

        if not self.quiet:
            click.echo(yaml.safe_dump(data, default_flow_style=False, indent=2).rstrip("\n"))

    def table(
        self, rows: list[list[str]], plain: Callable[[], Iterable[str]], caption: str | None = None
    ) -> None:
        """Show a table: with rich on a terminal, as plain columns into a pipe.

        Args:
            rows: Header and cells.
            plain: Gives the lines of the plain form.
            caption: A line under the table, on a terminal only.
        """
        if self.quiet:
            return
        if not sys.stdout.isatty():
            for line in plain():
                click.echo(line)
            return
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="bold", caption=caption)
        for column in rows[0]:
            table.add_column(column)
        for cells in rows[1:]:
            style = "red" if any(cell.endswith("]") and "[*" in cell for cell in cells) else None
            table.add_row(*(cell.replace("[", r"\[") for cell in cells), style=style)
        Console().print(table)

    def wait(self, job_id: str) -> Any:
        """Wait for a job with a progress bar and return the job; Ctrl-C cancels it.

        Raises:
            JobFailed: It failed; the message holds the server's text.
            JobCanceled: It was canceled by somebody else.
            KeyboardInterrupt: It was interrupted; the job has been canceled.
        """
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        job = self.loud.jobs.id(job_id)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        console = Console(stderr=True)
        try:
            with Progress(
                *columns, console=console, disable=self.quiet or not console.is_terminal
            ) as bar:
                task = bar.add_task(job.name, total=None)
                for _ in job.progress(_POLL_S):
                    bar.update(task, description=job.name, total=job.total or 1, completed=job.step)
        except KeyboardInterrupt:
            self._cancel(job)
            raise
        job.raise_unless_done()
        return job

    def _cancel(self, job: Any) -> None:
        try:
            job.cancel()
        except NotFoundError:
            return
        click.echo(f"Signal received. Canceled job:  {job.id}", err=True)


pass_session = click.make_pass_decorator(Session)


def read_file(path: str | None) -> Any:
    """Return the data of a YAML (``.yml``, ``.yaml``) or else JSON file; ``None`` reads JSON from standard input.

    Raises:
        Failed: The file cannot be read, or is malformed.
    """
    name = "standard input" if path is None else path
    try:
        text = sys.stdin.read() if path is None else pathlib.Path(path).read_text(encoding="utf-8")
        if name.endswith((".yml", ".yaml")):
            import yaml

            try:
                return yaml.safe_load(text)
            except yaml.YAMLError as cause:
                raise ValueError(str(cause)) from cause
        return json.loads(text)
    except (OSError, ValueError) as cause:
        raise Failed(f"{name}: {cause}") from cause
