"""``v3io ls``, ``cat``, ``get``, ``put`` and ``rm``: files of the platform."""

from __future__ import annotations

import contextlib
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click

from v3io.cli.session import Location, Session, parse_location, print_table
from v3io.errors import NotFound

__all__ = ["cat", "get", "ls", "put", "rm"]


def _entries(session: Session, location: Location) -> Iterator[Any]:
    marker = None
    while True:
        output = session.client.container.list(
            location.container, location.path, get_all_attributes=True, marker=marker
        ).output
        yield from output.common_prefixes
        yield from output.contents
        if not output.truncated or output.next_marker in (None, marker):
            return
        marker = output.next_marker


@click.command()
@click.argument("location", required=False)
@click.pass_obj
def ls(session: Session, location: str | None) -> None:
    """List the containers, or one directory."""
    if location is None:
        containers = session.client.get_containers().output.containers
        print_table(
            ("container", "id", "created"),
            ((one.name, one.identifier, one.creation_date) for one in containers),
        )
        return
    rows = (
        (
            getattr(entry, "prefix", None) or getattr(entry, "key", None),
            getattr(entry, "size", None),
            getattr(entry, "last_modified", None),
        )
        for entry in _entries(session, parse_location(location))
    )
    print_table(("name", "bytes", "modified"), rows)


@click.command()
@click.argument("location")
@click.pass_obj
def cat(session: Session, location: str) -> None:
    """Write an object to standard output."""
    place = parse_location(location)
    with _named(location):
        for piece in session.client.object.read_parts(place.container, place.path):
            sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


@click.command()
@click.argument("location")
@click.argument("target", type=click.Path(path_type=pathlib.Path), required=False)
@click.pass_obj
def get(session: Session, location: str, target: pathlib.Path | None) -> None:
    """Download an object to TARGET, by default a file of its name here.

    The file appears under its name only when it is complete.
    """
    place = parse_location(location)
    name = pathlib.PurePosixPath(place.path).name
    if target is None:
        target = pathlib.Path(name)
    elif target.is_dir():
        target = target / name
    with _named(location), _progress(f"get {name}") as show:
        session.client.object.download(place.container, place.path, target, progress=show)


@click.command()
@click.argument("source", type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False))
@click.argument("location")
@click.pass_obj
def put(session: Session, source: pathlib.Path, location: str) -> None:
    """Upload the file SOURCE; into a directory when LOCATION ends with a slash."""
    place = parse_location(location)
    path = place.path + source.name if not place.path or place.path.endswith("/") else place.path
    size = source.stat().st_size
    with _progress(f"put {source.name}") as show:
        session.client.object.upload(
            place.container, path, source, progress=lambda done: show(done, size)
        )


@click.command()
@click.argument("locations", nargs=-1, required=True)
@click.option("-r", "--recursive", is_flag=True, help="Also directories and all that is in them.")
@click.pass_obj
def rm(session: Session, locations: tuple[str, ...], recursive: bool) -> None:
    """Delete objects."""
    for text in locations:
        place = parse_location(text)
        if recursive:
            _delete_tree(session, place)
        else:
            session.client.object.delete(place.container, place.path)


def _delete_tree(session: Session, location: Location) -> None:
    if not location.path.strip("/"):
        raise click.UsageError("a whole container is not deleted by rm; name a path in it")
    for entry in list(_entries(session, location)):
        prefix = getattr(entry, "prefix", None)
        if prefix is not None:
            _delete_tree(session, Location(location.container, prefix))
        else:
            session.client.object.delete(location.container, entry.key)
    session.client.object.delete(location.container, location.path.rstrip("/") + "/")


@contextlib.contextmanager
def _named(location: str) -> Iterator[None]:
    """Say of which object it is told that it is missing: the answer to HEAD has no text."""
    try:
        yield
    except NotFound as error:
        raise click.ClickException(f"No such object: {location} (status 404)") from error


@contextlib.contextmanager
def _progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error; give what moves it to so many bytes of so many."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with progress:
        task = progress.add_task(label, total=None)
        yield lambda done, size: progress.update(task, completed=done, total=size)
