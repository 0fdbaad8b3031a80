"""Version of the infi.ramen_client distribution."""

__version__ = "1.41.0"
