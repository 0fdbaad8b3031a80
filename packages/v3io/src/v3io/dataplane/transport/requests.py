"""The transport on a ``requests`` session, for users who mount adapters or proxies of their own.

Built by the client for ``transport_kind="requests"``; needs the extra ``v3io[requests]``. Slower than the default, and
a batch has no parallelism: each request is sent when its turn comes. Redirects are followed, as in 0.7.2; the access
key does not follow them to another host.
"""

from __future__ import annotations

from typing import Any

import requests
import requests.adapters
from transport_utils.deadline import Timeout
from transport_utils.retry import RetryPolicy

from v3io.connection_settings import resolve_endpoint, resolve_tls_verify
from v3io.dataplane.request import Request, hidden_key
from v3io.dataplane.response import Response
from v3io.dataplane.transport import abstract

__all__ = ["Transport"]

_KEY_HEADER = "X-v3io-session-key"
_DEFAULT_TIMEOUT_S = 20.0


class _Session(requests.Session):
    """A session that keeps the access key from other hosts."""

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Drop the access key when a redirect leads to another host; called by requests."""
        super().rebuild_auth(prepared_request, response)
        if self.should_strip_auth(response.request.url or "", prepared_request.url or ""):
            prepared_request.headers.pop(_KEY_HEADER, None)


class Transport(abstract.Transport):
    """Sends each request through one ``requests.Session``.

    Args:
        logger: Takes the Tx and Rx lines when verbose.
        endpoint: Base URL; ``None`` takes ``V3IO_API``.
        max_connections: Size of the session's pool; ``None`` and 0 mean 8.
        timeout: Seconds to connect and of silence, or a :class:`~transport_utils.deadline.Timeout` of which
            ``connect`` and ``read`` count; ``None`` for 20 s (0.7.2 had no limit).
        verbosity: ``"DEBUG"`` logs requests and responses, the access key hidden.
        retry: Must be ``None``: this transport retries nothing of its own; mount an adapter that does.
        tls_verify: ``True``, ``False`` or a file of authorities, as for the other transports.

    Attributes:
        session: The session, for adapters and proxies.

    Raises:
        ValueError: ``retry`` is given.

    As thread-safe as ``requests.Session``. Failures are the exceptions of ``requests``, which are ``OSError``.
    """

    def __init__(
        self,
        logger: Any,
        endpoint: str | None = None,
        max_connections: int | None = None,
        timeout: Any = None,
        verbosity: str | None = None,
        *,
        retry: RetryPolicy | None = None,
        tls_verify: Any = None,
    ) -> None:
        endpoint = resolve_endpoint(endpoint)
        super().__init__(logger, endpoint, max_connections, timeout, verbosity)
        if retry is not None:
            raise ValueError("the requests transport has no retry policy: mount an adapter instead")
        self._base = endpoint
        self._limits: tuple[float | None, float | None]
        if timeout is None:
            self._limits = (_DEFAULT_TIMEOUT_S, _DEFAULT_TIMEOUT_S)
        elif isinstance(timeout, Timeout):
            self._limits = (timeout.connect, timeout.read)
        else:
            self._limits = (timeout, timeout)
        self.session = _Session()
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=self.max_connections)
        self.session.mount("http://", adapter)
        self.session.mount("https://", adapter)
        if endpoint.startswith("https"):
            self.session.verify = resolve_tls_verify(tls_verify, endpoint)

    def requires_access_key(self) -> bool:
        """Return true: the platform refuses requests without one."""
        return True

    def close(self) -> None:
        """Close the session; idempotent."""
        self.session.close()

    def send_request(self, request: Request) -> Request:
        """Do the whole exchange; see the base class.

        Raises:
            requests.RequestException: The network failed.
        """
        headers, body = request.headers, request.body
        self.log(
            "Tx", method=request.method, path=request.encode_path(), headers=hidden_key(headers)
        )
        request.transport = self.session.request(
            request.method,
            self._base + request.encode_path(),
            data=bytes(body) if isinstance(body, (bytearray, memoryview)) else body,
            headers=headers,
            timeout=self._limits,
            verify=self.session.verify,  # else REQUESTS_CA_BUNDLE would win over it
        )
        return request

    def wait_response(
        self, request: Request, raise_for_status: Any = None, num_retries: int = 1
    ) -> Response:
        """Return the answer; see the base class.

        Raises:
            HttpResponseError: The status is not accepted.
        """
        reply: requests.Response = request.transport
        request.transport = None
        self.log("Rx", status_code=reply.status_code, body=reply.content)
        response = Response(request.output, reply.status_code, reply.headers, reply.content)
        del reply  # an error's traceback would keep it, and with it the connection pool
        response.raise_for_status(request.raise_for_status or raise_for_status)
        return response
