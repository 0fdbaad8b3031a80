"""Client of the Loud ML machine learning API.

Make a :class:`Loud` (or an :class:`AsyncLoud`) and use its groups of methods: ``models``, ``jobs``, ``scheduled_jobs``,
``templates``, ``buckets``. The import name ``loudml_py`` of releases 1.6.2 and 1.6.3 is an alias.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from loudml._version import __version__
from loudml.buckets import BucketsClient
from loudml.client import Loud
from loudml.connection import (
    Connection,
    NativeHttpConnection,
    RequestsHttpConnection,
    Urllib3HttpConnection,
)
from loudml.connection_pool import ConnectionPool, ConnectionSelector, RoundRobinSelector
from loudml.errors import (
    HTTP_EXCEPTIONS,
    AuthenticationException,
    AuthorizationException,
    ConflictError,
    ConnectionError,
    ConnectionTimeout,
    ImproperlyConfigured,
    JobCanceled,
    JobError,
    JobFailed,
    JobTimeout,
    LoudMLException,
    NotFoundError,
    RequestError,
    SerializationError,
    SSLError,
    TransportError,
)
from loudml.jobs import JobsClient
from loudml.models import ModelsClient
from loudml.scheduled_jobs import ScheduledJobsClient
from loudml.serializer import JSONSerializer
from loudml.templates import TemplatesClient
from loudml.transport import Transport

if TYPE_CHECKING:
    from loudml.aio import AsyncLoud

__all__ = [
    "HTTP_EXCEPTIONS",
    "AsyncLoud",
    "AuthenticationException",
    "AuthorizationException",
    "BucketsClient",
    "ConflictError",
    "Connection",
    "ConnectionError",
    "ConnectionPool",
    "ConnectionSelector",
    "ConnectionTimeout",
    "ImproperlyConfigured",
    "JSONSerializer",
    "JobCanceled",
    "JobError",
    "JobFailed",
    "JobTimeout",
    "JobsClient",
    "Loud",
    "LoudMLException",
    "ModelsClient",
    "NativeHttpConnection",
    "NotFoundError",
    "RequestError",
    "RequestsHttpConnection",
    "RoundRobinSelector",
    "SSLError",
    "ScheduledJobsClient",
    "SerializationError",
    "TemplatesClient",
    "Transport",
    "TransportError",
    "Urllib3HttpConnection",
    "__version__",
    "__versionstr__",
]

__versionstr__ = __version__

logging.getLogger("loudml").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name == "AsyncLoud":
        # asyncio takes a while to load, and most users do not need it.
        from loudml.aio import AsyncLoud

        return AsyncLoud
    raise AttributeError(f"module 'loudml' has no attribute {name!r}")
