"""What all sub-commands share: the client, locations, tables for people, and errors as one line.

Constructed by the ``v3io`` command; the client is opened on first use, so that ``--help`` needs no endpoint.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from v3io.errors import HttpResponseError

if TYPE_CHECKING:
    from v3io.dataplane import Client

__all__ = ["Location", "Session", "handling_errors", "parse_location", "print_table", "reason"]


class Location(NamedTuple):
    """A container and a path in it; the path is empty for the container itself."""

    container: str
    path: str


def parse_location(text: str) -> Location:
    """Return the container and path of ``container/path`` or ``v3io://container/path``.

    Raises:
        click.BadParameter: There is no container.
    """
    container, _, path = text.removeprefix("v3io://").lstrip("/").partition("/")
    if not container:
        raise click.BadParameter(f"{text!r}: expected CONTAINER/PATH")
    return Location(container, path)


class Session:
    """The command's client; a context manager."""

    def __init__(self, endpoint: str | None, access_key: str | None, timeout_s: float) -> None:
        self._endpoint = endpoint
        self._access_key = access_key
        self._timeout_s = timeout_s
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """The client, opened on first use."""
        if self._client is None:
            from v3io.dataplane import Client

            self._client = Client(
                logger=_StandardLogger(),
                endpoint=self._endpoint,
                access_key=self._access_key,
                timeout=self._timeout_s,
            )
        return self._client

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._client is not None:
            self._client.close()


class _StandardLogger:
    """Sends the client's lines to the logger ``v3io.cli``, which shows nothing unless configured."""

    def __init__(self) -> None:
        log = logging.getLogger("v3io.cli")
        self.debug, self.info, self.warn, self.error = log.debug, log.info, log.warning, log.error

    def debug_with(self, message: str, **fields: Any) -> None:
        self.debug("%s %s", message, fields)

    info_with = warn_with = error_with = debug_with


def reason(error: HttpResponseError) -> str:
    """Return what the platform said, for people."""
    return error.error_message or str(error)


@contextlib.contextmanager
def handling_errors() -> Iterator[None]:
    """Turn the client's errors into one line on standard error and exit status 1."""
    try:
        yield
    except HttpResponseError as error:
        raise click.ClickException(f"{reason(error)} (status {error.status_code})") from error
    except BrokenPipeError:  # whoever read our output has seen enough; click ends without a word
        raise
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, click.exceptions.Exit):
            raise
        raise click.ClickException(str(error)) from error


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as a table on a terminal, and as tab-separated lines into a pipe."""
    from rich.console import Console
    from rich.table import Table

    console = Console(
        markup=False, emoji=False, highlight=False
    )  # what is stored is shown as it is
    if not console.is_terminal:
        for row in rows:
            click.echo("\t".join("" if cell is None else str(cell) for cell in row))
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    console.print(table)
