"""Loggers as the originals set them up, minus their duplicates.

One handler per logger, whatever the number of servers of that name (fault E-21); never the root logger.
Source: API reference, section A1.
"""

from __future__ import annotations

import logging
import sys

__all__ = ["SERVER_FORMAT", "server_logger"]

SERVER_FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"


class _StdoutHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to whatever ``sys.stdout`` is at the time, so that captured output stays captured."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> object:
        """Return the present standard output."""
        return sys.stdout


def server_logger(name: str, level: int, form: str = SERVER_FORMAT) -> logging.Logger:
    """Return the logger of that name, with one handler to standard output, at ``level``."""
    logger = logging.getLogger(name or "pylm")
    if not any(isinstance(handler, _StdoutHandler) for handler in logger.handlers):
        handler = _StdoutHandler()
        handler.setFormatter(logging.Formatter(form))
        logger.addHandler(handler)
    logger.setLevel(level)
    return logger
