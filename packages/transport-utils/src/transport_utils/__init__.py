"""The transport that the clients of service-clients share: see ``docs/index.md``."""

from transport_utils._version import __version__

__all__ = ["__version__"]
