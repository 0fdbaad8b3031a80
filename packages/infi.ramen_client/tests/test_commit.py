"""Group commit and interval sync end when they are told to, at whatever moment, and lose no wake-up."""

from __future__ import annotations

import threading

import pytest
from infi.ramen_client.diskqueue import commit
from infi.ramen_client.diskqueue.commit import GroupCommit, IntervalSync
from infi.ramen_client.errors import QueueError

ROW = ("m", "t", "v1", "r1", b"x")


def no_threads(monkeypatch):
    def start(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


class TestIntervalSync:
    def make(self, sync, interval_s=0.01, on_error=lambda error: None):
        return IntervalSync(sync, interval_s, on_error)

    def ended(self, syncing):
        thread = syncing._thread
        syncing.close(10)
        return thread is None or not thread.is_alive()

    def test_a_close_that_comes_while_it_syncs_ends_it(self):
        # The moment after the interval is over is where a wake-up was once thrown away.
        begun, go_on = threading.Event(), threading.Event()

        def sync():
            begun.set()
            assert go_on.wait(10)

        syncing = self.make(sync)
        syncing.note()
        assert begun.wait(10)
        closer = threading.Thread(target=syncing.close)
        closer.start()
        with syncing._state:
            assert syncing._state.wait_for(lambda: syncing._closing, 10)
        go_on.set()
        closer.join(10)
        assert not closer.is_alive()
        assert syncing._thread is None

    def test_a_close_at_the_very_end_of_the_interval_ends_it(self):
        calls = []
        syncing = self.make(lambda: calls.append(1), interval_s=30)
        real = syncing._state.wait_for
        closer = threading.Thread(target=syncing.close)
        closing = threading.Event()

        def wait_for(predicate, timeout=None):
            if timeout is None or closing.is_set():
                return real(predicate, timeout)
            # The interval ends, and before the thread goes on somebody closes.
            closer.start()
            assert real(predicate, 10)
            closing.set()
            return False

        syncing._state.wait_for = wait_for
        syncing.note()
        assert closing.wait(10)
        closer.join(10)
        assert not closer.is_alive()
        assert calls == [1]

    def test_what_is_noted_while_it_closes_is_synced(self):
        begun, go_on = threading.Event(), threading.Event()
        calls = []

        def sync():
            calls.append(1)
            begun.set()
            assert go_on.wait(10)

        syncing = self.make(sync)
        syncing.note()
        assert begun.wait(10)
        closer = threading.Thread(target=syncing.close)
        closer.start()
        syncing.note()
        go_on.set()
        closer.join(10)
        assert self.ended(syncing)
        assert len(calls) == 2

    def test_it_can_be_used_and_closed_again(self):
        calls = []
        syncing = self.make(lambda: calls.append(1), interval_s=30)
        for _ in range(3):
            syncing.note()
            assert self.ended(syncing)
            syncing.close()
        assert calls == [1, 1, 1]

    def test_closing_does_not_wait_for_ever_for_a_disk_that_does_not_answer(self):
        begun, go_on = threading.Event(), threading.Event()
        syncing = self.make(lambda: (begun.set(), go_on.wait(10)))
        syncing.note()
        assert begun.wait(10)
        thread = syncing._thread
        syncing.close(0.01)
        assert thread.is_alive()
        go_on.set()
        thread.join(10)
        assert not thread.is_alive()

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_an_error_in_its_thread_does_not_end_syncing_for_good(self):
        calls = []

        def sync():
            calls.append(1)
            if len(calls) == 1:
                raise ValueError("not foreseen")

        syncing = self.make(sync)
        syncing.note()
        thread = syncing._thread
        if thread is not None:
            thread.join(10)
        syncing.note()
        assert self.ended(syncing)
        assert calls == [1, 1]

    def test_a_failed_sync_is_told_and_syncing_goes_on(self):
        errors = []

        def sync():
            if not errors:
                raise QueueError(5, "broken")

        syncing = self.make(sync, on_error=errors.append)
        syncing.note()
        assert self.ended(syncing)
        syncing.note()
        assert self.ended(syncing)
        assert [str(error) for error in errors] == ["[Errno 5] broken"]

    def test_it_syncs_at_once_when_no_thread_can_be_started(self, monkeypatch):
        calls = []
        syncing = self.make(lambda: calls.append(1))
        no_threads(monkeypatch)
        syncing.note()
        syncing.note()
        assert calls == [1, 1]
        syncing.close()

    def test_it_may_be_closed_by_its_own_thread(self):
        done = threading.Event()
        syncing = self.make(lambda: (syncing.close(), done.set()))
        syncing.note()
        assert done.wait(10)
        assert self.ended(syncing)


class TestGroupCommit:
    def test_a_future_is_done_by_its_caller_when_no_thread_can_be_started(self, monkeypatch):
        stored = []
        commits = GroupCommit(stored.extend, lambda: None)
        no_threads(monkeypatch)
        commits.submit_nowait((ROW,)).result(timeout=0)
        commits.submit((ROW,))
        assert stored == [ROW, ROW]

    def test_a_future_handed_on_when_no_thread_can_be_started_fails_and_nobody_waits(
        self, monkeypatch
    ):
        futures = []
        stored = []

        def write(rows):
            if not futures:
                futures.append(None)
                futures[0] = commits.submit_nowait((ROW,))
                futures[0].add_done_callback(lambda _future: commits.submit((ROW,)))
            stored.extend(rows)

        commits = GroupCommit(write, lambda: None)
        no_threads(monkeypatch)
        commits.submit((ROW,))
        with pytest.raises(QueueError, match="nothing was stored"):
            futures[0].result(timeout=0)
        commits.submit((ROW,))
        assert len(stored) == 3

    def test_an_error_nobody_foresaw_reaches_the_futures_and_the_thread_goes_on(self):
        fail = [True]

        def write(rows):
            if fail.pop() if fail else False:
                raise MemoryError("not foreseen")

        commits = GroupCommit(write, lambda: None)
        with pytest.raises(QueueError, match="may be stored"):
            commits.submit_nowait((ROW,)).result(timeout=10)
        commits.submit_nowait((ROW,)).result(timeout=10)
        commits.close()

    def test_a_waiter_that_is_interrupted_neither_keeps_the_lead_nor_the_others(self):
        begun, go_on = threading.Event(), threading.Event()
        stored = []

        def write(rows):
            stored.extend(rows)
            if len(stored) == 1:
                begun.set()
                assert go_on.wait(10)

        commits = GroupCommit(write, lambda: None)
        first = threading.Thread(target=commits.submit, args=((ROW,),))
        first.start()
        assert begun.wait(10)
        entries = []
        for _ in range(4):
            with commits._mutex:
                entries.append(commit._Entry((ROW,)))
                commits._waiting.append(entries[-1])
        commits._leave(entries[0])  # still waiting: it is not stored
        go_on.set()
        first.join(10)
        assert not first.is_alive()
        assert len(stored) == 4
        assert [entry.woken for entry in entries] == [False, True, False, False]
        # The second was interrupted when it had been woken: it wakes the next in its place.
        commits._leave(entries[1])
        assert entries[2].woken
        # The fourth was interrupted before that: it is passed over.
        entries[3].gone = True
        commits._wake(entries[2].following)
        assert not entries[3].woken
        commits.submit((ROW,))
        assert len(stored) == 5

    def test_a_lead_that_was_passed_to_an_interrupted_waiter_goes_on(self):
        stored = []
        commits = GroupCommit(stored.extend, lambda: None)
        with commits._mutex:
            commits._led = True
            entry = commit._Entry((ROW,))
            commits._waiting.append(entry)
        assert commits._go_on(may_lead=True) is None
        assert entry.leads
        commits._leave(entry)
        assert stored == [ROW]
        commits.submit((ROW,))
        assert len(stored) == 2

    def test_an_interrupt_in_the_rows_of_others_ends_the_lead_and_reaches_the_caller(self):
        writes = []

        def write(rows):
            writes.append(len(rows))
            if len(writes) == 1:
                with commits._mutex:
                    commits._waiting.extend(others)
            elif len(writes) == 2:
                raise KeyboardInterrupt

        commits = GroupCommit(write, lambda: None)
        others = [commit._Entry((ROW,)) for _ in range(3)]
        with pytest.raises(KeyboardInterrupt):
            commits.submit((ROW,))
        assert writes == [1, 3]
        assert all("may be stored" in str(commit._copied(entry.error)) for entry in others)
        commits.submit((ROW,))
        assert writes == [1, 3, 1]

    def test_no_thread_leads_for_ever(self):
        writes = []

        def write(rows):
            writes.append(len(rows))
            if len(writes) < 50:
                with commits._mutex:
                    commits._waiting.extend(commit._Entry((ROW,)) for _ in range(2))

        commits = GroupCommit(write, lambda: None)
        commits.submit((ROW,))
        assert len(writes) == commit.MAX_TURNS
        assert commits._led
