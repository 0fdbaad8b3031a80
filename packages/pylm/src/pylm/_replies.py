"""Answers of the first API: to the client that asked, when it said where it listens; else to whoever pulls.

One PUSH socket serves all clients of an old server, and ZeroMQ deals the answers out in turn (fault E-29). A client
of this generation therefore names an address of its own in the envelope's extension.
"""

from __future__ import annotations

import collections
from typing import Final

import zmq

from pylm import _wire
from pylm._loop import Loop
from pylm._outlet import PushOutlet
from pylm._stats import Stats
from pylm.config import ServerOptions

__all__ = ["ReplyOutlet"]

CONNECTIONS: Final = 256
"""Clients answered directly at a time; the one unused for longest is disconnected beyond."""


class ReplyOutlet:
    """Sends each answer where its extension says; see the module.

    Args:
        socket: Bound PUSH for clients that named no address.
        stats: Counts what is dropped.
        options: Limits, keys and the overflow policy.
    """

    def __init__(self, socket: zmq.Socket[bytes], stats: Stats, options: ServerOptions) -> None:
        self._shared = PushOutlet(socket, stats, options)
        self._stats = stats
        self._options = options
        self._direct: collections.OrderedDict[str, PushOutlet] = collections.OrderedDict()
        self._loop: Loop | None = None

    def attach(self, loop: Loop) -> None:
        """See :class:`~pylm._outlet.Outlet`."""
        self._loop = loop
        self._shared.attach(loop)

    def is_full(self) -> bool:
        """See :class:`~pylm._outlet.Outlet`."""
        return self._shared.is_full() or any(each.is_full() for each in self._direct.values())

    def has_room(self) -> bool:
        """See :class:`~pylm._outlet.Outlet`."""
        return self._shared.has_room() and all(each.has_room() for each in self._direct.values())

    def is_idle(self) -> bool:
        """See :class:`~pylm._outlet.Outlet`."""
        return self._shared.is_idle() and all(each.is_idle() for each in self._direct.values())

    def waiting(self) -> int:
        """See :class:`~pylm._outlet.Outlet`."""
        return self._shared.waiting() + sum(each.waiting() for each in self._direct.values())

    def send(self, topic: bytes, frame: bytes, *, per_call: bool = False) -> bool:
        """Send one answer; ``topic`` is the encoded extension of the message it answers."""
        if topic and _wire.has_more(topic):
            address = _wire.parse_extension(topic).reply_to
            if address:
                return self._outlet(address).send(b"", frame)
        return self._shared.send(b"", frame)

    def _outlet(self, address: str) -> PushOutlet:
        outlet = self._direct.get(address)
        if outlet is not None:
            self._direct.move_to_end(address)
            return outlet
        socket = self._options.open_socket(zmq.PUSH)
        if self._options.curve is not None:
            self._options.curve.apply(socket, as_server=False)
        try:
            socket.connect(address)
        except zmq.ZMQError:
            socket.close(0)
            return self._shared
        outlet = PushOutlet(socket, self._stats, self._options)
        assert self._loop is not None
        outlet.attach(self._loop)
        self._direct[address] = outlet
        if len(self._direct) > CONNECTIONS:
            self._close(*self._direct.popitem(last=False))
        return outlet

    def _close(self, _: str, outlet: PushOutlet) -> None:
        if self._loop is not None:
            self._loop.remove_writer(outlet.socket)
        self._stats.dropped += outlet.waiting()
        outlet.socket.close(1000)

    def flush(self) -> None:
        """See :class:`~pylm._outlet.Outlet`."""
        self._shared.flush()
        for outlet in self._direct.values():
            outlet.flush()

    def close(self) -> None:
        """Close the direct connections; what they hold has a second to leave."""
        while self._direct:
            self._close(*self._direct.popitem())
