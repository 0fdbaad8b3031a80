"""The ``mock-servers`` command: one sub-command per server, loaded when it is called.

A server's sub-package offers its command as ``mock_servers.<server>.cli:command`` and is listed in :data:`SERVERS`;
``up`` is the command of the console.
"""

import importlib
from collections.abc import Mapping

import click

from mock_servers._version import __version__
from mock_servers.foreground import Interruption

__all__ = ["SERVERS", "main"]

SERVERS: Mapping[str, str] = {
    "loudml": "Loud ML 1.6: models, jobs, buckets on one or several nodes",
    "ramen": "Ramen: messages with request ids, blacklist rules",
    "proxy": "TCP fault proxy: latency, bandwidth, resets, blackhole between anything",
    "up": "all servers, and a page that shows their traffic and state and injects faults",
    "v3io": "Iguazio web API: objects, key-value tables, streams",
    "yagna": "a local Golem: daemon, providers with real processes, VPN, image registry",
}
"""Sub-command name -> one-line help, for the servers that exist."""


class ServerGroup(click.Group):
    """Group whose sub-commands are imported on use, so that ``--help`` stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all servers, sorted."""
        return sorted(SERVERS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command of one server, or ``None`` for an unknown name."""
        if cmd_name not in SERVERS:
            return None
        package = "console" if cmd_name == "up" else cmd_name
        module = importlib.import_module(f"mock_servers.{package}.cli")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of servers without importing any of them."""
        with formatter.section("Servers"):
            formatter.write_dl(sorted(SERVERS.items()))


@click.group(cls=ServerGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mock-servers")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Run a mock server on 127.0.0.1 until Ctrl-C."""
    ctx.obj = ctx.with_resource(Interruption())
