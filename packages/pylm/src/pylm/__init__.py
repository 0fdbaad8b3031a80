"""Clusters of ZeroMQ microservices; see ``docs/index.md``.

``pylm.servers`` and ``pylm.clients`` hold the present API, ``pylm.standalone`` and ``pylm.chained`` the first one.
Other distributions may install sub-packages beside ours (the registry does): their folders join the search path.
"""

import os
import sys

from pylm._version import __version__

__all__ = ["__version__"]

# What pkgutil.extend_path does, without its 20 ms of imports.
__path__ += [
    folder
    for folder in (os.path.join(entry, __name__) for entry in sys.path)
    if folder not in __path__ and os.path.isdir(folder)
]
