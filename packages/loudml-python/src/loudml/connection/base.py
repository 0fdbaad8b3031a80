"""What every connection class offers: the contract of a node, its log lines and its errors.

Subclass :class:`Connection` for an HTTP library of your own; for a change of detail subclass one of the classes that
exist. Source: loudml-python 1.6.3, ``connection.base``.
"""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

from transport_utils.errors import ConfigurationError
from transport_utils.headers import SECRET_HEADERS
from transport_utils.redact import redact_url
from transport_utils.url import check_host, check_port

from loudml.errors import HTTP_EXCEPTIONS, ImproperlyConfigured, TransportError

__all__ = ["Connection", "logger", "tracer"]

logger = logging.getLogger("loudml")

_trace_was_configured = "loudml.trace" in logging.Logger.manager.loggerDict
tracer = logging.getLogger("loudml.trace")
if not _trace_was_configured:
    tracer.propagate = False

_TRACE_BASE_URL = "http://localhost:8077"


class Connection:
    """A node, and a way to talk to it.

    Args:
        host: Name or address; IPv6 with or without brackets.
        port: 1..65535.
        use_ssl: Whether to speak https.
        url_prefix: Put in front of every path; slashes around it do not matter.
        timeout: Limits of a request that brings none: seconds, or a ``transport_utils.deadline.Timeout``.
        scheme: ``"http"`` or ``"https"``, which is the same as ``use_ssl=True``.
        kwargs: Nothing else; here so that subclasses may hand on what they got.

    Attributes:
        host: Base URL, ``http://host:port``, without the prefix.
        use_ssl: Whether it speaks https.
        url_prefix: ``""`` or ``"/prefix"``.
        timeout: As given.

    Raises:
        ImproperlyConfigured: The host, port or scheme is impossible.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = 8077,
        use_ssl: bool = False,
        url_prefix: str = "",
        timeout: Any = 10,
        scheme: str = "http",
        **kwargs: Any,
    ) -> None:
        if scheme not in ("http", "https"):
            raise ImproperlyConfigured(f"scheme={scheme!r}: expected 'http' or 'https'")
        try:
            self._hostname = check_host(
                host[1:-1] if isinstance(host, str) and host.startswith("[") else host
            )
            self._port = check_port(port)
        except ConfigurationError as cause:
            raise ImproperlyConfigured(str(cause)) from cause
        self.use_ssl = use_ssl or scheme == "https"
        shown = f"[{self._hostname}]" if ":" in self._hostname else self._hostname
        self.host = f"{'https' if self.use_ssl else 'http'}://{shown}:{self._port}"
        prefix = url_prefix.strip("/")
        self.url_prefix = f"/{prefix}" if prefix else ""
        self.timeout = timeout

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.host}>"

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
        """Send one request once.

        Args:
            method: Upper-case method.
            url: Path with leading ``/``, percent-encoded, without the prefix.
            params: Query parameters.
            body: What to send, encoded.
            timeout: As for the constructor; ``None`` or 0 for the connection's own.
            ignore: Failure statuses to return like a success.
            headers: Extra headers.

        Returns:
            Status, headers (``.get("content-type")`` regardless of case) and text of the answer.

        Raises:
            TransportError: The subclass of the status, for statuses outside 200..299 that are not ignored.
            ConnectionError: No answer; :class:`SSLError` and :class:`ConnectionTimeout` where they apply.
        """
        raise NotImplementedError(f"{type(self).__name__}.perform_request")

    def close(self) -> None:
        """Close what is open; idempotent."""

    def log_request_success(
        self,
        method: str,
        full_url: str,
        path: str,
        body: bytes | str | None,
        status_code: int,
        response: str | None,
        duration: float,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Write the log and trace lines of a request that was answered well.

        Args:
            method: Upper-case method.
            full_url: URL without credentials.
            path: Its path and query, prefix included.
            body: What was sent.
            status_code: Status of the answer.
            response: Its text.
            duration: Seconds.
            headers: Headers of this request only; ``None`` for none.
        """
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s %s [status:%s request:%.3fs]", method, full_url, status_code, duration)
            logger.debug("> %s", _text(body))
            logger.debug("< %s", response)
        self._log_trace(method, path, body, status_code, response, duration, headers)

    def log_request_fail(
        self,
        method: str,
        full_url: str,
        path: str,
        body: bytes | str | None,
        duration: float,
        status_code: int | None = None,
        response: str | None = None,
        exception: BaseException | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Write the log and trace lines of a request that failed; nothing in the log for ``HEAD`` with 404.

        The arguments are those of :meth:`log_request_success`; ``exception`` is why there was no answer.
        """
        if not (method == "HEAD" and status_code == 404):
            logger.warning(
                "%s %s [status:%s request:%.3fs]",
                method,
                full_url,
                status_code or "N/A",
                duration,
                exc_info=exception,
            )
            logger.debug("> %s", _text(body))
            if response:
                logger.debug("< %s", response)
        self._log_trace(method, path, body, status_code, response, duration, headers)

    def _log_trace(
        self,
        method: str,
        path: str,
        body: bytes | str | None,
        status_code: int | None,
        response: str | None,
        duration: float,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if not tracer.isEnabledFor(logging.INFO) or not tracer.hasHandlers():
            return
        tracer.info("%s", self._curl(method, path, body, headers))
        if status_code is None or tracer.isEnabledFor(logging.DEBUG):
            answer = self._pretty_json(response).replace("\n", "\n#") if response else ""
            level = logging.INFO if status_code is None else logging.DEBUG
            tracer.log(level, "#[%s] (%.3fs)\n#%s", status_code or "N/A", duration, answer)

    def _curl(
        self,
        method: str,
        path: str,
        body: bytes | str | None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Return the request as a command for a POSIX shell, on localhost:8077 whatever the node is.

        Credentials are left to the shell variable ``LOUDML_AUTH``.
        """
        path, _, query = redact_url(path.removeprefix(self.url_prefix)).partition("?")
        fields = {"Content-Type": "application/json"} if body else {}
        words = [
            f"-H {shlex.quote(f'{name}: {value}')}"
            for name, value in {**fields, **(headers or {})}.items()
            if name.lower() not in SECRET_HEADERS
        ]
        if self._sends_credentials():
            words.append('-H "Authorization: $LOUDML_AUTH"')
        words.append("--head" if method == "HEAD" else f"-X{method}")
        url = f"{_TRACE_BASE_URL}{path}?pretty{'&' if query else ''}{query}"
        words.append(shlex.quote(url))
        if body:
            text = self._pretty_json(body)
            # After -d an @ in front would make curl read a file.
            words.append(f"{'--data-raw' if text.startswith('@') else '-d'} {shlex.quote(text)}")
        return f"curl {' '.join(words)}"

    def _sends_credentials(self) -> bool:
        """Return whether requests carry an ``authorization`` header."""
        return False

    def _pretty_json(self, data: bytes | str | None) -> str:
        """Return JSON in two-space indents with sorted keys; what is no JSON as it is."""
        text = _text(data)
        try:
            return json.dumps(json.loads(text), sort_keys=True, indent=2).replace("'", "\\u0027")
        except ValueError:
            return text

    def _raise_error(self, status_code: int, raw_data: str) -> NoReturn:
        """Raise the error of a failure status.

        Raises:
            TransportError: Or the subclass of the status; ``error`` is what the server said, ``info`` its decoded JSON.
        """
        error: Any = raw_data
        info = None
        if raw_data:
            try:
                info = json.loads(raw_data)
            except ValueError as cause:
                logger.warning("Undecodable raw error response from server: %s", cause)
            else:
                error = info
                if isinstance(info, dict):
                    error = info.get("error", raw_data)
                    if isinstance(error, dict) and "type" in error:
                        error = error["type"]
        raise HTTP_EXCEPTIONS.get(status_code, TransportError)(status_code, error, info)


def _text(body: bytes | str | None) -> str:
    if isinstance(body, bytes):
        return body.decode("utf-8", "backslashreplace")
    return body or ""
