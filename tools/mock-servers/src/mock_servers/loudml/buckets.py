"""Buckets: named sources of points, of any type the original knows.

Whatever the type says, this server keeps the points itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mock_servers.loudml.errors import BucketNotFound, Invalid, Unsupported
from mock_servers.loudml.jobs import Job, JobBoard
from mock_servers.loudml.metrics import METRICS, aggregate, bucket_range
from mock_servers.loudml.store import Store

__all__ = ["BUCKET_TYPES", "Buckets"]

BUCKET_TYPES: Mapping[str, tuple[str, ...]] = {
    "influxdb": ("addr", "database", "measurement"),
    "elasticsearch": ("addr", "index"),
    "elasticsearch_aws": ("host", "region", "index"),
    "warp10": ("read_token", "write_token"),
    "mongodb": ("addr", "database", "collection"),
    "opentsdb": ("addr",),
    "prometheus": ("addr",),
}
"""Bucket type -> settings it cannot work without."""

SECRETS = frozenset({"password", "dbuser_password", "write_token", "read_token"})
READ_FEATURE = re.compile(r"(\w+)\((?:([^().]+)\.)?([^().]+)\)")


class Buckets:
    """The buckets of a cluster; thread-safe.

    Args:
        store: Where settings and points are kept.
        jobs: Where reads and writes run.
    """

    def __init__(self, store: Store, jobs: JobBoard) -> None:
        self._store = store
        self._jobs = jobs

    def get(self, names: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return settings without secrets, of all buckets or of those named, in that order.

        Raises:
            BucketNotFound: One does not exist.
        """
        wanted = list(self._store.documents("bucket")) if names is None else names
        return [
            {key: value for key, value in self.settings(name).items() if key not in SECRETS}
            for name in wanted
        ]

    def settings(self, name: str) -> Mapping[str, Any]:
        """Return the settings of one bucket.

        Raises:
            BucketNotFound: It does not exist.
        """
        settings: Mapping[str, Any] | None = self._store.document("bucket", name)
        if settings is None:
            raise BucketNotFound(name)
        return settings

    def create(self, settings: Mapping[str, Any]) -> None:
        """Create or replace a bucket; nothing but the name is checked, as upstream.

        Raises:
            KeyError: There is no name.
        """
        self._store.put("bucket", settings["name"], dict(settings))

    def delete(self, names: Sequence[str]) -> None:
        """Delete buckets and their points.

        Raises:
            BucketNotFound: At the first that is missing; the earlier ones are gone.
        """
        for name in names:
            self.clear(name)
            self._store.delete("bucket", name)

    def clear(self, name: str) -> None:
        """Delete the points of a bucket.

        Raises:
            BucketNotFound: It does not exist.
        """
        self.settings(name)
        self._store.clear_points(name)

    def usable(self, name: str | None) -> str:
        """Return the name of a bucket whose settings suffice to use it.

        Raises:
            BucketNotFound: It does not exist, or none is named.
            Unsupported: Its type is unknown.
            Invalid: Its type needs a setting that is missing.
        """
        if name is None:
            raise BucketNotFound(name)
        settings = self.settings(name)
        kind = str(settings.get("type"))
        if kind not in BUCKET_TYPES:
            raise Unsupported("bucket type", kind)
        for key in BUCKET_TYPES[kind]:
            if key not in settings:
                raise Invalid.field(key, "required key not provided")
        return name

    def save(self, name: str | None, points: Sequence[Any], measurement: str | None) -> int:
        """Store points at once; return how many field values there were.

        Args:
            name: The bucket.
            points: See :meth:`mock_servers.loudml.store.Store.write_points`.
            measurement: ``None`` for the bucket's own.

        Raises:
            LoudError: As :meth:`usable`, or a point is not acceptable.
        """
        bucket = self.usable(name)
        own = measurement or str(self.settings(bucket).get("measurement", ""))
        return self._store.write_points(bucket, points, own, self._jobs.clock.now())

    def write(self, name: str, points: Sequence[Any], measurement: str | None) -> Job:
        """Start a write.

        Raises:
            BucketNotFound: It does not exist.
        """
        self.settings(name)

        def work(handle: object) -> None:
            self.save(name, points, measurement)

        return self._jobs.start("write", None, work)

    def read(self, name: str, start: float, end: float, interval_s: float, features: str) -> Job:
        """Start a read of ``metric(field)`` or ``metric(measurement.field)`` columns.

        Args:
            name: The bucket.
            start: First time, seconds.
            end: Time after the last, seconds.
            interval_s: Width of a time bucket.
            features: Column texts separated by ``;``.

        Raises:
            BucketNotFound: It does not exist.
            Invalid: A column cannot be understood.
        """
        self.settings(name)
        columns = [READ_FEATURE.fullmatch(text.strip()) for text in features.split(";")]
        if not all(column and column[1] in METRICS for column in columns):
            raise Invalid("invalid value for parameter 'features'")
        wanted = [(match[1], match[2], match[3]) for match in columns if match]

        def work(handle: object) -> dict[str, Any]:
            bucket = self.usable(name)
            first, count = bucket_range(start, end, interval_s)
            observed: dict[str, list[float | None]] = {}
            found = False
            for metric, measurement, field in wanted:
                times, values = self._store.read_points(
                    bucket, field, first, first + count * interval_s, measurement
                )
                found = found or len(times) > 0
                column = aggregate(times, values, metric, first, count, interval_s)
                observed[f"{metric}_{field}"] = [
                    value if np.isfinite(value) else None for value in column.tolist()
                ]
            if not found:
                return {"timestamps": [], "observed": {column: [] for column in observed}}
            timestamps = [first + index * interval_s for index in range(count)]
            return {"timestamps": timestamps, "observed": observed}

        return self._jobs.start("read", None, work)
