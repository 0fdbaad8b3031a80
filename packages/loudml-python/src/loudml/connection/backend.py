"""What the three HTTP connection classes have in common: options to endpoint, exchange, log lines, errors.

The exchange itself is made by a backend of transport-utils, which the subclass names. Source of options, headers and
log lines: loudml-python 1.6.3, ``connection.http_urllib3`` and ``connection.http_requests``.
"""

from __future__ import annotations

import base64
import logging
import sys
import time
import warnings
import weakref
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote_plus

from transport_utils import errors as transport_errors
from transport_utils.auth import Auth
from transport_utils.backends import make_backend
from transport_utils.deadline import Deadline, Timeout
from transport_utils.endpoint import Endpoint
from transport_utils.messages import AsyncResponse, Request, Response

from loudml._version import __version__
from loudml.connection.base import Connection, logger, tracer
from loudml.errors import (
    ImproperlyConfigured,
    SerializationError,
    TransportError,
    from_transport,
)

__all__ = ["AnswerHeaders", "BackendConnection", "Options", "encode_query"]

_NEVER = Deadline()
_JSON_LINE = b"\r\nContent-Type: application/json\r\n"
_LOWER_JSON_LINE = _JSON_LINE.lower()
_TLS_OPTIONS = (
    "verify_certs",
    "ca_certs",
    "client_cert",
    "client_key",
    "ssl_version",
    "ssl_assert_hostname",
)


class AnswerHeaders(Mapping[str, str]):
    """The headers of an answer, any case; split when one is looked at, but for the usual content type.

    Splitting takes a tenth of a small request.

    Args:
        response: The answer.
    """

    __slots__ = ("_response",)

    def __init__(self, response: Response | AsyncResponse) -> None:
        self._response = response

    def get(self, key: str, default: Any = None) -> Any:
        """Return a header, ``default`` without one."""
        if key == "content-type":
            block = getattr(self._response.head, "block", b"")
            if _JSON_LINE in block or _LOWER_JSON_LINE in block:
                return "application/json"
        return self._response.headers.get(key, default)

    def __getitem__(self, key: str) -> str:
        return self._response.headers[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._response.headers)

    def __len__(self) -> int:
        return len(self._response.headers)


