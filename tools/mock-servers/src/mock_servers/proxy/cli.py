"""``mock-servers proxy``."""

from __future__ import annotations

import click

from mock_servers.foreground import announce, wait_for_interrupt

__all__ = ["command"]


@click.command()
@click.argument("upstream", metavar="HOST:PORT")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Port to listen on; 0: any.")
@click.option(
    "--direction",
    default="both",
    show_default=True,
    type=click.Choice(["both", "up", "down"]),
    help="Where the conditions hold: what the client sends (up), what the server sends (down).",
)
@click.option("--latency-ms", default=0.0, type=click.FloatRange(min=0), help="Delay every chunk.")
@click.option("--jitter-ms", default=0.0, type=click.FloatRange(min=0), help="And up to this more.")
@click.option("--bytes-per-s", type=click.FloatRange(min=1), help="Limit the bandwidth.")
@click.option("--reset-after", type=click.IntRange(0), help="Reset connections after N bytes.")
@click.option("--close-after", type=click.IntRange(0), help="Close connections after N bytes.")
@click.option("--blackhole", is_flag=True, help="Swallow everything.")
def command(
    upstream: str,
    port: int,
    direction: str,
    latency_ms: float,
    jitter_ms: float,
    bytes_per_s: float | None,
    reset_after: int | None,
    close_after: int | None,
    blackhole: bool,
) -> None:
    """Carry TCP to HOST:PORT under bad conditions."""
    from mock_servers.proxy.link import Conditions, FaultProxy

    bad = Conditions(
        latency_s=latency_ms / 1000,
        jitter_s=jitter_ms / 1000,
        bandwidth_bytes_s=bytes_per_s,
        reset_after=reset_after,
        close_after=close_after,
        blackhole=blackhole,
    )
    try:
        proxy = FaultProxy(
            upstream,
            port=port,
            up=bad if direction != "down" else None,
            down=bad if direction != "up" else None,
        )
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    with proxy:
        announce({"proxy": proxy.address})
        wait_for_interrupt()
