"""Where the platform is and who asks: endpoint, access key and logger from arguments or the environment.

Called by the blocking and the asyncio client, with the rules and error texts of 0.7.2.
"""

from __future__ import annotations

import os
import sys
import urllib.parse
import warnings
from typing import Any

from transport_utils.deadline import Timeout
from transport_utils.endpoint import Endpoint

from v3io.logger import HumanReadableFormatter, Logger

__all__ = [
    "create_logger",
    "default_limits",
    "make_endpoint",
    "resolve_access_key",
    "resolve_endpoint",
]


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


_POOL_WAIT_S = 300.0


def default_limits(seconds: float) -> Timeout:
    """Return the limits of calls without a ``timeout``: ``seconds`` to connect and of silence, no limit of the whole.

    A call waits at most 300 s for a free connection (0.7.2 waited for ever).
    """
    return Timeout(connect=seconds, read=seconds, write=seconds, pool=_POOL_WAIT_S)


def make_endpoint(url: str | None, max_connections: int, tls_verify: Any) -> Endpoint:
    """Return the endpoint of a client.

    Args:
        url: As :func:`resolve_endpoint` returns it.
        max_connections: Most open connections, >= 1.
        tls_verify: ``True`` or ``None``: certificates are verified (``None`` looks at ``V3IO_TLS_VERIFY`` first, where
            ``0``, ``false``, ``no`` and ``off`` mean ``False``); a path or bytes: against these authorities; a
            ``transport_utils.tls.TlsConfig``: as it says, for client certificates. ``False`` verifies nothing, with a
            warning: 0.7.2 never verified.

    Raises:
        ValueError: The URL is malformed (see :func:`resolve_endpoint`).
    """
    parts = urllib.parse.urlsplit(resolve_endpoint(url))
    port = parts.port or (443 if parts.scheme == "https" else 80)
    tls = None
    if parts.scheme == "https":
        tls = _tls_config(tls_verify, f"{parts.hostname}:{port}")
    return Endpoint(
        parts.scheme,
        parts.hostname or "",
        port,
        path_prefix=parts.path,
        max_connections=max_connections,
        tls=tls,
    )


def resolve_tls_verify(verify: Any, where: str) -> Any:
    """Return ``verify`` with ``None`` replaced by what ``V3IO_TLS_VERIFY`` says, by default ``True``.

    Args:
        verify: See :func:`make_endpoint`; ``False`` is warned about.
        where: The endpoint, for the warning.
    """
    if verify is None:
        text = os.environ.get("V3IO_TLS_VERIFY", "").strip().lower()
        verify = text not in ("0", "false", "no", "off")
    if verify is False:
        warnings.warn(
            f"the certificate of {where} is not verified: anyone on the way can read the access key; "
            "set tls_verify to True or to a file of certificate authorities",
            stacklevel=6,
        )
    return verify


def _tls_config(verify: Any, where: str) -> Any:
    from transport_utils.tls import TlsConfig

    verify = resolve_tls_verify(verify, where)
    if isinstance(verify, bool):
        return TlsConfig(verify=verify)
    return verify if isinstance(verify, TlsConfig) else TlsConfig(trust=verify)


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
    """Return a :class:`v3io.logger.logger.Logger` that writes to standard output, at INFO unless told otherwise."""
    logger = Logger(level=verbosity or "INFO")
    logger.set_handler("stdout", sys.stdout, HumanReadableFormatter())
    return logger