class Options(Connection):
    """The options of an HTTP connection, turned into an endpoint; shared by the sync and async connections.

    Args:
        host: See :class:`~loudml.connection.base.Connection`.
        port: Likewise.
        http_auth: ``("user", "password")`` or ``"user:password"`` for basic authentication, or a callable
            ``auth(method, target, body)`` that returns headers, such as ``transport_utils.auth.BearerAuth``.
        use_ssl: See :class:`~loudml.connection.base.Connection`.
        verify_certs: Whether the certificate must be trusted and be of this host; ``None`` means yes, unless a
            fingerprint is given, which then is what counts.
        ca_certs: File or folder with the certificates to trust, ``None`` for those of certifi.
        client_cert: File with the client's certificate, or certificate and key.
        client_key: File with its key.
        ssl_version: The one version of TLS to speak, an ``ssl.TLSVersion`` or ``ssl.PROTOCOL_TLSv1_2``.
        ssl_assert_hostname: Name the certificate must be of, instead of the host; ``False`` for any.
        ssl_assert_fingerprint: Hexadecimal digest of the certificate, with or without colons.
        maxsize: Most connections to this node, >= 1; a request that finds none free waits for one, at most as long as
            its timeout.
        headers: Sent with every request; they win over ``http_auth``.
        ssl_context: A context of your own instead of all other TLS options but the fingerprint.
        http_compress: Whether to compress bodies of 1 KiB and more, and to accept compressed answers; ``True`` is gzip,
            a ``transport_utils.compression.Compression`` says more.
        kwargs: ``url_prefix``, ``timeout``, ``scheme``, see :class:`~loudml.connection.base.Connection`.

    Attributes:
        headers: Lower-case name to value, as sent with every request.
        http_compress: Whether bodies are compressed.

    Raises:
        ImproperlyConfigured: An option is impossible, or at odds with another.
    """

    backend_name = "native"

    def __init__(
        self,
        host: str = "localhost",
        port: int = 8077,
        http_auth: Any = None,
        use_ssl: bool = False,
        verify_certs: bool | None = None,
        ca_certs: str | None = None,
        client_cert: str | None = None,
        client_key: str | None = None,
        ssl_version: Any = None,
        ssl_assert_hostname: str | bool | None = None,
        ssl_assert_fingerprint: str | None = None,
        maxsize: int = 10,
        headers: Mapping[str, str] | None = None,
        ssl_context: Any = None,
        http_compress: Any = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(host=host, port=port, use_ssl=use_ssl, **kwargs)
        self._auth: Auth | None = None
        self.headers = {
            "accept-encoding": "identity",
            "user-agent": f"loudml-python/{__version__}",
            "connection": "keep-alive",
        }
        if http_auth is not None:
            self._take_auth(http_auth)
        for name, value in (headers or {}).items():
            self.headers[name.lower()] = value
        self.headers.setdefault("content-type", "application/json")
        self.http_compress = bool(http_compress)
        self._compression: Any = None
        try:
            if http_compress:
                from transport_utils.compression import Compression  # seldom needed

                self._compression = Compression.coerce(http_compress)
                self.headers["accept-encoding"] = "gzip,deflate"
            self._default_timeout = _timeout(self.timeout)
            tls = self._tls(
                {
                    "verify_certs": verify_certs,
                    "ca_certs": ca_certs,
                    "client_cert": client_cert,
                    "client_key": client_key,
                    "ssl_version": ssl_version,
                    "ssl_assert_hostname": ssl_assert_hostname,
                },
                ssl_assert_fingerprint,
                ssl_context,
            )
            self._endpoint = Endpoint(
                "https" if self.use_ssl else "http",
                self._hostname,
                self._port,
                path_prefix=self.url_prefix,
                headers=self.headers,
                timeout=self._default_timeout,
                max_connections=maxsize,
                tls=tls,
            )
        except transport_errors.TransportError as cause:
            raise ImproperlyConfigured(f"{self.host}: {cause}") from cause
        self._base_url = self._endpoint.base_url
        self._open()

    def _open(self) -> None:
        """Make what sends requests, without opening a connection yet."""

    def _take_auth(self, auth: Any) -> None:
        """Turn ``http_auth`` into a header or into a callable asked for each request."""
        if isinstance(auth, (tuple, list)) and len(auth) == 2:
            auth = f"{auth[0]}:{auth[1]}"
        if isinstance(auth, str) and ":" in auth:
            try:
                token = auth.encode("latin-1")
            except UnicodeEncodeError:
                token = auth.encode("utf-8")
            self.headers["authorization"] = f"Basic {base64.b64encode(token).decode('ascii')}"
        elif _is_requests_auth(auth):
            raise ImproperlyConfigured(
                f"http_auth={type(auth).__name__}: this object signs requests of the library requests; "
                "pass connection_class=RequestsHttpConnection with it"
            )
        elif callable(auth):
            self._auth = auth
        else:
            raise ImproperlyConfigured(
                f"http_auth of type {type(auth).__name__}: expected (user, password), 'user:password' or a callable"
            )

    def _tls(self, options: dict[str, Any], fingerprint: str | None, context: Any) -> Any:
        """Return the ``TlsConfig`` of the options, ``None`` for http."""
        given = [name for name in _TLS_OPTIONS if options[name] is not None]
        if not self.use_ssl:
            if context is not None:
                raise ImproperlyConfigured(
                    "ssl_context without https would protect nothing: add use_ssl=True or scheme='https'"
                )
            return None
        from transport_utils.tls import TlsConfig

        pins = (fingerprint,) if fingerprint else ()
        if context is not None:
            if given:
                warnings.warn(
                    "When using `ssl_context`, all other SSL related kwargs are ignored",
                    stacklevel=5,
                )
            return TlsConfig(context=context, fingerprints=pins)
        verify = options["verify_certs"]
        if verify is None:
            verify = not pins
        elif not verify and not pins:
            warnings.warn(
                f"Connecting to {self.host} using SSL with verify_certs=False is insecure.",
                stacklevel=5,
            )
        if options["ca_certs"] is not None and options["ca_certs"] == "":
            raise ImproperlyConfigured(
                "ca_certs='': expected a file or folder, or None for certifi"
            )
        version = _tls_version(options["ssl_version"])
        return TlsConfig(
            verify=verify,
            trust=self._trusted(options["ca_certs"]) if verify else "certifi",
            cert=options["client_cert"],
            key=options["client_key"],
            fingerprints=pins,
            assert_hostname=options["ssl_assert_hostname"],
            **({"minimum_version": version, "maximum_version": version} if version else {}),
        )

    def _trusted(self, ca_certs: str | None) -> str:
        """Return whom to trust."""
        return ca_certs or "certifi"

    def _sends_credentials(self) -> bool:
        return "authorization" in self.headers or self._auth is not None

    def _timeout_of(self, timeout: Any) -> Timeout:
        """Return the limits of one request; ``None`` and 0 are the connection's own."""
        if not timeout:
            return self._default_timeout
        try:
            return _timeout(timeout)
        except transport_errors.TransportError as cause:
            raise ImproperlyConfigured(f"request_timeout={timeout!r}: {cause}") from cause

    def _request(
        self,
        method: str,
        target: str,
        body: bytes | str | None,
        timeout: Timeout,
        headers: Mapping[str, str] | None,
    ) -> Request:
        if isinstance(body, str):
            body = body.encode("utf-8", "surrogatepass")
        extra: dict[str, str | None] = {}
        if body is not None and self._compression is not None:
            compressed: bytes | None = self._compression.compress(body)
            if compressed is not None:
                body = compressed
                extra["content-encoding"] = self._compression.encoding
        if self._auth is not None:
            extra.update(self._auth(method, self.url_prefix + target, body))
        if headers:
            extra.update(headers)
        return Request(method, target, extra or None, body, timeout)

    def _answer(
        self,
        response: Response | AsyncResponse,
        method: str,
        target: str,
        body: bytes | str | None,
        ignore: Collection[int],
        started: float,
        sent: Mapping[str, str] | None,
    ) -> tuple[int, Mapping[str, str], str]:
        """Return what :meth:`Connection.perform_request` returns, after writing the log lines."""
        status = response.status
        content = response.content
        headers = AnswerHeaders(response)
        ok = 200 <= status < 300 or status in ignore
        if content and response.head.is_encoded:
            encoding = headers.get("content-encoding")
            if encoding:
                from transport_utils.compression import decode_body

                try:
                    content = decode_body(content, encoding)
                except transport_errors.TransportError as cause:
                    # A failure status is never hidden by its body.
                    if ok:
                        # The server has done its work: a POST must not be sent again.
                        cause.sent = transport_errors.SentState.RESPONSE_STARTED
                        cause.node = self._base_url
                        raise
        try:
            text = content.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as cause:
            text = content.decode("utf-8", "replace")
            if ok:
                error = SerializationError(
                    f"{method} {self._base_url}{target}: the answer (status {status}) is not UTF-8: {cause}"
                )
                error.status_code = status
                error.raw = text
                raise error from cause
        path = self.url_prefix + target
        if ok:
            if logger.isEnabledFor(logging.INFO) or tracer.isEnabledFor(logging.INFO):
                duration = time.monotonic() - started
                self.log_request_success(
                    method, self.host + path, path, body, status, text, duration, **_extra(sent)
                )
            return status, headers, text
        duration = time.monotonic() - started
        self.log_request_fail(
            method, self.host + path, path, body, duration, status, text, **_extra(sent)
        )
        try:
            self._raise_error(status, text)
        except TransportError as error:
            error.headers = {
                name.lower(): value for name, value in headers.items()
            }  # for Retry-After
            raise

    def _failed(
        self,
        cause: transport_errors.TransportError,
        method: str,
        target: str,
        body: bytes | str | None,
        started: float,
        sent: Mapping[str, str] | None,
    ) -> Exception:
        """Write the log lines of a request without an answer and return its error."""
        path = self.url_prefix + target
        duration = time.monotonic() - started
        self.log_request_fail(
            method, self.host + path, path, body, duration, exception=cause, **_extra(sent)
        )
        return from_transport(cause)


class BackendConnection(Options):
    """A node spoken to through a backend of transport-utils; thread-safe and fork-safe.

    Its connections are closed by :meth:`close`, or when nobody uses it any more.
    """

    def _open(self) -> None:
        self._backend = self._make_backend()
        if "opentelemetry.trace" in sys.modules:  # else nobody can be listening
            from transport_utils.backends.observed import observed
            from transport_utils.telemetry import auto_hooks

            self._backend = observed(self._backend, auto_hooks())
        self._send = self._backend.request
        # A node that sniffing removed is closed once the requests still under way are done with it.
        self._closer = weakref.finalize(self, self._backend.close)
        self._closer.atexit = False

    def _make_backend(self) -> Any:
        return make_backend(self.backend_name)

    def perform_request(
        self,
        method: str,
        url: str,
        params: Mapping[str, Any] | None = None,
        body: bytes | str | None = None,
        timeout: Any = None,
        ignore: Collection[int] = (),
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], str]:
        """See :meth:`loudml.connection.base.Connection.perform_request`.

        Raises:
            ImproperlyConfigured: ``timeout`` is not a number of seconds or a ``Timeout``.
            SerializationError: A good answer that is not UTF-8.
        """
        target = f"{url}?{encode_query(params)}" if params else url
        limits = self._timeout_of(timeout) if timeout else self._default_timeout
        started = time.monotonic()
        deadline = _NEVER if limits.total is None else Deadline.after(limits.total, started)
        try:
            request = self._request(method, target, body, limits, headers)
            response = self._send(self._endpoint, request, deadline)
            return self._answer(response, method, target, body, ignore, started, headers)
        except transport_errors.TransportError as cause:
            raise self._failed(cause, method, target, body, started, headers) from cause

    def close(self) -> None:
        """Close all connections to the node; idempotent."""
        self._closer()


