"""Jobs: work the server does in the background, and waiting for it.

A group of methods of :class:`~loudml.client.Loud`; :class:`~loudml.aio.AsyncLoud` has the same, awaitable. Every
method also takes ``params``, ``pretty``, ``error_trace``, ``ignore``, ``request_timeout`` and ``idempotent``, see
:doc:`/calls`, and raises :class:`~loudml.errors.TransportError` or a subclass. Source: loudml-python 1.6.3, ``jobs``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from loudml._namespace import NamespacedClient, _make_path, query_params, require
from loudml.errors import JobCanceled, JobFailed, JobTimeout

__all__ = ["JobClient", "JobsClient"]

_ENDED = ("done", "failed", "canceled")
_LONGEST_POLL_S = 30.0
"""The server forgets a job about a minute after its end, so that a longer pause could miss it."""
_CANCEL_S = 60.0
"""How long a canceled job may take to end before waiting for it is given up."""


class JobClient(NamespacedClient):
    """One job: what it was at the last :meth:`fetch`, and ways to wait for it.

    Args:
        client: The client it belongs to.
        job_id: Its id, as returned by the call that started it.

    Attributes:
        id: The id, a str.
    """

    def __init__(self, client: Any, job_id: object) -> None:
        super().__init__(client)
        self.id = str(job_id)
        self._name: str | None = None
        self._state: str | None = None
        self._error: str | None = None
        self._progress: dict[str, Any] | None = None
        self._remaining_time: float | None = None
        self._total: int | None = None
        self._cancel_sent = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self._state or 'not fetched'}>"

    @property
    def name(self) -> str:
        """The id; once fetched ``type(model)``, or ``type(<first 6 of the id>)`` for a job without a model."""
        return self._name or self.id

    @property
    def state(self) -> str | None:
        """``waiting``, ``running``, ``canceling``, ``done``, ``failed`` or ``canceled``; ``None`` before a fetch."""
        return self._state

    @property
    def error(self) -> str | None:
        """The server's text for a failed or canceled job; ``None`` otherwise."""
        return self._error

    @property
    def total(self) -> int | None:
        """Steps to go through; ``None`` until the server has named a number."""
        return self._total

    @property
    def step(self) -> int:
        """Steps done; for a job without progress 1 when it is done, else 0."""
        if not self._progress or self._total is None:
            return 1 if self._state == "done" else 0
        return min(self._total, int(self._progress.get("eval") or 0))

    def reset_total(self) -> None:
        """Take the number of steps from the progress last fetched."""
        limit = (self._progress or {}).get("max_evals")
        if limit is not None:
            self._total = int(limit)

    @query_params("fields", "include_fields")
    def get(self, params: dict[str, Any] | None = None) -> Any:
        """Return the job as a list of one dict: ``GET /jobs/id``.

        Raises:
            NotFoundError: The server does not know it (any more).
        """
        return self.transport.perform_request("GET", _make_path("jobs", self.id), params=params)

    @query_params()
    def exists(self, params: dict[str, Any] | None = None) -> Any:
        """Return whether the server knows the job: ``HEAD /jobs/id``.

        Raises:
            TransportError: The answer is neither yes nor no.
        """
        return self._exists(_make_path("jobs", self.id), params)

    @query_params()
    def cancel(self, params: dict[str, Any] | None = None) -> Any:
        """Cancel the job: ``POST /jobs/id/_cancel``; a later :meth:`wait` ends soon.

        Raises:
            NotFoundError: The server does not know it (any more).
            ConflictError: It has already ended.
        """
        answer = self._send_cancel(params)
        self._cancel_sent = True
        return answer

    def _send_cancel(self, params: dict[str, Any] | None) -> Any:
        path = _make_path("jobs", self.id, "_cancel")
        return self.transport.perform_request("POST", path, params=params)

    def fetch(self) -> Any:
        """Bring the attributes up to date: ``GET /jobs/id`` without the result.

        Raises:
            NotFoundError: The server does not know it (any more).
        """
        self._take(self.get(fields="result", include_fields=False)[0])

    def fetch_result(self) -> Any:
        """Return the result of the job, ``None`` until it is done.

        Raises:
            NotFoundError: The server does not know it (any more).
        """
        return self.get(fields="result", include_fields=True)[0]["result"]

    def success(self) -> bool:
        """Return whether the job was done, without failure, at the last fetch."""
        return self._state == "done"

    def done(self) -> bool:
        """Return whether the job had ended, well or not, at the last fetch."""
        return self._state in _ENDED

    def _take(self, job: dict[str, Any]) -> None:
        self._name = f"{job['type']}({job.get('model') or self.id[:6]})"
        self._state = job["state"]
        if self._cancel_sent and self._state in ("waiting", "running"):
            # compat: servers of 1.6 turn a canceled job back to "running" for ever.
            self._state = "canceled"
        self._error = job.get("error")
        self._progress = job.get("progress")
        self._remaining_time = job.get("remaining_time")
        if self._total is None:
            self.reset_total()

    def wait(
        self,
        interval: float,
        callback: Callable[[], object] | None = None,
        *,
        timeout: float | None = None,
        check: bool = False,
    ) -> Any:
        """Wait until the job has ended.

        Args:
            interval: Seconds between looks at the job, > 0; more than 30 counts as 30, since the server soon forgets
                a job that has ended. The first look is after one interval.
            callback: Called after each look, without arguments.
            timeout: Seconds to wait at most; ``None`` for as long as the job takes.
            check: Raise if the job does not end well; otherwise ask :meth:`success` and :attr:`error`.

        Raises:
            JobTimeout: The time is over, or a canceled job did not end within a minute.
            JobFailed: With ``check``: it failed; the message holds the server's text.
            JobCanceled: With ``check``: it was canceled.
            NotFoundError: The server does not know it (any more).
        """
        for _ in self.progress(interval, timeout=timeout):
            if callback is not None:
                callback()
        if check:
            self.raise_unless_done()

    def progress(self, interval: float = 1.0, *, timeout: float | None = None) -> Any:
        """Iterate over looks at the job until it has ended; yields the job itself, freshly fetched.

        Args:
            interval: As for :meth:`wait`.
            timeout: As for :meth:`wait`.

        Raises:
            JobTimeout: As for :meth:`wait`.
            NotFoundError: As for :meth:`wait`.
        """
        for pause_s in self._pauses(interval, timeout):
            time.sleep(pause_s)
            self.fetch()
            yield self

    async def async_wait(
        self,
        interval: float,
        callback: Callable[[], object] | None = None,
        *,
        timeout: float | None = None,
        check: bool = False,
    ) -> None:
        """Wait as :meth:`wait` does, leaving the event loop free between looks (each look itself blocks)."""
        import asyncio  # slow to load, and most users do not need it

        for pause_s in self._pauses(interval, timeout):
            await asyncio.sleep(pause_s)
            self.fetch()
            if callback is not None:
                callback()
        if check:
            self.raise_unless_done()

    def _pauses(self, interval: float, timeout: float | None) -> Iterator[float]:
        """Yield the pauses between looks until the job has ended.

        Raises:
            JobTimeout: See :meth:`wait`.
        """
        interval = min(interval, _LONGEST_POLL_S)
        ends_at = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            if self._cancel_sent:
                ends_at = min(ends_at, time.monotonic() + _CANCEL_S)
            left_s = ends_at - time.monotonic()
            if left_s <= 0:
                raise JobTimeout(
                    f"job {self.name} has not ended in time: state {self._state}, step {self.step} of {self._total}",
                    self.id,
                )
            yield min(interval, left_s)
            if self.done():
                return

    def raise_unless_done(self) -> None:
        """Raise if the job ended, at the last fetch, otherwise than well.

        Raises:
            JobFailed: It failed; the message holds the server's text.
            JobCanceled: It was canceled.
        """
        if self._state == "failed":
            raise JobFailed(f"job {self.name} failed: {self._error}", self.id)
        if self._state == "canceled":
            raise JobCanceled(f"job {self.name} was canceled", self.id)


