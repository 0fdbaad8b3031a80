"""Commands about the server and the tool itself."""

from __future__ import annotations

import click

from loudml.cli.app import COMMANDS
from loudml.cli.session import Session, pass_session

__all__ = ["help", "quit", "version"]


@click.command()
@pass_session
def version(session: Session) -> None:
    """Print the version of the server."""
    click.echo(session.loud.version())


@click.command()
def help() -> None:
    """Show all commands, one a line."""
    width = max(map(len, COMMANDS))
    for name, (_, text) in COMMANDS.items():
        click.echo(f"   {name.ljust(width)} : {text}")


@click.command()
def quit() -> None:
    """Quit the shell."""
