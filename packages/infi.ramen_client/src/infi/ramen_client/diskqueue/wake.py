"""How a push in any process wakes the reader at once: one byte through a FIFO beside the database.

Both ends open the FIFO for reading and writing, so neither open nor write can block, fail for want of a peer or raise
SIGPIPE. Without FIFOs (some file systems) the reader finds messages by polling.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterable

from infi.ramen_client.diskqueue.files import FILE_MODE, QueueFiles

__all__ = ["Bell", "Sleeper"]


def _open(files: QueueFiles) -> int:
    with contextlib.suppress(FileExistsError):
        os.mkfifo(files.wake, FILE_MODE)
    return os.open(files.wake, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


class Bell:
    """The writers' end; thread-safe.

    Args:
        files: The queue.
    """

    def __init__(self, files: QueueFiles) -> None:
        self._files = files
        self._fd = -1
        self._off = False
        self._stale = False

    def ring(self) -> None:
        """Wake the reader, if there is one; never waits and never fails."""
        try:
            if self._fd < 0:
                if self._off:
                    return
                self._fd = _open(self._files)
            elif self._stale:
                self._stale = False
                self._exchange()
            os.write(self._fd, b"!")
        except BlockingIOError:  # full: the reader has been told often enough
            pass
        except OSError:
            self._off = True

    def renew(self) -> None:
        """Use the FIFO that is on the path from the next ring on."""
        self._stale = True

    def _exchange(self) -> None:
        """Put the FIFO on the path under the number of the old one, which another thread may be writing to."""
        fd = _open(self._files)
        try:
            os.dup2(fd, self._fd, inheritable=False)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close the FIFO."""
        fd, self._fd = self._fd, -1
        self._off = False
        if fd >= 0:
            os.close(fd)


class Sleeper:
    """The reader's end: sleeps until a push, a :meth:`wake`, or the time is over.

    One thread sleeps at a time; :meth:`wake` may be called from any thread and from signal handlers.

    Args:
        files: The queue; ``None`` to sleep without listening to pushes.
    """

    def __init__(self, files: QueueFiles | None) -> None:
        self._files = files
        self._fifo = -1
        self._own_out, self._own_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def sleep(self, seconds: float, *, for_pushes: bool = True) -> bool:
        """Sleep; return whether something woke the sleeper before the time was over.

        Args:
            seconds: Longest sleep.
            for_pushes: Whether a push ends it.
        """
        ready, _, _ = select.select(
            self.descriptors(for_pushes=for_pushes), [], [], max(0.0, seconds)
        )
        self.drain(ready)
        return bool(ready)

    def descriptors(self, *, for_pushes: bool = True) -> list[int]:
        """Return what becomes readable when the sleep is to end, for an event loop."""
        watched = [self._own_out]
        if for_pushes and self._listen():
            watched.append(self._fifo)
        return watched

    def drain(self, descriptors: Iterable[int]) -> None:
        """Empty descriptors of :meth:`descriptors`."""
        for fd in descriptors:
            with contextlib.suppress(BlockingIOError):
                while os.read(fd, 4096):
                    pass

    def _listen(self) -> bool:
        if self._fifo < 0 and self._files is not None:
            with contextlib.suppress(OSError):
                self._fifo = _open(self._files)
        return self._fifo >= 0

    def listen(self) -> None:
        """Open the FIFO now, so that no push from here on is missed."""
        self._listen()

    def wake(self) -> None:
        """End the current sleep, or the next one at once."""
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._own_in, b"!")

    def reopen(self) -> None:
        """Leave the FIFO, which was replaced, and listen to the one on the path."""
        if self._fifo >= 0:
            os.close(self._fifo)
            self._fifo = -1

    def close(self) -> None:
        """Close everything."""
        self.reopen()
        for fd in (self._own_out, self._own_in):
            if fd >= 0:
                os.close(fd)
        self._own_out = self._own_in = -1
