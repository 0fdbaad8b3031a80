"""Client of the Iguazio data platform: objects, key-values, streams and batches.

``import v3io`` makes ``v3io.dataplane``, ``v3io.common.helpers`` and ``v3io.logger`` reachable, as 0.7 did;
``v3io.aio.dataplane`` needs its own import.
"""

from __future__ import annotations

from v3io import common, dataplane, logger
from v3io._version import __version__
from v3io.common import helpers as _helpers
from v3io.dataplane import Client, RaiseForStatus

__all__ = ["Client", "RaiseForStatus", "__version__", "common", "dataplane", "logger"]

del _helpers
