"""Exchanges through urllib3: for HTTP proxies, and for users who know and tune urllib3.

Needs ``transport-utils[urllib3]``. Chosen by name (``backend="urllib3"``) or given as an object; thread-safe.
urllib3's own retries, redirects and decoding are off: those are the transport's. What urllib3 lacks is added by the
connections of :mod:`transport_utils.backends.tracking`: a deadline over the whole exchange, limits on name look-up
and sending, pins of the verified chain, unix sockets, fork safety, and knowledge of how far a request got.
"""

from __future__ import annotations

import http.client
import math
import os
import ssl
import threading
import time
import urllib.parse
from typing import Any, NoReturn

import urllib3
from urllib3 import exceptions

from transport_utils import errors
from transport_utils.backends.native import announced_length, host_header
from transport_utils.backends.tracking import (
    Exchange,
    TrackingPool,
    TrackingSecurePool,
    exchanging,
)
from transport_utils.backends.watchdog import Watchdog
from transport_utils.bodies import BodyStream, measure
from transport_utils.deadline import Deadline
from transport_utils.endpoint import Endpoint
from transport_utils.errors import TransportError
from transport_utils.h1 import CHUNKED, HeadTemplate
from transport_utils.messages import Request, Response
from transport_utils.tls import context_for, server_name, tls_error

__all__ = ["Urllib3Backend", "close_pools", "raise_translated", "read_response"]

_CHANNELS_MAX = 1024
_NO_HEADERS: dict[str, str] = {}


class Urllib3Backend:
    """Sends requests through urllib3; see :class:`transport_utils.backends.HttpBackend`.

    Args:
        pool_options: Further options of ``urllib3.HTTPConnectionPool``, such as ``source_address``.
    """

    name = "urllib3"

    def __init__(self, **pool_options: Any) -> None:
        self._options = pool_options
        self._pools: dict[Endpoint, tuple[Any, Any]] = {}
        self._channels: dict[int, tuple[Endpoint, Any, HeadTemplate]] = {}
        self._lock = threading.Lock()
        self._watchdog = Watchdog("transport_utils.urllib3")
        self._closed = False
        self._pid = os.getpid()

    def request(self, endpoint: Endpoint, request: Request, deadline: Deadline) -> Response:
        """See :meth:`transport_utils.backends.HttpBackend.request`."""
        pool, template = self._pool(endpoint)
        body = measure(request.body)
        length: int | None
        if isinstance(body, BodyStream):
            length = body.length if body.length is not None else announced_length(request)
        else:
            length = None if body is None else len(body)
        payload = template.encode(request.method, request.target, request.headers, length)
        exchange = Exchange(endpoint, request, deadline, payload)
        if deadline.at != math.inf:
            self._watchdog.watch(exchange, deadline, exchange.cut)
        try:
            connect_s, read_s, pool_s = exchange.limits()
            with exchanging(exchange):
                answer = pool.urlopen(
                    request.method,
                    self._url(endpoint, request),
                    body=body.pieces() if isinstance(body, BodyStream) else body,
                    headers=_NO_HEADERS,
                    retries=False,
                    redirect=False,
                    assert_same_host=False,
                    timeout=urllib3.Timeout(connect=connect_s, read=read_s),
                    pool_timeout=pool_s,
                    chunked=length == CHUNKED,
                    preload_content=False,
                    decode_content=False,
                )
        except BaseException as error:
            self._watchdog.forget(exchange)
            raise_translated(error, exchange, closed=self._closed)
        return read_response(answer, exchange, self._watchdog)

    def _url(self, endpoint: Endpoint, request: Request) -> str:
        target = endpoint.path_prefix + request.target
        if endpoint.proxy is not None and endpoint.scheme == "http":
            return endpoint.base_url[: len(endpoint.base_url) - len(endpoint.path_prefix)] + target
        return target

    def _pool(self, endpoint: Endpoint) -> tuple[Any, HeadTemplate]:
        """Return what sends to this endpoint object, and its encoded headers."""
        known = self._channels.get(id(endpoint))
        if known is not None and self._pid == os.getpid():
            return known[1:]
        with self._lock:
            if self._closed:
                raise errors.TransportClosed("the backend has been closed", node=endpoint.base_url)
            if self._pid != os.getpid():
                self._leave_parent()
            if endpoint not in self._pools:
                self._pools[endpoint] = self._open_pool(endpoint)
            prefix, headers = endpoint.path_prefix, endpoint.headers
            if endpoint.proxy is not None and endpoint.scheme == "http":
                # A proxy is asked for the whole URL, and told who asks.
                prefix = endpoint.base_url
                headers = {**headers, **_proxy_headers(endpoint.proxy)}
            template = HeadTemplate(host_header(endpoint), prefix, headers)
            if len(self._channels) >= _CHANNELS_MAX:
                self._channels.clear()
            channel = (endpoint, self._pools[endpoint][1], template)
            self._channels[id(endpoint)] = channel
            return channel[1:]

    def _leave_parent(self) -> None:
        # The descriptors are closed when the pools go; nothing is said on the wire.
        self._pools = {}
        self._channels = {}
        self._pid = os.getpid()

    def _open_pool(self, endpoint: Endpoint) -> tuple[Any, Any]:
        options: dict[str, Any] = {
            "maxsize": endpoint.max_connections,
            "block": True,
            **self._options,
        }
        if endpoint.scheme == "https":
            options["ssl_context"] = context_for(endpoint)
            options["server_hostname"] = server_name(endpoint)
            # Not assert_hostname: urllib3 would switch the host name check of the shared context off.
        if endpoint.proxy is not None:
            manager = urllib3.ProxyManager(
                endpoint.proxy, proxy_headers=_proxy_headers(endpoint.proxy), **options
            )
            manager.pool_classes_by_scheme = {"http": TrackingPool, "https": TrackingSecurePool}
            return manager, manager if endpoint.scheme == "http" else manager.connection_from_host(
                endpoint.host, endpoint.port, endpoint.scheme
            )
        kind = TrackingSecurePool if endpoint.scheme == "https" else TrackingPool
        pool = kind(endpoint.host, endpoint.port, **options)
        return pool, pool

    def forget(self, endpoint: Endpoint) -> None:
        """See :meth:`transport_utils.backends.HttpBackend.forget`."""
        with self._lock:
            gone = self._pools.pop(endpoint, None)
            for key, channel in list(self._channels.items()):
                if channel[0] == endpoint:
                    del self._channels[key]
        if gone is not None:
            close_pools(gone[0])

    def close(self, drain_s: float = 0.0) -> None:
        """See :meth:`transport_utils.backends.HttpBackend.close`.

        Without ``drain_s``, exchanges in progress that have a deadline and a connection are cut; all others end at
        their own limits, since urllib3 offers no way to wait for them or to interrupt them.
        """
        with self._lock:
            self._closed = True
            pools, self._pools = self._pools, {}
            self._channels = {}
        for owner, _ in pools.values():
            close_pools(owner)
        if drain_s <= 0:
            self._watchdog.cut_all()
        self._watchdog.stop()


