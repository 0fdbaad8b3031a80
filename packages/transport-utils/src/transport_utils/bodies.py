"""Request bodies: what callers may pass, how long it is, and whether it can be sent again.

Used by the backends to send, and by the drivers to know whether a retry is possible.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

from transport_utils.errors import BodyNotReplayable, LocalProtocolError

__all__ = ["BodyStream", "measure"]

_PIECE = 262144


class BodyStream:
    """A body that is not whole bytes: a file, an iterable or an async iterable of bytes.

    Args:
        body: The caller's object.

    Attributes:
        length: Bytes from the current position to the end of a seekable file; ``None`` when unknown, which makes the
            body chunked.
        replayable: Whether it can be sent again: a seekable file, or an iterable that is not its own iterator.

    Raises:
        LocalProtocolError: The object is none of these.
    """

    __slots__ = ("_begun", "_body", "_start", "length", "replayable")

    def __init__(self, body: Any) -> None:
        self._body = body
        self._begun = False
        self._start = 0
        self.length: int | None = None
        if hasattr(body, "read"):
            self.replayable = bool(getattr(body, "seekable", bool)())
            if self.replayable:
                self._start = body.tell()
                self.length = body.seek(0, os.SEEK_END) - self._start
                body.seek(self._start)
        elif hasattr(body, "__aiter__"):
            self.replayable = not hasattr(body, "__anext__")
        elif hasattr(body, "__iter__") and not isinstance(body, (str, dict)):
            self.replayable = not hasattr(body, "__next__")
        else:
            raise LocalProtocolError(
                f"body of type {type(body).__name__}: expected bytes, a binary file or an iterable of bytes"
            )

    def pieces(self) -> Iterator[bytes]:
        """Return the body from its beginning, in pieces that are not empty.

        Raises:
            BodyNotReplayable: It was begun before and cannot be rewound.
            LocalProtocolError: It is asynchronous, or a piece is not bytes.
        """
        self._rewind()
        if hasattr(self._body, "__aiter__"):
            raise LocalProtocolError("an asynchronous body needs the asynchronous transport")
        pieces = self._read() if hasattr(self._body, "read") else self._body
        return filter(None, map(_bytes, pieces))

    async def apieces(self) -> AsyncIterator[bytes]:
        """Do what :meth:`pieces` does, for asynchronous iterables too."""
        if not hasattr(self._body, "__aiter__"):
            for piece in self.pieces():
                yield piece
            return
        self._rewind()
        async for piece in self._body:
            if data := _bytes(piece):
                yield data

    def _read(self) -> Iterator[bytes]:
        while piece := self._body.read(_PIECE):
            yield piece

    def _rewind(self) -> None:
        if self._begun:
            if not self.replayable:
                raise BodyNotReplayable(
                    "the body can be read only once: pass bytes or a seekable file"
                )
            if hasattr(self._body, "read"):
                self._body.seek(self._start)
        self._begun = True


def _bytes(piece: Any) -> bytes:
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return bytes(piece)
    raise LocalProtocolError(f"body piece of type {type(piece).__name__}: expected bytes")


def measure(body: Any) -> bytes | BodyStream | None:
    """Return a request body in the form backends send: bytes, a :class:`BodyStream`, or ``None`` for none.

    Raises:
        LocalProtocolError: The object is no body.
    """
    if body is None or type(body) is bytes or isinstance(body, BodyStream):
        return body
    if isinstance(body, (bytearray, memoryview)):
        return bytes(body)
    return BodyStream(body)
