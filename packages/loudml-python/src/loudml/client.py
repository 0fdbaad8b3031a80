"""The client users construct: groups of methods over one transport.

Source: loudml-python 1.6.3, ``client``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from loudml._hosts import Host, _normalize_hosts
from loudml._namespace import query_params
from loudml.buckets import BucketsClient
from loudml.errors import (
    AuthenticationException,
    AuthorizationException,
    TransportError,
)
from loudml.jobs import JobClient, JobsClient
from loudml.models import ModelsClient
from loudml.scheduled_jobs import ScheduledJobsClient
from loudml.templates import TemplatesClient
from loudml.transport import Transport

__all__ = ["Loud", "_normalize_hosts"]


class Loud:
    """A client of a Loud ML server or cluster.

    Thread-safe: make one and share it. After ``fork`` parent and child go on with connections of their own. Use it as a
    context manager, or call :meth:`close`, to close its connections.

    Args:
        hosts: Where the nodes are: ``"localhost:8077"``, ``"https://user:secret@name:443/prefix"``, a dict of options
            of one node, or a list of these; ``None`` for localhost:8077. Options of a node win over keywords.
        transport_class: What sends the requests, :class:`~loudml.transport.Transport` or a subclass.
        kwargs: Options of the transport, of its connection pool class and of its connection class, see there.

    Attributes:
        transport: The transport.
        jobs: :class:`~loudml.jobs.JobsClient`.
        scheduled_jobs: :class:`~loudml.scheduled_jobs.ScheduledJobsClient`.
        models: :class:`~loudml.models.ModelsClient`.
        templates: :class:`~loudml.templates.TemplatesClient`.
        buckets: :class:`~loudml.buckets.BucketsClient`.

    Raises:
        ImproperlyConfigured: A host is impossible, an option is unknown, or options contradict each other.
        TransportError: With ``sniff_on_start``: no node could be asked for the list of nodes.
    """

    def __init__(
        self,
        hosts: Host | Iterable[Host] | None = None,
        transport_class: type[Transport] = Transport,
        **kwargs: Any,
    ) -> None:
        self.transport = transport_class(_normalize_hosts(hosts), **kwargs)
        self.jobs = JobsClient(self)
        self.scheduled_jobs = ScheduledJobsClient(self)
        self.models = ModelsClient(self)
        self.templates = TemplatesClient(self)
        self.buckets = BucketsClient(self)

    def __repr__(self) -> str:
        return describe(self)

    def __enter__(self) -> Loud:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; safe to call again.

        Later calls raise :class:`~loudml.errors.ConnectionError` at once.
        """
        self.transport.close()

    @query_params()
    def info(self, params: dict[str, Any] | None = None) -> Any:
        """Return what the server says about itself: ``GET /``.

        Returns:
            ``{"host_id": str, "tagline": str, "version": str}``.
        """
        return self.transport.perform_request("GET", "/", params=params)

    @query_params()
    def version(self, params: dict[str, Any] | None = None) -> Any:
        """Return the server's version, ``None`` if it names none: ``GET /``."""
        return self.info(params=params).get("version")

    @query_params()
    def ping(self, params: dict[str, Any] | None = None) -> Any:
        """Return whether a node answers: ``HEAD /``.

        False when no node can be reached or the one that answers is broken (5xx).

        Raises:
            AuthenticationException: A node answers, but wants other credentials (401).
            AuthorizationException: Likewise (403).
        """
        try:
            return self.transport.perform_request("HEAD", "/", params=params)
        except (AuthenticationException, AuthorizationException):
            raise
        except TransportError:
            return False

    def write_points(
        self,
        bucket_name: str,
        points: list[dict[str, Any]],
        verbose: bool = False,
        interval: float = 1,
    ) -> Any:
        """Write points as one batch and wait until they are stored.

        Args:
            bucket_name: The bucket.
            points: As for :meth:`~loudml.buckets.BucketsClient.write`; none does nothing.
            verbose: Print the points as a table first.
            interval: Seconds between looks at the write job.

        Raises:
            JobFailed: The server could not store them; the message holds its text.
        """
        for job in self._start_writing(bucket_name, points, verbose):
            job.wait(interval, check=True)

    async def async_write_points(
        self,
        bucket_name: str,
        points: list[dict[str, Any]],
        verbose: bool = False,
        interval: float = 1,
    ) -> None:
        """Write as :meth:`write_points` does, leaving the event loop free between looks.

        Each request itself blocks the loop; :class:`~loudml.aio.AsyncLoud` does not.
        """
        for job in self._start_writing(bucket_name, points, verbose):
            await job.async_wait(interval, check=True)

    def _start_writing(
        self, bucket_name: str, points: list[dict[str, Any]], verbose: bool
    ) -> Iterator[JobClient]:
        if verbose:
            show_points(points)
        if not points:
            return
        for job_id in self.buckets.write(bucket_name, points, batch_size=len(points)):
            yield self.jobs.id(job_id)


def describe(client: Any) -> str:
    """Return the ``repr`` of a client: its nodes, at most five, passwords hidden."""
    shown = [hide_credentials(host) for host in client.transport.hosts[:5]]
    text = repr(shown) if len(client.transport.hosts) <= 5 else f"{repr(shown)[:-1]}, ...]"
    return f"<{type(client).__name__}({text})>"


def hide_credentials(host: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a node for people to see."""
    return {key: "***" if key == "http_auth" else value for key, value in host.items()}


def show_points(points: list[dict[str, Any]]) -> None:
    """Print points as a table."""
    from loudml.misc import format_points

    for line in format_points(points):
        print(line)
