"""Version under the module name of infi.ramen_client 1.40."""

from infi.ramen_client._version import __version__

__all__ = ["__version__"]
