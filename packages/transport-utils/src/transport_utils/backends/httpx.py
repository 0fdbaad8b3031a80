"""Exchanges through httpx or httpx2: for HTTP/2.

Needs ``transport-utils[httpx]``, or httpx2 beside it. Chosen by name (``backend="httpx"`` or ``"httpx2"``) or given
as an object; thread-safe. Uses httpx's transport directly: redirects, cookies and decoding are the client's, which
is left out. Both libraries have the same names, so nothing here depends on which one is given.

httpx limits single receives only. The deadline is looked at between pieces of the body; a peer that sends the *head*
of a response byte by byte can pass it, which no other backend allows.
"""

from __future__ import annotations

import importlib
import os
import ssl
import threading
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NoReturn

from transport_utils import errors
from transport_utils.backends.native import announced_length, host_header
from transport_utils.bodies import BodyStream, measure
from transport_utils.deadline import Deadline
from transport_utils.endpoint import Endpoint
from transport_utils.errors import SentState, TransportError
from transport_utils.h1 import HeadTemplate
from transport_utils.headers import Headers
from transport_utils.messages import Request, Response, ResponseHead
from transport_utils.tls import check_pins, config_for, context_for, server_name, tls_error

__all__ = ["HttpxBackend"]


class HttpxBackend:
    """Sends requests through ``HTTPTransport``; see :class:`transport_utils.backends.HttpBackend`.

    Args:
        module: The library, or its name: ``"httpx"`` or ``"httpx2"``.
        http2: Whether to offer HTTP/2 to https endpoints; needs the library's own extra for it.

    Raises:
        ConfigurationError: The library is not installed.
    """

    def __init__(self, module: str | ModuleType = "httpx", *, http2: bool = False) -> None:
        if isinstance(module, str):
            try:
                module = importlib.import_module(module)
            except ImportError as cause:
                raise errors.ConfigurationError(
                    f"backend {module!r} needs a library that is not installed: pip install {module}"
                ) from cause
        self._httpx: Any = module
        self.name = module.__name__
        self._http2 = http2
        self._lock = threading.Lock()
        self._transports: dict[Endpoint, tuple[Any, HeadTemplate]] = {}
        self._pid = os.getpid()
        self._closed = False

    def request(self, endpoint: Endpoint, request: Request, deadline: Deadline) -> Response:
        """See :meth:`transport_utils.backends.HttpBackend.request`."""
        known = self._transports.get(endpoint)
        if known is None or self._pid != os.getpid():
            known = self._open(endpoint)
        transport, template = known
        body = measure(request.body)
        length: int | None
        if isinstance(body, BodyStream):
            length = body.length if body.length is not None else announced_length(request)
        else:
            length = None if body is None else len(body)
        fields = template.fields(request.method, request.target, request.headers, length)
        exchange = _Exchange(self, endpoint, request, deadline)
        try:
            if deadline.expired(time.monotonic()):
                raise errors.TotalTimeout("no time left to send the request")
            answer = transport.handle_request(self._translate(exchange, fields, body, length))
        except BaseException as error:
            exchange.fail(error)
        exchange.started = True
        head = ResponseHead(
            answer.status_code,
            answer.extensions.get("reason_phrase", b"").decode("latin-1"),
            answer.extensions.get("http_version", b"HTTP/1.1")
            .decode("ascii")
            .removeprefix("HTTP/"),
            Headers.from_raw(list(answer.headers.raw)),
        )
        source = _Source(answer, exchange)
        if request.stream:
            return Response(head, None, endpoint.base_url, exchange.reused, source)
        pieces = []
        while piece := source.read(1 << 30):
            pieces.append(piece)
        return Response(head, b"".join(pieces), endpoint.base_url, exchange.reused)

    def _translate(
        self,
        exchange: _Exchange,
        fields: dict[str, str],
        body: bytes | BodyStream | None,
        length: int | None,
    ) -> Any:
        endpoint, request = exchange.endpoint, exchange.request
        timeout, deadline, now = request.timeout, exchange.deadline, time.monotonic()
        extensions: dict[str, Any] = {
            "timeout": {
                name: deadline.bound(getattr(timeout, name), now)
                for name in ("connect", "read", "write", "pool")
            },
            "trace": exchange.trace,
            "target": (endpoint.path_prefix + request.target).encode("ascii"),
        }
        if endpoint.scheme == "https":
            extensions["sni_hostname"] = server_name(endpoint)
        base = endpoint.base_url if endpoint.uds is None else f"{endpoint.scheme}://{endpoint.host}"
        return self._httpx.Request(
            request.method,
            base + request.target,
            headers=fields,
            content=body.pieces() if isinstance(body, BodyStream) else body,
            extensions=extensions,
        )

    def _open(self, endpoint: Endpoint) -> tuple[Any, HeadTemplate]:
        with self._lock:
            if self._closed:
                raise errors.TransportClosed("the backend has been closed", node=endpoint.base_url)
            if self._pid != os.getpid():
                # Sockets of the parent are closed when their objects go; nothing is said on the wire.
                self._transports = {}
                self._pid = os.getpid()
            known = self._transports.get(endpoint)
            if known is None:
                most = endpoint.max_connections
                transport = self._httpx.HTTPTransport(
                    verify=context_for(endpoint) if endpoint.scheme == "https" else False,
                    trust_env=False,
                    http2=self._http2,
                    uds=endpoint.uds,
                    proxy=endpoint.proxy,
                    socket_options=list(endpoint.socket_options) or None,
                    limits=self._httpx.Limits(
                        max_connections=most,
                        max_keepalive_connections=most,
                        keepalive_expiry=endpoint.max_idle_s,
                    ),
                )
                template = HeadTemplate(
                    host_header(endpoint), endpoint.path_prefix, endpoint.headers
                )
                known = self._transports[endpoint] = (transport, template)
            return known

    def forget(self, endpoint: Endpoint) -> None:
        """See :meth:`transport_utils.backends.HttpBackend.forget`."""
        with self._lock:
            gone = self._transports.pop(endpoint, None)
        if gone is not None:
            gone[0].close()

    def close(self, drain_s: float = 0.0) -> None:
        """See :meth:`transport_utils.backends.HttpBackend.close`; exchanges in progress are not waited for."""
        with self._lock:
            self._closed = True
            transports, self._transports = self._transports, {}
        for transport, _ in transports.values():
            transport.close()


