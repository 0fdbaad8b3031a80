"""The queue on disk: 1.40's SQLite database, kept well.

:class:`DiskQueue` is what writers and readers use; :class:`QueueFiles` names the files; :class:`DeadLetters` keeps what
the server refused for good.
"""

from infi.ramen_client.diskqueue.dead import DeadLetters
from infi.ramen_client.diskqueue.files import QueueFiles
from infi.ramen_client.diskqueue.queue import DiskQueue, Outcome
from infi.ramen_client.diskqueue.turn import FileLock
from infi.ramen_client.diskqueue.wake import Sleeper

__all__ = ["DeadLetters", "DiskQueue", "FileLock", "Outcome", "QueueFiles", "Sleeper"]
