"""The calls of a client that are written down instead of being sent; behind the batches of both clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from v3io.dataplane import container, kv, object, stream
from v3io.dataplane.flat import FlatCalls
from v3io.dataplane.model import Trace
from v3io.dataplane.queued_call import QueuedCall
from v3io.dataplane.request import Request

__all__ = ["Recorder"]


class Recorder(FlatCalls[QueuedCall]):
    """Client and transport at once: has the flat and the grouped calls, and appends each to its queue.

    Args:
        access_key: Of calls that bring none.

    Attributes:
        queue: What has been recorded and not taken.
    """

    def __init__(self, access_key: str | None) -> None:
        self._access_key = access_key
        self._trace: Trace | None = None  # recording is no call
        self._transport = self
        self.queue: list[QueuedCall] = []
        self.kv = kv.Model(self)
        self.object = object.Model(self)
        self.stream = stream.Model(self)
        self.container = container.Model(self)

    def _send(
        self,
        container: str | None,
        access_key: str | None,
        raise_for_status: Any,
        transport_actions: int | None,
        encoder: Callable[..., Any],
        encoder_args: Mapping[str, Any],
        output: Callable[[Any], Any] | None = None,
    ) -> Any:
        access_key = access_key or self._access_key
        queued = QueuedCall(
            Request(container, access_key, raise_for_status, encoder, encoder_args, output)
        )
        self.queue.append(queued)
        return queued

    request = _send

    def create_batch(self) -> Any:
        """Refuse: a batch is not queued within another.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a batch cannot queue a batch")

    def take(self) -> list[QueuedCall]:
        """Return what has been recorded, and begin anew."""
        taken, self.queue = self.queue, []
        return taken
