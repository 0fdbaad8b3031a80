"""Pytest fixtures of the mock servers, registered as a plugin; usable by any project that installs this distribution.

Each server's fixtures live beside it in ``mock_servers.<server>.fixtures`` and are re-exported here. Nothing is applied
to a test that does not ask for it; a project that wants the leak check everywhere sets ``usefixtures = no_leaks``.
"""

from collections.abc import Iterator

import pytest

from mock_servers.loudml.fixtures import loudml_cluster, loudml_server, make_loudml_server
from mock_servers.proxy.fixtures import make_proxy
from mock_servers.ramen.fixtures import ramen_server
from mock_servers.v3io.fixtures import v3io_server
from mock_servers.yagna.fixtures import make_yagna, yagna

__all__ = [
    "loudml_cluster",
    "loudml_server",
    "make_loudml_server",
    "make_proxy",
    "make_yagna",
    "no_leaks",
    "ramen_server",
    "v3io_server",
    "yagna",
]


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fail the test when it leaves a thread or an open socket behind.

    What broader-scoped fixtures hold is theirs and not counted.
    """
    from mock_servers.leaks import Resources, leaked

    before = Resources.now()
    yield
    if found := leaked(before):
        pytest.fail(found)
