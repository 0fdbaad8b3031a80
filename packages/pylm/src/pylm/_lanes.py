"""Plain envelopes as slices of bytes: what the protobuf runtime would say, without asking it for every message.

The messages of one job differ in payload and message id only. A :class:`Lane` is what they share (client, stage and
function), parsed by the runtime once; :class:`Lanes` finds it again by comparing bytes, and cuts the payload and the
extension out of the rest. Whatever is not laid out as the originals and this release lay it out (other order, unknown
fields, text beyond ASCII, long routes, the other dialect) is not plain: ``read`` returns ``None`` and the caller asks
:mod:`pylm._wire`, which understands everything. Called by servers, workers and clients of both generations.

A field 1001 is known by its two tag bytes; lengths below 128 take one byte. Source: wire reference, section B1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from pylm import _wire

__all__ = ["MARK_BYTES", "STEADY", "Lane", "Lanes", "Plain", "body_finder", "is_bare", "never"]

STEADY: Final = 4
"""Messages in a row with the same head before a short cut for the next ones is worth its making."""

MARK_BYTES: Final = 3 + _wire.PLAIN_EXT_BYTES - 8
"""Of the field of a plain extension before the message id."""

_SHORT: Final = 16 * 1024
_LIMIT: Final = 256
_PLAIN: Final = _wire.PLAIN_EXT_BYTES
_MARKED: Final = _PLAIN + len(_wire.COMPLETE)


class Lane:
    """What the messages of one client and function have in common.

    Args:
        raw: The encoded fields client, stage and function.
        message: The same, parsed.
    """

    __slots__ = (
        "_kind",
        "_moved",
        "_next",
        "client",
        "function",
        "raw",
        "route",
        "size",
        "stage",
        "topic",
    )

    def __init__(self, raw: bytes, message: _wire.Envelope) -> None:
        self.raw = raw
        self._kind = type(message)
        self.size = len(raw)
        self.client = message.client
        self.topic = self.client.encode()
        self.stage = message.stage
        self.function = message.function
        self.route: Any = None
        """For the owner of the :class:`Lanes`: what it decided for these messages."""
        self._next = b""
        self._moved: tuple[bytes, bytes] = b"", b""

    def next_head(self, head: bytes) -> bytes:
        """Return the fields before the payload of a message of this lane, with a stage one higher."""
        before, after = self._moved
        if head is before:  # the same job goes on
            return after
        if not self._next:
            message = self._kind.FromString(self.raw)
            message.stage += 1
            self._next = message.SerializePartialToString()
        after = self.replaced(head, self._next)
        self._moved = head, after
        return after

    def replaced(self, head: bytes, raw: bytes) -> bytes:
        """Return the fields before the payload with ``raw`` for client, stage and function."""
        start = head[1] + 2 if head[0] == 0x0A else 0
        return head[:start] + raw + head[start + self.size :]


Plain: TypeAlias = tuple[Lane, bytes, bytes, bytes]
"""Lane, everything before the payload as it came, payload, encoded extension (empty: none)."""

_NOWHERE: Final = Lane(b"\xff", _wire.PalmMessage())


def is_bare(ext: bytes) -> bool:
    """Return whether an extension is absent or holds nothing but an id and ``complete``."""
    size = len(ext)
    if size == _PLAIN:
        return True
    return not size or (size == _MARKED and ext.endswith(_wire.COMPLETE))


def body_finder(like: bytes, body: int, end: int, start: int = 0) -> Callable[[bytes], int]:
    """Return a function that tells where the payload of a frame begins that differs in payload and message id only.

    Args:
        like: An envelope whose extension begins as a plain one does.
        body: Where its payload begins.
        end: Where its payload ends and the field of the extension begins; in others it ends as far from the end.
        start: Bytes at the beginning that may differ, too; the caller looks at them.

    The function returns 0 for a frame of any other layout, and for a payload of 16 KiB or more.
    """
    at = body - (1 if end - body < 128 else 2)
    before, mark, rest = like[start:at], like[end : end + MARK_BYTES], len(like) - end

    def find(frame: bytes) -> int:
        end = len(frame) - rest
        if end <= at or not (frame.startswith(before, start) and frame.startswith(mark, end)):
            return 0
        size = frame[at]
        if size < 128:
            return at + 1 if at + 1 + size == end else 0
        high = frame[at + 1]
        return at + 2 if high < 128 and at + 2 + size - 128 + (high << 7) == end else 0

    return find


def never(_: bytes) -> bool:
    """Return that a frame is not like others: the short cut of lanes whose owner has made none."""
    return False


class Lanes:
    """Reads plain envelopes of one dialect.

    Args:
        kind: Message class: the dialect.

    Thread-safe.
    """

    __slots__ = (
        "_cache_tag",
        "_is_old",
        "_kind",
        "_known",
        "_last",
        "_payload_tag",
        "_steady",
        "alike",
    )

    def __init__(self, kind: type[_wire.Envelope]) -> None:
        self._kind = kind
        self._is_old = kind is _wire.OldPalmMessage
        self._cache_tag, self._payload_tag = (0x3A, 0x42) if self._is_old else (0x2A, 0x32)
        self._known: dict[bytes, Lane] = {}
        self._last: tuple[bytes, Lane, int] = _NOWHERE.raw, _NOWHERE, 1
        self._steady: tuple[bytes | Lane, int] = b"", 0
        self.alike: Callable[[bytes], Any] = never
        """The owner's short cut: handles a frame laid out like those it was made for; false for any other."""

    def is_steady(self, head: bytes | Lane, payload_size: int) -> bool:
        """Count messages in a row of the same head (or lane); return whether it is time to make a short cut for them.

        Like the last of them, when its payload is one that :func:`body_finder` finds.
        """
        if not 0 < payload_size < _SHORT:
            return False
        before, count = self._steady
        count = count + 1 if head == before else 1
        self._steady = head, count
        return count == STEADY

    def read(self, frame: bytes) -> Plain | None:
        """Return the parts of a plain envelope; ``None`` when the runtime has to be asked."""
        try:
            head, lane, at = self._last
            if not frame.startswith(head):
                start = frame[1] + 2 if frame[0] == 0x0A else 0
                if not frame.startswith(lane.raw, start):
                    found = self._find(frame, start)
                    if found is None:
                        return None
                    lane = found
                at = start + lane.size
                head = frame[:at]
                if not head.isascii():  # a length from 128 up, or text for the runtime
                    return None
                self._last = head, lane, at
            tag = frame[at]
            if tag == self._cache_tag:
                at += 2 + frame[at + 1]
                tag = frame[at]
                head = frame[:at]
                if not head.isascii():
                    return None
            if tag == self._payload_tag:
                size = frame[at + 1]
                at += 2
                if size > 127:
                    size &= 127
                    shift = 7
                    while frame[at] > 127:
                        size |= (frame[at] & 127) << shift
                        shift += 7
                        at += 1
                    size |= frame[at] << shift
                    at += 1
                end = at + size
                payload = frame[at:end]
            elif tag == 0xCA and not self._is_old:
                end, payload = at, b""
            else:
                return None
            rest = len(frame) - end
            if not rest:
                return lane, head, payload, b""
            if (
                frame[end] == 0xCA
                and frame[end + 1] == 0x3E
                and frame[end + 2] == rest - 3
                and rest < 131
            ):
                return lane, head, payload, frame[end + 3 :]
        except IndexError:
            pass
        return None

    def _find(self, frame: bytes, start: int) -> Lane | None:
        """Walk over client, stage (left out when 0 in the new dialect) and function."""
        at = start
        old = self._is_old
        if old and not start:
            return None
        for tag in (0x12, 0x18, 0x22):
            if frame[at] == tag:
                at += 2 if tag == 0x18 else 2 + frame[at + 1]
            elif old or tag != 0x18:
                return None
        raw = frame[start:at]
        lane = self._known.get(raw)
        if lane is None:
            if not raw.isascii() or at > len(frame):
                return None
            if len(self._known) >= _LIMIT:
                self._known.clear()
            lane = self._known[raw] = Lane(raw, self._kind.FromString(raw))
        return lane

    def message(self, frame: bytes) -> _wire.Envelope:
        """Return a plain envelope as a message object."""
        return self._kind.FromString(frame)
