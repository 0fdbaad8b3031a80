"""``mock-servers up``: all servers, and the page that shows them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import click

from mock_servers.foreground import announce, wait_for_interrupt

__all__ = ["command"]


def _loudml(port: int) -> Any:
    from mock_servers.loudml.server import LoudmlServer

    return LoudmlServer(3, port=port)


def _v3io(port: int) -> Any:
    from mock_servers.v3io.server import V3ioServer

    return V3ioServer(port=port)


def _ramen(port: int) -> Any:
    from mock_servers.ramen.server import RamenServer

    return RamenServer(port=port)


def _yagna(port: int) -> Any:
    from mock_servers.yagna.config import YagnaConfig
    from mock_servers.yagna.server import YagnaServer

    return YagnaServer(YagnaConfig.of(3), port=port)


SERVERS: Mapping[str, tuple[Callable[[int], Any], int]] = {
    "loudml": (_loudml, 8077),
    "v3io": (_v3io, 8081),
    "ramen": (_ramen, 8082),
    "yagna": (_yagna, 7465),
}
"""Server -> how it is made, and the port it is asked for at."""

PYLM = "pylm"
"""The cluster beside the servers, where pylm is installed."""


@click.command()
@click.option(
    "--port",
    default=8070,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port of the page.",
)
@click.option("--free-ports", is_flag=True, help="Let the system choose all ports.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(sorted([*SERVERS, PYLM])),
    help="Start only this server; repeatable.",
)
@click.option(
    "--pylm",
    "cluster_file",
    type=click.Path(exists=True, dir_okay=False),
    help="Show the cluster of this file, which runs elsewhere, instead of a small one of its own.",
)
def command(port: int, free_ports: bool, only: tuple[str, ...], cluster_file: str | None) -> None:
    """All servers, and a page that shows their traffic and state and injects faults.

    The page lists every request as it comes (a sample of them when there are many), with bodies, a line for curl, what
    each server holds, and buttons for faults. Where pylm is installed it also shows a pylm cluster and its throughput.
    """
    from mock_servers.console.page import Console
    from mock_servers.console.pipeline import ExampleCluster, Pipeline, pylm_command

    with contextlib.ExitStack() as running:
        console = running.enter_context(Console(0 if free_ports else port))
        addresses: dict[str, str] = {}
        for name, (make, own_port) in SERVERS.items():
            if only and name not in only:
                continue
            server = running.enter_context(make(0 if free_ports else own_port))
            console.add(server, name)
            addresses[name] = server.url
        if (not only or PYLM in only) and pylm_command() is not None:
            if cluster_file is None:
                cluster = running.enter_context(ExampleCluster())
                cluster_file, addresses[PYLM] = str(cluster.file), cluster.address
            pipeline = running.enter_context(Pipeline(cluster_file))
            console.show(PYLM, pipeline.state, pipeline.throughput)
        announce({**addresses, "console": console.url})
        wait_for_interrupt()
