"""Jobs: long work that a request starts and that clients poll.

Work runs in two thread pools (training, everything else). What it reports waits in a queue that :meth:`JobBoard.tick`
empties, once per second as upstream, so that a client sees ``running`` and progress up to one tick late and a quick job
jumps from ``waiting`` to ``done``. Source: job module of Loud ML server 1.6.0.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from mock_servers.clock import Clock
from mock_servers.loudml.errors import Conflict, LoudError, NotFound

__all__ = ["FINAL_STATES", "Job", "JobBoard", "JobCanceled"]

FINAL_STATES = frozenset({"done", "failed", "canceled"})
JobType = Literal["training", "prediction", "forecast", "read", "write"]


class JobCanceled(Exception):
    """Raised inside the work of a job that was canceled."""


@dataclass(slots=True)
class Job:
    """One job; fields as the API shows them, see :meth:`shown`.

    Attributes:
        type: Kind of work.
        model: Name of the model, ``None`` for bucket jobs.
        started_at: When it was accepted, seconds.
        id: UUID, version 4.
        state: ``waiting``, ``running``, ``canceling``, ``done``, ``failed`` or ``canceled``.
        ended_at: When it reached a final state, ``None`` before.
        result: What a done job found.
        error: Why it failed or ended.
        progress: ``(evaluation, evaluations)`` of a training, ``None`` until one was reported.
        outcome: Resolved with the result, or the exception, as soon as the work ends (before the tick that shows it).
    """

    type: JobType
    model: str | None
    started_at: float
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    state: str = "waiting"
    ended_at: float | None = None
    result: Any = None
    error: str | None = None
    progress: tuple[int, int] | None = None
    cancel_requested: bool = False
    outcome: Future[Any] = field(default_factory=Future)

    def shown(self, now: float) -> dict[str, Any]:
        """Return the job as ``GET /jobs/{id}`` shows it at a time."""
        duration = (self.ended_at if self.ended_at is not None else now) - self.started_at
        values: dict[str, Any] = {
            "id": self.id,
            "type": self.type,
            "state": self.state,
            "result": self.result,
            "duration": duration,
            "start_timestamp": self.started_at,
            "start_date": time.asctime(time.gmtime(self.started_at)),
        }
        if self.model is not None:
            values["model"] = self.model
        if self.ended_at is not None:
            values["end_timestamp"] = self.ended_at
            values["end_date"] = time.asctime(time.gmtime(self.ended_at))
        if self.error is not None:
            values["error"] = self.error
        if self.progress is not None:
            done, total = self.progress
            values["progress"] = {"eval": done, "max_evals": total}
            if done > 0:
                # compat: not what is left (that would be duration * (total / done - 1)), but what upstream says
                values["remaining_time"] = duration * (1 - done / total)
        return values


class JobHandle:
    """What the work of a job sees: reports progress, learns that it was canceled, waits on the server's clock."""

    def __init__(self, board: JobBoard, job: Job) -> None:
        self._board = board
        self._job = job

    def progress(self, done: int, total: int) -> None:
        """Report an evaluation.

        Raises:
            JobCanceled: The job was canceled.
        """
        self._board.report(self._job, "progress", (done, total))
        self.check()

    def check(self) -> None:
        """Raise when the job was canceled.

        Raises:
            JobCanceled: It was.
        """
        if self._job.cancel_requested:
            raise JobCanceled

    def sleep(self, seconds: float) -> None:
        """Wait on the server's clock.

        Raises:
            JobCanceled: The job was canceled meanwhile.
        """
        if seconds > 0:
            self._board.clock.sleep(seconds, lambda: self._job.cancel_requested)
        self.check()


Work = Callable[[JobHandle], Any]


class _Pool:
    """Worker threads, all started already so that none appears in the middle of a test, and what they have to do.

    Attributes:
        threads: The executor.
        queued: Jobs that no worker has taken yet; like ``running`` changed under the board's lock.
        running: Jobs that a worker has taken.
    """

    def __init__(self, workers: int, name: str) -> None:
        self.threads = ThreadPoolExecutor(workers, name)
        self.queued = self.running = 0
        self._workers = workers
        together = threading.Barrier(workers + 1)
        for _ in range(workers):
            self.threads.submit(together.wait)
        together.wait()

    @property
    def busy(self) -> int:
        """Jobs that run or will run as soon as a free worker wakes up."""
        return self.running + min(self.queued, self._workers - self.running)


