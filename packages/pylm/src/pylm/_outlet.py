"""Where a server's answers leave: a publishing or a pushing socket with a bounded backlog behind it.

A full socket never blocks the loop: the answer joins the backlog, and the owner stops reading new work while the
backlog is full (policy ``block``). Called by :mod:`pylm._server`.
"""

from __future__ import annotations

import collections
from typing import Final, Literal, Protocol

import zmq

from pylm._frames import DONTWAIT, LARGE, SNDMORE, sender_of
from pylm._loop import Loop, Timer
from pylm._publish import Publisher
from pylm._stats import Stats
from pylm.config import ServerOptions

__all__ = ["MORE_NOW", "Outlet", "PubOutlet", "PushOutlet"]

RETRY_S: Final = 0.002
MORE_NOW: Final = SNDMORE | DONTWAIT


class Outlet(Protocol):
    """What an engine needs from the way out."""

    def send(self, topic: bytes, frame: bytes, *, per_call: bool) -> bool:
        """Send or keep one answer; return whether something is kept now."""

    def attach(self, loop: Loop) -> None:
        """Join a running loop."""

    def is_full(self) -> bool:
        """Return whether the backlog is at its limit."""

    def has_room(self) -> bool:
        """Return whether the backlog is at most half full."""

    def is_idle(self) -> bool:
        """Return whether nothing waits inside, so that its sockets need no attention."""

    def waiting(self) -> int:
        """Return how many answers wait inside."""

    def flush(self) -> None:
        """Send what can be sent now; used while draining."""

    def close(self) -> None:
        """Close what the outlet itself opened."""


def room_for(waiting: int, options: ServerOptions) -> Literal["yes", "oldest", "no"]:
    """Return whether a backlog takes one answer more: as it is, for its oldest, or not.

    With ``raise`` the refusals of further work are answers too: they get as much room again, and never that of an
    answer. With ``block`` nothing is dropped: no more work is read.
    """
    if options.overflow == "drop-oldest" and waiting >= options.backlog:
        return "oldest"
    if options.overflow == "raise" and waiting >= 2 * options.backlog:
        return "no"
    return "yes"


class PubOutlet:
    """Publishes on XPUB; see :mod:`pylm._publish` for what is held and why.

    Args:
        socket: Bound XPUB.
        stats: Counts what is dropped.
        options: Limits and the overflow policy.
    """

    def __init__(self, socket: zmq.Socket[bytes], stats: Stats, options: ServerOptions) -> None:
        socket.setsockopt(zmq.XPUB_VERBOSER, 1)
        socket.setsockopt(zmq.XPUB_NODROP, 1)
        self.socket = socket
        self.publisher = Publisher(hold_s=options.hold_s)
        self._send = sender_of(socket)
        self._subscribed = self.publisher.subscribed
        self._held = self.publisher.held
        self._stats = stats
        self._options = options
        self._backlog: dict[bytes, collections.deque[tuple[bytes, float]]] = {}
        self._size = 0
        self._counted = 0
        self._loop: Loop | None = None
        self._timer: Timer | None = None

    def attach(self, loop: Loop) -> None:
        """See :class:`Outlet`."""
        self._loop = loop
        loop.add_reader(self.socket, self._on_events)

    def is_full(self) -> bool:
        """See :class:`Outlet`."""
        return self._size >= self._options.backlog

    def has_room(self) -> bool:
        """See :class:`Outlet`; what is held for a reader to come does not count."""
        return self._size * 2 <= self._options.backlog

    def is_idle(self) -> bool:
        """See :class:`Outlet`."""
        return not self._backlog and not self.publisher.held

    def waiting(self) -> int:
        """See :class:`Outlet`."""
        return self._size + self.publisher.waiting

    def send(self, topic: bytes, frame: bytes, *, per_call: bool) -> bool:
        """See :class:`Outlet`; ``per_call`` as in :meth:`pylm._publish.Publisher.offer`."""
        if topic in self._subscribed and not (per_call or self._held or self._backlog):
            try:
                self._send(topic, MORE_NOW)
            except zmq.Again:
                self._keep(topic, frame)
                return True
            self._send(frame, 0, len(frame) < LARGE)
            return False
        assert self._loop is not None
        publisher = self.publisher
        # Subscriptions that have arrived count before the decision, else each first answer would wait for a turn.
        if per_call or topic in publisher.held or not publisher.is_subscribed(topic):
            self._on_events()
        if publisher.offer(topic, frame, self._loop.clock(), per_call=per_call):
            self._transmit(topic, frame)
        else:
            self._count_drops()
            self._schedule()
        return True

    def _count_drops(self) -> None:
        dropped = self.publisher.dropped
        self._stats.dropped += dropped - self._counted
        self._counted = dropped

    def _transmit(self, topic: bytes, frame: bytes) -> None:
        if self._backlog and topic in self._backlog:
            self._keep(topic, frame)
            return
        try:
            self._send(topic, MORE_NOW)
        except zmq.Again:
            self._keep(topic, frame)
            return
        self._send(frame, 0, len(frame) < LARGE)

    def _keep(self, topic: bytes, frame: bytes) -> None:
        assert self._loop is not None
        room = room_for(self._size, self._options)
        if room != "yes":
            self._stats.dropped += 1
        if room == "no":
            return
        queue = self._backlog.setdefault(topic, collections.deque())
        queue.append((frame, self._loop.clock() + self._options.stall_s))
        if room == "yes":
            self._size += 1
        else:
            oldest = topic if len(queue) > 1 else next(iter(self._backlog))
            self._backlog[oldest].popleft()
            if not self._backlog[oldest]:
                del self._backlog[oldest]
        self._schedule()

    def _on_events(self) -> None:
        while True:
            try:
                event = self.socket.recv(DONTWAIT)
            except zmq.Again:
                return
            for topic, frame in self.publisher.on_event(event):
                self._transmit(topic, frame)

    def _schedule(self) -> None:
        assert self._loop is not None
        due = self.publisher.next_due()
        at = self._loop.clock() + RETRY_S if self._backlog else due
        if at is None:
            return
        if self._timer is not None and not self._timer.cancelled:
            if self._timer.at <= at:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        assert self._loop is not None
        self._timer = None
        self._on_events()
        for topic, frame in self.publisher.on_time(self._loop.clock()):
            self._transmit(topic, frame)
        self._count_drops()
        self._retry()
        self._schedule()

    def _retry(self) -> None:
        assert self._loop is not None
        now = self._loop.clock()
        for topic in list(self._backlog):
            queue = self._backlog[topic]
            while queue:
                frame, give_up_at = queue[0]
                try:
                    self.socket.send(topic, MORE_NOW)
                except zmq.Again:
                    if now < give_up_at:
                        break
                    self._stats.dropped += 1
                else:
                    self.socket.send(frame)
                queue.popleft()
                self._size -= 1
            if not queue:
                del self._backlog[topic]

    def flush(self) -> None:
        """See :class:`Outlet`."""
        self._on_events()
        for topic, frame in self.publisher.flush():
            self._transmit(topic, frame)
        self._retry()

    def close(self) -> None:
        """See :class:`Outlet`; the socket is the server's."""


