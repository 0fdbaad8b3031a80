"""The calls of a client that are written down instead of being sent; behind the batches of both clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from v3io.dataplane import container, kv, object, stream
from v3io.dataplane.flat import FlatCalls
from v3io.dataplane.queued_call import QueuedCall
from v3io.dataplane.request import EncoderArgs, Request

__all__ = ["Recorder"]


class Recorder(FlatCalls[QueuedCall, Any]):
    """Client and transport at once: has the flat and the grouped calls, and appends each to its queue.

    Args:
        access_key: Of calls that bring none.

    Attributes:
        queue: What has been recorded and not taken.
    """

    def __init__(self, access_key: str | None) -> None:
        self._access_key = access_key
        self._transport = self
        self.queue: list[QueuedCall] = []
        here: Any = self  # the models' calls return what the calls of their client do
        here.kv = kv.Model(here)
        self.object = object.Model(here)
        self.stream = stream.Model(here)
        self.container = container.Model(here)

    def request(
        self,
        container: str | None,
        access_key: str | None,
        raise_for_status: Any,
        transport_actions: int | None,
        encoder: Callable[..., Any],
        encoder_args: EncoderArgs,
        output: Callable[[Any], Any] | None = None,
    ) -> QueuedCall:
        """Append a request to the queue; arguments as of a transport's ``request``."""
        queued = QueuedCall(
            Request(container, access_key, raise_for_status, encoder, encoder_args, output)
        )
        self.queue.append(queued)
        return queued

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
