"""Where the files of one queue are, and how they come into being.

``<sender>_<serial>.db`` with SQLite's ``-wal`` and ``-shm`` is the database that 1.40 knows; everything else stands
beside it under the same stem. Called by the other modules of this package and by the command.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "DIRECTORY_MODE",
    "FILE_MODE",
    "QueueFiles",
    "replacement",
    "spare_name",
    "sync_directory",
    "sync_file",
]

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600

_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph"})


class QueueFiles:
    """Paths of one queue; immutable.

    Args:
        directory: Folder of the queue.
        sender: Name of the sender, as in the configuration.
        serial: Serial number of the system.

    Attributes:
        database: The SQLite database.
        wal: Its write-ahead log; holds messages, never to be removed.
        shm: Its index of the log.
        salvaged: A complete new database that is about to replace a damaged one.
        turn: Lock of the writers' turn and of set-up.
        reader: Lock of the active reader, holding the numbers between which it is sending.
        wake: FIFO through which writers wake the reader.
        reserve: Room that is given back when the disk is full.
        blacklist: Rules received from the server.
        dead: Database of messages that the server refused for good.
        status: What the active reader last reported.
        quarantine: Folder of damaged files.
    """

    def __init__(self, directory: str | os.PathLike[str], sender: str, serial: int) -> None:
        self.directory = os.fspath(directory)
        self.stem = f"{sender}_{serial}"
        stem = os.path.join(self.directory, self.stem)
        self.database = stem + ".db"
        self.wal = stem + ".db-wal"
        self.shm = stem + ".db-shm"
        self.salvaged = stem + ".db.salvaged"
        self.turn = stem + ".lock"
        self.reader = stem + ".reader"
        self.wake = stem + ".wake"
        self.reserve = stem + ".reserve"
        self.blacklist = stem + ".blacklist.json"
        self.dead = stem + ".dead.db"
        self.status = stem + ".status.json"
        self.quarantine = stem + ".quarantine"

    def make_directory(self) -> None:
        """Create the folder (and its parents) with mode 0700 where it is missing, durably.

        Raises:
            OSError: It cannot be created, or is no folder.
        """
        missing = []
        path = os.path.abspath(self.directory)
        while not os.path.isdir(path):
            missing.append(path)
            path = os.path.dirname(path)
        for path in reversed(missing):
            with contextlib.suppress(FileExistsError):  # another process was faster
                os.mkdir(path, DIRECTORY_MODE)
            if not os.path.isdir(path):
                raise NotADirectoryError(20, "the queue directory's path is a file", path)
            sync_directory(os.path.dirname(path))

    def open(self, path: str, flags: int) -> int:
        """Open one of our own files close-on-exec with mode 0600, creating it where ``flags`` say so."""
        return os.open(path, flags | os.O_CLOEXEC, FILE_MODE)

    def spares(self) -> list[str]:
        """Return the paths of unfinished new files, whoever makes or made them; usually none."""
        begin = self.stem + "."
        return [
            os.path.join(self.directory, name)
            for name in os.listdir(self.directory)
            if ".new" in name and name.startswith(begin)
        ]

    def remove_spares(self) -> int:
        """Remove unfinished new files whose makers are dead, and return how many; call it in the writers' turn.

        A spare database is only made in that turn, so none of another process can be in the making now. Every other
        spare file is locked while it is made (see :func:`replacement`); numbers of processes are not looked at, since
        they are given out again and mean nothing outside a container.
        """
        removed = 0
        databases = os.path.basename(self.database) + "."
        for path in self.spares():
            with contextlib.suppress(OSError):  # gone meanwhile, or not ours to remove
                if os.path.basename(path).startswith(databases):
                    os.unlink(path)
                    removed += 1
                    continue
                fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(path)
                    removed += 1
                finally:
                    os.close(fd)
        return removed

    def identity(self) -> tuple[int, int] | None:
        """Return device and inode of the database, ``None`` when there is none."""
        try:
            found = os.stat(self.database)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_dev, found.st_ino

    def loose_modes(self) -> Iterator[tuple[str, int]]:
        """Yield path and mode of every file of the queue, and its folder, that others may read or write."""
        for path in (self.directory, self.database, self.wal, self.shm, self.turn, self.reader):
            with contextlib.suppress(FileNotFoundError):
                mode = stat.S_IMODE(os.stat(path).st_mode)
                if mode & 0o077:
                    yield path, mode

    def remote_filesystem(self) -> str | None:
        """Return the type of the file system when it is a network one, where SQLite's locks cannot be trusted."""
        best, kind = "", ""
        path = os.path.realpath(self.directory)
        with contextlib.suppress(OSError), open("/proc/self/mounts", encoding="utf-8") as mounts:
            for line in mounts:
                _, point, name, *_ = line.split(" ")
                inside = path == point or path.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best):
                    best, kind = point, name
        return kind if kind in _REMOTE else None


def spare_name(path: str) -> str:
    """Return a name nobody else has used for a file that is to become ``path``."""
    return f"{path}.{os.getpid()}.{os.urandom(4).hex()}.new"


@contextlib.contextmanager
def replacement(path: str) -> Iterator[int]:
    """Yield the descriptor of a new, empty file, mode 0600, that takes the place of ``path`` when the block ends well.

    When it does not, the file is removed; when the process is killed, the next opening of the queue removes it. The
    new content is whole, but may not outlast a power failure.

    Raises:
        OSError: The file cannot be made or renamed.
    """
    spare, fd = _locked_spare(path)
    try:
        yield fd
        os.replace(spare, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(spare)
        raise
    finally:
        os.close(fd)


def _locked_spare(path: str) -> tuple[str, int]:
    """Make a new file and lock it until its descriptor is closed, if only by the death of the process."""
    while True:
        spare = spare_name(path)
        fd = os.open(spare, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:  # else taken for that of a dead process before it was locked
                return spare, fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def sync_directory(path: str) -> None:
    """Make the entries of a folder durable (a new or renamed file may otherwise vanish with the power)."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file(path: str) -> None:
    """Make the content of a file durable."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
