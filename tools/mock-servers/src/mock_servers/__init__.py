"""Mock servers for the service-clients packages.

Each server lives in a sub-package named after its client (``mock_servers.loudml``, ``mock_servers.v3io``, ...) and is
imported only when it is started.
"""

from mock_servers._version import __version__

__all__ = ["__version__"]
