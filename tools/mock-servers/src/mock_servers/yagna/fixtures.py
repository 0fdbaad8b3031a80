"""Pytest fixtures of the local Golem."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mock_servers.yagna.server import YagnaServer

__all__ = ["make_yagna", "yagna"]


@pytest.fixture
def make_yagna(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., YagnaServer]]:
    """Start local Golems: ``make_yagna(providers=3, slots=1, **fields of YagnaConfig)``.

    The environment variables a requestor reads are set for the test.
    """
    from mock_servers.yagna.config import YagnaConfig
    from mock_servers.yagna.server import YagnaServer

    started: list[YagnaServer] = []

    def make(providers: int = 3, *, slots: int = 1, **settings: Any) -> YagnaServer:
        environment = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        server = YagnaServer(
            YagnaConfig.of(providers, slots=slots, **settings), environment=environment
        )
        started.append(server.start())
        for name, value in server.variables.items():
            monkeypatch.setenv(name, value)
        return server

    yield make
    for server in started:
        server.stop()


@pytest.fixture
def yagna(make_yagna: Callable[..., YagnaServer]) -> YagnaServer:
    """A local Golem with three providers and no images."""
    return make_yagna(3)
