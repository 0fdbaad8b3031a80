"""Long objects in parts: which ranges to ask for, and how an upload goes on after a lost answer. No I/O.

Driven by ``object.download``, ``object.upload`` and ``object.read_parts`` of both clients. The platform has no
multipart upload; an object grows by appends of at most 10 MiB, which must not be sent twice. After an append whose fate
is unknown the object's size tells whether it was done.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import IO, Any, TypeAlias

from transport_utils.errors import SentState, TransportError

from v3io.dataplane.response import Response
from v3io.errors import ObjectChanged, ServerError, UploadConflict

__all__ = [
    "MAX_APPEND_BYTES",
    "PART_BYTES",
    "Download",
    "Source",
    "UploadStep",
    "check_part",
    "part_ranges",
    "pieces",
    "size_and_date",
    "target_file",
    "upload_steps",
]

PART_BYTES = 4 * 1024 * 1024
"""Default size of a part."""
MAX_APPEND_BYTES = 10 * 1024 * 1024
"""Most bytes the platform takes in one append."""
_MAX_CHECKS = 3

Source: TypeAlias = "str | os.PathLike[str] | bytes | IO[bytes] | Iterable[bytes]"
"""What can be uploaded: the path of a file, bytes, an open binary file, or an iterable of bytes."""
UploadStep: TypeAlias = "tuple[bytes | None, bool, int]"
"""A piece to put, whether to append it, and the bytes written so far; ``None`` asks for the object's size."""


def part_ranges(start: int, stop: int, part_bytes: int) -> list[tuple[int, int]]:
    """Return ``(offset, length)`` of the parts of a range, in order.

    Raises:
        ValueError: ``part_bytes`` is below 1.
    """
    if part_bytes < 1:
        raise ValueError(f"part_bytes={part_bytes}: expected 1 or more")
    return [(at, min(part_bytes, stop - at)) for at in range(start, stop, part_bytes)]


def size_and_date(response: Response) -> tuple[int, str | None]:
    """Return an object's size in bytes and its date of modification, from the response to HEAD."""
    headers = response.headers
    return int(headers.get("content-length") or 0), headers.get("last-modified")


def check_part(path: str, response: Response, length: int, modified: str | None) -> bytes:
    """Return the bytes of one part.

    Raises:
        ObjectChanged: The part is not of the object that was asked for first.
    """
    if len(response.body) != length or response.headers.get("last-modified") != modified:
        raise ObjectChanged(
            f"{path} changed while it was read; read it again", response.status_code
        )
    body: bytes = response.body
    return body


class Download:
    """The parts of one object, and the file that they are written to.

    Args:
        path: Of the object.
        head: The response to HEAD.
        part_bytes: Bytes of each part.
        at_once: How many parts are asked for at a time.
        file: Where they go.
        progress: Told the bytes written so far and in all; ``None`` for nobody.

    Attributes:
        size: Of the object, bytes.
        groups: The offset and length of each part, in groups that are asked for at once.

    Raises:
        ValueError: ``part_bytes`` is below 1.
    """

    def __init__(
        self,
        path: str,
        head: Response,
        part_bytes: int,
        at_once: int,
        file: IO[bytes],
        progress: Callable[[int, int], object] | None,
    ) -> None:
        self._path = path
        self._file = file
        self._progress = progress
        self._done = 0
        self.size, self._modified = size_and_date(head)
        parts = part_ranges(0, self.size, part_bytes)
        self.groups = [parts[at : at + at_once] for at in range(0, len(parts), at_once)]

    def write(self, group: list[tuple[int, int]], responses: list[Response]) -> None:
        """Write the parts of a group.

        Raises:
            ObjectChanged: A part is not of the object that was asked for first.
            OSError: The file cannot be written.
        """
        for (_, length), response in zip(group, responses, strict=True):
            self._file.write(check_part(self._path, response, length, self._modified))
            self._done += length
            if self._progress is not None:
                self._progress(self._done, self.size)


@contextlib.contextmanager
def target_file(target: str | os.PathLike[str] | IO[bytes]) -> Iterator[IO[bytes]]:
    """Give a file to write to; that of a path appears only when the block has ended well.

    Raises:
        OSError: The file cannot be opened or put in its place.
    """
    if not isinstance(target, (str, os.PathLike)):
        yield target
        return
    partial = pathlib.Path(f"{os.fspath(target)}.part")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def pieces(source: Source, part_bytes: int) -> Iterator[bytes]:
    """Yield a source in pieces of ``part_bytes``, the last one shorter; an opened file is closed at the end.

    Raises:
        OSError: The file cannot be read.
        TypeError: The source is none.
        ValueError: ``part_bytes`` is not in 1..10 MiB.
    """
    if not 1 <= part_bytes <= MAX_APPEND_BYTES:
        raise ValueError(f"part_bytes={part_bytes}: expected 1..{MAX_APPEND_BYTES}")
    if isinstance(source, (str, os.PathLike)):
        with pathlib.Path(source).open("rb") as file:
            yield from pieces(file, part_bytes)
        return
    if isinstance(source, (bytes, bytearray, memoryview)):
        view = memoryview(source)
        yield from (bytes(view[at : at + part_bytes]) for at in range(0, len(view), part_bytes))
        return
    if hasattr(source, "read"):
        while piece := source.read(part_bytes):
            yield piece
        return
    if not isinstance(source, Iterable):
        raise TypeError(
            f"cannot upload a {type(source).__name__}: expected a path, bytes or a file"
        )
    held = bytearray()
    for piece in source:
        held += piece
        while len(held) >= part_bytes:
            yield bytes(held[:part_bytes])
            del held[:part_bytes]
    if held:
        yield bytes(held)


def upload_steps(path: str, parts: Iterable[bytes]) -> Generator[UploadStep, Any, int]:
    """Yield what to do next; sent the response, the exception, or the size that was asked for.

    Returns:
        The bytes uploaded.

    Raises:
        Exception: A part failed for good.
        UploadConflict: The object is neither as long as before the part nor as after it: somebody else writes too.
    """
    position = 0
    begun = False
    for piece in parts:
        checks = 0
        while True:
            outcome = yield piece, begun, position
            if not isinstance(outcome, Exception):
                break
            checks += 1
            if not begun or checks > _MAX_CHECKS or not _may_have_been_done(outcome):
                raise outcome
            size = yield None, False, position
            if size == position + len(piece):
                break
            if size != position:
                raise UploadConflict(
                    f"{path} has {size} bytes after {position} were uploaded: another writer is at work"
                ) from outcome
        position += len(piece)
        begun = True
    if not begun:
        outcome = yield b"", False, 0
        if isinstance(outcome, Exception):
            raise outcome
    return position


def _may_have_been_done(error: Exception) -> bool:
    if isinstance(error, TransportError):
        return error.sent is not SentState.NOT_SENT
    return isinstance(error, ServerError)
