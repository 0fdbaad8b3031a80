"""Exchanges through requests: for auth objects, hooks and adapters written for it.

Needs ``transport-utils[requests]``. Chosen by name (``backend="requests"``) or given as an object; thread-safe as
far as the session is. Redirects and decoding are off: those are the transport's. Connections come from the same
tracking pools as :mod:`transport_utils.backends.urllib3`, so limits, deadlines and errors are the same.
"""

from __future__ import annotations

import math
import os
import threading
from typing import Any

import requests
import requests.adapters
import requests.structures
import urllib3

from transport_utils import errors
from transport_utils.backends.native import announced_length, host_header
from transport_utils.backends.tracking import (
    Exchange,
    TrackingPool,
    TrackingSecurePool,
    exchanging,
)
from transport_utils.backends.urllib3 import close_pools, raise_translated, read_response
from transport_utils.backends.watchdog import Watchdog
from transport_utils.bodies import BodyStream, measure
from transport_utils.deadline import Deadline
from transport_utils.endpoint import Endpoint
from transport_utils.h1 import HeadTemplate
from transport_utils.messages import Request, Response
from transport_utils.tls import context_for, server_name

__all__ = ["RequestsBackend"]


class RequestsBackend:
    """Sends requests through a :class:`requests.Session`; see :class:`transport_utils.backends.HttpBackend`.

    Args:
        session: Yours, with its auth, hooks and adapters; an adapter mounted on it that is not requests' own is used as
            it is, and then the deadline holds only between receives. ``None`` for a new one that ignores the
            environment.
        auth: As for requests: a pair, or an object such as ``AWS4Auth``; ``None`` for the session's.
    """

    name = "requests"

    def __init__(self, session: requests.Session | None = None, auth: Any = None) -> None:
        self._own = session is None
        if session is None:
            session = requests.Session()
            session.trust_env = False
        self._session = session
        self._auth = auth
        self._templates: dict[Endpoint, HeadTemplate] = {}
        self._watchdog = Watchdog("transport_utils.requests")
        self._lock = threading.Lock()
        self._closed = False
        self._pid = os.getpid()

    def request(self, endpoint: Endpoint, request: Request, deadline: Deadline) -> Response:
        """See :meth:`transport_utils.backends.HttpBackend.request`."""
        if self._pid != os.getpid():
            self._leave_parent()
        template = self._templates.get(endpoint) or self._mount(endpoint)
        body = measure(request.body)
        length: int | None
        if isinstance(body, BodyStream):
            length = body.length if body.length is not None else announced_length(request)
        else:
            length = None if body is None else len(body)
        exchange = Exchange(endpoint, request, deadline, b"")
        exchange.wants_headers = True
        if deadline.at != math.inf:
            self._watchdog.watch(exchange, deadline, exchange.cut)
        try:
            connect_s, read_s, _ = exchange.limits()
            prepared = self._prepare(template, endpoint, request, body, length)
            with exchanging(exchange):
                answer = self._session.send(
                    prepared,
                    stream=True,
                    allow_redirects=False,
                    proxies=_proxies(endpoint),
                    timeout=(connect_s, read_s),
                )
        except BaseException as error:
            self._watchdog.forget(exchange)
            raise_translated(error, exchange, closed=self._closed)
        return read_response(answer.raw, exchange, self._watchdog)

    def _prepare(
        self,
        template: HeadTemplate,
        endpoint: Endpoint,
        request: Request,
        body: bytes | BodyStream | None,
        length: int | None,
    ) -> requests.PreparedRequest:
        """Return requests' form of the request, with the target and headers exactly as given."""
        prepared = requests.PreparedRequest()
        prepared.method = request.method
        base = endpoint.base_url[: len(endpoint.base_url) - len(endpoint.path_prefix)]
        fields = template.fields(request.method, request.target, request.headers, length)
        prepared.url = f"{base}{endpoint.path_prefix}{request.target}"
        prepared.headers = requests.structures.CaseInsensitiveDict(fields)
        prepared.body = body.pieces() if isinstance(body, BodyStream) else body
        auth = self._auth or self._session.auth
        if auth:
            prepared.prepare_auth(auth, prepared.url)
        for event, hooks in self._session.hooks.items():
            for hook in hooks:
                prepared.register_hook(event, hook)
        prepared.register_hook("response", _keep_redirect)
        for name in ("accept-encoding", "user-agent"):
            prepared.headers.setdefault(name, urllib3.util.SKIP_HEADER)
        return prepared

    def _mount(self, endpoint: Endpoint) -> HeadTemplate:
        if endpoint.uds is not None:
            raise errors.ConfigurationError(
                f"uds={endpoint.uds!r}: the requests backend knows no unix sockets; use 'native' or 'urllib3'"
            )
        with self._lock:
            if self._closed:
                raise errors.TransportClosed("the backend has been closed", node=endpoint.base_url)
            base = endpoint.base_url[: len(endpoint.base_url) - len(endpoint.path_prefix)]
            if type(self._session.get_adapter(base + "/")) is requests.adapters.HTTPAdapter:
                self._session.mount(base + "/", _Adapter(endpoint))
            template = HeadTemplate(host_header(endpoint), "", endpoint.headers)
            self._templates[endpoint] = template
            return template

    def _leave_parent(self) -> None:
        """Forget the connections of the process this one was forked from; nothing is said on the wire."""
        with self._lock:
            if self._pid != os.getpid():
                for prefix, adapter in list(self._session.adapters.items()):
                    if isinstance(adapter, _Adapter):
                        del self._session.adapters[prefix]
                self._templates = {}
                self._pid = os.getpid()

    def forget(self, endpoint: Endpoint) -> None:
        """See :meth:`transport_utils.backends.HttpBackend.forget`."""
        with self._lock:
            self._templates.pop(endpoint, None)
            for prefix, adapter in list(self._session.adapters.items()):
                if isinstance(adapter, _Adapter) and adapter.endpoint == endpoint:
                    del self._session.adapters[prefix]
                    adapter.close()

    def close(self, drain_s: float = 0.0) -> None:
        """See :meth:`transport_utils.backends.HttpBackend.close`; a session of yours stays open.

        requests offers no way to interrupt exchanges in progress: they end at their own limits, whatever ``drain_s``.
        """
        with self._lock:
            self._closed = True
        for endpoint in list(self._templates):
            self.forget(endpoint)
        if self._own:
            self._session.close()
        self._watchdog.stop()


