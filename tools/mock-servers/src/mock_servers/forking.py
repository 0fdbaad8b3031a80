"""Keep the servers' sockets out of forked children.

A child that is forked without exec inherits every descriptor: the port of a server that was stopped would stay taken,
and a connection that was reset would stay open, for as long as the child lives. Programs fork in tests of fork safety;
servers and proxies register here, and in a child their descriptors lead to the null device.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable
from typing import Protocol

__all__ = ["SocketOwner", "close_in_children"]


class SocketOwner(Protocol):
    """Something that holds sockets."""

    def descriptors(self) -> Iterable[int]:
        """Return its descriptors at the moment; negative ones are skipped."""


_owners: weakref.WeakSet[SocketOwner] = weakref.WeakSet()


def close_in_children(owner: SocketOwner) -> None:
    """Take an owner's sockets away from all children forked from now on, while the owner lives."""
    _owners.add(owner)


def _after_fork_in_child() -> None:
    # Not closed but replaced: the numbers stay taken, so that objects which still hold them can close them later.
    null = os.open(os.devnull, os.O_RDWR)
    for owner in list(_owners):
        for descriptor in owner.descriptors():
            if descriptor >= 0:
                os.dup2(null, descriptor)
    os.close(null)


os.register_at_fork(after_in_child=_after_fork_in_child)
