"""Group commit: whoever comes while a commit runs waits, and all who wait become one commit.

The first pusher leads: it writes its rows, hands the lead to the first who waits (who writes the rows of all), and only
then syncs, so that syncing and the next group's writing overlap. Used by :class:`~.queue.DiskQueue`.
"""

from __future__ import annotations

import contextlib
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


class _Entry:
    __slots__ = ("error", "future", "gate", "leads", "rows")

    def __init__(self, rows: Sequence[StoredRow], future: Future[None] | None = None) -> None:
        self.rows = rows
        self.future = future
        self.gate = threading.Lock()
        self.gate.acquire()
        self.leads = False
        self.error: BaseException | None = None

    def finish(self, error: BaseException | None) -> None:
        self.error = error
        if self.future is None:
            self.gate.release()
        elif error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(_copied(error))


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
            self._lead(rows)
            return
        try:
            entry.gate.acquire()
        except BaseException:
            if entry.leads:  # the lead came with the interrupt: it must go on
                self._lead(entry.rows)
            raise
        if entry.leads:
            self._lead(entry.rows)
        elif entry.error is not None:
            raise _copied(entry.error)

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
                self._lead(())
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
                self._lead(())

    def _lead(self, own: Sequence[StoredRow]) -> None:
        """Write ``own`` and the rows of all who wait, pass the lead on, sync, and tell them."""
        with self._mutex:
            group = [
                self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_ENTRIES - 1))
            ]
        if group:
            rows = list(own)
            for entry in group:
                rows += entry.rows
        else:
            rows = own  # type: ignore[assignment]
        error: BaseException | None = None
        try:
            self._write(rows)
        except BaseException as caught:
            error = caught
        self._hand_over()
        if error is None:
            try:
                self._sync()
            except BaseException as caught:
                error = caught
        for entry in group:
            entry.finish(error)
        if error is not None:
            raise error

    def _hand_over(self) -> None:
        refused = []
        following = None
        with self._mutex:
            while self._waiting and following is None:
                if self._waiting[0].future is None:
                    following = self._waiting.popleft()
                    following.leads = True
                elif self._call_helper():
                    break
                else:
                    refused.append(self._waiting.popleft())
            else:
                self._led = following is not None
        if following is not None:
            following.gate.release()
        for entry in refused:
            entry.finish(QueueError(11, "no thread can be started any more: nothing was stored"))

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
