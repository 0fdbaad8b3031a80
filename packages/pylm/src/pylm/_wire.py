"""The envelope: bytes to messages and back, both generations, told apart by their bytes.

Called by every server, worker and client. A message object is used once and dropped: under protobuf's C runtime a
reused one grows with every assignment. From 64 KiB up the payload is cut out of, and appended to, the frame as a
slice, and only the head goes through the runtime: one copy instead of three.

Which generation: an old message always carries field 8 (its payload is required), a new one never does. An old
message has a written stage, also 0; the proto3 form of 0.12 does not write a zero.

Source: wire reference, sections B1 (fields), G2 (split), G4 (field 1001).
"""

from __future__ import annotations

import itertools
import random
from typing import Final, TypeAlias

from google.protobuf.message import DecodeError
from transport_utils.buffers import keep_buffers

from pylm._proto.palm_new_pb2 import Extension, Failure, PalmMessage, PalmMessage012
from pylm._proto.palm_old_pb2 import BrokerMessage
from pylm._proto.palm_old_pb2 import PalmMessage as OldPalmMessage
from pylm.errors import Malformed, TooLarge

__all__ = [
    "COMPLETE",
    "PLAIN_EXT_BYTES",
    "SPLIT_BYTES",
    "BrokerMessage",
    "DecodeError",
    "Envelope",
    "Extension",
    "Failure",
    "MessageIds",
    "OldPalmMessage",
    "PalmMessage",
    "PalmMessage012",
    "Template",
    "Uuids",
    "add_complete",
    "add_failure",
    "decode_new",
    "decode_old",
    "encode",
    "has_more",
    "is_complete",
    "message_id",
    "new_uuid",
    "parse_extension",
    "payload_tags",
    "strip_complete",
    "write",
]

Envelope: TypeAlias = PalmMessage | OldPalmMessage | PalmMessage012

SPLIT_BYTES: Final = 64 * 1024
"""Frames and payloads from this size up are split at the payload instead of parsed whole."""

PROTOBUF_LIMIT_BYTES: Final = 2**31 - 1

_TAGS: dict[type, bytes] = {PalmMessage: b"\x32", OldPalmMessage: b"\x42", PalmMessage012: b"\x42"}
_EXT_HEAD: Final = Extension(version=1, message_id=b"\0" * 8).SerializeToString()[:4]
COMPLETE: Final = Extension(complete=True).SerializeToString()
"""The encoded mark that no further answer will come."""
PLAIN_EXT_BYTES: Final = len(_EXT_HEAD) + 8
"""Size of an extension that holds a message id only."""


def new_uuid() -> str:
    """Return a random id in the form of a version 4 uuid, ten times faster than ``uuid.uuid4``."""
    value = f"{random.getrandbits(128):032x}"
    return f"{value[:8]}-{value[8:12]}-4{value[13:16]}-a{value[17:20]}-{value[20:]}"


class Uuids:
    """Makes ids in the form of a uuid, four times faster still: random for the series, numbered within it.

    Thread-safe.
    """

    __slots__ = ("_count", "_prefix")

    def __init__(self) -> None:
        self._prefix = new_uuid()[:24].encode()
        self._count = itertools.count(random.getrandbits(47))

    def next(self) -> bytes:
        """Return the next id, encoded."""
        return b"%b%012x" % (self._prefix, next(self._count))


def decode_new(frame: bytes | memoryview) -> tuple[Envelope, bytes]:
    """Return message and payload of a frame that most likely is of the new generation.

    Args:
        frame: As received; a view is of a large frame and is read without copying more than the payload.

    Raises:
        Malformed: The frame is not an envelope of any generation.
    """
    if len(frame) >= SPLIT_BYTES:
        return _decode_split(frame)
    frame = bytes(frame)
    try:
        message = PalmMessage.FromString(frame)
        if message.HasField("old_payload") and not message.payload:
            return _decode_eight(frame)
    except DecodeError as error:
        raise _malformed(frame) from error
    return message, message.payload


def decode_old(frame: bytes | memoryview) -> tuple[Envelope, bytes]:
    """Return message and payload of a frame that most likely is of the old generation; see :func:`decode_new`."""
    if len(frame) >= SPLIT_BYTES:
        return _decode_split(frame)
    frame = bytes(frame)
    try:
        message = OldPalmMessage.FromString(frame)
    except DecodeError as error:
        raise _malformed(frame) from error
    if message.IsInitialized():
        return _with_text(message, frame), message.payload
    return decode_new(frame)


