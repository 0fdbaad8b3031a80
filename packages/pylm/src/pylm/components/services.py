"""Parts of the first API that bind.

Source: API reference, section A6.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import zmq

from pylm.components.core import ComponentInbound, ComponentOutbound
from pylm.parts.services import CacheService, RepBypassService

__all__ = [
    "CacheService",
    "PullService",
    "PushService",
    "RepBypassService",
    "RepService",
    "WorkerPullService",
    "WorkerPushService",
]


class RepService(ComponentInbound):
    """Answers requests with the router's feedback; see :class:`~pylm.components.core.ComponentInbound`."""

    def __init__(
        self,
        name: str,
        listen_address: str,
        broker_address: str = "inproc://broker",
        palm: bool = False,
        logger: logging.Logger | None = None,
        cache: Any = None,
        messages: int = sys.maxsize,
    ) -> None:
        super().__init__(
            name, listen_address, zmq.REP, True, broker_address, True, palm, logger, cache, messages
        )


class PullService(ComponentInbound):
    """Takes messages; see :class:`~pylm.components.core.ComponentInbound`."""

    def __init__(
        self,
        name: str,
        listen_address: str,
        broker_address: str = "inproc://broker",
        palm: bool = False,
        logger: logging.Logger | None = None,
        cache: Any = None,
        messages: int = sys.maxsize,
    ) -> None:
        super().__init__(
            name,
            listen_address,
            zmq.PULL,
            False,
            broker_address,
            True,
            palm,
            logger,
            cache,
            messages,
        )


class WorkerPullService(PullService):
    """Takes results from workers."""


class PushService(ComponentOutbound):
    """Deals answers out; see :class:`~pylm.components.core.ComponentOutbound`."""

    def __init__(
        self,
        name: str,
        listen_address: str,
        broker_address: str = "inproc://broker",
        palm: bool = False,
        logger: logging.Logger | None = None,
        cache: Any = None,
        messages: int = sys.maxsize,
    ) -> None:
        super().__init__(
            name,
            listen_address,
            zmq.PUSH,
            False,
            broker_address,
            True,
            palm,
            logger,
            cache,
            messages,
        )


class WorkerPushService(PushService):
    """Deals jobs out to workers."""

    keeps_broker = True
