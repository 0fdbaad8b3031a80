"""The clock of dead marks and of sniffing."""

import time

__all__ = ["now"]

_BASE_S = time.time() - time.monotonic()


def now() -> float:
    """Return seconds since the epoch that never go back: comparable with ``time.time()``, deaf to a set clock."""
    return _BASE_S + time.monotonic()
