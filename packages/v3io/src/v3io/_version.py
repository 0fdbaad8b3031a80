"""Version of the v3io distribution."""

__version__ = "0.8.0"