class PushOutlet:
    """Pushes to whoever pulls: the next server of a chain, or the clients of the first API.

    Args:
        socket: PUSH, bound or connected.
        stats: Counts what is dropped.
        options: Limits and the overflow policy.
    """

    def __init__(self, socket: zmq.Socket[bytes], stats: Stats, options: ServerOptions) -> None:
        self.socket = socket
        self._stats = stats
        self._options = options
        self._backlog: collections.deque[bytes] = collections.deque()
        self._send = sender_of(socket)
        self._loop: Loop | None = None

    def attach(self, loop: Loop) -> None:
        """See :class:`Outlet`."""
        self._loop = loop

    def is_full(self) -> bool:
        """See :class:`Outlet`."""
        return len(self._backlog) >= self._options.backlog

    def has_room(self) -> bool:
        """See :class:`Outlet`."""
        return len(self._backlog) * 2 <= self._options.backlog

    def is_idle(self) -> bool:
        """See :class:`Outlet`."""
        return not self._backlog

    def waiting(self) -> int:
        """See :class:`Outlet`."""
        return len(self._backlog)

    def send(self, topic: bytes, frame: bytes, *, per_call: bool = False) -> bool:
        """See :class:`Outlet`; topic and ``per_call`` mean nothing to a pushing socket."""
        if not self._backlog:
            try:
                self._send(frame, DONTWAIT, len(frame) < LARGE)
            except zmq.Again:
                assert self._loop is not None
                self._loop.add_writer(self.socket, self.flush)
            else:
                return False
        room = room_for(len(self._backlog), self._options)
        if room != "yes":
            self._stats.dropped += 1
        if room == "oldest":
            self._backlog.popleft()
        if room != "no":
            self._backlog.append(frame)
        return True

    def flush(self) -> None:
        """See :class:`Outlet`."""
        while self._backlog:
            try:
                self.socket.send(self._backlog[0], DONTWAIT)
            except zmq.Again:
                return
            self._backlog.popleft()
        if self._loop is not None:
            self._loop.remove_writer(self.socket)

    def close(self) -> None:
        """See :class:`Outlet`; the socket is the server's."""
