"""Parts of the first API that bind.

Source: API reference, section A6.
"""

from __future__ import annotations

import zmq

from pylm.components.core import ComponentInbound, ComponentOutbound, FixedComponent
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


class RepService(FixedComponent, ComponentInbound):
    """Answers requests with the router's feedback; see :class:`~pylm.components.core.ComponentInbound`."""

    kind = zmq.REP
    replies = True


class PullService(FixedComponent, ComponentInbound):
    """Takes messages; see :class:`~pylm.components.core.ComponentInbound`."""

    kind = zmq.PULL


class WorkerPullService(PullService):
    """Takes results from workers."""


class PushService(FixedComponent, ComponentOutbound):
    """Deals answers out; see :class:`~pylm.components.core.ComponentOutbound`."""

    kind = zmq.PUSH


class WorkerPushService(PushService):
    """Deals jobs out to workers."""

    keeps_broker = True
