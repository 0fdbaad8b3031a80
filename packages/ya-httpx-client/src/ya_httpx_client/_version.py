"""Version of the ya-httpx-client distribution."""

__version__ = "0.1.0"
