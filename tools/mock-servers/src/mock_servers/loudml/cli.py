"""``mock-servers loudml``."""

from __future__ import annotations

import pathlib

import click

from mock_servers.foreground import announce, wait_for_interrupt

__all__ = ["command"]


def _bucket_file(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> list[tuple[str, str]]:
    pairs = []
    for value in values:
        bucket, separator, path = value.partition("=")
        if not separator or not pathlib.Path(path).is_file():
            raise click.BadParameter(f"{value!r}: expected BUCKET=FILE with an existing file")
        pairs.append((bucket, path))
    return pairs


@click.command()
@click.option("--nodes", default=1, show_default=True, type=click.IntRange(1, 64), help="How many.")
@click.option(
    "--port",
    default=8077,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port of the first node, the others follow; 0 chooses free ones.",
)
@click.option(
    "--data",
    type=click.Path(dir_okay=False),
    help="SQLite file to keep the state in; without it, memory.",
)
@click.option(
    "--load",
    multiple=True,
    metavar="BUCKET=FILE",
    callback=_bucket_file,
    help="Load a .csv, .json or .ndjson file into a bucket; repeatable.",
)
@click.option(
    "--profile",
    default="fixed",
    show_default=True,
    type=click.Choice(["fixed", "faithful"]),
    help="Behave as meant, or with all faults of server 1.6.0.",
)
@click.option(
    "--evaluation-s",
    default=0.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Least time of a training evaluation, in seconds.",
)
@click.option(
    "--tick-s",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0.01),
    help="Period at which job states change, in seconds.",
)
def command(
    nodes: int,
    port: int,
    data: str | None,
    load: list[tuple[str, str]],
    profile: str,
    evaluation_s: float,
    tick_s: float,
) -> None:
    """Loud ML 1.6 on one or several nodes that share their state.

    Faults: POST /_mock/faults to any node. What was asked: GET /_mock/requests. What it holds: GET /_mock/state.
    """
    from mock_servers.loudml.server import LoudmlServer

    server = LoudmlServer(
        nodes,
        port=port,
        data=data,
        profile="faithful" if profile == "faithful" else "fixed",
        evaluation_s=evaluation_s,
        tick_s=tick_s,
    )
    with server:
        for bucket, path in load:
            values = server.load(bucket, path)
            click.echo(f"loaded {values} values into bucket {bucket}")
        announce({node.name: node.url for node in server.nodes})
        wait_for_interrupt()
