"""Group commit: whoever comes while a commit runs waits, and all who wait become one commit.

The first pusher leads: it writes its rows and syncs them, then those of all who wait, and after some
groups passes the lead on. Passing it on before the sync was tried: the syncs overlap, but of eight threads seldom more
than two then share one. Used by :class:`~.queue.DiskQueue`.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from infi.ramen_client.errors import QueueError

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["GroupCommit", "IntervalSync", "StoredRow"]

StoredRow: TypeAlias = "tuple[Any, Any, Any, str | None, bytes]"
"""``(category, data_type, data_version, reqid, data)`` of a message to be stored."""

MAX_ENTRIES = 64
MAX_TURNS = 8
"""A thread leads so many groups, one after the other, before its own push returns."""
CHAIN = 8
"""So many are woken one by the other; all at once they would only wait for the interpreter's lock."""


class _Entry:
    __slots__ = ("error", "following", "future", "gate", "gone", "leads", "rows", "woken")

    def __init__(self, rows: Sequence[StoredRow], future: Future[None] | None = None) -> None:
        self.rows = rows
        self.future = future
        self.gate = threading.Lock()
        self.gate.acquire()
        self.leads = False
        self.error: BaseException | None = None
        self.following: _Entry | None = None  # to be woken by this one
        self.woken = False
        self.gone = False


def _rows_of(rows: Sequence[StoredRow], group: Sequence[_Entry]) -> Sequence[StoredRow]:
    return [*rows, *(row for entry in group for row in entry.rows)] if group else rows


def _copied(error: BaseException) -> BaseException:
    """Return an equal error of its own for one of several threads, the original as its cause."""
    if not isinstance(error, QueueError):
        return QueueError(5, f"the commit was interrupted ({error!r}): the message may be stored")
    copy = type(error)(*error.args)
    copy.__cause__ = error
    return copy


class GroupCommit:
    """Hands the rows of many threads to one writer at a time; thread-safe.

    Args:
        write: Stores rows in one transaction; they need not be durable when it returns.
        sync: Makes everything written so far durable.
    """

    def __init__(
        self, write: Callable[[Sequence[StoredRow]], None], sync: Callable[[], None]
    ) -> None:
        self._write = write
        self._sync = sync
        self._mutex = threading.Lock()
        self._waiting: deque[_Entry] = deque()
        self._led = False
        self._helper: threading.Thread | None = None
        self._work = threading.Condition(self._mutex)
        self._helper_leads = False
        self._closing = False

    def submit(self, rows: Sequence[StoredRow]) -> None:
        """Store rows, all or none, and return when they are durable.

        Raises:
            QueueError: They could not be stored, or not synced.
        """
        with self._mutex:
            alone = not self._led
            self._led = True
            if not alone:
                entry = _Entry(rows)
                self._waiting.append(entry)
        if alone:
            self._lead(rows, ())
            return
        try:
            entry.gate.acquire()
            if entry.following is not None:
                self._wake(entry.following)
        except BaseException:
            self._leave(entry)
            raise
        if entry.leads:
            self._lead(entry.rows, self._take_waiting())
        elif entry.error is not None:
            raise _copied(entry.error)

    def _leave(self, entry: _Entry) -> None:
        """Do for the others what an interrupted waiter cannot do any more."""
        with self._mutex:
            if entry in self._waiting:
                self._waiting.remove(entry)
                return
            entry.gone = True
        if entry.leads:
            self._lead(entry.rows, self._take_waiting())
        elif entry.woken and entry.following is not None:
            self._wake(entry.following)

    def _wake(self, entry: _Entry | None) -> None:
        with self._mutex:
            while entry is not None and entry.gone:
                entry = entry.following
            if entry is None or entry.woken:
                return
            entry.woken = True
        entry.gate.release()

    def submit_nowait(self, rows: Sequence[StoredRow]) -> Future[None]:
        """Store rows soon, in a thread of this object; the future ends when they are durable.

        The future cannot be cancelled. Its exception is a :class:`QueueError`.
        """
        from concurrent.futures import Future

        future: Future[None] = Future()
        future.set_running_or_notify_cancel()
        with self._mutex:
            self._waiting.append(_Entry(rows, future))
            if self._led:
                return future
            self._led = True
            called = self._call_helper()
        if not called:
            with contextlib.suppress(Exception):  # the future has its own copy
                self._lead((), self._take_waiting())
        return future

    def _call_helper(self) -> bool:
        """Let the helper lead, under the mutex; return whether there is one, which fails when the interpreter ends."""
        if self._helper is None:
            helper = threading.Thread(target=self._help, name="ramen-queue-commit", daemon=True)
            try:
                helper.start()
            except RuntimeError:
                return False
            self._helper = helper
        self._helper_leads = True
        self._work.notify()
        return True

    def _help(self) -> None:
        while True:
            with self._mutex:
                while not self._helper_leads:
                    if self._closing:
                        self._helper = None
                        return
                    self._work.wait()
                self._helper_leads = False
            with contextlib.suppress(Exception):  # every future has its own copy
                self._lead((), self._take_waiting())

    def _take_waiting(self) -> list[_Entry]:
        """Take those who wait, as far as they fit into one group."""
        with self._mutex:
            return self._pop_waiting()

    def _pop_waiting(self) -> list[_Entry]:
        count = min(len(self._waiting), MAX_ENTRIES - 1)
        return [self._waiting.popleft() for _ in range(count)]

    def _lead(self, rows: Sequence[StoredRow], group: Sequence[_Entry]) -> None:
        """Write and sync ``rows`` with those of a group, and then some groups more, and pass the lead on.

        A group is told only when the rows of the next are written: its threads then run while those are synced, and
        do not take the interpreter from the thread that all the others wait for.
        """
        own: BaseException | None = None
        stored: tuple[Sequence[_Entry], BaseException | None] = ((), None)
        following: Sequence[_Entry] | None = group
        turns = 0
        while following is not None:
            error: BaseException | None = None
            try:
                self._write(_rows_of(rows, following))
            except BaseException as caught:
                error = caught
            self._tell(*stored)
            if error is None:
                try:
                    self._sync()
                except BaseException as caught:
                    error = caught
            if turns == 0 or not (error is None or isinstance(error, Exception)):
                own = error  # an interrupt is this thread's, whoever's rows it hits
            stored = (following, error)
            rows = ()
            turns += 1
            following = self._go_on(may_lead=turns < MAX_TURNS and own is None)
        self._tell(*stored)
        if own is not None:
            raise own

    def _tell(self, group: Sequence[_Entry], error: BaseException | None) -> None:
        sleepers = []
        for entry in group:
            if entry.future is None:
                entry.error = error
                sleepers.append(entry)
        for start in range(0, len(sleepers), CHAIN):
            chain = sleepers[start : start + CHAIN]
            for entry, following in itertools.pairwise(chain):
                entry.following = following
            self._wake(chain[0])
        for entry in group:
            if entry.future is None:
                continue
            if error is None:
                entry.future.set_result(None)
            else:
                entry.future.set_exception(_copied(error))

    def _go_on(self, *, may_lead: bool) -> list[_Entry] | None:
        """Return the next group if this thread leads on, else ``None`` after passing the lead on.

        Leading on spares the wait until another thread has woken up; a single one that waits leads itself.
        """
        refused = []
        chosen = None
        with self._mutex:
            if may_lead and len(self._waiting) > 1:
                return self._pop_waiting()
            while self._waiting and chosen is None:
                if self._waiting[0].future is None:
                    chosen = self._waiting.popleft()
                    chosen.leads = True
                elif self._call_helper():
                    break
                else:
                    refused.append(self._waiting.popleft())
            else:
                self._led = chosen is not None
        if chosen is not None:
            chosen.gate.release()
        self._tell(refused, QueueError(11, "no thread can be started any more: nothing was stored"))
        return None

    def close(self, timeout_s: float = 5.0) -> None:
        """Finish what waits and end the helper thread."""
        with self._mutex:
            self._closing = True
            self._work.notify()
            helper = self._helper
        if helper is not None and helper is not threading.current_thread():
            helper.join(timeout_s)
        with self._mutex:
            self._closing = False


