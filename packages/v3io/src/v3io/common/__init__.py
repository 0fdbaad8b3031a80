"""Old import path ``v3io.common``; see :mod:`v3io.common.helpers`."""

from __future__ import annotations
