"""The version of pylm, read by the build and by peers that ask for ``pylm_version``."""

__version__ = "0.15.0"
