"""Sends the requests of a client: chooses the node, retries on another, keeps the list of nodes fresh.

Used by :class:`~loudml.client.Loud`; users subclass it and pass the class as ``transport_class``. Everything but I/O
is in :class:`BaseTransport`, which the asynchronous transport shares. Source: loudml-python 1.6.3, ``transport``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from transport_utils.budget import RetryBudget
from transport_utils.deadline import Timeout
from transport_utils.errors import ConfigurationError, TransportClosed
from transport_utils.retry import RetryPolicy

from loudml import _clock
from loudml._call import Call, is_node_failure
from loudml._hosts import parse_publish_address
from loudml._options import check_options
from loudml.connection.http_urllib3 import Urllib3HttpConnection
from loudml.connection_pool import ConnectionPool, DummyConnectionPool
from loudml.errors import (
    ConnectionError,
    ImproperlyConfigured,
    SerializationError,
    TransportError,
)
from loudml.serializer import DEFAULT_SERIALIZERS, Deserializer, JSONSerializer

__all__ = ["DEFAULT_SERIALIZER", "SNIFF_PATH", "BaseTransport", "Transport", "get_host_info"]

logger = logging.getLogger("loudml")

DEFAULT_SERIALIZER = JSONSerializer()
"""Encodes the bodies of all clients that bring no serializer."""

SNIFF_PATH = "/_nodes/_all/http"

HostInfoCallback = Callable[[dict[str, Any], dict[str, Any]], "dict[str, Any] | None"]


def get_host_info(node_info: dict[str, Any], host: dict[str, Any]) -> dict[str, Any] | None:
    """Return the options of a node found by sniffing; the default ``host_info_callback``.

    Args:
        node_info: What the cluster says about the node, with ``roles`` and ``http``.
        host: ``{"host": str, "port": int}``.

    Returns:
        ``host``; ``None``, which leaves the node out, for one whose only role is ``master``.
    """
    return None if node_info.get("roles") == ["master"] else host


class BaseTransport:
    """What the sync and the async transport share: options, pool, sniffed nodes, decisions; no I/O.

    Args:
        hosts: One dict of options per node, at least one.
        connection_class: What talks to a node.
        connection_pool_class: What chooses among nodes; :class:`~loudml.connection_pool.DummyConnectionPool` takes the
            place of the default one while there is a single node.
        host_info_callback: ``callback(node_info, host)`` for each node found by sniffing, see :func:`get_host_info`.
        sniff_on_start: Whether to ask for the list of nodes before the first request.
        sniffer_timeout: Seconds after which the list is asked for again, before a request; ``None`` for never.
        sniff_timeout: Limit of one such question, seconds; at the start the connection's own timeout.
        sniff_on_connection_fail: Whether to ask for the list after each failure of a node.
        serializer: Encodes request bodies, and decodes answers of its mimetype.
        serializers: More of them by mimetype, for answers.
        default_mimetype: Of answers that name none.
        max_retries: Retries after the first attempt, >= 0.
        retry_on_status: Statuses that are retried: any method after 429 and 503, by which a server says that it did
            nothing, and idempotent ones after the others.
        retry_on_timeout: Whether idempotent requests are retried after a read timeout too.
        send_get_body_as: ``"GET"``, ``"POST"`` or ``"source"``: how requests of method GET send a body, where an
            intermediary refuses it; ``"source"`` puts it into the query.
        kwargs: Options of the pool class and of the connection class.

    Attributes:
        hosts: The nodes given, not those found by sniffing.
        connection_pool: The pool in use.
        seed_connections: Connections to the nodes given.
        deserializer: The :class:`~loudml.serializer.Deserializer`.
        last_sniff: When the list of nodes was last asked for, seconds since the epoch.

    Raises:
        ImproperlyConfigured: An option is unknown, impossible, or at odds with another.
    """

    def __init__(
        self,
        hosts: list[dict[str, Any]],
        connection_class: Any = Urllib3HttpConnection,
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
        if send_get_body_as not in ("GET", "POST", "source"):
            raise ImproperlyConfigured(
                f"send_get_body_as={send_get_body_as!r}: expected 'GET', 'POST' or 'source'"
            )
        takers = (connection_class, connection_pool_class)
        check_options(kwargs, takers, "option", also=BaseTransport)
        known = {**DEFAULT_SERIALIZERS, serializer.mimetype: serializer, **(serializers or {})}
        self.deserializer = Deserializer(known, default_mimetype)
        self.serializer = serializer
        self.max_retries = max_retries
        self.retry_on_status = retry_on_status
        self.retry_on_timeout = retry_on_timeout
        self.send_get_body_as = send_get_body_as
        self.connection_class = connection_class
        self.connection_pool_class = connection_pool_class
        self.host_info_callback = host_info_callback
        self.sniffer_timeout = sniffer_timeout
        self.sniff_timeout = sniff_timeout
        self.sniff_on_connection_fail = sniff_on_connection_fail
        self.last_sniff = _clock.now()
        self.kwargs = kwargs
        self.hosts = hosts
        # A node that dies under many threads costs each of them a retry; only a lasting outage uses this up.
        self._budget = RetryBudget(capacity=5000)
        self._retry_policy()  # refuses impossible figures now instead of at the first failure
        self._sniffed_from: dict[str, Any] = {}
        self._seeds: list[tuple[Any, dict[str, Any]]] = []
        self.connection_pool: Any
        self.set_connections(hosts)
        self._seeds = list(self.connection_pool.connection_opts)
        self.seed_connections = tuple(connection for connection, _ in self._seeds)
        self._begin(sniff_on_start)

    def _begin(self, sniff_on_start: bool) -> None:
        """Make what the driver needs, and ask for the list of nodes if that is wanted."""

    def add_connection(self, host: dict[str, Any]) -> None:
        """Add a node; those there keep their connections.

        Raises:
            ImproperlyConfigured: An option of it is unknown or impossible.
        """
        self.hosts.append(host)
        self.set_connections([*(opts for _, opts in self.connection_pool.connection_opts), host])

    def set_connections(self, hosts: list[dict[str, Any]]) -> None:
        """Make these the nodes; one whose options are those of a node in use keeps its connection and its dead mark.

        The connections to the others are closed once the requests under way on them have ended.

        Raises:
            ImproperlyConfigured: No node, or an option is unknown or impossible.
        """
        previous: Any = getattr(self, "connection_pool", None)
        in_use = self._seeds if previous is None else [*previous.connection_opts, *self._seeds]
        connections = [(self._connection_for(host, in_use), host) for host in hosts]
        if len(connections) == 1 and self.connection_pool_class is ConnectionPool:
            pool: Any = DummyConnectionPool(connections)
        else:
            pool = self.connection_pool_class(connections, **self.kwargs)
        if isinstance(previous, ConnectionPool) and isinstance(pool, ConnectionPool):
            pool.take_over(previous)
        self.connection_pool = pool

    def _connection_for(
        self, host: dict[str, Any], in_use: list[tuple[Any, dict[str, Any]]]
    ) -> Any:
        for connection, options in in_use:
            if options == host:
                return connection
        check_options(host, (self.connection_class,), f"option of host {host.get('host')!r}:")
        return self.connection_class(**{**self.kwargs, **host})

    def _retry_policy(self) -> RetryPolicy:
        """Return the policy of the attributes as they are now.

        Raises:
            ImproperlyConfigured: One of them is out of range.
        """
        try:
            return RetryPolicy(
                max_retries=self.max_retries,
                on_status=frozenset(self.retry_on_status),
                on_timeout=self.retry_on_timeout,
                budget=self._budget,
            )
        except (ConfigurationError, TypeError) as cause:
            raise ImproperlyConfigured(f"retries: {cause}") from cause

    def _encode(
        self, method: str, params: dict[str, Any] | None, body: Any
    ) -> tuple[str, dict[str, Any] | None, Any]:
        """Return method, query and body to send for a body given as an object."""
        body = self.serializer.dumps(body)
        if method == "GET" and self.send_get_body_as != "GET":
            if self.send_get_body_as == "source":
                return method, {**(params or {}), "source": body}, None
            method = "POST"
        if isinstance(body, str):
            body = body.encode("utf-8", "surrogatepass")
        return method, params, body

    def _take_controls(self, params: dict[str, Any] | None) -> tuple[Any, Any, bool | None]:
        """Take ``request_timeout``, ``ignore`` and ``idempotent`` out of a query."""
        if not params:
            return None, (), None
        ignore = params.pop("ignore", ())
        if isinstance(ignore, int):
            ignore = (ignore,)
        return params.pop("request_timeout", None), ignore, params.pop("idempotent", None)

    def _result(
        self,
        call: Call | None,
        connection: Any,
        method: str,
        status: int,
        headers: Mapping[str, str],
        data: str,
    ) -> Any:
        """Return what a call returns: the object of the answer, the empty str for an empty one, a bool for ``HEAD``.

        Raises:
            SerializationError: The body is not what its content type says; ``status_code`` and ``raw`` tell the answer.
        """
        if call is not None:
            call.succeeded(status)
        else:
            self._budget.credit()
        self.connection_pool.mark_live(connection)
        if method == "HEAD":
            return 200 <= status < 300
        if not data:
            return data
        try:
            return self.deserializer.loads(data, headers.get("content-type"))
        except SerializationError as error:
            error.status_code = status
            error.raw = data
            raise

    def _start_retrying(
        self,
        connection: Any,
        method: str,
        path: str,
        timeout: Any,
        idempotent: bool | None,
        started: float,
    ) -> Call:
        own = getattr(connection, "timeout", None)
        if not timeout and isinstance(own, Timeout) and own.total is not None:
            timeout = own  # its total is one for all attempts
        return Call(self._retry_policy(), method, path, timeout, idempotent, started)

    def _next_connection(self, call: Call, connection: Any, pause: Any) -> Any:
        """Return where the next attempt is made: on a node the call has not tried, if there is one."""
        if pause.same_node:
            return connection
        pool = self.connection_pool
        candidate = pool.get_connection()
        for _ in range(len(getattr(pool, "connections", ()))):
            if candidate not in call.tried:
                break
            candidate = pool.get_connection()
        return candidate

    def _has_untried(self, call: Call, connection: Any) -> bool:
        live = getattr(self.connection_pool, "connections", ())
        return any(other is not connection and other not in call.tried for other in live)

    def _sniff_is_due(self) -> bool:
        return bool(self.sniffer_timeout) and _clock.now() >= self.last_sniff + (
            self.sniffer_timeout or 0
        )

    def _sniff_order(self) -> list[tuple[Any, dict[str, Any]]]:
        """Return the connections to ask for the list of nodes, with their options: those in use, then the seeds."""
        order = list(self.connection_pool.connection_opts)
        return order + [seed for seed in self._seeds if seed not in order]

    def _nodes_of(
        self, data: str, headers: Mapping[str, str], options: dict[str, Any]
    ) -> list[Any]:
        """Return the nodes of an answer to the question for them.

        Raises:
            SerializationError: It is no such answer.
        """
        reply = self.deserializer.loads(data, headers.get("content-type"))
        try:
            nodes = list(reply["nodes"].values())
        except (AttributeError, KeyError, TypeError) as cause:
            raise SerializationError(data, cause) from cause
        self._sniffed_from = options
        return nodes

    def _get_host_info(self, host_info: dict[str, Any]) -> dict[str, Any] | None:
        """Return the options of a node found by sniffing, ``None`` to leave it out.

        They are its address and, for the rest, the options of the node that told of it: credentials, TLS, prefix.
        """
        try:
            host = parse_publish_address(host_info.get("http", {}).get("publish_address"))
        except ImproperlyConfigured as error:
            logger.warning("A node found by sniffing is left out: %s", error)
            return None
        if host is None:
            return None
        chosen = self.host_info_callback(host_info, host)
        if chosen is None:
            return None
        inherited = {
            name: value
            for name, value in self._sniffed_from.items()
            if name not in ("host", "port")
        }
        return {**inherited, **chosen}

    def _use_sniffed(self, nodes: list[Any]) -> None:
        """Make the nodes found by sniffing those in use.

        Raises:
            TransportError: None can be used.
        """
        hosts = [host for host in map(self._get_host_info, nodes) if host is not None]
        if not hosts:
            raise TransportError("N/A", "Unable to sniff hosts - no viable hosts found.", None)
        self.set_connections(hosts)


class Transport(BaseTransport):
    """Sends requests to the nodes of a cluster; thread-safe and fork-safe.

    The arguments and attributes are those of :class:`~loudml.transport.BaseTransport`.

    Raises:
        ImproperlyConfigured: An option is unknown, impossible, or at odds with another.
        TransportError: With ``sniff_on_start``: no node could be asked.
    """

    def _begin(self, sniff_on_start: bool) -> None:
        self._closed = threading.Event()
        self._sniffing = threading.Lock()
        if sniff_on_start:
            try:
                self.sniff_hosts(initial=True)
            except BaseException:
                self.close()
                raise

    def get_connection(self) -> Any:
        """Return the connection for the next attempt; asks for the list of nodes first if that is due."""
        if self.sniffer_timeout and self._sniff_is_due():
            self._sniff_quietly()
        return self.connection_pool.get_connection()

    def mark_dead(self, connection: Any) -> None:
        """Put a node on hold; with ``sniff_on_connection_fail`` ask for the list of nodes."""
        self.connection_pool.mark_dead(connection)
        if self.sniff_on_connection_fail:
            self._sniff_quietly()

    def perform_request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        params: dict[str, Any] | None = None,
        body: Any = None,
    ) -> Any:
        """Send a request, on other nodes again where that helps and does no harm.

        Args:
            method: Upper-case method.
            url: Path with leading ``/``, percent-encoded.
            headers: Extra headers.
            params: Query parameters; ``request_timeout``, ``ignore`` and ``idempotent`` are taken out and not sent.
            body: An object for the serializer; str and bytes are sent as they are.

        Returns:
            The decoded answer; the empty str for an empty one; for ``HEAD`` whether the status is 2xx.

        Raises:
            TransportError: The server answered with a failure status that is not ignored.
            ConnectionError: No node answered; :class:`~loudml.errors.SSLError`,
                :class:`~loudml.errors.ConnectionTimeout`.
            SerializationError: ``body`` or the answer cannot be encoded or decoded.
        """
        timeout, ignore, idempotent = self._take_controls(params)
        if body is not None:
            method, params, body = self._encode(method, params, body)
        started = time.monotonic()
        connection = self.get_connection()
        call: Call | None = None
        while True:
            try:
                status, answered, data = connection.perform_request(
                    method, url, params, body, headers=headers, ignore=ignore, timeout=timeout
                )
            except TransportError as failure:
                if method == "HEAD" and failure.status_code == 404:
                    return False
                if call is None:
                    call = self._start_retrying(
                        connection, method, url, timeout, idempotent, started
                    )
                connection = self._after_failure(call, failure, connection)
                timeout = call.timeout
            else:
                return self._result(call, connection, method, status, answered, data)

    def _after_failure(self, call: Call, failure: TransportError, connection: Any) -> Any:
        """Wait as long as is due and return the connection for the next attempt.

        Raises:
            TransportError: There is none.
        """
        if is_node_failure(failure, self._retry_policy()):
            self.mark_dead(connection)
        pause = call.after(failure, connection, self._has_untried(call, connection))
        if pause.delay_s and self._closed.wait(pause.delay_s):
            closed = TransportClosed("the client was closed while a request waited for its retry")
            raise ConnectionError("N/A", str(closed), closed) from failure
        return self._next_connection(call, connection, pause)

    def sniff_hosts(self, initial: bool = False) -> None:
        """Ask for the list of nodes and use those.

        Args:
            initial: Whether this is the start, when a node may take its whole timeout to answer.

        Raises:
            TransportError: No node answered, or none of those listed can be used; those in use stay.
        """
        with self._sniffing:
            previous = self.last_sniff
            self.last_sniff = _clock.now()
            try:
                self._use_sniffed(self._get_sniff_data(initial))
            except Exception:
                self.last_sniff = previous
                raise

    def _get_sniff_data(self, initial: bool = False) -> list[Any]:
        """Return what the first node that answers says about all nodes.

        Raises:
            TransportError: None did; ``info`` is the last failure.
        """
        failure: Exception | None = None
        timeout = None if initial else self.sniff_timeout
        for connection, options in self._sniff_order():
            try:
                _, headers, data = connection.perform_request("GET", SNIFF_PATH, timeout=timeout)
                return self._nodes_of(data, headers, options)
            except (TransportError, SerializationError) as error:
                failure = error
        raise TransportError("N/A", "Unable to sniff hosts.", failure) from failure

    def _sniff_quietly(self) -> None:
        """Ask for the list of nodes unless another thread does; a failure is logged and changes nothing."""
        if not self._sniffing.acquire(blocking=False):
            return
        try:
            self.last_sniff = _clock.now()
            self._use_sniffed(self._get_sniff_data())
        except TransportError as error:
            logger.warning("The list of nodes could not be refreshed: %s (%s)", error, error.info)
        finally:
            self._sniffing.release()

    def close(self) -> None:
        """Close all connections and end waits for a retry; idempotent."""
        self._closed.set()
        self.connection_pool.close()
        for connection in self.seed_connections:
            connection.close()
