"""Version of the mock-servers distribution."""

__version__ = "1.0.0"
