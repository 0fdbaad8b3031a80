"""Pytest fixtures of the mock servers, registered as a plugin; usable by any project that installs this distribution.

Each server's fixtures live beside it in ``mock_servers.<server>.fixtures`` and are re-exported here. Nothing is applied
to a test that does not ask for it; a project that wants the leak check everywhere sets ``usefixtures = no_leaks``.
"""

from collections.abc import Iterator

import pytest

__all__ = ["no_leaks"]


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
