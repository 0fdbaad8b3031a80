"""``v3io doctor``: is the platform reachable, is the key good, is the clock right, how long does a call take."""

from __future__ import annotations

import email.utils
import statistics
import time
from collections.abc import Callable
from typing import Any

import click

from v3io.cli.session import Session, reason
from v3io.errors import HttpResponseError, PermissionDenied, Unauthorized

__all__ = ["doctor"]

_CLOCK_TOLERANCE_S = 60.0
_PINGS = 20
_NEEDED = ("endpoint", "access key")
"""Checks without which the others cannot hold."""


@click.command()
@click.argument("container", required=False)
@click.pass_obj
def doctor(session: Session, container: str | None) -> None:
    """Check endpoint, access key, clock and latency; with CONTAINER also access to it.

    Exit status 0 only if every check holds.
    """
    checks: list[tuple[str, Callable[[], str]]] = [
        ("endpoint", lambda: f"using {session.client._transport._endpoint}"),
        ("access key", lambda: _check_key(session)),
        ("clock", lambda: _check_clock(session)),
        ("round trip", lambda: _check_latency(session)),
    ]
    if container is not None:
        checks.append((f"container {container}", lambda: _check_container(session, container)))
    failed: list[str] = []
    for name, check in checks:
        if failed and failed[0] in _NEEDED:
            click.echo(f"-     {name}: not checked, since it needs the {failed[0]}")
            continue
        try:
            click.echo(f"ok    {name}: {check()}")
        except (HttpResponseError, OSError, ValueError, RuntimeError) as error:
            failed.append(name)
            click.echo(f"FAIL  {name}: {_sentence(error)}")
    if failed:
        raise click.exceptions.Exit(1)


def _sentence(error: Exception) -> str:
    if isinstance(error, Unauthorized):
        return "the platform does not know this access key; make a new one and set V3IO_ACCESS_KEY"
    if isinstance(error, PermissionDenied):
        return "the access key is valid but has no permission here"
    return reason(error) if isinstance(error, HttpResponseError) else str(error)


def _check_key(session: Session) -> str:
    containers = session.client.get_containers().output.containers
    return f"accepted; {len(containers)} containers visible"


def _check_clock(session: Session) -> str:
    headers: Any = session.client.get_containers().headers
    date = headers.get("Date")
    if not date:
        return "the platform sends no date; not checked"
    skew_s = time.time() - email.utils.parsedate_to_datetime(date).timestamp()
    if abs(skew_s) > _CLOCK_TOLERANCE_S:
        raise RuntimeError(
            f"this machine's clock is off by {skew_s:+.0f} s; expiry times will be wrong"
        )
    return f"within {abs(skew_s):.0f} s of the platform's"


def _check_latency(session: Session) -> str:
    times_s = []
    for _ in range(_PINGS):
        started = time.perf_counter()
        session.client.get_containers()
        times_s.append(time.perf_counter() - started)
    worst = max(times_s)
    return f"median {statistics.median(times_s) * 1000:.1f} ms, worst {worst * 1000:.1f} ms of {_PINGS} calls"


def _check_container(session: Session, container: str) -> str:
    output = session.client.container.list(container, "/", limit=1).output
    entries = len(output.contents) + len(output.common_prefixes)
    return "readable" if entries else "readable, and empty"
