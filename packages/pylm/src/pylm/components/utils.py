"""Re-exports the services of the first API."""

from pylm._services import (
    LogCollector,
    PerformanceCollector,
    PerformanceCounter,
    Pinger,
    PushHandler,
)
from pylm.parts.services import CacheService

__all__ = [
    "CacheService",
    "LogCollector",
    "PerformanceCollector",
    "PerformanceCounter",
    "Pinger",
    "PushHandler",
]
