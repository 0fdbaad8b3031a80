"""The state that all nodes of a Loud ML server share, put together from its parts.

Two profiles: ``fixed`` (default) behaves as the original was meant to; ``faithful`` keeps its faults as well (canceled
jobs that run again, results silently not saved to an unknown bucket, 500 for a duplicate template, replaced schedules
whose old timer goes on, gzip bodies not understood).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from mock_servers.clock import Clock
from mock_servers.loudml.buckets import Buckets
from mock_servers.loudml.jobs import JobBoard
from mock_servers.loudml.models import Models
from mock_servers.loudml.schedule import Scheduler
from mock_servers.loudml.store import Store
from mock_servers.loudml.templates import Templates

__all__ = ["Cluster", "Profile"]

Profile = Literal["fixed", "faithful"]


class Cluster:
    """Models, templates, buckets, scheduled jobs and jobs of one server; thread-safe.

    Args:
        store: Where documents and points are kept.
        clock: Time of everything.
        profile: ``fixed`` or ``faithful``.
        workers: Threads for jobs other than training.
        jobs_max_ttl_s: Finished jobs older than this are forgotten.
        evaluation_s: Least time a training evaluation takes on the clock; gives tests and demos a job to watch.
        address: Returns ``host:port`` of a live node, for scheduled jobs; ``None`` when there is none.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        profile: Profile,
        workers: int,
        jobs_max_ttl_s: float,
        evaluation_s: float,
        address: Callable[[], str | None],
    ) -> None:
        self.store = store
        self.clock = clock
        self.is_faithful = profile == "faithful"
        self.jobs = JobBoard(
            clock,
            workers=workers,
            max_ttl_s=jobs_max_ttl_s,
            canceled_runs_again=self.is_faithful,
        )
        self.buckets = Buckets(store, self.jobs)
        self.templates = Templates(store, is_faithful=self.is_faithful)
        self.scheduler = Scheduler(store, clock, address, is_faithful=self.is_faithful)
        self.models = Models(
            store,
            self.jobs,
            self.buckets,
            self.scheduler,
            is_faithful=self.is_faithful,
            evaluation_s=evaluation_s,
        )

    def tick(self) -> None:
        """Do what is due: job reports, old jobs, scheduled jobs. Called once per tick of the server."""
        self.jobs.tick()
        self.scheduler.run_due()

    def reset(self) -> None:
        """Back to an empty cluster."""
        self.jobs.forget_all()
        self.scheduler.clear()
        self.models.forget_all()
        self.store.clear()

    def close(self) -> None:
        """Stop all work and close the store; idempotent."""
        self.jobs.close()
        self.store.close()

    def shown(self) -> dict[str, Any]:
        """Return everything as JSON values, for ``GET /_mock/state`` and the console; results of jobs are left out."""
        now = self.clock.now()
        points = self.store.count_points()
        jobs = [job.shown(now) for job in self.jobs.all()]
        return {
            "time": now,
            "predictions": self.models.predictions(),
            "models": self.models.get(),
            "buckets": [
                {**bucket, "points": points.get(bucket["name"], 0)} for bucket in self.buckets.get()
            ],
            "templates": self.templates.get(),
            "scheduled_jobs": self.scheduler.get(),
            "jobs": [{key: job[key] for key in job if key != "result"} for job in jobs],
        }
