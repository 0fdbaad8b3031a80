"""What users construct: a session that serves URLs from Golem providers, and httpx clients that reach them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import urllib.parse
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx

from ya_httpx_client.cluster import Cluster
from ya_httpx_client.delivery import deliver
from ya_httpx_client.events import Event, MarketTrouble, NetworkRebuilt
from ya_httpx_client.network_wrapper import NetworkWrapper
from ya_httpx_client.options import ServiceOptions
from ya_httpx_client.request_queue import RequestQueue
from ya_httpx_client.requirement import require_yapapi
from ya_httpx_client.stats import UrlStats
from ya_httpx_client.status_socket import StatusSocket

__all__ = ["DEFAULT_TIMEOUT", "Session", "YagnaTransport"]

logger = logging.getLogger("ya_httpx_client")

REGISTRY_VARIABLE = "YAGNA_REGISTRY_URL"
WATCH_S = 2.0
DEFAULT_TIMEOUT = httpx.Timeout(60.0, connect=10.0, pool=None)
"""Timeouts of ``Session.client()`` unless it is given others. ``Rules.deadline_s`` limits the wait for a provider."""

StartSteps = Callable[..., Any]


class YagnaTransport(httpx.AsyncBaseTransport):
    """httpx transport that has requests served by a cluster.

    Usable with any library that has httpx's transport interface: the response is made with the classes of the
    request's own library. Task-safe; bound to the event loop of its cluster.

    Args:
        request_queue: The queue of the cluster.
    """

    def __init__(self, request_queue: RequestQueue) -> None:
        self.request_queue = request_queue

    async def handle_async_request(self, request: Any) -> Any:
        """Return the response of a provider.

        Raises:
            httpx.TransportError: A subclass; see ``ya_httpx_client.delivery``.
        """
        return await deliver(self.request_queue.cluster, request)


def check_url(url: object) -> None:
    """Refuse what no request can be sent to.

    Raises:
        TypeError: Not a str.
        ValueError: Not just scheme, host and port.
    """
    if not isinstance(url, str):
        raise TypeError(f"url: expected a str such as 'http://calc', got {type(url).__name__}")
    shown = f"{url.partition('://')[0]}://***@{url.rpartition('@')[2]}" if "@" in url else url
    try:
        parts = urllib.parse.urlsplit(url)
        good = parts.scheme in ("http", "https", "all") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or "@" in url or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(
            f"url {shown!r}: expected scheme, host and perhaps a port, as in 'http://calc'"
        )


class Session:
    """Serves URLs from Golem providers.

    Nothing happens before :meth:`client` or :meth:`start_new_services`, so that a session can be made outside of an
    event loop. All else happens in one event loop; many tasks may use a session, one thread.

    Args:
        executor_cfg: Keyword arguments of ``yapapi.Golem``, such as ``{"budget": 10, "subnet_tag": "public"}``. The
            additional key ``repository_url`` is taken out.
        repository_url: Image registry; by default the key in ``executor_cfg``, else ``$YAGNA_REGISTRY_URL``, else
        yapapi's.
        on_event: Receives events (:mod:`ya_httpx_client.events`).
        **options: Fields of :class:`ya_httpx_client.options.ServiceOptions`, for all URLs.

    Raises:
        TypeError, ValueError: An option does not exist or is out of its range.
    """

    def __init__(
        self,
        executor_cfg: Mapping[str, Any],
        *,
        repository_url: str | None = None,
        on_event: Callable[[Event], None] | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(executor_cfg, Mapping):
            raise TypeError(
                f"executor_cfg: expected the arguments of yapapi.Golem as a mapping, got {type(executor_cfg).__name__}"
            )
        self.executor_cfg = dict(executor_cfg)
        configured = self.executor_cfg.pop("repository_url", None)
        self.repository_url: str | None = (
            repository_url or configured or os.environ.get(REGISTRY_VARIABLE)
        )
        self.options = ServiceOptions.of(options)
        self.clusters: dict[str, Cluster] = {}
        self._on_event = on_event
        self._manager: Any = None
        self._network_wrapper: NetworkWrapper | None = None
        self._watch_task: asyncio.Task[None] | None = None
        self._status = StatusSocket(self.stats)

    # services ----------------------------------------------------------------------------------------------------

    def startup(
        self, url: str, image_hash: str, init_cluster_size: Any = 1, **options: Any
    ) -> Callable[[StartSteps], StartSteps]:
        """Return a decorator for the function that starts the server behind ``url``.

        The function receives a start context, whose ``run`` and ``send_...`` methods record commands for the
        provider, and the address the server must listen on. It may be an ``async def``, or an async generator of
        yapapi scripts.

        Args:
            url: Scheme and host, with a port if not the default one: requests to it are served by providers.
            image_hash: Hash of the provider's image.
            init_cluster_size: First size; see :meth:`set_cluster_size`.
            **options: Fields of :class:`ya_httpx_client.options.ServiceOptions` that differ from the session's.

        Raises:
            KeyError: There is a service for ``url`` already.
            TypeError, ValueError: ``url`` is not just scheme, host and port, or an option does not exist or is out of
                its range.
        """
        self._check_new(url)
        settings = self.options.replace(**options)

        def decorate(start_steps: StartSteps) -> StartSteps:
            self._add(url, image_hash, start_steps, init_cluster_size, settings)
            return start_steps

        return decorate

    def add_startup(self, start_steps: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Do what ``@session.startup(*args, **kwargs)`` on ``start_steps`` does."""
        self.startup(*args, **kwargs)(start_steps)

    def add_url(
        self,
        url: str,
        image_hash: str,
        entrypoint: tuple[str, ...] | None = None,
        init_cluster_size: Any = 1,
        **options: Any,
    ) -> None:
        """Serve ``url`` by a command.

        Args:
            url: As for :meth:`startup`.
            image_hash: Hash of the provider's image.
            entrypoint: Program and arguments that start the server in the background; ``None`` if the image does by
                itself.
            init_cluster_size: First size; see :meth:`set_cluster_size`.
            **options: As for :meth:`startup`.

        Raises:
            KeyError: There is a service for ``url`` already.
            TypeError, ValueError: ``url`` is not just scheme, host and port, or an option does not exist or is out of
                its range.
        """
        self._check_new(url)
        self._add(url, image_hash, entrypoint, init_cluster_size, self.options.replace(**options))

    def _check_new(self, url: str) -> None:
        check_url(url)
        if url in self.clusters:
            raise KeyError(f"Service for url {url} already exists")

    def _add(
        self, url: str, image_hash: str, how: Any, init_cluster_size: Any, options: ServiceOptions
    ) -> None:
        self._check_new(url)
        cluster = Cluster(
            self.manager,
            image_hash,
            how,
            self.network_wrapper,
            url=url,
            options=options,
            repository_url=self.repository_url,
            emit=self._emit,
        )
        cluster.set_size(init_cluster_size)
        self.clusters[url] = cluster

    def set_cluster_size(self, url: str, size: Any) -> None:
        """Change the number of instances behind ``url``.

        Args:
            url: As given to :meth:`startup` or :meth:`add_url`.
            size: See :meth:`ya_httpx_client.cluster.Cluster.set_size`.

        Raises:
            KeyError: No service for ``url``.
            TypeError: ``size`` is no number, function, or object with ``__int__``.
        """
        if url not in self.clusters:
            raise KeyError(
                f"no service for url {url}; there are: {', '.join(self.clusters) or 'none'}"
            )
        self.clusters[url].set_size(size)

    # clients -----------------------------------------------------------------------------------------------------

    @property
    def manager(self) -> Any:
        """The yapapi side (``ya_httpx_client.manager``), imported when this is first read."""
        if self._manager is None:
            require_yapapi()
            from ya_httpx_client.manager import ServiceManager

            self._manager = ServiceManager(self.executor_cfg, self._market_event)
        return self._manager

    @property
    def network_wrapper(self) -> NetworkWrapper:
        """The VPN of the session."""
        if self._network_wrapper is None:
            self._network_wrapper = NetworkWrapper(self.manager)
        return self._network_wrapper

    def mounts(self) -> dict[str, YagnaTransport]:
        """Return URL -> transport, the ``mounts`` of a client of one's own (also of httpx2)."""
        return {
            url: YagnaTransport(cluster.request_queue) for url, cluster in self.clusters.items()
        }

    @contextlib.asynccontextmanager
    async def client(self, *args: Any, **kwargs: Any) -> AsyncIterator[httpx.AsyncClient]:
        """Start new services and give a client whose requests to their URLs are served by providers.

        May be entered again, also at the same time; leaving it stops no service.

        Args:
            *args: Passed to ``httpx.AsyncClient``.
            **kwargs: Likewise. ``timeout`` defaults to :data:`DEFAULT_TIMEOUT`. Of ``mounts`` for the same URL the
                session's win.
        """
        self.start_new_services()
        kwargs["mounts"] = {**(kwargs.get("mounts") or {}), **self.mounts()}
        kwargs.setdefault("timeout", DEFAULT_TIMEOUT)
        async with httpx.AsyncClient(*args, **kwargs) as client:
            yield client

    def start_new_services(self) -> None:
        """Start every service that was not started; needs a running event loop."""
        for cluster in self.clusters.values():
            cluster.start()
        if self._watch_task is None:
            self._watch_task = asyncio.get_running_loop().create_task(self._watch())
            self._status.open()

    async def close(self, drain: float = 30.0) -> None:
        """Stop all services, end all agreements, pay, and leave the network.

        Args:
            drain: Seconds that waiting and running requests get to finish; the rest fail with an httpx error then.
        """
        self._status.close()
        if self._watch_task is not None:
            self._watch_task.cancel()
            await asyncio.gather(self._watch_task, return_exceptions=True)
            self._watch_task = None
        await asyncio.gather(*(cluster.close(drain) for cluster in self.clusters.values()))
        if self._network_wrapper is not None:
            try:
                await asyncio.wait_for(self._network_wrapper.remove_network(), 10.0)
            except Exception:  # a daemon that is gone must not keep us here
                logger.warning("the network could not be removed", exc_info=True)
        if self._manager is not None:
            await self._manager.close()

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def stats(self) -> dict[str, UrlStats]:
        """Return figures by URL."""
        return {url: cluster.stats() for url, cluster in self.clusters.items()}

    # daemon ------------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Look whether the daemon still knows the session's network; start over when it does not."""
        while True:
            await asyncio.sleep(WATCH_S)
            network_id = None if self._network_wrapper is None else self._network_wrapper.network_id
            if network_id is None:
                continue
            try:
                known = await self.manager.has_network(network_id)
            except OSError as error:
                logger.info("the daemon does not answer: %s", error)
                continue
            if not known:
                self._start_over("the daemon does not know the session's network any more")

    def _start_over(self, reason: str) -> None:
        logger.warning("starting over: %s", reason)
        self.network_wrapper.forget()
        for cluster in self.clusters.values():
            cluster.forget_daemon()
        self.manager.abandon()
        self._emit(NetworkRebuilt("", reason))

    def _market_event(self, job_id: str | None, event: Any) -> None:
        for cluster in self.clusters.values():
            concerned = cluster.job_id == job_id or type(event).__name__ == "PaymentFailed"
            if concerned and (trouble := cluster.market.note(event)):
                self._emit(MarketTrouble(cluster.url, trouble))

    def _emit(self, event: Event) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:
            logger.exception("the session's on_event failed on %r", event)
