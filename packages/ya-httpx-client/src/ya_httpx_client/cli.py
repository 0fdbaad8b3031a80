"""The ``ya-httpx`` command: look at running sessions."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from ya_httpx_client._version import __version__
from ya_httpx_client.status_socket import read_all

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["main"]

NO_SESSION = "no session of this user is running"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ya-httpx")
def main() -> None:
    """Look at sessions that serve URLs from Golem providers."""


@main.command()
@click.option("--once", is_flag=True, help="Print the table once instead of following.")
@click.option("--json", "as_json", is_flag=True, help="Print figures as JSON, one session a line.")
@click.option(
    "--interval",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Seconds between looks.",
)
def status(once: bool, as_json: bool, interval: float) -> None:
    """Show every running session of this user: URLs, providers, queue, latency and cost.

    Follows until Ctrl-C. Exits with status 1 when no session is running and --once or --json is given.
    """
    from rich.console import Console, Group
    from rich.live import Live

    if as_json or once:
        sessions = read_all()
        if not sessions:
            raise click.ClickException(NO_SESSION)
        if as_json:
            for session in sessions:
                click.echo(json.dumps(session))
        else:
            for session in sessions:
                Console().print(table(session))
        return
    try:
        with Live(screen=False, auto_refresh=False) as live:
            while True:
                sessions = read_all()
                live.update(Group(*map(table, sessions)) if sessions else NO_SESSION, refresh=True)
                time.sleep(interval)
    except KeyboardInterrupt:
        return


def table(session: dict[str, Any]) -> Table:
    """Return a table of one session's figures: a line per URL, below it one per provider."""
    from rich.table import Table
    from rich.text import Text  # what others wrote is no markup

    shown = Table(title=f"session of process {session['pid']}", title_justify="left")
    shown.add_column("url / provider", min_width=20, overflow="fold")
    shown.add_column("state")
    for name in ("in flight", "queued", "served", "failed", "repeated"):
        shown.add_column(name, justify="right")
    for name in ("p50", "p99", "GLM/h"):
        shown.add_column(name, justify="right")
    for url, found in session["urls"].items():
        ready = sum(provider["state"] == "ready" for provider in found["providers"])
        shown.add_row(
            Text(url, style="bold"),
            f"{ready} of {found['wanted']} ready",
            str(found["in_flight"]),
            str(found["queued"]),
            str(found["served"]),
            str(found["failed"]),
            str(found["reexecuted"]),
            _milliseconds(found["latency_p50_s"]),
            _milliseconds(found["latency_p99_s"]),
            f"{found['cost_per_hour']:.3f}",
        )
        for provider in found["providers"]:
            price = provider["price_per_hour"]
            shown.add_row(
                Text(f"  {provider['provider'] or '...'}"),
                provider["state"],
                str(provider["in_flight"]),
                "",
                str(provider["served"]),
                str(provider["failed"]),
                "",
                "",
                "",
                "" if price is None else f"{price:.3f}",
            )
        if found["trouble"]:
            shown.add_row(Text(f"  {found['trouble']}", style="red"))
    return shown


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.1f} ms"
