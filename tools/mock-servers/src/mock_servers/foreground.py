"""What a command does while its server runs: say where, then wait for Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from types import FrameType

import click

__all__ = ["announce", "wait_for_interrupt"]


def announce(addresses: Mapping[str, str]) -> None:
    """Print ``<name> <address>`` per node, then ``ready``; programs that start the command read these lines."""
    for name, address in addresses.items():
        click.echo(f"{name} {address}")
    click.echo("ready (Ctrl-C stops)")


def wait_for_interrupt() -> None:
    """Return at Ctrl-C or SIGTERM; the handlers of before are put back. Main thread only."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        stop.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
