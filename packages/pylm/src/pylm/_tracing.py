"""Where :mod:`pylm.telemetry` hooks in; two variables, so that nothing is loaded and nothing is paid without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

__all__ = ["client_span", "server_span"]

Fail = Callable[[BaseException], None]

client_span: Callable[[str], AbstractContextManager[tuple[dict[str, str], Fail]]] | None = None
"""Given a route: a span for a call; its value is the context to send along, and a function that marks it as failed."""

server_span: Callable[[str, Mapping[str, str]], AbstractContextManager[None]] | None = None
"""Given ``server.function`` and the context that came along: a span for a function."""