def _with_text(message: OldPalmMessage, frame: bytes | memoryview) -> OldPalmMessage:
    """Return the message, unless a text of it is none: unlike the later dialect's, its parser lets that pass."""
    for text in (message.function, message.client, message.pipeline, message.cache):
        if not isinstance(text, str):
            raise _malformed(frame)
    return message


def _decode_eight(frame: bytes) -> tuple[Envelope, bytes]:
    old = OldPalmMessage.FromString(frame)
    if old.IsInitialized():
        return _with_text(old, frame), old.payload
    middle = PalmMessage012.FromString(frame)
    return middle, middle.payload


def _decode_split(frame: bytes | memoryview) -> tuple[Envelope, bytes]:
    """Cut the largest payload field out; the runtime parses the rest."""
    keep_buffers(len(frame))
    view = memoryview(frame)
    cut: tuple[int, int, int, int] | None = None
    position, end = 0, len(frame)
    try:
        while position < end:
            start = position
            tag, position = _varint(view, position)
            kind = tag & 7
            if kind == 2:
                size, position = _varint(view, position)
                if position + size > end:
                    raise _malformed(frame)
                if tag in (0x32, 0x42) and (cut is None or size > cut[2] - cut[1]):
                    cut = (start, position, position + size, tag)
                position += size
            elif kind == 0:
                _, position = _varint(view, position)
            elif kind in (1, 5):
                position += 8 if kind == 1 else 4
            else:
                raise _malformed(frame)
    except IndexError as error:
        raise _malformed(frame) from error
    if cut is None or position != end:
        raise _malformed(frame)
    head = bytes(view[: cut[0]]) + bytes(view[cut[2] :])
    payload = bytes(view[cut[1] : cut[2]])
    try:
        if cut[3] == 0x32:
            return PalmMessage.FromString(head), payload
        old = OldPalmMessage.FromString(head + b"\x42\x00")
        if old.IsInitialized():
            old.ClearField("payload")
            return _with_text(old, frame), payload
        return PalmMessage012.FromString(head), payload
    except DecodeError as error:
        raise _malformed(frame) from error


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise IndexError("varint too long")


def _malformed(frame: bytes | memoryview) -> Malformed:
    return Malformed(
        f"{len(frame)} bytes are not a pylm envelope; they begin {bytes(frame[:16])!r}"
    )


def encode(message: Envelope, payload: bytes) -> bytes:
    """Return the frame of ``message`` with ``payload``, in the message's own dialect.

    Raises:
        TooLarge: The payload cannot be expressed in an envelope (2 GiB).
        TypeError: The payload is not ``bytes``.
    """
    if len(payload) < SPLIT_BYTES:
        message.payload = payload
        return message.SerializeToString()
    message.ClearField("payload")
    return write(type(message), message.SerializePartialToString(), payload, b"")


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class MessageIds:
    """Numbers the messages of one client; ``next`` returns the encoded extension that carries the number.

    Thread-safe: the counter is atomic in CPython.
    """

    __slots__ = ("_counter",)

    def __init__(self) -> None:
        self._counter = itertools.count(random.getrandbits(32))

    def next(self) -> tuple[bytes, bytes]:
        """Return the next id (8 bytes) and the plain extension for it."""
        identity = next(self._counter).to_bytes(8, "big")
        return identity, _EXT_HEAD + identity


def message_id(ext: bytes) -> bytes:
    """Return the message id inside an encoded extension; empty when it has none.

    Raises:
        Malformed: The bytes are not an extension.
    """
    if ext[:4] == _EXT_HEAD and len(ext) >= PLAIN_EXT_BYTES:
        return ext[4:12]
    return parse_extension(ext).message_id


def has_more(ext: bytes) -> bool:
    """Return whether the extension holds more than an id and ``complete``, that is, must be parsed."""
    size = len(ext)
    return size > PLAIN_EXT_BYTES and not (size == PLAIN_EXT_BYTES + 2 and ext.endswith(COMPLETE))


def parse_extension(ext: bytes) -> Extension:
    """Parse an encoded extension.

    Raises:
        Malformed: The bytes are not an extension.
    """
    try:
        return Extension.FromString(ext)
    except DecodeError as error:
        raise Malformed(f"field 1001 of {len(ext)} bytes is not an extension") from error


