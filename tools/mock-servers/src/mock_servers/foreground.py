"""What a command does while its server runs: say where, wait for Ctrl-C, SIGTERM or SIGHUP, say that it stopped.

The command group enters :class:`Interruption` before a command begins, so that a signal that arrives while the server
starts, or between the announcement and the wait, ends it as cleanly as a later one.
"""

from __future__ import annotations

import os
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

    The interpreter writes the number of a signal to a pipe at the moment it comes. Waiting for a handler would not do:
    one runs when the main thread next does a step, which never happens if the signal came just before it began to wait
    for a lock; and an event that a handler sets has a lock that the interrupted thread may hold.
    """

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._pipe = (-1, -1)
        self._fd_before = -1

    def __enter__(self) -> Self:
        def handle(number: int, frame: FrameType | None) -> None:
            pass  # its number is in the pipe

        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)
        self._fd_before = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[number] = signal.signal(number, handle)
        return self

    def wait(self) -> None:
        """Return when a signal has come."""
        while os.read(self._pipe[0], 1)[0] not in self._before:
            pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        for end in self._pipe:
            os.close(end)


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
