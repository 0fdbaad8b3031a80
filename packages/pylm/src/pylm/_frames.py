"""Receiving multipart messages without the binding's conveniences, which cost more than the message.

``socket.rcvmore`` and ``recv_multipart`` go through enumerations for every part (11 us against 1 us measured), and a
receive that finds nothing costs as much as ten that find something. Used wherever messages are counted in thousands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import zmq

__all__ = [
    "DONTWAIT",
    "LARGE",
    "SNDMORE",
    "complete_routed",
    "drop_rest",
    "has_more_parts",
    "recv_body",
    "recv_published",
    "recv_routed",
    "sender_of",
]

DONTWAIT: Final = int(zmq.DONTWAIT)
SNDMORE: Final = int(zmq.SNDMORE)
_RCVMORE: Final = int(zmq.RCVMORE)

LARGE: Final = 64 * 1024
"""Messages from this size up are handed over by reference: below, that costs more than the copy."""


def sender_of(socket: zmq.Socket[Any]) -> Callable[..., Any]:
    """Return the socket's ``send`` without the binding's Python layer: half the time for a small message."""
    send: Callable[..., Any] = super(zmq.Socket, socket).send
    return send


def has_more_parts(socket: zmq.Socket[Any]) -> bool:
    """Return whether the message being read has a further part."""
    return bool(socket.getsockopt(_RCVMORE))


def recv_body(receive: Callable[..., Any], flags: int, by_reference: bool) -> bytes | memoryview:
    """Return the next part, copied, or as a view when asked for and worth it.

    Args:
        receive: ``recv`` of a socket.
        flags: Of ZeroMQ.
        by_reference: The last part was large, so this one probably is.

    Raises:
        zmq.Again: There is none.
    """
    if not by_reference:
        part: bytes = receive(flags)
        return part
    frame = receive(flags, False)
    view: memoryview = frame.buffer
    return view if len(view) >= LARGE else bytes(view)


def drop_rest(socket: zmq.Socket[bytes]) -> int:
    """Read the remaining parts of the message in work away; return how many there were."""
    count = 0
    while socket.getsockopt(_RCVMORE):
        socket.recv()
        count += 1
    return count


def recv_published(
    socket: zmq.Socket[bytes], flags: int = 0
) -> tuple[bytes, bytes] | tuple[bytes, None]:
    """Return topic and body of a published message; body ``None`` when it had not exactly two parts.

    Raises:
        zmq.Again: There is none (with ``DONTWAIT``, or within the socket's receive timeout).
    """
    topic = socket.recv(flags)
    if not socket.getsockopt(_RCVMORE):
        return topic, None
    body = socket.recv()
    if socket.getsockopt(_RCVMORE):
        drop_rest(socket)
        return topic, None
    return topic, body


def recv_routed(socket: zmq.Socket[bytes], flags: int = 0) -> tuple[bytes, bytes, bytes | None]:
    """Return sender, first and second part of a message on a ROUTER; see :func:`complete_routed`.

    Raises:
        zmq.Again: There is none (with ``DONTWAIT``, or within the socket's receive timeout).
    """
    return complete_routed(socket, socket.recv(flags))


def complete_routed(socket: zmq.Socket[bytes], sender: bytes) -> tuple[bytes, bytes, bytes | None]:
    """Return sender, first and second part of a message whose sender was received.

    The second is ``None`` when there is no such part. A message with more parts comes back with an empty first part
    and no second, which no peer of ours sends. After a sender ZeroMQ always has a first part.
    """
    first = socket.recv(DONTWAIT, False)
    if not first.more:
        return sender, first.bytes, None
    second = socket.recv(DONTWAIT, False)
    if second.more:
        drop_rest(socket)
        return sender, b"", None
    return sender, first.bytes, second.bytes