class IntervalSync:
    """Syncs at most every ``interval_s`` seconds, and only after something was written; for ``durability="interval"``.

    Args:
        sync: Makes everything written so far durable.
        interval_s: Longest time a message waits for its sync, seconds.
        on_error: Told when a sync fails.
    """

    def __init__(
        self,
        sync: Callable[[], None],
        interval_s: float,
        on_error: Callable[[QueueError], None],
    ) -> None:
        self._sync = sync
        self._interval_s = interval_s
        self._on_error = on_error
        self._state = threading.Condition()
        self._dirty = False
        self._closing = False
        self._thread: threading.Thread | None = None

    def note(self) -> None:
        """Say that something was written.

        Raises:
            QueueError: No thread can be started any more, so it was synced here, and that failed.
        """
        with self._state:
            if self._dirty:
                return
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="ramen-queue-sync", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is ending
                    self._sync()
                    return
                self._thread = thread
            self._dirty = True
            self._state.notify_all()

    def _run(self) -> None:
        try:
            while self._wait():
                try:
                    self._sync()
                except QueueError as error:
                    self._on_error(error)
        except BaseException:
            with self._state:
                self._thread = None  # the next note starts another
                self._closing = False
            raise

    def _wait(self) -> bool:
        """Wait until it is time to sync; return whether there is anything left to be done by this thread."""
        with self._state:
            self._state.wait_for(lambda: self._dirty or self._closing)
            self._state.wait_for(lambda: self._closing, self._interval_s)
            if self._dirty:
                self._dirty = False
                return True
            self._closing = False
            self._thread = None  # what is noted from here on has a thread of its own
            return False

    def close(self, timeout_s: float = 10.0) -> None:
        """Sync what is left and end the thread.

        Args:
            timeout_s: Longest wait for a disk that does not answer, seconds; the thread then ends when it does.
        """
        with self._state:
            thread = self._thread
            if thread is None:
                return
            self._closing = True
            self._state.notify_all()
        if thread is not threading.current_thread():
            thread.join(timeout_s)
