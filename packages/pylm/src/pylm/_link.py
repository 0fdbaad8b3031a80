"""The two sockets of a client and the calls that share them.

One link lives as long as its client: no socket is opened per call, so no answer meets a closing subscriber. Any
number of threads may call at once; one of them reads for all (leader and followers), each call finds its answers by
the message id that servers of this generation return. Original servers return none: their answers go to the oldest
open call, as the original had it.

Called by the clients of both generations. Source: wire reference, sections G3 and G4; faults E-1, E-15, E-17.
"""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import zmq

from pylm import _wire
from pylm._frames import DONTWAIT, LARGE, recv_body, sender_of
from pylm._intake import PublishedIntake
from pylm._lanes import Lanes, Plain, body_finder
from pylm._loop import DRAIN
from pylm.config import Overflow
from pylm.errors import Closed, Malformed, Overloaded, PylmError, TimedOut, from_failure

__all__ = ["Answer", "Call", "Link"]

SLICE_MS: Final = 100
_COMPLETE_BYTES: Final = _wire.PLAIN_EXT_BYTES + len(_wire.COMPLETE)

Answer = tuple[int, bytes, PylmError | None, str]
"""Index of the message it answers (-1: unknown), payload, failure, name of the payload's serializer."""


class Call:
    """One job or evaluation in progress."""

    __slots__ = (
        "answers",
        "complete",
        "error",
        "exhausted",
        "kept",
        "sent",
        "stopped",
        "uses_ids",
    )

    def __init__(self, *, uses_ids: bool, keep: bool) -> None:
        self.answers: collections.deque[Answer] = collections.deque()
        self.kept: dict[bytes, bytes] | None = {} if keep else None
        self.sent = 0
        self.complete = 0
        self.exhausted = False
        self.stopped = False
        self.error: BaseException | None = None
        self.uses_ids = uses_ids


