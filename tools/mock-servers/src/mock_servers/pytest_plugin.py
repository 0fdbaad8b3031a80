"""Pytest fixtures of the mock servers, registered as a plugin; usable by any project that installs this distribution.

Each server's fixtures live beside it in ``mock_servers.<server>.fixtures`` and are re-exported here.
"""

__all__: list[str] = []
