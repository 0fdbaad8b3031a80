"""The version of this distribution; the release tag is ``loudml-python-v<version>``."""

__version__ = "1.7.0"
version_info = (1, 7, 0)
