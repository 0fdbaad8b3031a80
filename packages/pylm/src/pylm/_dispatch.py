"""Which worker gets which job, and what becomes of a job whose worker dies. Pure: no sockets, no clock.

Called by the masters of both generations for workers on the acknowledged channel. A job is in exactly one place: the
queue, one worker's hands, or gone. Source: wire reference, section G5; faults E-10 to E-12.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import math
import struct
from typing import Any, Final

__all__ = ["Dispatcher", "Group", "Job", "WorkerState"]

MISSED_BEATS: Final = 3
QUICK_S: Final = 0.005
"""A worker that returns jobs within this time, their wait included, may hold more of them."""
LONGEST_PAUSE_S: Final = 60.0
"""Between two questions to a worker that is busy with one job."""
WIDEST: Final = 8
"""Credits a quick worker may hold at most, times its own."""


@dataclasses.dataclass(slots=True)
class Group:
    """The copies one message was scattered into; ``left`` are not back yet."""

    left: int


@dataclasses.dataclass(slots=True)
class Job:
    """One envelope for a worker.

    Args:
        frame: As it goes to the worker.
        context: What the master needs to answer it; opaque here.
        idempotent: It may run again after its worker was lost.
        deadline: Monotonic seconds after which nobody waits for it any more.
        group: The scatter it belongs to.
    """

    frame: bytes
    context: Any = None
    idempotent: bool = False
    deadline: float = math.inf
    group: Group | None = None
    identity: bytes = b""
    attempt: int = 0
    assigned_at: float = 0.0


@dataclasses.dataclass(slots=True)
class WorkerState:
    """What is known of one worker."""

    identity: bytes
    name: str
    credit: int
    heartbeat_s: float
    seen: float
    jobs: dict[bytes, Job] = dataclasses.field(default_factory=dict)
    leaving: bool = False
    unreachable: bool = False
    """Nothing could be sent to it; it gets no job before it has introduced itself again."""
    done: int = 0
    window: int = 0
    """Jobs it may hold now: its credit, and more while it answers at once."""
    asked_at: float = -math.inf
    """When it was asked last what it still has."""
    pause_s: float = 0.0
    done_until: float = -math.inf
    """It has seen everything sent to it before."""

    def adapt(self, took_s: float) -> None:
        """Widen the window after a quick answer, fall back towards the credit after a slow one; 1 is kept."""
        if self.credit == 1:
            return
        if took_s < QUICK_S:
            self.window = min(self.window + 1, self.credit * WIDEST)
        elif took_s > 4 * QUICK_S:
            self.window = max(self.credit, self.window // 2)


class Dispatcher:
    """The job table of one master.

    Args:
        max_attempts: Runs of an idempotent job before it counts as lost.
    """

    def __init__(self, max_attempts: int) -> None:
        self.max_attempts = max_attempts
        self.workers: dict[bytes, WorkerState] = {}
        self.queue: collections.deque[Job] = collections.deque()
        self.requeued = 0
        self.duplicates = 0
        self._numbers = itertools.count(1)
        self._timed = False

    def ready(
        self, identity: bytes, name: str, credit: int, heartbeat_s: float, now: float
    ) -> None:
        """A worker introduced itself; one that did so before keeps its jobs."""
        known = self.workers.get(identity)
        if known is not None:
            known.seen = now
            known.leaving = known.unreachable = False
            return
        credit = max(1, credit)
        self.workers[identity] = WorkerState(
            identity, name, credit, heartbeat_s, now, window=credit
        )

    def seen(self, identity: bytes, now: float) -> bool:
        """A worker gave a sign of life; return whether it need not introduce itself."""
        worker = self.workers.get(identity)
        if worker is None:
            return False
        worker.seen = now
        return not worker.unreachable

    def leaving(self, identity: bytes) -> None:
        """A worker wants no further jobs; it is forgotten once it holds none."""
        worker = self.workers.get(identity)
        if worker is not None:
            worker.leaving = True
            if not worker.jobs:
                del self.workers[identity]

    def free_worker(self) -> WorkerState | None:
        """Return the worker with the fewest jobs that may take one more."""
        best = None
        least = math.inf
        for worker in self.workers.values():
            load = len(worker.jobs)
            if load < worker.window and load < least and not (worker.leaving or worker.unreachable):
                best, least = worker, load
        return best

    def assign(self, job: Job, worker: WorkerState, now: float = 0.0) -> bytes:
        """Put the job into the worker's hands; return the job's id."""
        job.assigned_at = now
        if not job.identity:
            job.identity = struct.pack(">Q", next(self._numbers))
        job.attempt += 1
        worker.jobs[job.identity] = job
        self._timed = self._timed or job.deadline != math.inf
        return job.identity

    def unassign(self, job: Job, worker: WorkerState) -> None:
        """Take back a job that could not be sent; the worker gets none until it introduces itself again."""
        del worker.jobs[job.identity]
        job.attempt -= 1
        worker.unreachable = True

    def enqueue(self, job: Job, *, first: bool = False) -> None:
        """Let the job wait for a worker."""
        self._timed = self._timed or job.deadline != math.inf
        if first:
            self.queue.appendleft(job)
        else:
            self.queue.append(job)

    def holds(self, identity: bytes, job_id: bytes) -> Job | None:
        """Return the job if this worker holds it; a result of any other worker is a duplicate."""
        worker = self.workers.get(identity)
        job = worker.jobs.get(job_id) if worker is not None else None
        if job is None:
            self.duplicates += 1
        return job

    def finish(self, identity: bytes, job_id: bytes, now: float | None = None) -> Job | None:
        """The worker is done with the job; return it, or ``None`` when it does not hold it (any more)."""
        worker = self.workers.get(identity)
        job = worker.jobs.pop(job_id, None) if worker is not None else None
        if worker is None or job is None:
            self.duplicates += 1
            return None
        worker.done += 1
        if now is not None:
            worker.seen = now
            worker.adapt(now - job.assigned_at)
        if worker.leaving and not worker.jobs:
            del self.workers[identity]
        return job

    def give_back(self, identity: bytes, job_id: bytes) -> None:
        """The worker returns a job it has not begun: it goes to the head of the queue, whatever its kind."""
        job = self.finish(identity, job_id)
        if job is not None:
            job.attempt -= 1
            self.requeued += 1
            self.enqueue(job, first=True)

    def to_ask(self, now: float) -> list[WorkerState]:
        """Return the workers that have held a job for long, to be asked, behind it, whether they are still at it.

        A connection that breaks may take a job or a result with it while the worker lives. What was sent to a worker
        before the question it answers, and has no result a moment later, is lost.
        """
        found = []
        for worker in self.workers.values():
            if not worker.jobs:
                continue
            pause_s = worker.pause_s or MISSED_BEATS * worker.heartbeat_s
            oldest = next(iter(worker.jobs.values())).assigned_at
            if now - max(oldest, worker.asked_at) > pause_s:
                worker.asked_at = now
                worker.pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                found.append(worker)
        return found

    def answered(self, identity: bytes, asked_at: float) -> None:
        """A worker answered the question of that time."""
        worker = self.workers.get(identity)
        if worker is not None and asked_at <= worker.asked_at:
            worker.done_until = max(worker.done_until, asked_at)
            worker.pause_s = 0.0

    def _take_back(self, job: Job) -> bool:
        """Queue a lost job again if it may run again; return whether it does."""
        if not job.idempotent or job.attempt >= self.max_attempts:
            return False
        self.requeued += 1
        self.enqueue(job, first=True)
        return True

    def expire(self, now: float) -> tuple[list[Job], list[Job]]:
        """Bury the silent workers; return the jobs lost with them or on the way, and the jobs whose time is up."""
        lost: list[Job] = []
        for worker in list(self.workers.values()):
            if now - worker.seen > MISSED_BEATS * worker.heartbeat_s:
                del self.workers[worker.identity]
                lost += [job for job in reversed(worker.jobs.values()) if not self._take_back(job)]
                continue
            for job in [job for job in worker.jobs.values() if job.assigned_at < worker.done_until]:
                del worker.jobs[job.identity]
                if not self._take_back(job):
                    lost.append(job)
        late: list[Job] = []
        if self._timed:
            late = [job for job in self.queue if job.deadline <= now]
            if late:
                self.queue = collections.deque(job for job in self.queue if job.deadline > now)
            for worker in self.workers.values():
                for job_id in [key for key, job in worker.jobs.items() if job.deadline <= now]:
                    late.append(worker.jobs.pop(job_id))
        return lost, late

    def in_work(self) -> int:
        """Return how many jobs are queued or in a worker's hands."""
        return len(self.queue) + sum(len(worker.jobs) for worker in self.workers.values())