def _extra(headers: Mapping[str, str] | None) -> dict[str, Any]:
    """Return the keyword of the log methods for headers of one request; overridden ones may not know it."""
    return {"headers": headers} if headers else {}


def encode_query(params: Mapping[str, Any]) -> str:
    """Return ``a=1&b=2`` with names and values percent-encoded, a space as ``+``."""
    return "&".join([f"{quote_plus(str(name))}={_quote(value)}" for name, value in params.items()])


def _quote(value: Any) -> str:
    return quote_plus(value if isinstance(value, (str, bytes)) else str(value))


def _timeout(value: Any) -> Timeout:
    """Return limits: a number holds for connecting, each read, each write and the wait for a free connection."""
    if value is None or isinstance(value, Timeout):
        return Timeout.coerce(value)
    if isinstance(value, tuple):
        return Timeout.coerce(value)
    return Timeout(connect=value, read=value, write=value, pool=value)


def _is_requests_auth(auth: Any) -> bool:
    return any(
        base.__name__ == "AuthBase" and base.__module__.partition(".")[0] == "requests"
        for base in type(auth).__mro__
    )


def _tls_version(value: Any) -> Any:
    """Return the ``ssl.TLSVersion`` of an option that may be one of the older ``PROTOCOL_`` constants."""
    if value is None:
        return None
    import ssl

    if isinstance(value, ssl.TLSVersion):
        return value
    if value in (ssl.PROTOCOL_TLS, ssl.PROTOCOL_TLS_CLIENT):
        return None
    if value == ssl.PROTOCOL_TLSv1_2:
        return ssl.TLSVersion.TLSv1_2
    raise ImproperlyConfigured(f"ssl_version={value!r}: expected ssl.TLSVersion.TLSv1_2 or later")
