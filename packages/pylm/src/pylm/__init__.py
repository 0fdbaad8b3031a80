"""Clusters of ZeroMQ microservices; see ``docs/index.md``.

``pylm.servers`` and ``pylm.clients`` hold the present API, ``pylm.standalone`` and ``pylm.chained`` the first one.
Other distributions may install sub-packages beside ours (the registry does): the search path is extended for them.
"""

import pkgutil

from pylm._version import __version__

__path__ = pkgutil.extend_path(__path__, __name__)

__all__ = ["__version__"]
