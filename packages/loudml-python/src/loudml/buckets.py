"""Buckets: where the server reads and writes time series.

A group of methods of :class:`~loudml.client.Loud`; :class:`~loudml.aio.AsyncLoud` has the same, awaitable. Every
method also takes ``params``, ``pretty``, ``error_trace``, ``ignore``, ``request_timeout`` and ``idempotent``, see
:doc:`/calls`, and raises :class:`~loudml.errors.TransportError` or a subclass. Source: loudml-python 1.6.3,
``buckets``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from loudml._namespace import NamespacedClient, _make_path, query_params, require, require_settings

__all__ = ["BucketsClient"]


class BucketsClient(NamespacedClient):
    """What can be done with buckets."""

    @query_params("fields", "include_fields", "page", "per_page", "sort")
    def get(
        self, bucket_names: str | list[str] | None = None, params: dict[str, Any] | None = None
    ) -> Any:
        """Return buckets: ``GET /buckets`` or ``GET /buckets/a;b``.

        Args:
            bucket_names: One name or several; ``None`` for a page of all.
            params: Extra query parameters, sent first.

        Returns:
            A list of dicts with ``name``, ``type`` and the settings of that type, secrets left out. ``fields`` keeps
            (with ``include_fields=True``) or leaves out the keys it lists; ``page`` counts from 0, ``per_page`` is
            1..100 (server's default 50), ``sort`` is ``"field:1"`` or ``"field:-1"``.

        Raises:
            NotFoundError: A named bucket does not exist.
        """
        return self.transport.perform_request(
            "GET", _make_path("buckets", bucket_names), params=params
        )

    @query_params()
    def exists(self, bucket_name: str, params: dict[str, Any] | None = None) -> Any:
        """Return whether a bucket exists: ``HEAD /buckets/name``.

        Raises:
            ValueError: ``bucket_name`` is empty.
            TransportError: The answer is neither yes nor no.
        """
        require("bucket_name", bucket_name)
        return self._exists(_make_path("buckets", bucket_name), params)

    @query_params()
    def create(self, settings: dict[str, Any], params: dict[str, Any] | None = None) -> Any:
        """Create a bucket: ``POST /buckets``.

        Args:
            settings: The bucket, see the server's documentation.
            params: Extra query parameters, sent first.

        Returns:
            The empty str. A bucket of the same name is replaced.

        Raises:
            TypeError: ``settings`` is not a mapping.
            ValueError: One of its keys is empty.
            RequestError: The server finds a mistake in it, and names the field.
        """
        require_settings(settings)
        return self.transport.perform_request("POST", "/buckets", params=params, body=settings)

    @query_params()
    def delete(self, bucket_name: str, params: dict[str, Any] | None = None) -> Any:
        """Delete a bucket, or several given as a list: ``DELETE /buckets/name``.

        Returns:
            The empty str.

        Raises:
            ValueError: ``bucket_name`` is empty.
            NotFoundError: There is none of that name.
        """
        require("bucket_name", bucket_name)
        return self.transport.perform_request(
            "DELETE", _make_path("buckets", bucket_name), params=params
        )

    def generator(
        self,
        bucket_names: str | list[str] | None = None,
        fields: list[str] | None = None,
        include_fields: bool | None = None,
        sort: str = "name:1",
        per_page: int = 100,
    ) -> Any:
        """Iterate over all buckets, fetching page after page.

        Args:
            bucket_names: Only these (one page, since the server does not page a listing by name); ``None`` for all.
            fields: Keys to keep or leave out, see :meth:`get`.
            include_fields: As for :meth:`get`.
            sort: ``"field:1"`` ascending or ``"field:-1"`` descending.
            per_page: Entries per request, 1..100.
        """
        options = {"fields": fields, "include_fields": include_fields, "sort": sort}
        return self._pages(bucket_names, per_page, options)

    @query_params()
    def clear(self, bucket_name: str, params: dict[str, Any] | None = None) -> Any:
        """Remove all points: ``POST /buckets/name/_clear``.

        Returns:
            The empty str.

        Raises:
            ValueError: ``bucket_name`` is empty.
            NotFoundError: There is no such bucket.
        """
        require("bucket_name", bucket_name)
        path = _make_path("buckets", bucket_name, "_clear")
        return self.transport.perform_request("POST", path, params=params)

    @query_params("from", "to", "bucket_interval", "features")
    def read(self, bucket_name: str, params: dict[str, Any] | None = None) -> Any:
        """Start reading aggregated points: ``POST /buckets/name/_read``.

        The keywords ``_from``, ``_to`` (a date, seconds, or ``"now-1d"``), ``bucket_interval`` (``"1m"``) and
        ``features`` (``["avg(cpu)", "count(measurement.field)"]``) are required by the server.

        Returns:
            The id of a job, a str; its result is ``{"timestamps": [seconds, ...], "observed": {"avg_cpu": [...]}}``.

        Raises:
            ValueError: ``bucket_name`` is empty.
            RequestError: A keyword is missing or malformed.
            NotFoundError: There is no such bucket.
        """
        require("bucket_name", bucket_name)
        path = _make_path("buckets", bucket_name, "_read")
        return self.transport.perform_request("POST", path, params=params)

    def write(
        self, bucket_name: str, points: Sequence[dict[str, Any]], batch_size: int, **kwargs: Any
    ) -> Any:
        """Send points in batches: ``POST /buckets/name/_write`` each; nothing is sent until the result is iterated.

        Args:
            bucket_name: The bucket.
            points: ``{"timestamp": date or seconds, "<field>": number, ..., "tags": {"<key>": "<value>"}}`` each.
            batch_size: Points per request, >= 1.
            kwargs: Query parameters, passed on to the bucket, and the options of every method (``ignore``,
                ``request_timeout``, ``idempotent``), which hold for every batch.

        Returns:
            An iterator of job ids, one per batch; a write is done when its job is.

        Raises:
            ValueError: ``bucket_name`` is empty, or ``batch_size`` is below 1; raised by the call itself.
            NotFoundError: There is no such bucket; raised by the iteration.
        """
        require("bucket_name", bucket_name)
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size!r}: expected a whole number >= 1")
        batches = (
            points[start : start + batch_size] for start in range(0, len(points), batch_size)
        )
        return self._write(_make_path("buckets", bucket_name, "_write"), batches, kwargs)

    def _write(
        self, path: str, batches: Iterator[Sequence[dict[str, Any]]], params: dict[str, Any]
    ) -> Any:
        for batch in batches:
            yield self.transport.perform_request("POST", path, params=dict(params), body=batch)
