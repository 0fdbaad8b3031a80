"""Pytest fixtures of the Loud ML server, re-exported by :mod:`mock_servers.pytest_plugin`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mock_servers.loudml import LoudmlServer

__all__ = ["loudml_cluster", "loudml_server", "make_loudml_server"]

TEST_TICK_S = 0.02


@pytest.fixture
def make_loudml_server() -> Iterator[Callable[..., LoudmlServer]]:
    """Return a function that starts a Loud ML server and takes the arguments of ``LoudmlServer``; all stop at the end.

    Job reports are applied every 20 ms instead of every second, unless ``tick_s`` says otherwise.
    """
    from mock_servers.loudml import LoudmlServer

    started: list[LoudmlServer] = []

    def make(nodes: int = 1, **options: Any) -> LoudmlServer:
        server = LoudmlServer(nodes, **{"tick_s": TEST_TICK_S, **options})
        started.append(server)
        return server.start()

    yield make
    for server in started:
        server.stop()


@pytest.fixture
def loudml_server(make_loudml_server: Callable[..., LoudmlServer]) -> LoudmlServer:
    """Return a running, empty Loud ML server of one node."""
    return make_loudml_server()


@pytest.fixture
def loudml_cluster(make_loudml_server: Callable[..., LoudmlServer]) -> LoudmlServer:
    """Return a running, empty Loud ML server of three nodes that share their state."""
    return make_loudml_server(nodes=3)
