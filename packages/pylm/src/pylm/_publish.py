"""When an answer may leave a publishing socket: no reader, no loss.

A server publishes on XPUB, so that it sees who subscribed. This module holds what it must not send yet: answers for
a topic nobody has subscribed to (bounded in number and time), and answers that may meet the subscription of a call
that has ended. The latter is the original client's habit: it opens a new subscriber of the same topic for each call
while the old one is being torn down, so "subscribed" is not enough; unless a subscription has arrived since the last
answer, an answer for such a client waits up to 3 ms for one.

Pure: no sockets, no clock. Called by :mod:`pylm._server`. Source: wire reference, section G3.
"""

from __future__ import annotations

import collections
import dataclasses
import heapq
from typing import Final

__all__ = ["Held", "Publisher"]

HOLD_S: Final = 5.0
HOLD_LIMIT: Final = 1000
HOLD_TOPICS: Final = 10
"""Full topics' worth of answers that are held altogether."""
RESUBSCRIBE_S: Final = 0.003


@dataclasses.dataclass(slots=True)
class Held:
    """Answers of one topic that wait, oldest first, each with the time at which it is given up."""

    queue: collections.deque[tuple[bytes, float]]
    release_at: float
    """When they leave although no new subscription came; ``inf`` while nobody is subscribed."""
    due: float = 0.0
    """When to look at them again."""


class Publisher:
    """What is subscribed, and what waits for a subscription.

    Args:
        hold_s: Seconds an answer waits for a reader before it counts as dropped.
        hold_limit: Answers held per topic; the oldest is dropped beyond. Ten times as many are held for all topics.
        resubscribe_s: Seconds to wait for a per-call client's new subscription.
    """

    def __init__(
        self,
        hold_s: float = HOLD_S,
        hold_limit: int = HOLD_LIMIT,
        resubscribe_s: float = RESUBSCRIBE_S,
    ) -> None:
        self.hold_s = hold_s
        self.hold_limit = hold_limit
        self.resubscribe_s = resubscribe_s
        self.held: dict[bytes, Held] = {}
        self.dropped = 0
        self.waiting = 0
        """Answers held, of all topics; read-only outside."""
        self._due: list[tuple[float, bytes]] = []
        self.subscribed: dict[bytes, int] = {}
        """Subscriptions by prefix, with the number of their peers; read-only outside."""
        self._lengths: collections.Counter[int] = collections.Counter()
        self._fresh: set[bytes] = set()

    def is_subscribed(self, topic: bytes) -> bool:
        """Return whether a subscription matches the topic; a subscription matches by prefix."""
        counts = self.subscribed
        if topic in counts:
            return True
        size = len(topic)
        return any(length < size and topic[:length] in counts for length in self._lengths)

    @property
    def topics(self) -> list[bytes]:
        """The subscribed prefixes, sorted."""
        return sorted(self.subscribed)

    def offer(self, topic: bytes, frame: bytes, now: float, *, per_call: bool) -> bool:
        """Return whether ``frame`` may be sent now; otherwise it is kept and a later call returns it.

        Args:
            topic: Where the answer goes.
            frame: The encoded answer.
            now: Monotonic seconds.
            per_call: The reader may be an original client, which subscribes anew for every call.
        """
        held = self.held.get(topic)
        if held is None:
            if self.is_subscribed(topic):
                if not per_call:
                    return True
                if topic in self._fresh:
                    self._fresh.discard(topic)
                    return True
                release_at = now + self.resubscribe_s
            else:
                release_at = float("inf")
            held = self.held[topic] = Held(collections.deque(), release_at)
            self._look_again(topic, held, min(release_at, now + self.hold_s))
        held.queue.append((frame, now + self.hold_s))
        self.waiting += 1
        if len(held.queue) > self.hold_limit:
            self._drop_first(topic, held)
        elif self.waiting > self.hold_limit * HOLD_TOPICS:
            self._drop_first(*next(iter(self.held.items())))
        return False

    def _drop_first(self, topic: bytes, held: Held) -> None:
        held.queue.popleft()
        self.waiting -= 1
        self.dropped += 1
        if not held.queue:
            del self.held[topic]

    def _look_again(self, topic: bytes, held: Held, at: float) -> None:
        held.due = at
        heapq.heappush(self._due, (at, topic))

    def on_event(self, event: bytes) -> list[tuple[bytes, bytes]]:
        """Take a subscription event of XPUB (first byte 1 or 0, then the prefix); return what may leave now."""
        prefix = event[1:]
        if not event or event[0] not in (0, 1):
            return []
        if event[0] == 0:
            count = self.subscribed.get(prefix, 0)
            if count > 1:
                self.subscribed[prefix] = count - 1
            elif count == 1:
                del self.subscribed[prefix]
                self._fresh.discard(prefix)
                self._lengths[len(prefix)] -= 1
                if not self._lengths[len(prefix)]:
                    del self._lengths[len(prefix)]
            return []
        if prefix not in self.subscribed:
            self.subscribed[prefix] = 0
            self._lengths[len(prefix)] += 1
        self.subscribed[prefix] += 1
        ready = [topic for topic in self.held if topic.startswith(prefix)]
        if prefix not in ready:
            self._fresh.add(prefix)
        return self._release(ready)

    def next_due(self) -> float | None:
        """Return when :meth:`on_time` has work; ``None`` while nothing is held."""
        due = self._due
        while due:
            at, topic = due[0]
            held = self.held.get(topic)
            if held is not None and held.due == at:
                return at
            heapq.heappop(due)  # its answers have left
        return None

    def on_time(self, now: float) -> list[tuple[bytes, bytes]]:
        """Return what leaves because its wait for a new subscription is over; drop what waited too long."""
        released: list[tuple[bytes, bytes]] = []
        while (at := self.next_due()) is not None and at <= now:
            topic = heapq.heappop(self._due)[1]
            held = self.held[topic]
            if held.release_at <= now:
                if self.is_subscribed(topic):
                    released += self._release([topic])
                    continue
                held.release_at = float("inf")
            while held.queue and held.queue[0][1] <= now:
                self._drop_first(topic, held)
            if held.queue:
                self._look_again(topic, held, min(held.release_at, held.queue[0][1]))
        return released

    def _release(self, topics: list[bytes]) -> list[tuple[bytes, bytes]]:
        released = [(topic, frame) for topic in topics for frame, _ in self.held.pop(topic).queue]
        self.waiting -= len(released)
        return released

    def flush(self) -> list[tuple[bytes, bytes]]:
        """Return everything held for topics that have a reader; called while draining."""
        return self._release([topic for topic in self.held if self.is_subscribed(topic)])
