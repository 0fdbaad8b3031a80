"""Parts whose socket is settled by their class; base of most of :mod:`pylm.parts.services` and ``connections``."""

from __future__ import annotations

import logging
import sys
from typing import Any

__all__ = ["Fixed"]


class Fixed:
    """A part whose socket its class settles: what is left to say is where it is and for whom it works.

    Args:
        name: Of the part.
        listen_address: Where the socket binds or connects.
        broker_address: Of the router.
        logger: Of the server.
        cache: Of the server.
        messages: Stop after so many messages; for tests.

    Comes before :class:`~pylm.parts.core.Inbound` or :class:`~pylm.parts.core.Outbound` among the bases.
    """

    kind: int
    """ZeroMQ's socket type."""
    replies = False
    binds = True

    def __init__(
        self,
        name: str,
        listen_address: str,
        broker_address: str = "inproc://broker",
        logger: logging.Logger | None = None,
        cache: Any = None,
        messages: int = sys.maxsize,
    ) -> None:
        super().__init__(  # type: ignore[call-arg]
            name, listen_address, self.kind, self.replies, broker_address, self.binds, logger, cache,
            messages,
        )  # fmt: skip
