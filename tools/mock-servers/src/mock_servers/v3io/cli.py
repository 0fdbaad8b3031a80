"""The ``mock-servers v3io`` command."""

from __future__ import annotations

import pathlib

import click

from mock_servers.foreground import wait_for_interrupt
from mock_servers.v3io.access import Grant
from mock_servers.v3io.server import DEFAULT_CONTAINERS, V3ioServer

__all__ = ["command"]


def _parse_keys(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, list[Grant]] | None:
    keys: dict[str, list[Grant]] = {}
    for text in texts:
        key, _, grant = text.partition("=")
        if not key:
            raise click.BadParameter(f"{text!r}: expected KEY or KEY=CONTAINER[/FOLDER][:r|rw]")
        try:
            keys.setdefault(key, []).append(Grant.parse(grant))
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
    return keys or None


@click.command("v3io", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--port", default=8081, show_default=True, help="Port; 0 lets the system choose.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=pathlib.Path),
    help="Folder that keeps the data; without it they live in memory.",
)
@click.option(
    "--container",
    "containers",
    multiple=True,
    default=DEFAULT_CONTAINERS,
    show_default=True,
    help="Container that exists from the start; repeatable.",
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    callback=_parse_keys,
    metavar="KEY[=CONTAINER[/FOLDER][:r|rw]]",
    help="Access key and what it may use; repeatable. Without one any key is accepted.",
)
@click.option("--page-items", default=1000, show_default=True, help="Most items of a scan's page.")
def command(
    port: int,
    data: pathlib.Path | None,
    containers: tuple[str, ...],
    keys: dict[str, list[Grant]] | None,
    page_items: int,
) -> None:
    """Serve the Iguazio web API: objects, key-value tables, streams."""
    with V3ioServer(data=data, port=port, containers=containers, keys=keys) as server:
        server.knobs.page_items = page_items
        kept = f"kept in {data}" if data else "in memory"
        click.echo(f"v3io web API at {server.url}, data {kept}; Ctrl-C ends")
        click.echo(
            f"export V3IO_API={server.url} V3IO_ACCESS_KEY={next(iter(keys or {'any': []}))}"
        )
        wait_for_interrupt()
