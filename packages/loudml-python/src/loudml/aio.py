"""The asynchronous client: the surface of :class:`~loudml.client.Loud`, every method awaitable.

Methods that only send a request are those of the sync classes, whose transport here answers with a coroutine; what
waits, pages or catches is written out. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any

from transport_utils import errors as transport_errors
from transport_utils.backends import AsyncHttpBackend
from transport_utils.deadline import Deadline
from transport_utils.errors import TransportClosed

from loudml import _clock, buckets, jobs, model_hooks, models, scheduled_jobs, templates
from loudml._call import Call, is_node_failure
from loudml._hosts import Host, _normalize_hosts
from loudml._namespace import SKIP_IN_PATH, NamespacedClient, query_params
from loudml.client import describe, show_points
from loudml.connection.backend import Options, encode_query
from loudml.connection_pool import ConnectionPool
from loudml.errors import (
    AuthenticationException,
    AuthorizationException,
    ConnectionError,
    NotFoundError,
    SerializationError,
    TransportError,
)
from loudml.transport import (
    DEFAULT_SERIALIZER,
    SNIFF_PATH,
    BaseTransport,
    HostInfoCallback,
    get_host_info,
    logger,
)

__all__ = [
    "AsyncBucketsClient",
    "AsyncHttpConnection",
    "AsyncJobClient",
    "AsyncJobsClient",
    "AsyncLoud",
    "AsyncModelHooksClient",
    "AsyncModelVersionsClient",
    "AsyncModelsClient",
    "AsyncScheduledJobsClient",
    "AsyncTemplatesClient",
    "AsyncTransport",
]


class AsyncHttpConnection(Options):
    """A node spoken to over asyncio; the options are those of :class:`~loudml.connection.backend.Options`."""

    def _open(self) -> None:
        from transport_utils.aio.backends.native import AsyncNativeBackend

        self._backend: AsyncHttpBackend = AsyncNativeBackend()
        if "opentelemetry.trace" in sys.modules:  # else nobody can be listening
            from transport_utils.backends.observed import observed_async
            from transport_utils.telemetry import auto_hooks

            self._backend = observed_async(self._backend, auto_hooks())

    async def perform_request(  # type: ignore[override]
        self,
        method: str,
        url: str,
        params: Mapping[str, Any] | None = None,
        body: bytes | str | None = None,
        timeout: Any = None,
        ignore: Collection[int] = (),
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], str]:
        """See :meth:`loudml.connection.base.Connection.perform_request`."""
        target = f"{url}?{encode_query(params)}" if params else url
        limits = self._timeout_of(timeout)
        started = time.monotonic()
        deadline = Deadline.after(limits.total, started)
        try:
            request = self._request(method, target, body, limits, headers)
            response = await self._backend.request(self._endpoint, request, deadline)
            return self._answer(response, method, target, body, ignore, started, headers)
        except transport_errors.TransportError as cause:
            raise self._failed(cause, method, target, body, started, headers) from cause

    async def aclose(self) -> None:
        """Close all connections to the node; idempotent."""
        await self._backend.aclose()


class AsyncTransport(BaseTransport):
    """The asynchronous :class:`~loudml.transport.Transport`; same arguments.

    With ``sniff_on_start`` the list of nodes is asked for before the first request.
    """

    def __init__(
        self,
        hosts: list[dict[str, Any]],
        connection_class: Any = AsyncHttpConnection,
        connection_pool_class: type[ConnectionPool] = ConnectionPool,
        host_info_callback: HostInfoCallback = get_host_info,
        sniff_on_start: bool = False,
        sniffer_timeout: float | None = None,
        sniff_timeout: float = 0.1,
        sniff_on_connection_fail: bool = False,
        serializer: Any = DEFAULT_SERIALIZER,
        serializers: Mapping[str, Any] | None = None,
        default_mimetype: str = "application/json",
        max_retries: int = 3,
        retry_on_status: Collection[int] = (429, 502, 503, 504),
        retry_on_timeout: bool = False,
        send_get_body_as: str = "GET",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            hosts,
            connection_class,
            connection_pool_class,
            host_info_callback,
            sniff_on_start,
            sniffer_timeout,
            sniff_timeout,
            sniff_on_connection_fail,
            serializer,
            serializers,
            default_mimetype,
            max_retries,
            retry_on_status,
            retry_on_timeout,
            send_get_body_as,
            **kwargs,
        )
        self._closed = asyncio.Event()
        self._sniffing = asyncio.Lock()
        self._first_sniff_due = sniff_on_start
        self._opened: list[Any] = list(self.seed_connections)

    async def get_connection(self) -> Any:
        """See :meth:`loudml.transport.Transport.get_connection`."""
        if self._first_sniff_due:
            await self.sniff_hosts(initial=True)
        elif self.sniffer_timeout and self._sniff_is_due():
            await self._sniff_quietly()
        return self.connection_pool.get_connection()

    async def mark_dead(self, connection: Any) -> None:
        """See :meth:`loudml.transport.Transport.mark_dead`."""
        self.connection_pool.mark_dead(connection)
        if self.sniff_on_connection_fail:
            await self._sniff_quietly()

    async def perform_request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        params: dict[str, Any] | None = None,
        body: Any = None,
    ) -> Any:
        """See :meth:`loudml.transport.Transport.perform_request`."""
        timeout, ignore, idempotent = self._take_controls(params)
        if body is not None:
            method, params, body = self._encode(method, params, body)
        started = time.monotonic()
        connection = await self.get_connection()
        call: Call | None = None
        while True:
            try:
                status, answered, data = await connection.perform_request(
                    method, url, params, body, headers=headers, ignore=ignore, timeout=timeout
                )
            except TransportError as failure:
                if method == "HEAD" and failure.status_code == 404:
                    return False
                if call is None:
                    call = self._start_retrying(
                        connection, method, url, timeout, idempotent, started
                    )
                connection = await self._after_failure(call, failure, connection)
                timeout = call.timeout
            else:
                return self._result(call, connection, method, status, answered, data)

    async def _after_failure(self, call: Call, failure: TransportError, connection: Any) -> Any:
        if is_node_failure(failure, self._retry_policy()):
            await self.mark_dead(connection)
        pause = call.after(failure, connection, self._has_untried(call, connection))
        if pause.delay_s:
            try:
                await asyncio.wait_for(self._closed.wait(), pause.delay_s)
            except asyncio.TimeoutError:
                pass
            else:
                closed = TransportClosed(
                    "the client was closed while a request waited for its retry"
                )
                raise ConnectionError("N/A", str(closed), closed) from failure
        return self._next_connection(call, connection, pause)

    async def sniff_hosts(self, initial: bool = False) -> None:
        """See :meth:`loudml.transport.Transport.sniff_hosts`."""
        async with self._sniffing:
            previous = self.last_sniff
            self.last_sniff = _clock.now()
            try:
                self._use_sniffed(await self._get_sniff_data(initial))
            except Exception:
                self.last_sniff = previous
                raise
            self._first_sniff_due = False

    async def _get_sniff_data(self, initial: bool = False) -> list[Any]:
        failure: Exception | None = None
        timeout = None if initial else self.sniff_timeout
        for connection, options in self._sniff_order():
            try:
                _, headers, data = await connection.perform_request(
                    "GET", SNIFF_PATH, timeout=timeout
                )
                return self._nodes_of(data, headers, options)
            except (TransportError, SerializationError) as error:
                failure = error
        raise TransportError("N/A", "Unable to sniff hosts.", failure) from failure

    async def _sniff_quietly(self) -> None:
        if self._sniffing.locked():
            return
        async with self._sniffing:
            try:
                self.last_sniff = _clock.now()
                self._use_sniffed(await self._get_sniff_data())
            except TransportError as error:
                logger.warning(
                    "The list of nodes could not be refreshed: %s (%s)", error, error.info
                )

    def set_connections(self, hosts: list[dict[str, Any]]) -> None:
        """See :meth:`loudml.transport.BaseTransport.set_connections`.

        Connections to former nodes are closed by :meth:`close`.
        """
        super().set_connections(hosts)
        known = getattr(self, "_opened", [])
        known += [one for one in self.connection_pool.orig_connections if one not in known]

    async def close(self) -> None:
        """Close all connections and end waits for a retry; idempotent."""
        self._closed.set()
        for connection in self._opened:
            await connection.aclose()


class _AsyncNamespacedClient(NamespacedClient):
    """What a group of methods does differently when its transport is asynchronous."""

    async def _exists(self, path: str, params: dict[str, Any] | None) -> Any:
        try:
            return await self.transport.perform_request("HEAD", path, params=params)
        except NotFoundError:
            return False

    async def _each(self, names: Any, send: Callable[[Any], Any]) -> Any:
        if not isinstance(names, (list, tuple)):
            return await send(names)
        answers = await asyncio.gather(*map(send, names), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers[-1] if answers else ""

    async def _pages(self, names: Any, per_page: int, options: Mapping[str, Any]) -> Any:
        page = 0
        while True:
            entries = await self.get(names, page=page, per_page=per_page, **options)  # type: ignore[attr-defined]
            for entry in entries:
                yield entry
            if not entries or (names not in SKIP_IN_PATH and self._names_end_paging):
                return
            page += 1


class AsyncModelVersionsClient(_AsyncNamespacedClient, models.ModelVersionsClient):
    """The asynchronous :class:`~loudml.models.ModelVersionsClient`."""

    @query_params()
    async def exists(
        self, model_name: str, version_name: str, params: dict[str, Any] | None = None
    ) -> Any:
        """See :meth:`loudml.models.ModelVersionsClient.exists`."""
        path = self._version_path(model_name, version_name)
        return await self._exists(path, params) or await self._is_listed(model_name, version_name)

    async def _is_listed(self, model_name: str, version_name: str) -> Any:
        try:
            async for entry in self.generator(model_name):
                if entry["version"]["name"] == version_name:
                    return True
        except NotFoundError:
            pass
        return False


class AsyncModelHooksClient(_AsyncNamespacedClient, model_hooks.ModelHooksClient):
    """The asynchronous :class:`~loudml.model_hooks.ModelHooksClient`."""


class AsyncModelsClient(_AsyncNamespacedClient, models.ModelsClient):
    """The asynchronous :class:`~loudml.models.ModelsClient`."""

    _versions_class = AsyncModelVersionsClient
    _hooks_class = AsyncModelHooksClient


class AsyncScheduledJobsClient(_AsyncNamespacedClient, scheduled_jobs.ScheduledJobsClient):
    """The asynchronous :class:`~loudml.scheduled_jobs.ScheduledJobsClient`."""


class AsyncTemplatesClient(_AsyncNamespacedClient, templates.TemplatesClient):
    """The asynchronous :class:`~loudml.templates.TemplatesClient`."""


class AsyncBucketsClient(_AsyncNamespacedClient, buckets.BucketsClient):
    """The asynchronous :class:`~loudml.buckets.BucketsClient`; ``write`` gives an asynchronous iterator."""

    async def _write(
        self, path: str, batches: Iterator[Sequence[dict[str, Any]]], params: dict[str, Any]
    ) -> Any:
        for batch in batches:
            yield await self.transport.perform_request(
                "POST", path, params=dict(params), body=batch
            )


class AsyncJobClient(_AsyncNamespacedClient, jobs.JobClient):
    """The asynchronous :class:`~loudml.jobs.JobClient`."""

    @query_params()
    async def cancel(self, params: dict[str, Any] | None = None) -> Any:
        """See :meth:`loudml.jobs.JobClient.cancel`."""
        answer = await self._send_cancel(params)
        self._cancel_sent = True
        return answer

    async def fetch(self) -> Any:
        """See :meth:`loudml.jobs.JobClient.fetch`."""
        self._take((await self.get(fields="result", include_fields=False))[0])

    async def fetch_result(self) -> Any:
        """See :meth:`loudml.jobs.JobClient.fetch_result`."""
        return (await self.get(fields="result", include_fields=True))[0]["result"]

    async def wait(
        self,
        interval: float,
        callback: Callable[[], object] | None = None,
        *,
        timeout: float | None = None,
        check: bool = False,
    ) -> Any:
        """See :meth:`loudml.jobs.JobClient.wait`."""
        async for _ in self.progress(interval, timeout=timeout):
            if callback is not None:
                callback()
        if check:
            self.raise_unless_done()

    async def async_wait(
        self,
        interval: float,
        callback: Callable[[], object] | None = None,
        *,
        timeout: float | None = None,
        check: bool = False,
    ) -> None:
        """The same as :meth:`wait`."""
        await self.wait(interval, callback, timeout=timeout, check=check)

    async def progress(
        self, interval: float = 1.0, *, timeout: float | None = None
    ) -> AsyncIterator[AsyncJobClient]:
        """See :meth:`loudml.jobs.JobClient.progress`."""
        for pause_s in self._pauses(interval, timeout):
            await asyncio.sleep(pause_s)
            await self.fetch()
            yield self


class AsyncJobsClient(_AsyncNamespacedClient, jobs.JobsClient):
    """The asynchronous :class:`~loudml.jobs.JobsClient`."""

    _job_class = AsyncJobClient


class AsyncLoud:
    """An asynchronous client of a Loud ML server or cluster; see :class:`~loudml.client.Loud`.

    Belongs to one event loop; its tasks may share it. Use it with ``async with``, or await :meth:`close`. A cancelled
    call gives its connection up.

    Args:
        hosts: As for :class:`~loudml.client.Loud`.
        transport_class: :class:`AsyncTransport` or a subclass.
        kwargs: As for :class:`~loudml.client.Loud`.

    Raises:
        ImproperlyConfigured: A host is impossible, an option is unknown, or options contradict each other.
    """

    def __init__(
        self,
        hosts: Host | Iterable[Host] | None = None,
        transport_class: type[AsyncTransport] = AsyncTransport,
        **kwargs: Any,
    ) -> None:
        self.transport = transport_class(_normalize_hosts(hosts), **kwargs)
        self.jobs = AsyncJobsClient(self)
        self.scheduled_jobs = AsyncScheduledJobsClient(self)
        self.models = AsyncModelsClient(self)
        self.templates = AsyncTemplatesClient(self)
        self.buckets = AsyncBucketsClient(self)

    def __repr__(self) -> str:
        return describe(self)

    async def __aenter__(self) -> AsyncLoud:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """See :meth:`loudml.client.Loud.close`."""
        await self.transport.close()

    @query_params()
    async def info(self, params: dict[str, Any] | None = None) -> Any:
        """See :meth:`loudml.client.Loud.info`."""
        return await self.transport.perform_request("GET", "/", params=params)

    @query_params()
    async def version(self, params: dict[str, Any] | None = None) -> Any:
        """See :meth:`loudml.client.Loud.version`."""
        return (await self.info(params=params)).get("version")

    @query_params()
    async def ping(self, params: dict[str, Any] | None = None) -> Any:
        """See :meth:`loudml.client.Loud.ping`."""
        try:
            return await self.transport.perform_request("HEAD", "/", params=params)
        except (AuthenticationException, AuthorizationException):
            raise
        except TransportError:
            return False

    async def write_points(
        self,
        bucket_name: str,
        points: list[dict[str, Any]],
        verbose: bool = False,
        interval: float = 1,
    ) -> Any:
        """See :meth:`loudml.client.Loud.write_points`."""
        if verbose:
            show_points(points)
        if not points:
            return
        async for job_id in self.buckets.write(bucket_name, points, batch_size=len(points)):
            await self.jobs.id(job_id).wait(interval, check=True)

    async def async_write_points(
        self,
        bucket_name: str,
        points: list[dict[str, Any]],
        verbose: bool = False,
        interval: float = 1,
    ) -> None:
        """The same as :meth:`write_points`."""
        await self.write_points(bucket_name, points, verbose, interval)
