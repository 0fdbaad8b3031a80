"""The group of all commands, and the shell.

A command's module is imported when the command is used, so that ``--help`` stays fast.
"""

from __future__ import annotations

import contextlib
import importlib
import shlex
from typing import Any

import click

from loudml import __version__
from loudml.cli.session import Session
from loudml.cli.status import EXIT_STATUS_HELP, run
from loudml.errors import ConnectionError

__all__ = ["COMMANDS", "app"]

COMMANDS: dict[str, tuple[str, str]] = {
    "create-bucket": ("buckets", "Create a new bucket."),
    "delete-bucket": ("buckets", "Delete a bucket."),
    "list-buckets": ("buckets", "List configured buckets."),
    "show-bucket": ("buckets", "Show bucket settings."),
    "read-bucket": ("buckets", "Read data from a bucket."),
    "write-bucket": ("buckets", "Write data points to a bucket."),
    "clear-bucket": ("buckets", "Delete all data points of a bucket."),
    "list-model-versions": ("models", "List trained model versions and state."),
    "load-model-version": ("models", "Restore a trained model version."),
    "create-model": ("models", "Create a new model."),
    "delete-model": ("models", "Delete a model."),
    "list-models": ("models", "List configured models."),
    "start-model": ("inference", "Start periodic inference for a model."),
    "stop-model": ("inference", "Stop periodic inference for a model."),
    "list-model-templates": ("templates", "List configured model templates."),
    "create-model-template": ("templates", "Create a new model template."),
    "delete-model-template": ("templates", "Delete a model template."),
    "show-model": ("models", "Show model settings and internal state."),
    "train-model": ("inference", "Train a model on the data of a time range."),
    "eval-model": ("inference", "Compare a trained model with the data of a time range."),
    "forecast-model": ("inference", "Predict future data with a trained model."),
    "plot-model": ("inference", "Plot model latent space dimensions."),
    "list-jobs": ("jobs", "List jobs and their state."),
    "cancel-job": ("jobs", "Cancel a job."),
    "create-scheduled-job": ("jobs", "Create a new scheduled job."),
    "delete-scheduled-job": ("jobs", "Delete a scheduled job."),
    "list-scheduled-jobs": ("jobs", "List configured scheduled jobs."),
    "load-nab": ("buckets", "Load the Numenta Anomaly Benchmark into a bucket."),
    "version": ("server", "Print the version of the server."),
    "help": ("server", "Show all commands."),
    "quit": ("server", "Quit the shell."),
}
"""Name -> module of this package, one-line help; in the order of ``help``."""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, in the order of :data:`COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, ``None`` for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"loudml.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command of the arguments.

        Raises:
            click.UsageError: There is none of that name; the message names the nearest.
        """
        name = args[0]
        if name not in COMMANDS:
            import difflib

            close = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"No such command {name!r}.{hint} 'loudml help' lists them all.")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples and exit statuses as they are."""
        formatter.write("\n" + _EPILOG + "\n" + EXIT_STATUS_HELP.replace("\b\n", ""))


_EPILOG = """\
Examples:

  # The forecast of the next two days, in a table:
  loudml forecast-model -f now -t now+2d test-model

  # The same, as the older releases spelled it:
  loudml --execute 'forecast-model -f now -t now+2d test-model'

  # A shell on another server:
  loudml --addr hostname:8077
"""


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "-A",
    "--addr",
    envvar="LOUDML_ADDR",
    default="localhost:8077",
    show_default=True,
    show_envvar=True,
    help="Server to connect to: host:port or a URL.",
)
@click.option("-q", "--quiet", is_flag=True, help="Show no tables.")
@click.option("--version", "show_version", is_flag=True, help="Print the server's version.")
@click.option("-e", "--execute", metavar="COMMAND", help="Run one command, quoted as a whole.")
@click.pass_context
def app(ctx: click.Context, addr: str, quiet: bool, show_version: bool, execute: str | None) -> Any:
    """Talk to a Loud ML server: models, training, forecasts, anomalies.

    Without a command it is a shell. "loudml COMMAND --help" tells about one command.
    """
    session = ctx.obj = Session(addr, quiet)
    ctx.call_on_close(session.close)
    if show_version:
        click.echo(session.loud.version())
        ctx.exit()
    if execute is not None:
        if ctx.invoked_subcommand is not None:
            ctx.fail("give either --execute or a command, not both")
        ctx.exit(_execute(session, shlex.split(execute)))
    if ctx.invoked_subcommand is None:
        ctx.exit(_shell(session))


def _execute(session: Session, words: list[str]) -> int:
    """Run one command of the shell or of ``--execute``; return its exit status."""
    with app.make_context("loudml", [], obj=session, resilient_parsing=True) as parent:
        try:
            name, command, arguments = app.resolve_command(parent, words)
        except click.UsageError as error:
            error.show()
            return error.exit_code
        assert command is not None
        return run(command, arguments, obj=session, prog_name=name)


def _shell(session: Session) -> int:
    """Read commands until ``quit`` or the end of the input."""
    try:
        version = session.loud.version()
    except ConnectionError as error:
        click.echo(f"Error: {session.addr}: {error.error}", err=True)
        click.echo(
            "Please check your connection settings and ensure 'loudmld' is running.", err=True
        )
        return 2
    click.echo(f"Connected to {session.addr} version {version}")
    click.echo(f"Loud ML shell {__version__}")
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # gives input() history and editing
    while True:
        try:
            line = input("> ")
        except EOFError:
            return 0
        except KeyboardInterrupt:
            click.echo()
            continue
        try:
            words = shlex.split(line)
        except ValueError as error:
            click.echo(f"Error: {error}", err=True)
            continue
        if words == ["quit"]:
            return 0
        if words:
            _execute(session, words)
