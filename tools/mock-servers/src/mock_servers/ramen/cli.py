"""The ``mock-servers ramen`` command."""

from __future__ import annotations

import pathlib

import click

from mock_servers.foreground import wait_for_interrupt
from mock_servers.ramen.server import DEFAULT_TOKENS, RamenServer

__all__ = ["command"]


@click.command("ramen", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--port", default=5000, show_default=True, help="Port; 0 lets the system choose.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=pathlib.Path),
    help="Folder that keeps the messages; without it they live in memory.",
)
@click.option(
    "--token", "tokens", multiple=True, help="Token to accept; repeatable. [default: good-token]"
)
@click.option("--strict-encoding", is_flag=True, help="Insist on what Content-Encoding says.")
@click.option("--strict-json", is_flag=True, help="Refuse NaN and Infinity.")
@click.option("--rate", type=float, help="Messages taken per second; the rest gets 429.")
@click.option("--compat", is_flag=True, help="Also answer /set_delay and /set_response.")
def command(
    port: int,
    data: pathlib.Path | None,
    tokens: tuple[str, ...],
    strict_encoding: bool,
    strict_json: bool,
    rate: float | None,
    compat: bool,
) -> None:
    """Serve the Ramen protocol: take messages, know repetitions, apply blacklist rules."""
    accepted = {token: {} for token in tokens} or DEFAULT_TOKENS
    with RamenServer(data=data, port=port, tokens=accepted, compat=compat) as server:
        server.knobs.strict_encoding = strict_encoding
        server.knobs.strict_json = strict_json
        server.knobs.rate_per_s = rate
        kept = f"kept in {data}" if data else "in memory"
        click.echo(f"Ramen at {server.url}, messages {kept}; Ctrl-C ends")
        click.echo(f"  see {server.url}/_mock/stats and {server.url}/_mock/messages")
        wait_for_interrupt(lambda: f"stopped with {server.store.count()} messages")
