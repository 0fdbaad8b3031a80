"""``v3io stream tail|put``: records of streams."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any

import click

from v3io.cli.session import Location, Session, parse_location
from v3io.errors import NotFound

__all__ = ["stream"]

_POLL_S = 0.25
_PAGE_RECORDS = 1000


@click.group()
def stream() -> None:
    """Read and write streams."""


@stream.command("put")
@click.argument("location")
@click.argument("data", nargs=-1)
@click.option("-k", "--partition-key", help="Records of one key go to one shard.")
@click.option("-s", "--shard", type=click.IntRange(min=0), help="Shard number.")
@click.pass_obj
def put_records(
    session: Session,
    location: str,
    data: tuple[str, ...],
    partition_key: str | None,
    shard: int | None,
) -> None:
    """Append records to the stream at LOCATION: each DATA argument, or each line of standard input."""
    place = parse_location(location)
    records: list[dict[str, Any]] = []
    for text in data or sys.stdin:
        record: dict[str, Any] = {"data": text.rstrip("\n")}
        if partition_key is not None:
            record["partition_key"] = partition_key
        if shard is not None:
            record["shard_id"] = shard
        records.append(record)
        if len(records) == _PAGE_RECORDS:
            _put(session, place, records)
            records = []
    if records:
        _put(session, place, records)


def _put(session: Session, place: Location, records: list[dict[str, Any]]) -> None:
    output = session.client.put_records(place.container, place.path, records).output
    if output is not None and output.failed_record_count:
        first = next(record for record in output.records if record.error_code is not None)
        raise click.ClickException(
            f"{output.failed_record_count} of {len(records)} records were not written: "
            f"{first.error_message} (code {first.error_code})"
        )


@stream.command()
@click.argument("location")
@click.option(
    "--from",
    "seek_type",
    type=click.Choice(["earliest", "latest"]),
    default="latest",
    show_default=True,
)
@click.option(
    "-F", "--follow/--no-follow", default=True, show_default=True, help="Wait for further records."
)
@click.pass_obj
def tail(session: Session, location: str, seek_type: str, follow: bool) -> None:
    """Print records of the stream at LOCATION as SHARD, SEQUENCE NUMBER and DATA; Ctrl-C ends it."""
    place = parse_location(location)
    shard_count = session.client.describe_stream(place.container, place.path).output.shard_count
    locations: dict[int, str | None] = dict.fromkeys(range(shard_count))
    if seek_type == "latest":
        for shard in locations:
            locations[shard] = _seek(session, place, shard, "LATEST")
    with contextlib.suppress(KeyboardInterrupt):  # that is how it is ended
        _follow(session, place, locations, follow=follow)


def _follow(
    session: Session, place: Location, locations: dict[int, str | None], *, follow: bool
) -> None:
    """Print records from these locations on; without ``follow`` until there are no more."""
    while True:
        quiet = True
        for shard, position in locations.items():
            if position is None:  # a shard appears with its first record
                position = _seek(session, place, shard, "EARLIEST")
                if position is None:
                    continue
            output = session.client.stream.get_records(
                place.container, place.path, shard, position, limit=_PAGE_RECORDS
            ).output
            for record in output.records:
                text = record.data.decode("utf-8", "backslashreplace")
                click.echo(f"{shard}\t{record.sequence_number}\t{text}")
            locations[shard] = output.next_location
            quiet = quiet and not output.records
        if quiet:
            if not follow:
                return
            time.sleep(_POLL_S)


def _seek(session: Session, place: Location, shard: int, seek_type: str) -> str | None:
    try:
        output = session.client.stream.seek(place.container, place.path, shard, seek_type).output
    except NotFound:
        return None
    location: str = output.location
    return location
