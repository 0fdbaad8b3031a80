"""Large buffers that the C library keeps for the next call instead of returning their pages to the system.

Called where bodies of several hundred kilobytes are built or taken again and again: by v3io's
batches of records and by pylm's long messages. Standard library only, no I/O.
"""

from __future__ import annotations

from typing import Final

__all__ = ["keep_buffers"]

_FACTOR: Final = 4
_LIMIT: Final = 2**25 - 2**14
"""glibc raises its thresholds up to 32 MiB, header included."""
_kept = 0


def keep_buffers(size: int) -> None:
    """Let the C library reuse buffers of this size; costs microseconds for the first of a size, then nothing.

    glibc raises its thresholds for that when a buffer it took from the system is freed, so one untouched, zeroed buffer
    does. Without it every message of 1 MiB faults hundreds of pages in: four times the time of a pylm call, twice that
    of a PutRecords. The process may then hold on to eight times the size, 64 MiB at most. Other C libraries take no
    notice, and glibc none where the environment fixes a threshold (``MALLOC_TRIM_THRESHOLD_``: Dask sets it for its
    workers and everything started after them). Thread-safe: at worst the hint is given twice.

    Args:
        size: Bytes of one buffer.
    """
    global _kept
    want = min(_FACTOR * size, _LIMIT)
    if want > _kept:
        _kept = want
        bytes(want)
