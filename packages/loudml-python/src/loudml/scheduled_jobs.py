"""Scheduled jobs: requests the server makes to itself at fixed times.

A group of methods of :class:`~loudml.client.Loud`; :class:`~loudml.aio.AsyncLoud` has the same, awaitable. Every
method also takes ``params``, ``pretty``, ``error_trace``, ``ignore``, ``request_timeout`` and ``idempotent``, see
:doc:`/calls`, and raises :class:`~loudml.errors.TransportError` or a subclass. Source: loudml-python 1.6.3,
``scheduled_jobs``.
"""

from __future__ import annotations

from typing import Any

from loudml._namespace import NamespacedClient, _make_path, query_params, require, require_settings

__all__ = ["ScheduledJobsClient"]


class ScheduledJobsClient(NamespacedClient):
    """What can be done with scheduled jobs."""

    @query_params("fields", "include_fields", "page", "per_page", "sort")
    def get(
        self,
        scheduled_job_names: str | list[str] | None = None,
        params: dict[str, Any] | None = None,
    ) -> Any:
        """Return scheduled jobs: ``GET /scheduled_jobs`` or ``GET /scheduled_jobs/a;b``.

        Args:
            scheduled_job_names: One name or several; ``None`` for a page of all.
            params: Extra query parameters, sent first.

        Returns:
            A list of dicts with ``name``, ``method``, ``relative_url``, ``params``, ``every`` and, after a run,
            ``ok``, ``status_code``, ``last_run_timestamp``. ``fields`` keeps (with ``include_fields=True``) or leaves
            out the keys it lists; ``page`` counts from 0, ``per_page`` is 1..100 (server's default 50), ``sort`` is
            ``"field:1"`` or ``"field:-1"``.

        Raises:
            NotFoundError: A named scheduled job does not exist.
        """
        return self.transport.perform_request(
            "GET", _make_path("scheduled_jobs", scheduled_job_names), params=params
        )

    @query_params()
    def exists(self, scheduled_job_name: str, params: dict[str, Any] | None = None) -> Any:
        """Return whether a scheduled job exists: ``HEAD /scheduled_jobs/name``.

        Raises:
            ValueError: ``scheduled_job_name`` is empty.
            TransportError: The answer is neither yes nor no.
        """
        require("scheduled_job_name", scheduled_job_name)
        return self._exists(_make_path("scheduled_jobs", scheduled_job_name), params)

    @query_params()
    def create(self, settings: dict[str, Any], params: dict[str, Any] | None = None) -> Any:
        """Create a scheduled job: ``POST /scheduled_jobs``.

        Args:
            settings: The scheduled job, see the server's documentation.
            params: Extra query parameters, sent first.

        Returns:
            The empty str. A scheduled job of the same name is replaced.

        Raises:
            TypeError: ``settings`` is not a mapping.
            ValueError: One of its keys is empty.
            RequestError: The server finds a mistake in it, and names the field.
        """
        require_settings(settings)
        return self.transport.perform_request(
            "POST", "/scheduled_jobs", params=params, body=settings
        )

    @query_params()
    def delete(self, scheduled_job_name: str, params: dict[str, Any] | None = None) -> Any:
        """Delete a scheduled job, or several given as a list: ``DELETE /scheduled_jobs/name``.

        Returns:
            The empty str.

        Raises:
            ValueError: ``scheduled_job_name`` is empty.
            NotFoundError: There is none of that name.
        """
        require("scheduled_job_name", scheduled_job_name)
        return self.transport.perform_request(
            "DELETE", _make_path("scheduled_jobs", scheduled_job_name), params=params
        )

    def generator(
        self,
        scheduled_job_names: str | list[str] | None = None,
        fields: list[str] | None = None,
        include_fields: bool | None = None,
        sort: str = "name:1",
        per_page: int = 100,
    ) -> Any:
        """Iterate over all scheduled jobs, fetching page after page.

        Args:
            scheduled_job_names: Only these (one page, since the server does not page a listing by name); ``None`` for
                all.
            fields: Keys to keep or leave out, see :meth:`get`.
            include_fields: As for :meth:`get`.
            sort: ``"field:1"`` ascending or ``"field:-1"`` descending.
            per_page: Entries per request, 1..100.
        """
        options = {"fields": fields, "include_fields": include_fields, "sort": sort}
        return self._pages(scheduled_job_names, per_page, options)
