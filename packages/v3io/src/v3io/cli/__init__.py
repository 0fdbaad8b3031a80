"""The ``v3io`` command (extra ``v3io[cli]``): files, tables and streams of the platform from a terminal.

Installed as a console script. Sub-commands live in one module each: ``objects``, ``tables``, ``streams``, ``doctor``.
"""

from __future__ import annotations

from typing import Any

try:
    import click
except ImportError as cause:  # pragma: no cover - needs an installation without the extra
    raise SystemExit("the v3io command needs its extra: pip install 'v3io[cli]'") from cause

from v3io._version import __version__
from v3io.cli import doctor, objects, streams, tables
from v3io.cli.session import Session, handling_errors

__all__ = ["main"]


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        with handling_errors():
            return super().invoke(ctx)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--endpoint", envvar="V3IO_API", show_envvar=True, help="Base URL of the web API.")
@click.option(
    "--access-key",
    envvar="V3IO_ACCESS_KEY",
    show_envvar=True,
    help="Access key; prefer the variable, since arguments are visible to other users.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="Limit of each call, in seconds.",
)
@click.version_option(__version__, prog_name="v3io")
@click.pass_context
def main(ctx: click.Context, endpoint: str | None, access_key: str | None, timeout: float) -> None:
    """Work with an Iguazio data platform.

    A LOCATION is CONTAINER/PATH, with or without v3io:// in front, for example users/alice/notes.txt.
    """
    ctx.obj = ctx.with_resource(Session(endpoint, access_key, timeout))


for _command in (objects.ls, objects.cat, objects.get, objects.put, objects.rm):
    main.add_command(_command)
main.add_command(tables.kv)
main.add_command(streams.stream)
main.add_command(doctor.doctor)
