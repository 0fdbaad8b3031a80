"""A server of the first API put together from parts.

Source: API reference, section A6.
"""

from __future__ import annotations

import logging

import pylm.parts.servers
from pylm._services import Services

__all__ = ["ServerTemplate"]


class ServerTemplate(pylm.parts.servers.ServerTemplate):
    """See :class:`pylm.parts.servers.ServerTemplate`.

    Args:
        ping_address: Of a ping collector; empty for none.
        log_address: Of a log collector; empty for none.
        perf_address: Of a performance collector; empty for none.
        logging_level: Of the logger.
    """

    def __init__(
        self,
        ping_address: str = "",
        log_address: str = "",
        perf_address: str = "",
        logging_level: int = logging.INFO,
    ) -> None:
        super().__init__(logging_level)
        self.palm = False
        self._services = Services(self.logger, log_address, perf_address, ping_address)
        self.perfcounter = self._services.counter

    def start(self) -> None:
        """Run until stopped; see :meth:`pylm.parts.servers.ServerTemplate.start`."""
        self._services.start()
        try:
            super().start()
        finally:
            self._services.close()