def _proxy_headers(proxy: str) -> dict[str, str]:
    """Return the credentials in a proxy's URL as the header that carries them; empty without any."""
    auth = urllib3.util.parse_url(proxy).auth
    if auth is None:
        return {}
    return dict(urllib3.util.make_headers(proxy_basic_auth=urllib.parse.unquote(auth)))


def close_pools(owner: Any) -> None:
    """Close the idle connections of a pool, or of all pools of a manager."""
    if isinstance(owner, urllib3.PoolManager):
        # clear() leaves closing to the garbage collector.
        for key in owner.pools.keys():  # noqa: SIM118 - it has no iterator
            pool = owner.pools.get(key)
            if pool is not None:
                pool.close()
        owner.clear()
    else:
        owner.close()


def read_response(answer: Any, exchange: Exchange, watchdog: Watchdog) -> Response:
    """Return our response for urllib3's, its body read unless it is to be streamed."""
    exchange.started = True
    head = exchange.head
    assert head is not None
    node = exchange.endpoint.base_url
    source = _Source(answer, exchange, watchdog)
    if exchange.request.stream:
        return Response(head, None, node, exchange.reused, source)
    return Response(head, source.read_all(), node, exchange.reused)


class _Source:
    """A body that urllib3 holds; see :class:`transport_utils.messages.BodySource`."""

    def __init__(self, answer: Any, exchange: Exchange, watchdog: Watchdog) -> None:
        self._answer = answer
        self._exchange = exchange
        self._watchdog = watchdog
        self._open = True

    def read_all(self) -> bytes:
        """Return the whole body and give the connection back."""
        try:
            data: bytes = self._answer.read(decode_content=False)
        except BaseException as error:
            self._fail(error)
        self._end()
        return data

    def read(self, limit: int) -> bytes:
        """Return up to ``limit`` bytes; empty at the end."""
        if not self._open:
            return b""
        try:
            data: bytes = self._answer.read1(limit, decode_content=False)
        except BaseException as error:
            self._fail(error)
        if not data:
            self._end()
        return data

    def read_into(self, buffer: memoryview) -> int:
        """Fill a part of ``buffer``."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _end(self) -> None:
        self._open = False
        self._watchdog.forget(self._exchange)
        self._answer.release_conn()
        if self._exchange.deadline.expired(time.monotonic()):
            # A body that ends with the connection may have been ended by the watchdog.
            self._answer.close()
            raise_translated(TimeoutError("cut at the deadline"), self._exchange)

    def _fail(self, error: BaseException) -> NoReturn:
        self._open = False
        self._watchdog.forget(self._exchange)
        self._answer.close()
        raise_translated(error, self._exchange)

    def close(self) -> None:
        """Give up the rest of the body, and the connection with it."""
        if self._open:
            self._open = False
            self._watchdog.forget(self._exchange)
            self._answer.close()
            self._answer.release_conn()


def raise_translated(error: BaseException, exchange: Exchange, *, closed: bool = False) -> NoReturn:
    """Raise what an error of urllib3 means in our terms; what is not one is raised as it is."""
    found = _innermost(error)
    node = exchange.endpoint.base_url
    if isinstance(found, TransportError):
        translated = found
    elif isinstance(found, (exceptions.HTTPError, OSError, http.client.HTTPException)):
        translated = _translate(found, exchange, closed)
        translated.__cause__ = error
    else:
        raise error
    if exchange.deadline.expired(time.monotonic()) and not isinstance(
        translated, (errors.TotalTimeout, errors.TransportClosed)
    ):
        late = errors.TotalTimeout(f"no time left: {translated.message}")
        late.__cause__ = error
        translated = late
    translated.node = node
    translated.method = exchange.request.method
    translated.target = exchange.request.target
    translated.sent = exchange.sent
    raise translated


def _innermost(error: BaseException) -> BaseException:
    """Return what urllib3 (or requests above it) wrapped."""
    seen = 0
    while seen < 8:
        seen += 1
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = getattr(error, "original_error", None)
        if not isinstance(inner, BaseException):
            inner = next((one for one in error.args if isinstance(one, BaseException)), None)
        if inner is None or isinstance(error, TransportError):
            return error
        if isinstance(error, exceptions.ProxyError) and not isinstance(inner, TransportError):
            return error
        error = inner
    return error


def _translate(error: BaseException, exchange: Exchange, closed: bool) -> TransportError:
    node = exchange.endpoint.base_url
    timeout = exchange.request.timeout
    if isinstance(error, exceptions.ClosedPoolError) or (closed and not exchange.started):
        return errors.TransportClosed("the backend has been closed")
    if isinstance(error, exceptions.EmptyPoolError):
        return errors.PoolTimeout(
            f"all {exchange.endpoint.max_connections} connections to {node} stayed busy; "
            "raise max_connections, or send less at once"
        )
    if isinstance(error, exceptions.ProxyError):
        return errors.ProxyError(f"the proxy failed: {error}")
    unsent = exchange.connection is None or not exchange.connection.sent_bytes
    if isinstance(error, (exceptions.SSLError, ssl.SSLError)) and unsent:
        return tls_error(error, node)
    timed_out = isinstance(error, (exceptions.TimeoutError, TimeoutError))
    if timed_out and exchange.connection is None:
        return errors.ConnectTimeout(f"connection to {node} did not open in time")
    if timed_out:
        if not exchange.complete:
            return errors.WriteTimeout(f"{node} took no data for {timeout.write} s")
        return errors.ReadTimeout(f"{node} sent nothing for {timeout.read} s")
    if isinstance(error, (exceptions.IncompleteRead, http.client.IncompleteRead)):
        return errors.TruncatedBody(f"the connection ended before the body did: {error}")
    if isinstance(error, (http.client.RemoteDisconnected, OSError)):
        kind = (
            errors.StaleConnection
            if exchange.reused and not exchange.started
            else errors.ConnectionReset
        )
        return kind(f"the connection broke ({error})")
    if isinstance(error, http.client.LineTooLong) or "more than" in str(error):
        return errors.HeaderTooLarge(f"the response head is too large: {error}")
    return errors.BadResponse(f"malformed response: {error!r}")
