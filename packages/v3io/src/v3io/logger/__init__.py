"""The client's logger; see :mod:`v3io.logger.logger`."""

from __future__ import annotations

from v3io.logger.logger import HumanReadableFormatter, Logger

__all__ = ["HumanReadableFormatter", "Logger"]