class Link:
    """Sends envelopes on one socket and hands what comes back to the call it belongs to.

    Args:
        push: Connected PUSH.
        answers: Connected SUB (answers carry a topic) or PULL.
        client: Uuid of the client; answers of others are not ours.
        describe: Names the peer, for error messages.

    Thread-safe. Not fork-safe: make a new client after a fork.
    """

    def __init__(
        self,
        push: zmq.Socket[bytes],
        answers: zmq.Socket[bytes],
        client: str,
        describe: Callable[[], str],
    ) -> None:
        self._push = push
        self._answers = answers
        kind = _wire.PalmMessage if answers.type == zmq.SUB else _wire.OldPalmMessage
        self._lanes = Lanes(kind)
        self._published = (
            PublishedIntake(answers, client.encode(), self._lanes, self._deliver)
            if answers.type == zmq.SUB
            else None
        )
        self._is_large = False
        self._receive = answers.recv
        self._send = sender_of(push)
        self._client = client
        self._describe = describe
        self._routes: dict[bytes, tuple[Call, int]] = {}
        self._calls: list[Call] = []
        self._send_lock = threading.Lock()
        self._receive_lock = threading.Lock()
        self._changed = threading.Condition()
        self._followers = 0
        self._closed = False
        self.strays = 0
        answers.rcvtimeo = SLICE_MS
        self._decode = _wire.decode_old if self._published is None else _wire.decode_new

    def open(self, call: Call) -> None:
        """Let answers reach the call."""
        if self._closed:
            raise Closed(f"the client of {self._describe()} is closed")
        if not call.uses_ids:
            self._calls.append(call)

    def finish(self, call: Call) -> None:
        """Forget the call; answers that still come are counted as strays."""
        call.stopped = True
        if not call.uses_ids:
            with contextlib.suppress(ValueError):
                self._calls.remove(call)
        elif call.complete < call.sent:
            for identity, (owner, _) in list(self._routes.items()):
                if owner is call:
                    self._routes.pop(identity, None)

    def expect(self, call: Call, identity: bytes) -> None:
        """Route answers to the call's next message, which has that id, to the call; before it is sent."""
        self._routes[identity] = call, call.sent
        call.sent += 1

    def try_send(self, frame: bytes) -> bool:
        """Send without waiting; return whether there was room."""
        with self._send_lock:
            if self._closed:
                raise Closed(f"the client of {self._describe()} is closed")
            try:
                self._send(frame, DONTWAIT, len(frame) < LARGE)
            except zmq.Again:
                return False
        return True

    def send(self, frame: bytes, deadline: float, overflow: Overflow, *, feeding: bool) -> bool:
        """Send, waiting for room as the policy says; return whether the frame left.

        Args:
            frame: The envelope.
            deadline: Monotonic seconds, ``inf`` for none.
            overflow: ``block``; ``raise``; ``drop-oldest`` drops this frame (a queue inside ZeroMQ cannot be reached).
            feeding: A background thread sends while another one reads.

        Raises:
            Overloaded: No room and the policy is ``raise``.
            TimedOut: No room until the deadline; the frame was not sent.
            Closed: The client was closed meanwhile.
        """
        if self.try_send(frame):
            return True
        if overflow == "raise":
            raise Overloaded(
                f"the queue to {self._describe()} is full or nobody is connected; try later"
            )
        if overflow == "drop-oldest":
            return False
        while not self.try_send(frame):
            now = time.monotonic()
            if now >= deadline:
                raise TimedOut(
                    f"no room in the queue to {self._describe()} in time: is the server running? Nothing was sent"
                )
            if feeding:
                time.sleep(0.001)
            else:
                self._read_once(0.001)
        return True

    def wait(self, call: Call, deadline: float) -> bool:
        """Wait until the call has an answer, failed or the deadline passed; return whether it has one.

        Raises:
            Closed: The client was closed meanwhile.
        """
        while not call.answers:
            if self._closed:
                raise Closed(f"the client of {self._describe()} was closed while a call waited")
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if call.error is not None:
                return False
            self._read_once(min(left, 0.1), call)
        return True

    def _read_once(self, limit_s: float, call: Call | None = None) -> None:
        if self._receive_lock.acquire(blocking=False):
            try:
                if not (call is not None and call.answers) and not self._closed:
                    self._pump(limit_s, call)
            finally:
                self._receive_lock.release()
                if self._followers:
                    with self._changed:
                        self._changed.notify_all()
            return
        with self._changed:
            self._followers += 1
            try:
                if not (call is not None and call.answers):
                    self._changed.wait(min(limit_s, 0.02))
            finally:
                self._followers -= 1

    def poll(self) -> None:
        """Take in what has arrived, without waiting."""
        if self._receive_lock.acquire(blocking=False):
            try:
                self._pump(0.0)
            finally:
                self._receive_lock.release()

    def _pump(self, limit_s: float, call: Call | None = None) -> None:
        socket = self._answers
        flags = 0
        if limit_s < SLICE_MS / 1000:
            flags = DONTWAIT
            if limit_s > 0 and not socket.poll(max(1, int(limit_s * 1000))):
                return
        receive, published = self._receive, self._published
        for _ in range(DRAIN):
            try:
                if published is not None:
                    if not published.take(receive(flags)):
                        self.strays += 1
                else:
                    frame = recv_body(receive, flags, self._is_large)
                    self._is_large = len(frame) >= LARGE
                    self._route(frame, self._lanes.read(frame) if type(frame) is bytes else None)
            except zmq.Again:
                return
            flags = DONTWAIT
            if call is not None and call.answers and call.sent - call.complete < 2:
                return

    def _deliver(self, frame: bytes | memoryview | None, plain: Plain | None) -> None:
        if frame is None:
            self.strays += 1
        else:
            self._route(frame, plain)

    def _route(self, frame: bytes | memoryview, plain: Plain | None) -> None:
        """Give an answer to the call it belongs to."""
        if plain is not None and len(plain[3]) == _COMPLETE_BYTES:
            lane, head, payload, ext = plain
            if lane.client == self._client and ext.endswith(_wire.COMPLETE):
                found = self._routes.pop(ext[4:12], None)
                if found is not None:
                    call, index = found
                    if call.kept is not None:
                        call.kept.pop(ext[4:12], None)
                    call.complete += 1
                    call.answers.append((index, payload, None, ""))
                    if self._lanes.is_steady(head, len(payload)):
                        self._lanes.alike = self._short_cut(bytes(frame), len(payload))
                    return
        self._route_any(frame)

    def _short_cut(self, like: bytes, payload_size: int) -> Callable[[bytes], bool]:
        """Return what :meth:`_route` does for the answers that follow and are laid out like this one."""
        ext = 3 + _COMPLETE_BYTES
        end = len(like) - ext
        find, routes, complete = (
            body_finder(like, end - payload_size, end),
            self._routes,
            _wire.COMPLETE,
        )
        identity = slice(-8 - len(complete), -len(complete))

        def take(frame: bytes) -> bool:
            body = find(frame)
            if not (body and frame.endswith(complete)):
                return False
            found = routes.pop(frame[identity], None)
            if found is None:
                return False
            call, index = found
            if call.kept is not None:
                call.kept.pop(frame[identity], None)
            call.complete += 1
            call.answers.append((index, frame[body:-ext], None, ""))
            return True

        return take

    def _route_any(self, frame: bytes | memoryview) -> None:
        try:
            message, payload = self._decode(frame)
            ext = message.ext
            identity = _wire.message_id(ext) if ext else b""
            extension = _wire.parse_extension(ext) if ext and _wire.has_more(ext) else None
        except Malformed:
            self.strays += 1
            return
        if message.client != self._client:
            self.strays += 1
            return
        if not identity:
            waiting = next((each for each in self._calls if not each.uses_ids), None)
            if waiting is None:
                self.strays += 1
            else:
                waiting.answers.append((-1, payload, None, ""))
            return
        is_complete = _wire.is_complete(ext)
        found = self._routes.pop(identity, None) if is_complete else self._routes.get(identity)
        if found is None:
            self.strays += 1
            return
        call, index = found
        failure = None
        serializer = ""
        if extension is not None:
            serializer = extension.serializer
            if extension.HasField("error"):
                failure = from_failure(extension.error)
        if is_complete:
            if call.kept is not None:
                call.kept.pop(identity, None)
            call.complete += 1
        call.answers.append((index, payload, failure, serializer))

    @property
    def receiver(self) -> zmq.Socket[bytes]:
        """The socket that answers come in on."""
        return self._answers

    @property
    def is_closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    def close(self) -> None:
        """Close both sockets; calls in other threads raise :class:`~pylm.errors.Closed`. Idempotent."""
        self._closed = True
        with self._receive_lock, self._send_lock:
            self._answers.close(0)
            self._push.close()


def wait_handshake(socket: zmq.Socket[Any], address: str, timeout_s: float) -> bool:
    """Connect ``socket`` to ``address`` and wait until the peer answered the handshake; return whether it did."""
    monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
    try:
        socket.connect(address)
        return bool(monitor.poll(max(1, int(timeout_s * 1000))))
    finally:
        socket.disable_monitor()
        monitor.close(0)
