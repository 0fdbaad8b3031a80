"""Request ids: by them the server knows a message it has seen, so one made here must never occur twice.

Called by writers at push. 1.40 used the row's number, which starts at 1 again with every new queue folder and is the
same on two hosts.
"""

from __future__ import annotations

import itertools
import os
from typing import Any

__all__ = ["new_reqid", "reqid_text"]


class _Source:
    """Random prefix of this process and a counter; a forked child draws its own prefix."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.prefix = os.urandom(8).hex()
        self.numbers = itertools.count(1)


_source = _Source()
os.register_at_fork(after_in_child=_source.renew)


def new_reqid() -> str:
    """Return an id that no other call, process or host returns: 16 hexadecimal digits, a dash and a number."""
    return f"{_source.prefix}-{next(_source.numbers):x}"


def reqid_text(reqid: Any) -> str | None:
    """Return a given request id as text, ``None`` for ``None`` and ``''``.

    Args:
        reqid: Any value; bytes are taken as UTF-8, everything else by ``str()``.

    Raises:
        UnicodeDecodeError: Bytes that are not UTF-8.
    """
    if reqid is None:
        return None
    text = reqid.decode("utf-8") if isinstance(reqid, bytes) else str(reqid)
    return text or None
