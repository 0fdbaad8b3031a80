"""Version of the transport-utils distribution."""

__version__ = "1.0.0"
