"""Old import path of :func:`url_join`, which lives in :mod:`v3io.paths`."""

from __future__ import annotations

from v3io.paths import url_join

__all__ = ["url_join"]
