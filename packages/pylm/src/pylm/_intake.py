"""Published messages, topic and body, taken from a subscribing socket in as few calls as it can be done.

Asking ZeroMQ after each part whether another follows costs more than receiving both. A message whose topic is the
expected one and whose body is a plain envelope needs no question: a body never looks like a topic, nor the reverse.
Anything else is looked at closely, and a publisher that sends one part or three puts nobody out of step. Called by
servers that subscribe and by clients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import zmq

from pylm._frames import DONTWAIT, LARGE, drop_rest, has_more_parts, recv_body
from pylm._lanes import Lanes, Plain

__all__ = ["Deliver", "PublishedIntake"]

Deliver: TypeAlias = Callable[[bytes | memoryview | None, Plain | None], object]


class PublishedIntake:
    """Takes messages of one topic.

    Args:
        socket: Subscribed SUB.
        topic: The expected first part; empty takes every topic.
        lanes: Reads plain bodies, or takes a shorter cut.
        deliver: Gets the body and, when it is plain, its parts; a message without exactly two parts has no body.

    Belongs to one thread at a time.
    """

    __slots__ = ("_deliver", "_is_large", "_lanes", "_receive", "_socket", "_topic")

    def __init__(
        self, socket: zmq.Socket[bytes], topic: bytes, lanes: Lanes, deliver: Deliver
    ) -> None:
        self._deliver = deliver
        self._socket = socket
        self._receive = socket.recv
        self._topic = topic
        self._lanes = lanes
        self._is_large = False

    def take(self, got: bytes) -> bool:
        """Complete and deliver the message whose first part was received.

        Args:
            got: That part.

        Returns:
            Whether it was of our topic; a message of another is not delivered.
        """
        if got != self._topic or self._is_large:
            return self._take_slowly(got)
        try:
            frame = self._receive(DONTWAIT)
        except zmq.Again:
            self._deliver(None, None)
            return True
        lanes = self._lanes
        if lanes.alike(frame):
            return True
        plain = lanes.read(frame)
        if plain is None:
            return self._check(got, frame)
        self._deliver(frame, plain)
        return True

    def _take_slowly(self, got: bytes) -> bool:
        if has_more_parts(self._socket):
            return self._check(got, recv_body(self._receive, DONTWAIT, self._is_large))
        return self._is_ours(got) and self._give(None)

    def _is_ours(self, got: bytes) -> bool:
        return not self._topic or got == self._topic

    def _give(self, frame: bytes | memoryview | None) -> bool:
        self._deliver(frame, self._lanes.read(frame) if isinstance(frame, bytes) else None)
        return True

    def _check(self, got: bytes, frame: bytes | memoryview) -> bool:
        """Find out where a message ends that is not what it usually is."""
        self._is_large = len(frame) >= LARGE
        if has_more_parts(self._socket):
            if self._topic and frame == self._topic:  # ``got`` was a message of one part
                return self.take(bytes(frame))
            drop_rest(self._socket)
            return self._is_ours(got) and self._give(None)
        return self._is_ours(got) and self._give(frame)