class _Exchange:
    """One request on its way, as httpx's trace events tell it."""

    def __init__(
        self, backend: HttpxBackend, endpoint: Endpoint, request: Request, deadline: Deadline
    ) -> None:
        self.endpoint = endpoint
        self.request = request
        self.deadline = deadline
        self.reused = True
        self.started = False
        self._sent = SentState.NOT_SENT

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Take an event of httpcore."""
        if event.endswith(("connect_tcp.started", "connect_unix_socket.started")):
            self.reused = False
        elif event.endswith("start_tls.complete"):
            if config_for(self.endpoint).fingerprints:
                stream = info["return_value"]
                try:
                    check_pins(stream.get_extra_info("ssl_object"), self.endpoint)
                except BaseException:
                    stream.close()
                    raise
        elif event.endswith("send_request_headers.started"):
            self._sent = SentState.PARTIAL
        elif event.endswith("send_request_body.complete"):
            self._sent = SentState.SENT
        elif event.endswith("receive_response_headers.complete"):
            self._sent = SentState.RESPONSE_STARTED

    def check(self) -> None:
        """Raise :class:`TotalTimeout` once the deadline has passed."""
        if self.deadline.expired(time.monotonic()):
            self.fail(TimeoutError("the deadline passed"))

    def fail(self, error: BaseException) -> NoReturn:
        """Raise what ``error`` means in our terms; what is not httpx's is raised as it is."""
        node = self.endpoint.base_url
        if isinstance(error, TransportError):
            translated = error
        elif self.deadline.expired(time.monotonic()) and isinstance(error, Exception):
            translated = errors.TotalTimeout(f"no time left: {error}")
        else:
            found = self._meaning(error)
            if found is None:
                raise error
            translated = found
        if translated is not error:
            translated.__cause__ = error
        translated.node = node
        translated.method = self.request.method
        translated.target = self.request.target
        translated.sent = SentState.RESPONSE_STARTED if self.started else self._sent
        raise translated

    def _meaning(self, error: BaseException) -> TransportError | None:
        node = self.endpoint.base_url
        timeout = self.request.timeout
        name = type(error).__name__
        text = str(error) or name
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, TransportError):
                return cause
            if isinstance(cause, ssl.SSLError) and self._sent is SentState.NOT_SENT:
                return tls_error(cause, node)
            cause = cause.__cause__ or cause.__context__
        if name == "PoolTimeout":
            return errors.PoolTimeout(
                f"all {self.endpoint.max_connections} connections to {node} stayed busy; "
                "raise max_connections, or send less at once"
            )
        if name == "ConnectTimeout":
            return errors.ConnectTimeout(f"connection to {node} did not open in time")
        if name == "ConnectError":
            kind = errors.DnsError if "name" in text.lower() else errors.ConnectError
            return kind(f"cannot connect to {node}: {text}")
        if name == "ReadTimeout":
            return errors.ReadTimeout(f"{node} sent nothing for {timeout.read} s")
        if name == "WriteTimeout":
            return errors.WriteTimeout(f"{node} took no data for {timeout.write} s")
        if name == "ProxyError":
            return errors.ProxyError(f"the proxy failed: {text}")
        if name in ("LocalProtocolError", "UnsupportedProtocol"):
            return errors.LocalProtocolError(text)
        if (
            name in ("ReadError", "WriteError", "CloseError")
            or "without sending a response" in text
        ):
            broken = (
                errors.StaleConnection
                if self.reused and not self.started
                else errors.ConnectionReset
            )
            return broken(f"the connection broke ({text})")
        if name == "RemoteProtocolError":
            if self.started and "without sending complete" in text:
                return errors.TruncatedBody(f"the connection ended before the body did: {text}")
            return errors.BadResponse(f"malformed response: {text}")
        return None


class _Source:
    """A body that httpx holds; see :class:`transport_utils.messages.BodySource`."""

    def __init__(self, answer: Any, exchange: _Exchange) -> None:
        self._answer = answer
        self._exchange = exchange
        self._pieces: Iterator[bytes] = iter(answer.stream)
        self._rest = b""
        self._open = True

    def read(self, limit: int) -> bytes:
        """Return up to ``limit`` bytes; empty at the end."""
        if not self._rest and self._open:
            self._advance()
        data, self._rest = self._rest[:limit], self._rest[limit:]
        return data

    def _advance(self) -> None:
        try:
            while not self._rest:
                self._rest = next(self._pieces)
                self._exchange.check()
        except StopIteration:
            self.close()
        except BaseException as error:
            self.close()
            self._exchange.fail(error)

    def read_into(self, buffer: memoryview) -> int:
        """Fill a part of ``buffer``."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Give up what has not been read."""
        if self._open:
            self._open = False
            self._answer.stream.close()