class JobsClient(NamespacedClient):
    """What can be done with jobs."""

    _job_class = JobClient

    def id(self, job_id: object) -> Any:
        """Return a handle of one job, a :class:`~loudml.jobs.JobClient`; sends nothing."""
        return self._job_class(self.client, job_id)

    @query_params("fields", "include_fields", "page", "per_page", "sort")
    def get(
        self, job_names: str | list[str] | None = None, params: dict[str, Any] | None = None
    ) -> Any:
        """Return jobs: ``GET /jobs`` or ``GET /jobs/a;b``.

        Args:
            job_names: One id or several; ``None`` for a page of all.
            params: Extra query parameters, sent first.

        Returns:
            A list of dicts with ``id``, ``type``, ``state``, ``result``, ``progress`` and times; of those named, the
            ones found, in any order. ``fields`` keeps (with ``include_fields=True``) or leaves out the keys it lists;
            ``page`` counts from 0, ``per_page`` is 1..100, ``sort`` is ``"field:1"`` or ``"field:-1"``.

        Raises:
            NotFoundError: None of those named is known (the server forgets a job a minute after its end).
        """
        return self.transport.perform_request("GET", _make_path("jobs", job_names), params=params)

    @query_params()
    def exists(self, job_name: str, params: dict[str, Any] | None = None) -> Any:
        """Return whether the server knows a job: ``HEAD /jobs/id``.

        Raises:
            ValueError: ``job_name`` is empty.
            TransportError: The answer is neither yes nor no.
        """
        require("job_name", job_name)
        return self._exists(_make_path("jobs", job_name), params)

    @query_params()
    def cancel_job(self, job_name: str, params: dict[str, Any] | None = None) -> Any:
        """Cancel a job: ``POST /jobs/id/_cancel``.

        Returns:
            The empty str; the job ends some time later.

        Raises:
            ValueError: ``job_name`` is empty.
            NotFoundError: There is no such job.
            ConflictError: It has already ended.
        """
        require("job_name", job_name)
        return self._cancel(job_name, params)

    @query_params()
    def cancel_jobs(self, job_names: str | list[str], params: dict[str, Any] | None = None) -> Any:
        """Cancel several jobs, one request each; see :meth:`cancel_job`.

        Raises:
            ValueError: ``job_names`` is empty.
            TransportError: The first failure, once all were tried.
        """
        require("job_names", job_names)
        return self._each(job_names, lambda name: self._cancel(name, dict(params or {})))

    def _cancel(self, job_name: str, params: dict[str, Any] | None) -> Any:
        path = _make_path("jobs", job_name, "_cancel")
        return self.transport.perform_request("POST", path, params=params)

    def generator(
        self,
        job_names: str | list[str] | None = None,
        fields: list[str] | None = None,
        include_fields: bool | None = None,
        sort: str = "id:1",
        per_page: int = 100,
    ) -> Any:
        """Iterate over all jobs, fetching page after page.

        Args:
            job_names: Only these (one page, since the server does not page a listing by id); ``None`` for all.
            fields: Keys to keep or leave out, see :meth:`get`.
            include_fields: As for :meth:`get`.
            sort: ``"field:1"`` ascending or ``"field:-1"`` descending.
            per_page: Entries per request, 1..100.
        """
        options = {"fields": fields, "include_fields": include_fields, "sort": sort}
        return self._pages(job_names, per_page, options)
