"""Base of the grouped calls (``client.kv``, ``client.object``, ``client.stream``, ``client.container``).

The call of a group joins its paths and passes the rest on to the client's flat call, which says what is sent.
"""

from __future__ import annotations

from typing import Any, Generic

from v3io.dataplane.flat import FlatCalls, ResponseT
from v3io.paths import with_trailing_slash

__all__ = ["Model"]


class Model(Generic[ResponseT]):
    """A group of calls of one client; as thread- or task-safe as the client.

    Args:
        client: The client whose calls these are.
    """

    def __init__(self, client: FlatCalls[ResponseT, Any]) -> None:
        self._client = client

    @staticmethod
    def _ensure_path_ends_with_slash(path: str) -> str:
        return with_trailing_slash(path)
