"""Parts of the first API that connect.

Source: API reference, section A6.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import zmq

from pylm.components.core import ComponentInbound, ComponentOutbound, FixedComponent
from pylm.parts import connections
from pylm.parts.connections import PullBypassConnection, PushBypassConnection

__all__ = [
    "HttpConnection",
    "PullBypassConnection",
    "PullConnection",
    "PushBypassConnection",
    "PushConnection",
    "RepConnection",
]


class RepConnection(FixedComponent, ComponentInbound):
    """Takes requests from a peer that binds; see :class:`~pylm.components.core.ComponentInbound`."""

    kind = zmq.REP
    replies = True
    binds = False


class PullConnection(FixedComponent, ComponentInbound):
    """Takes messages from a peer that binds; see :class:`~pylm.components.core.ComponentInbound`."""

    kind = zmq.PULL
    binds = False


class PushConnection(FixedComponent, ComponentOutbound):
    """Pushes to a peer that binds; see :class:`~pylm.components.core.ComponentOutbound`."""

    kind = zmq.PUSH
    binds = False


class HttpConnection(connections.HttpConnection):
    """POSTs each envelope to a URL; see :class:`pylm.parts.connections.HttpConnection`."""

    def __init__(
        self,
        name: str,
        listen_address: str,
        reply: bool = True,
        broker_address: str = "inproc://broker",
        palm: bool = False,
        logger: logging.Logger | None = None,
        cache: Any = None,
        max_workers: int = 4,
        messages: int = sys.maxsize,
    ) -> None:
        super().__init__(
            name, listen_address, reply, broker_address, logger, cache, max_workers, messages
        )
        self.palm = palm

    def _translate_from_broker(self, data: bytes) -> Any:
        return super()._translate_from_broker(ComponentOutbound.from_broker(self, data))  # type: ignore[arg-type]

    keeps_broker = False
