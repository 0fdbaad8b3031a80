"""Pytest fixtures of the v3io server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mock_servers.v3io.server import V3ioServer

__all__ = ["v3io_server"]


@pytest.fixture
def v3io_server() -> Iterator[V3ioServer]:
    """Yield a running server with empty containers ``bigdata``, ``projects`` and ``users`` ; any key."""
    from mock_servers.v3io.server import V3ioServer

    with V3ioServer() as server:
        yield server
