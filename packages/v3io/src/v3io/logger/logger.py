"""A thin front of the standard library's logger ``v3io_py`` with structured fields.

Constructed by a client that is given no logger. Unlike 0.7.2 a client only sets the level of that shared logger when
it is asked for one, so that building a second client does not silence the first.
"""

from __future__ import annotations

import logging
from typing import IO, Any

__all__ = ["HumanReadableFormatter", "Logger"]


class HumanReadableFormatter(logging.Formatter):
    """Formats ``<time> [<level>] <message>: <fields>``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of one record; the fields are left out when there are none."""
        fields = getattr(record, "with", None)
        suffix = f": {fields}" if fields else ""
        when = self.formatTime(record, self.datefmt)
        return f"{when} [{record.levelname.lower()}] {record.getMessage()}{suffix}"


class Logger:
    """Logger with ``*_with`` methods that take structured fields; thread-safe.

    Args:
        level: Level name or number given to the process-wide logger ``v3io_py``.
    """

    def __init__(self, level: str | int = "DEBUG") -> None:
        self._logger = logging.getLogger("v3io_py")
        self._logger.setLevel(level)

    def set_handler(self, handler_name: str, file: IO[str], formatter: logging.Formatter) -> None:
        """Write to ``file`` too, replacing the handler that had this name, of whichever ``Logger``."""
        for handler in self._logger.handlers[:]:
            if handler.name == handler_name:
                self._logger.removeHandler(handler)
        handler = logging.StreamHandler(file)
        handler.name = handler_name
        handler.setFormatter(formatter)
        self._logger.addHandler(handler)

    def debug(self, message: str, *args: Any) -> None:
        """Log at DEBUG, ``args`` in printf style."""
        self._logger.debug(message, *args)

    def info(self, message: str, *args: Any) -> None:
        """Log at INFO."""
        self._logger.info(message, *args)

    def warn(self, message: str, *args: Any) -> None:
        """Log at WARNING."""
        self._logger.warning(message, *args)

    def error(self, message: str, *args: Any) -> None:
        """Log at ERROR."""
        self._logger.error(message, *args)

    def debug_with(self, message: str, *args: Any, **fields: Any) -> None:
        """Log at DEBUG with structured fields."""
        self._log(logging.DEBUG, message, args, fields)

    def info_with(self, message: str, *args: Any, **fields: Any) -> None:
        """Log at INFO with structured fields."""
        self._log(logging.INFO, message, args, fields)

    def warn_with(self, message: str, *args: Any, **fields: Any) -> None:
        """Log at WARNING with structured fields."""
        self._log(logging.WARNING, message, args, fields)

    def error_with(self, message: str, *args: Any, **fields: Any) -> None:
        """Log at ERROR with structured fields."""
        self._log(logging.ERROR, message, args, fields)

    def _log(self, level: int, message: str, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, message, *args, extra={"with": fields})