def is_complete(ext: bytes) -> bool:
    """Return whether no further answer will come for the message."""
    return (
        ext.endswith(COMPLETE) if len(ext) <= PLAIN_EXT_BYTES + 2 else parse_extension(ext).complete
    )


def add_complete(ext: bytes) -> bytes:
    """Return the extension with ``complete`` set; encoded messages merge by concatenation."""
    if len(ext) == PLAIN_EXT_BYTES:
        return ext + COMPLETE
    if has_more(ext):
        extension = parse_extension(ext)
        extension.complete = True
        return extension.SerializeToString()
    return ext if len(ext) > PLAIN_EXT_BYTES else ext + COMPLETE


def strip_complete(ext: bytes) -> bytes:
    """Return the extension without ``complete``."""
    if has_more(ext):
        extension = parse_extension(ext)
        extension.complete = False
        return extension.SerializeToString()
    return ext[:PLAIN_EXT_BYTES]


def add_failure(ext: bytes, failure: Failure) -> bytes:
    """Return the extension with the failure added, marked complete."""
    return ext + Extension(error=failure, complete=True).SerializeToString()


_EXT_TAG: Final = PalmMessage(ext=b"\0").SerializeToString()[:-2]
_EXT_SIZES: Final = tuple(_EXT_TAG + bytes((size,)) for size in range(128))
_SIZES: Final[dict[type, tuple[bytes, ...]]] = {
    kind: tuple(tag + bytes((size,)) for size in range(128)) for kind, tag in _TAGS.items()
}


def payload_tags(kind: type[Envelope]) -> tuple[bytes, ...]:
    """Return what stands before a payload of 1, 2, ... 127 bytes in an envelope of this dialect."""
    return _SIZES[kind]


def write(kind: type[Envelope], head: bytes, payload: bytes | memoryview, ext: bytes) -> bytes:
    """Return the frame with these parts, in the bytes the runtime would write.

    Args:
        kind: Message class: the dialect.
        head: Every field before the payload, encoded.
        payload: The field payload; a view counts in bytes.
        ext: Encoded extension; empty for none.

    Raises:
        TooLarge: The payload cannot be expressed in an envelope (2 GiB).
    """
    size = len(payload)
    more = len(ext)
    if 0 < size < 128 and 0 < more < 128:
        return b"".join((head, _SIZES[kind][size], payload, _EXT_SIZES[more], ext))
    if size < 128:
        before = _SIZES[kind][size] if size or kind is OldPalmMessage else b""
    elif size > PROTOBUF_LIMIT_BYTES - 65536:
        raise TooLarge(
            f"a payload of {size} bytes does not fit into an envelope (2 GiB); cut it up"
        )
    else:
        before = _TAGS[kind] + _encode_varint(size)
        if size >= SPLIT_BYTES:
            keep_buffers(size)
    if not more:
        return b"".join((head, before, payload))
    middle = _EXT_SIZES[more] if more < 128 else _EXT_TAG + _encode_varint(more)
    return b"".join((head, before, payload, middle, ext))


class Template:
    """Envelopes that differ in payload and extension only; the rest is serialized once.

    Args:
        message: Everything but payload and extension; not changed afterwards.
    """

    __slots__ = ("_head", "_kind", "_tail", "_uuids", "size")

    def __init__(self, message: Envelope) -> None:
        self._head = message.SerializePartialToString()
        self._kind = type(message)
        self.size = len(self._head)
        """Bytes before the payload."""
        skipped = len(message.pipeline.encode()) + 2
        self._tail = self._head[skipped:] if message.pipeline and skipped < 130 else None
        self._uuids = Uuids()

    def frame(self, payload: bytes | memoryview, ext: bytes) -> bytes:
        """Return the frame with this payload and encoded extension (empty: none).

        Raises:
            TooLarge: The payload cannot be expressed in an envelope (2 GiB).
        """
        return write(self._kind, self._head, payload, ext)

    def renewed(self, payload: bytes | memoryview, ext: bytes) -> bytes:
        """Return the frame as :meth:`frame` does, with a fresh uuid as its pipeline."""
        assert self._tail is not None
        return write(self._kind, _UUID_HEAD + self._uuids.next() + self._tail, payload, ext)


_UUID_HEAD: Final = b"\x0a\x24"
