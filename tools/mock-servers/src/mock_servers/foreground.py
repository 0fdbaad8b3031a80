"""What a command does while its server runs: say where, wait for Ctrl-C, SIGTERM or SIGHUP, say that it stopped.

The command group enters :class:`Interruption` before a command begins, so that a signal that arrives while the server
starts, or between the announcement and the wait, ends it as cleanly as a later one.
"""

from __future__ import annotations

import queue
import signal
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Interruption", "announce", "wait_for_interrupt"]


class Interruption:
    """Context in which Ctrl-C, SIGTERM and SIGHUP are noted instead of ending the process; main thread only.

    A handler runs between any two steps of the thread it interrupts. An event would not do: the handler would wait for
    the lock that this very thread holds where it begins to wait. A ``SimpleQueue`` may be put to from there.
    """

    def __init__(self) -> None:
        self._happened: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        def handle(number: int, frame: FrameType | None) -> None:
            self._happened.put(number)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[number] = signal.signal(number, handle)
        return self

    def wait(self) -> None:
        """Return when a signal has come."""
        self._happened.get()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def announce(addresses: Mapping[str, str]) -> None:
    """Print ``<name> <address>`` per node, then ``ready``; programs that start the command read these lines."""
    for name, address in addresses.items():
        click.echo(f"{name} {address}")
    click.echo("ready (Ctrl-C stops)")


def wait_for_interrupt(last_words: Callable[[], str] = lambda: "stopped") -> None:
    """Return at Ctrl-C, SIGTERM or SIGHUP, at once when one came already; only within a command of ``mock-servers``.

    Args:
        last_words: Returns the line that is printed then.
    """
    interruption = click.get_current_context().find_object(Interruption)
    assert interruption is not None
    interruption.wait()
    click.echo(last_words())
