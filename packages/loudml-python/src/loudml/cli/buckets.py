"""Commands about buckets."""

from __future__ import annotations

import asyncio

import click

from loudml.cli.session import Session, pass_session, read_file
from loudml.cli.status import Failed
from loudml.tables import bucket_rows, format_buckets

__all__ = [
    "clear_bucket",
    "create_bucket",
    "delete_bucket",
    "list_buckets",
    "load_nab",
    "read_bucket",
    "show_bucket",
    "write_bucket",
]


@click.command()
@click.argument("bucket_file")
@click.option("-f", "--force", is_flag=True, help="Replace a bucket of the same name.")
@pass_session
def create_bucket(session: Session, bucket_file: str, force: bool) -> None:
    """Create the bucket described in a YAML or JSON file."""
    settings = read_file(bucket_file)
    buckets = session.loud.buckets
    if force and buckets.exists(settings["name"]):
        buckets.delete(settings["name"])
    buckets.create(settings)


@click.command()
@click.argument("bucket_name")
@pass_session
def delete_bucket(session: Session, bucket_name: str) -> None:
    """Delete a bucket."""
    session.loud.buckets.delete(bucket_name)


@click.command()
@click.option("-a", "--all", "show_all", is_flag=True, help="All settings, as YAML.")
@pass_session
def list_buckets(session: Session, show_all: bool) -> None:
    """List the buckets, one name a line."""
    if show_all:
        session.yaml(list(session.loud.buckets.generator()))
        return
    listed = session.loud.buckets.generator(fields=["name"], include_fields=True)
    session.names(bucket["name"] for bucket in listed)


@click.command()
@click.argument("bucket_name")
@pass_session
def show_bucket(session: Session, bucket_name: str) -> None:
    """Show the settings of a bucket as YAML, passwords left out."""
    found = session.loud.buckets.get([bucket_name])
    if not found:
        raise Failed(f"Not found: {bucket_name}")
    session.yaml(found[0])


@click.command()
@click.argument("bucket_name")
@click.option("-f", "--from", "from_date", required=True, help="Start: a date, or now-1d.")
@click.option("-t", "--to", "to_date", required=True, help="End: a date, or now.")
@click.option("-i", "--bucket-interval", help="Interval of aggregation, such as 1m.")
@click.option("-F", "--features", help="Aggregations, such as 'avg(cpu);count(other.field)'.")
@click.option("--bg", is_flag=True, help="Print the id of the job and do not wait.")
@pass_session
def read_bucket(
    session: Session,
    bucket_name: str,
    from_date: str,
    to_date: str,
    bucket_interval: str | None,
    features: str | None,
    bg: bool,
) -> None:
    """Read aggregated data of a time range and show it in a table."""
    job_id = session.loud.buckets.read(
        bucket_name,
        _from=from_date,
        _to=to_date,
        bucket_interval=bucket_interval,
        features=features,
    )
    if bg:
        click.echo(job_id)
        return
    result = session.wait(job_id).fetch_result()
    session.table(bucket_rows(result), lambda: format_buckets(result))


@click.command()
@click.argument("bucket_name")
@click.option("-d", "--data", help="JSON or YAML file with a list of points; else standard input.")
@click.option("-b", "--batch-size", default=1000, show_default=True, help="Points per request.")
@pass_session
def write_bucket(session: Session, bucket_name: str, data: str | None, batch_size: int) -> None:
    """Write points and wait until they are stored."""
    points = read_file(data)
    if not isinstance(points, list):
        raise Failed(f"expected a list of points, got {type(points).__name__}")
    for job_id in session.loud.buckets.write(bucket_name, points, batch_size):
        session.wait(job_id)


@click.command()
@click.argument("bucket_name")
@pass_session
def clear_bucket(session: Session, bucket_name: str) -> None:
    """Delete all points of a bucket."""
    session.loud.buckets.clear(bucket_name)


@click.command()
@click.argument("bucket_name")
@click.option("-b", "--batch-size", default=1000, show_default=True, help="Points per request.")
@click.option(
    "-f", "--from", "from_date", default="now-30d", show_default=True, help="When series begin."
)
@click.option("--directory", help="Folder with the CSV files, instead of downloading them.")
@pass_session
def load_nab(
    session: Session, bucket_name: str, batch_size: int, from_date: str, directory: str | None
) -> None:
    """Load the series of the Numenta Anomaly Benchmark, moved in time, into a bucket."""
    from loudml import nab

    count = asyncio.run(
        nab.load_nab(session.loud, bucket_name, batch_size, from_date, directory=directory)
    )
    click.echo(f"{count} points written")
