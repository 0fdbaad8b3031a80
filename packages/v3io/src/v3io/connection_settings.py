"""Where the platform is and who asks: endpoint, access key and logger from arguments or the environment.

Called by the blocking and the asyncio client, with the rules and error texts of 0.7.2.
"""

import os
import sys
import urllib.parse
from typing import Any

from v3io.logger import HumanReadableFormatter, Logger

__all__ = ["create_logger", "resolve_access_key", "resolve_endpoint"]


def resolve_endpoint(endpoint: str | None) -> str:
    """Return the base URL, with scheme and without trailing slashes.

    Args:
        endpoint: As given by the user; ``None`` and ``""`` take the environment variable ``V3IO_API``.

    Raises:
        RuntimeError: Neither is set.
        ValueError: It is not an http or https URL with a host, or carries user, query or fragment.
    """
    endpoint = endpoint or os.environ.get("V3IO_API")
    if not endpoint:
        raise RuntimeError("Endpoints must be passed to context or specified in V3IO_API")
    if "://" not in endpoint:
        endpoint = "http://" + endpoint
    endpoint = endpoint.rstrip("/")
    parts = urllib.parse.urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"endpoint {endpoint!r}: expected http://host:port or https://host:port")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(
            f"endpoint {parts.scheme}://{parts.hostname}: user, query and fragment have no meaning here; "
            "pass the access key as access_key"
        )
    return endpoint


def resolve_access_key(access_key: str | None, *, required: bool) -> str | None:
    """Return the access key: as given, else from ``V3IO_ACCESS_KEY``; ``None`` when not required.

    Raises:
        ValueError: None is set and one is required.
    """
    access_key = access_key or os.environ.get("V3IO_ACCESS_KEY") or None
    if access_key is None and required:
        raise ValueError(
            "Access key must be provided in Client() arguments or in the "
            "V3IO_ACCESS_KEY environment variable"
        )
    return access_key


def create_logger(verbosity: str | None) -> Any:
    """Return a :class:`v3io.logger.Logger` that writes to standard output, at INFO unless told otherwise."""
    logger = Logger(level=verbosity or "INFO")
    logger.set_handler("stdout", sys.stdout, HumanReadableFormatter())
    return logger
