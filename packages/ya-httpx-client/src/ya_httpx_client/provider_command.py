"""What ``python -m ya_httpx_client`` does on a provider: send a request from a file, write the response to a file.

Standard library only: a provider's image needs Python and this package, nothing else.
"""

from __future__ import annotations

import http.client
import socket
import urllib.parse

from ya_httpx_client.serializable_request import Request, Response

__all__ = ["mount_url", "send"]

TIMEOUT_S = 300.0
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def mount_url(url: str) -> str:
    """Return a server address in the form requests are re-based on.

    ``unix:///tmp/golem.sock/`` becomes ``http+unix://%2Ftmp%2Fgolem.sock``; other addresses lose one ``/`` at the
    end.

    Raises:
        ValueError: No ``://`` in it.
    """
    if "://" not in url:
        raise ValueError(f"Missing schema in url {url}")
    schema, _, rest = url.partition("://")
    schema = "http+unix" if schema == "unix" else schema
    rest = rest.removesuffix("/")
    if rest.startswith("/"):
        rest = rest.replace("/", "%2F")
    return f"{schema}://{rest}"


def send(request: Request, timeout_s: float = TIMEOUT_S) -> Response:
    """Send a request whose URL has been re-based and return the whole response.

    Args:
        request: ``http``, ``https`` or ``http+unix``. Its ``Host`` field, if any, is kept.
        timeout_s: Longest silence of the server, seconds.

    Raises:
        OSError: The server cannot be reached or went silent.
        http.client.HTTPException: It does not speak HTTP.
        ValueError: Another scheme.
    """
    parts = urllib.parse.urlsplit(request.url)
    connection: http.client.HTTPConnection
    if parts.scheme == "http+unix":
        connection = _UnixConnection(urllib.parse.unquote(parts.netloc))
    elif parts.scheme == "http":
        connection = http.client.HTTPConnection(parts.netloc, timeout=timeout_s)
    elif parts.scheme == "https":
        connection = http.client.HTTPSConnection(parts.netloc, timeout=timeout_s)
    else:
        raise ValueError(f"cannot send to {request.url}: expected http, https or unix")
    items = [item for item in request.header_items if item[0].lower() not in HOP_BY_HOP]
    names = {name.lower() for name, _ in items}
    try:
        connection.putrequest(
            request.method,
            request.target,
            skip_host="host" in names,
            skip_accept_encoding=True,
        )
        for name, value in items:
            if name.lower() != "content-length":
                connection.putheader(name, value)
        if request.data or "content-length" in names or request.method in ("POST", "PUT", "PATCH"):
            connection.putheader("Content-Length", str(len(request.data)))
        connection.putheader("Connection", "close")
        connection.endheaders(request.data or None)
        answer = connection.getresponse()
        body = answer.read()
        kept = [item for item in answer.getheaders() if item[0].lower() not in HOP_BY_HOP]
        return Response(answer.status, body, kept)
    finally:
        connection.close()