class JobBoard:
    """The jobs of a cluster; thread-safe.

    Args:
        clock: Time of starts, ends and the time to live.
        workers: Threads for everything but training, which has one.
        max_ttl_s: Finished jobs older than this are forgotten, once a minute.
        canceled_runs_again: Reproduce the upstream fault by which a canceled job whose work reports late goes back to
            ``running`` and stays there.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        workers: int = 2,
        max_ttl_s: float = 60.0,
        canceled_runs_again: bool = False,
    ) -> None:
        self.clock = clock
        self._max_ttl_s = max_ttl_s
        self._canceled_runs_again = canceled_runs_again
        self._jobs: dict[str, Job] = {}
        self._reports: deque[tuple[Job, str, Any]] = deque()
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        self._training = _Pool(1, "loudml-training")
        self._others = _Pool(workers, "loudml-worker")
        self._next_sweep = clock.now() + 60

    def start(self, kind: JobType, model: str | None, work: Work) -> Job:
        """Accept a job and let its work begin as soon as a worker is free."""
        job = Job(kind, model, self.clock.now())
        job.outcome.set_running_or_notify_cancel()
        pool = self._training if kind == "training" else self._others
        with self._lock:
            self._jobs[job.id] = job
            pool.queued += 1
        pool.threads.submit(self._work, pool, job, work)
        return job

    def _work(self, pool: _Pool, job: Job, work: Work) -> None:
        with self._lock:
            pool.queued -= 1
            pool.running += 1
        handle = JobHandle(self, job)
        try:
            handle.check()
            self.report(job, "running", None)
            result = work(handle)
        except JobCanceled as error:
            self.report(job, "canceled", None)
            job.outcome.set_exception(error)
        except LoudError as error:
            self.report(job, "failed", str(error))
            job.outcome.set_exception(error)
        except Exception as error:
            self.report(job, "failed", str(error) or type(error).__name__)
            job.outcome.set_exception(error)
        else:
            self.report(job, "done", result)
            job.outcome.set_result(result)
        finally:
            with self._idle:
                pool.running -= 1
                self._idle.notify_all()

    def report(self, job: Job, what: str, value: Any) -> None:
        """Queue a message from the work of a job; :meth:`tick` applies it."""
        self._reports.append((job, what, value))

    def tick(self) -> None:
        """Apply what the work reported, and forget old jobs once a minute."""
        with self._lock:
            while self._reports:
                self._apply(*self._reports.popleft())
            now = self.clock.now()
            if now >= self._next_sweep:
                self._next_sweep = now + 60
                self._jobs = {
                    job.id: job
                    for job in self._jobs.values()
                    if job.ended_at is None or now - job.ended_at <= self._max_ttl_s
                }

    def _apply(self, job: Job, what: str, value: Any) -> None:
        if job.state in ("done", "failed"):
            return
        if job.state in ("canceling", "canceled") and what != "canceled":
            if not self._canceled_runs_again:
                if what in ("done", "failed"):
                    self._end(job, "canceled", error="job canceled")
                return
            if what in ("done", "failed"):
                what, value = "running", None
        if what == "progress":
            job.progress = value
            job.state = "running"
        elif what == "running":
            job.state = "running"
        elif what == "done":
            self._end(job, "done", result=value)
        elif what == "failed":
            self._end(job, "failed", error=value)
        elif job.state != "canceled":
            self._end(job, "canceled", error="job canceled")

    def _end(self, job: Job, state: str, *, result: Any = None, error: str | None = None) -> None:
        if job.ended_at is None:
            job.ended_at = self.clock.now()
        job.state, job.result, job.error = state, result, error

    def get(self, job_id: str) -> Job | None:
        """Return a job, or ``None`` when it is unknown or forgotten."""
        with self._lock:
            return self._jobs.get(job_id)

    def all(self) -> list[Job]:
        """Return the jobs known, in order of acceptance."""
        with self._lock:
            return list(self._jobs.values())

    def cancel(self, job_id: str) -> None:
        """Ask a job to stop; it is ``canceled`` at the next tick.

        Raises:
            NotFound: ``job not found``.
            Conflict: It has stopped already.
        """
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None:
                raise NotFound("job not found")
            if job.state in FINAL_STATES:
                raise Conflict(f"job is already stopped (state = {job.state})")
            job.state = "canceling"
            job.cancel_requested = True
            if not (self._canceled_runs_again and job.ended_at is not None):
                self._reports.append((job, "canceled", None))
        self.clock.wake()

    def wait_idle(self, sleepers: Callable[[], int], timeout_s: float = 60.0) -> None:
        """Return when all work has ended, sleeps on the clock, or waits for a worker that does.

        Args:
            sleepers: Returns how many workers sleep on the clock.
            timeout_s: Give up after this many real seconds.

        Raises:
            TimeoutError: Work still runs.
        """
        deadline = time.monotonic() + timeout_s
        with self._idle:
            while (busy := self._training.busy + self._others.busy) > sleepers():
                if time.monotonic() >= deadline:
                    raise TimeoutError(f"{busy} jobs still run after {timeout_s} s")
                self._idle.wait(0.002)

    def forget_all(self) -> None:
        """Cancel and forget every job."""
        for job in self.all():
            with contextlib.suppress(LoudError):
                self.cancel(job.id)
        with self._lock:
            self._jobs.clear()

    def close(self) -> None:
        """Cancel everything and join the workers; idempotent."""
        with self._lock:
            for job in self._jobs.values():
                job.cancel_requested = True
        self.clock.wake()
        for pool in (self._training, self._others):
            pool.threads.shutdown(cancel_futures=True)
