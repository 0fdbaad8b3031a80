"""Pytest fixtures of the Ramen server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mock_servers.ramen.server import RamenServer

__all__ = ["ramen_server"]


@pytest.fixture
def ramen_server() -> Iterator[RamenServer]:
    """Yield a running server without messages that accepts the token ``good-token``."""
    from mock_servers.ramen.server import RamenServer

    with RamenServer() as server:
        yield server
