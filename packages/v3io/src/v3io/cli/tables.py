"""``v3io kv get|put|scan``: items and tables."""

from __future__ import annotations

import base64
import csv
import datetime
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import click

from v3io.cli.session import Session, parse_location, print_table

__all__ = ["kv"]


@click.group()
def kv() -> None:
    """Read and write key-value items."""


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return value


def _json(item: Any) -> str:
    return json.dumps(item, default=_plain, ensure_ascii=False)


@kv.command("get")
@click.argument("location")
@click.option(
    "-a", "--attributes", default="*", show_default=True, help="Comma-separated names, or **."
)
@click.pass_obj
def get_item(session: Session, location: str, attributes: str) -> None:
    """Print the item at LOCATION (CONTAINER/TABLE/KEY) as JSON; bytes as base64."""
    place = parse_location(location)
    response = session.client.get_item(place.container, place.path, attribute_names=attributes)
    click.echo(_json(response.output.item))


def _typed(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if value is None or isinstance(value, dict) else value


@kv.command("put")
@click.argument("location")
@click.argument("pairs", nargs=-1, required=True, metavar="NAME=VALUE...")
@click.option("-c", "--condition", help="Only when this expression holds for the present item.")
@click.option("--update", is_flag=True, help="Merge into the item instead of replacing it.")
@click.pass_obj
def put_item(
    session: Session, location: str, pairs: tuple[str, ...], condition: str | None, update: bool
) -> None:
    """Write the item at LOCATION (CONTAINER/TABLE/KEY).

    A VALUE that is JSON (42, 1.5, true, [1, 2], "text") has that type; anything else is text.
    """
    place = parse_location(location)
    attributes = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if not separator or not name:
            raise click.BadParameter(f"{pair!r}: expected NAME=VALUE")
        attributes[name] = _typed(text)
    if update:
        session.client.update_item(
            place.container, place.path, attributes=attributes, condition=condition
        )
    else:
        session.client.put_item(place.container, place.path, attributes, condition=condition)


@kv.command("scan")
@click.argument("location")
@click.option(
    "-a", "--attributes", default="*", show_default=True, help="Comma-separated names, or **."
)
@click.option("-f", "--filter", "filter_expression", help="Such as: age > 15 and exists(name)")
@click.option("-n", "--limit", type=click.IntRange(min=0), help="At most this many items.")
@click.option(
    "-o",
    "--output",
    "layout",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="json is one object per line.",
)
@click.pass_obj
def scan(
    session: Session,
    location: str,
    attributes: str,
    filter_expression: str | None,
    limit: int | None,
    layout: str,
) -> None:
    """Print the items of the table at LOCATION."""
    place = parse_location(location)
    cursor = session.client.new_items_cursor(
        place.container,
        place.path,
        attribute_names=attributes,
        filter_expression=filter_expression,
        limit=limit,
    )
    _WRITERS[layout](cursor)


def _write_json(items: Iterable[dict[str, Any]]) -> None:
    for item in items:
        click.echo(_json(item))


_SAMPLE_ITEMS = 1000


def _columns(items: Iterator[dict[str, Any]]) -> tuple[list[str], Iterator[dict[str, Any]]]:
    """Return the names found in the first items, in order of appearance, and all items again."""
    sample = list(itertools.islice(items, _SAMPLE_ITEMS))
    return list(dict.fromkeys(name for item in sample for name in item)), itertools.chain(
        sample, items
    )


def _write_csv(items: Iterator[dict[str, Any]]) -> None:
    columns, items = _columns(items)
    writer = csv.DictWriter(sys.stdout, columns, extrasaction="raise", lineterminator="\n")
    writer.writeheader()
    for item in items:
        try:
            writer.writerow({name: _plain(value) for name, value in item.items()})
        except ValueError as cause:
            raise click.ClickException(
                f"an attribute beyond the first {_SAMPLE_ITEMS} items is not among the columns: {cause}; "
                "name the attributes with -a, or use -o json"
            ) from cause


def _write_table(items: Iterator[dict[str, Any]]) -> None:
    columns, items = _columns(items)
    print_table(columns, ([_plain(item.get(name)) for name in columns] for item in items))


_WRITERS: dict[str, Any] = {"csv": _write_csv, "json": _write_json, "table": _write_table}
