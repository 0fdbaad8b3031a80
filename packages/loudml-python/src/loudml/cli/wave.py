"""The command ``loudml-wave``."""

from __future__ import annotations

import click

from loudml.cli.session import Session
from loudml.cli.status import EXIT_STATUS_HELP
from loudml.shapes import SHAPES, build_tag_dict, dump_to_bucket, generate_data

__all__ = ["wave"]


@click.command(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_STATUS_HELP)
@click.argument("bucket_name")
@click.option(
    "-A",
    "--addr",
    envvar="LOUDML_ADDR",
    default="localhost:8077",
    show_default=True,
    show_envvar=True,
    help="Server to connect to.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show what is written.")
@click.option("--field", default="value", show_default=True, help="Name of the value.")
@click.option("-f", "--from", "from_date", default="now-7d", show_default=True, help="Start.")
@click.option(
    "-t", "--to", "to_date", default="now", show_default=True, help="End; the future is waited for."
)
@click.option(
    "--shape",
    type=click.Choice(list(SHAPES)),
    default="sin",
    show_default=True,
    help="Shape of the number of events over time.",
)
@click.option("--amplitude", default=1.0, show_default=True, help="Height of the shape.")
@click.option("--base", default=1.0, show_default=True, help="Events per step besides.")
@click.option("--trend", default=0.0, show_default=True, help="Growth, events per hour.")
@click.option("--period", default=86400.0, show_default=True, help="Of the shape, seconds.")
@click.option("--sigma", default=2.0, show_default=True, help="Noise.")
@click.option("--step-ms", default=60000, show_default=True, help="Length of a step.")
@click.option("-e", "--errors", default=0.0, show_default=True, help="Rate of gaps, 0..1.")
@click.option("-b", "--burst-ms", default=0, show_default=True, help="Length of a gap.")
@click.option("--clear", is_flag=True, help="Delete all points of the bucket first!")
@click.option("--tags", help="Of every point: key:value,key:value.")
def wave(
    bucket_name: str,
    addr: str,
    verbose: bool,
    field: str,
    from_date: str,
    to_date: str,
    shape: str,
    amplitude: float,
    base: float,
    trend: float,
    period: float,
    sigma: float,
    step_ms: int,
    errors: float,
    burst_ms: int,
    clear: bool,
    tags: str | None,
) -> None:
    """Generate random data and write it to a bucket."""
    tag_dict = build_tag_dict(tags)
    session = Session(addr)
    try:
        version = session.loud.version()
        if verbose:
            click.echo(f"Connected to {addr} version {version}")
        if clear:
            session.loud.buckets.clear(bucket_name)
        generator = SHAPES[shape](
            base=base, amplitude=amplitude, sigma=sigma, trend=trend, period=period
        )
        events = generate_data(generator, from_date, to_date, step_ms, errors, burst_ms, field)
        count = dump_to_bucket(session.loud, events, bucket_name, tag_dict, verbose)
        click.echo(f"{count} points written", err=True)
    finally:
        session.close()