class _Plain(requests.Response):
    """A response that leads nowhere, so that the session does not read it to prepare the next request."""

    @property
    def is_redirect(self) -> bool:
        """Return false."""
        return False


def _keep_redirect(response: requests.Response, **kwargs: Any) -> None:
    if type(response) is requests.Response:
        response.__class__ = _Plain


class _Adapter(requests.adapters.HTTPAdapter):
    """requests' adapter over our pools, for one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        super().__init__(
            pool_connections=1,
            pool_maxsize=endpoint.max_connections,
            max_retries=0,
            pool_block=True,
        )

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Use our pool classes."""
        super().init_poolmanager(*args, **kwargs)
        _use_tracking_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        """Use our pool classes behind a proxy too."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        _use_tracking_pools(manager)
        return manager

    def build_connection_pool_key_attributes(
        self, request: Any, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        """Take the TLS options from the endpoint instead of the session."""
        endpoint = self.endpoint
        host = {"scheme": endpoint.scheme, "host": endpoint.host, "port": endpoint.port}
        if endpoint.scheme == "http":
            return host, {}
        return host, {
            "ssl_context": context_for(endpoint),
            "server_hostname": server_name(endpoint),
        }

    def close(self) -> None:
        """Close all connections."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            close_pools(manager)
        super().close()

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave the pool as it was built."""


def _use_tracking_pools(manager: Any) -> None:
    manager.pool_classes_by_scheme = {"http": TrackingPool, "https": TrackingSecurePool}


def _proxies(endpoint: Endpoint) -> dict[str, str]:
    return {} if endpoint.proxy is None else {endpoint.scheme: endpoint.proxy}
