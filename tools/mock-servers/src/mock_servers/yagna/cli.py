"""``mock-servers yagna``: a local Golem until Ctrl-C."""

from __future__ import annotations

import pathlib

import click

from mock_servers.foreground import wait_for_interrupt
from mock_servers.yagna.config import YagnaConfig

__all__ = ["command"]


def image(text: str) -> tuple[str, pathlib.Path]:
    """Return hash and folder of one ``--image``.

    Raises:
        click.BadParameter: It has another form, or the folder does not exist.
    """
    digest, _, folder = text.partition("=")
    path = pathlib.Path(folder)
    if not digest or not folder or not path.is_dir():
        raise click.BadParameter(f"{text!r} is not HASH=FOLDER with an existing folder")
    return digest, path


@click.command()
@click.option(
    "--port", default=7465, show_default=True, help="Port of the API on 127.0.0.1; 0 chooses one."
)
@click.option(
    "--providers", default=3, show_default=True, type=click.IntRange(0, 100), help="Provider nodes."
)
@click.option(
    "--slots",
    default=1,
    show_default=True,
    type=click.IntRange(1, 100),
    help="Agreements per node.",
)
@click.option(
    "--image", "images", multiple=True, type=image, help="Image and the folder it stands for."
)
@click.option("--funds", default=1000.0, show_default=True, help="GLM in the requestor's account.")
@click.option(
    "--app-key",
    default="local-app-key",
    show_default=True,
    help="Application key of the requestor.",
)
@click.option(
    "--isolation",
    type=click.Choice(["auto", "netns", "ports"]),
    default="auto",
    show_default=True,
    help="Network namespace per activity, or addresses rewritten to free ports.",
)
@click.option(
    "--debit-notes", type=float, help="Seconds between debit notes; none are sent by default."
)
def command(
    port: int,
    providers: int,
    slots: int,
    images: tuple[tuple[str, pathlib.Path], ...],
    funds: float,
    app_key: str,
    isolation: str,
    debit_notes: float | None,
) -> None:
    """Run a local Golem: the daemon's API, and providers that run real processes.

    Prints the environment variables a requestor needs, as shell exports.
    """
    from mock_servers.yagna.server import YagnaServer

    config = YagnaConfig.of(
        providers,
        slots=slots,
        images=dict(images),
        funds_glm=funds,
        app_key=app_key,
        isolation=isolation,
        debit_note_interval_s=debit_notes,
    )
    with YagnaServer(config, port=port) as server:
        click.echo(f"# yagna: {providers} providers at {server.url}; Ctrl-C ends everything")
        for name, value in server.variables.items():
            click.echo(f"export {name}={value}")
        wait_for_interrupt()
