"""Published messages, topic and body, taken from a subscribing socket in as few calls as it can be done.

Asking ZeroMQ after each part whether another follows costs more than receiving both. A message whose topic is the
expected one and whose body is a plain envelope needs no question: a body never looks like a topic, nor the reverse.
Anything else is looked at closely, and a publisher that sends one part or three puts nobody out of step. Called by
servers that subscribe and by clients.
"""

from __future__ import annotations

import zmq

from pylm._frames import DONTWAIT, LARGE, drop_rest, has_more_parts, recv_body
from pylm._lanes import Lanes, Plain

__all__ = ["PublishedIntake"]


class PublishedIntake:
    """Takes messages of one topic.

    Args:
        socket: Subscribed SUB.
        topic: The expected first part; empty takes every topic.
        lanes: Reads plain bodies.

    Belongs to one thread at a time.
    """

    __slots__ = ("_is_large", "_lanes", "_receive", "_socket", "_topic")

    def __init__(self, socket: zmq.Socket[bytes], topic: bytes, lanes: Lanes) -> None:
        self._socket = socket
        self._receive = socket.recv
        self._topic = topic
        self._lanes = lanes
        self._is_large = False

    def take(self, got: bytes) -> tuple[bytes | memoryview | None, Plain | None] | None:
        """Complete the message whose first part was received.

        Args:
            got: That part.

        Returns:
            Body and, when it is plain, its parts; body ``None`` when the message had not two parts; ``None`` for a
            message of another topic.
        """
        if got == self._topic and not self._is_large:
            try:
                frame = self._receive(DONTWAIT)
            except zmq.Again:
                return None, None
            plain = self._lanes.read(frame)
            if plain is not None:
                return frame, plain
            return self._check(got, frame)
        return self._take_slowly(got)

    def _take_slowly(self, got: bytes) -> tuple[bytes | memoryview | None, Plain | None] | None:
        if not has_more_parts(self._socket):
            return (None, None) if self._is_ours(got) else None
        return self._check(got, recv_body(self._receive, DONTWAIT, self._is_large))

    def _is_ours(self, got: bytes) -> bool:
        return not self._topic or got == self._topic

    def _check(
        self, got: bytes, frame: bytes | memoryview
    ) -> tuple[bytes | memoryview | None, Plain | None] | None:
        """Find out where a message ends that is not what it usually is."""
        self._is_large = len(frame) >= LARGE
        if has_more_parts(self._socket):
            if self._topic and frame == self._topic:  # ``got`` was a message of one part
                return self.take(bytes(frame))
            drop_rest(self._socket)
            return (None, None) if self._is_ours(got) else None
        if not self._is_ours(got):
            return None
        return frame, self._lanes.read(frame) if isinstance(frame, bytes) else None
