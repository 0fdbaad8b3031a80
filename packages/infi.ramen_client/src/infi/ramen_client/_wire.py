"""Requests as bytes, and where they go.

The head is built here to the letter of 1.40 (names, casing and order of the headers, the slash before ``?``), and the
native backend of transport_utils carries it. Through a proxy the urllib3 backend does, which has its own order.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from infi.ramen_client._version import __version__
from infi.ramen_client.config import QueueReaderConfig
from infi.ramen_client.names import is_name
from infi.ramen_client.replies import Reply
from infi.ramen_client.serialization import deflate, inflate

if TYPE_CHECKING:
    from transport_utils.endpoint import Endpoint

__all__ = ["ENCODINGS", "Wire", "decoded"]

ENCODINGS = ("zlib", "gzip")
MAX_CONNECT_S = 5.0


_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]*", re.ASCII).fullmatch


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return text if _UNRESERVED(text) else quote(text, safe="")


def _part(value: Any) -> str:
    text = str(value)
    return text if is_name(text) else _quoted(text)


@functools.lru_cache(maxsize=1024)
def _start_of_target(
    category: Any, serial: int, sender: str, data_type: Any, data_version: Any, version: str
) -> str:
    return (
        f"/ramen/v1/{_part(category)}/{serial}/{_part(sender)}.{_part(data_type)}.{_part(data_version)}"
        f"/?version={_quoted(version)}&reqid="
    )


class Wire:
    """Builds the requests of one reader.

    Args:
        config: Sender, serial, version and timeout are read anew for every request; host, token, TLS and proxy once.
        encoding: ``"zlib"``: the body is the stored zlib stream, under the header ``Content-Encoding: gzip`` that 1.40
            sent with it. ``"gzip"``: it is real gzip.
        trust_env: Whether proxies and netrc of the environment are used. A file of certificates that it names in
            ``REQUESTS_CA_BUNDLE`` or ``CURL_CA_BUNDLE`` always is, as in 1.40.

    Raises:
        ValueError: Unknown encoding.
    """

    def __init__(
        self, config: QueueReaderConfig, *, encoding: str = "zlib", trust_env: bool = False
    ) -> None:
        if encoding not in ENCODINGS:
            raise ValueError(f"encoding is {encoding!r}: expected one of {', '.join(ENCODINGS)}")
        self.config = config
        self.encoding = encoding
        self._trust_env = trust_env
        self._host = config.hostname
        self._scheme = "https" if config.ssl else "http"
        self._token = config.auth_token
        self._proxy = config.proxy
        self._endpoint: Endpoint | None = None
        self._fields = ""

    @property
    def base_url(self) -> str:
        """Scheme and host, for people."""
        return f"{self._scheme}://{self._host}"

    @property
    def endpoint(self) -> Endpoint:
        """Where requests go.

        Raises:
            transport_utils.errors.ConfigurationError: Host, token or proxy cannot be used.
        """
        if self._endpoint is None:
            from transport_utils.deadline import Timeout
            from transport_utils.endpoint import Endpoint
            from transport_utils.headers import check_field
            from transport_utils.url import parse_node_url

            parts = parse_node_url(self.base_url)
            host = f"[{parts.host}]" if ":" in parts.host else parts.host
            usual = 443 if self._scheme == "https" else 80
            fields = {
                "Host": host if parts.port == usual else f"{host}:{parts.port}",
                "User-Agent": f"infi.ramen_client/{__version__}",
                "Accept-Encoding": "gzip, deflate",
                "Accept": "*/*",
                "Connection": "keep-alive",
                "X-API-Token": self._token,
                **self._authorization(parts.host),
                "Content-Type": "application/json",
                "Content-Encoding": "gzip",
            }
            for name, value in fields.items():
                check_field(name, value)
            self._fields = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            del fields["Host"], fields["Connection"]
            self._endpoint = Endpoint(
                self._scheme,
                parts.host,
                parts.port,
                headers=fields,
                timeout=Timeout(connect=MAX_CONNECT_S),
                max_connections=1,
                tls=self._tls(),
                proxy=self.proxy(parts.host),
            )
        return self._endpoint

    def proxy(self, host: str) -> str | None:
        """Return the proxy's URL: the configured one, else that of the environment if it is trusted."""
        if self._proxy is not None or not self._trust_env:
            return self._proxy
        from urllib.request import getproxies, proxy_bypass

        return None if proxy_bypass(host) else getproxies().get(self._scheme)

    def ignored_proxy(self) -> str | None:
        """Return the name of a proxy variable that is set and not used, to be named when connecting fails."""
        if self._trust_env or self._proxy is not None:
            return None
        names = (f"{self._scheme.upper()}_PROXY", f"{self._scheme}_proxy")
        return next((name for name in names if os.environ.get(name)), None)

    def _authorization(self, host: str) -> dict[str, str]:
        if not self._trust_env:
            return {}
        import base64
        import netrc

        try:
            found = netrc.netrc().authenticators(host)
        except (OSError, netrc.NetrcParseError):
            return {}
        if found is None:
            return {}
        login = base64.b64encode(f"{found[0]}:{found[2]}".encode()).decode()
        return {"Authorization": f"Basic {login}"}

    def _tls(self) -> Any:
        if self._scheme != "https":
            return None
        from transport_utils.tls import TlsConfig

        bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        return TlsConfig(trust=bundle) if bundle else TlsConfig()

    def target(self, row: Mapping[str, Any] | Any, reqid: str) -> str:
        """Return path and query of a message."""
        config = self.config
        start = _start_of_target(
            row["category"],
            config.system_serial,
            config.sender,
            row["data_type"],
            row["data_version"],
            config.system_version,
        )
        return start + _quoted(reqid)

    def body(self, stream: bytes) -> bytes:
        """Return the body for a stored zlib stream.

        Raises:
            TypeError: It is not even bytes.
            ValueError: It had to be read for ``"gzip"``, and is damaged. Else the server is the judge of that.
        """
        if not isinstance(stream, bytes):
            raise TypeError(f"data is of type {type(stream).__name__}, not bytes")
        if self.encoding == "zlib":
            return stream
        import gzip

        return gzip.compress(inflate(stream), 6, mtime=0)

    def test_body(self) -> bytes:
        """Return the body of ``test_connection``: an empty object, compressed like every other body."""
        return self.body(deflate(b"{}"))

    def payload(self, target: str, body: bytes) -> bytes:
        """Return the bytes of a whole request; :attr:`endpoint` must have been used before."""
        head = f"POST {target} HTTP/1.1\r\n{self._fields}Content-Length: {len(body)}\r\n\r\n"
        return head.encode("latin-1") + body

    def timeout_s(self) -> float | None:
        """Return the limit of one whole request in seconds, ``None`` for none."""
        return self.config.server_timeout


def decoded(status: int, headers: Mapping[str, str], body: bytes) -> Reply:
    """Return a reply with its body decompressed, or as it came when that is not possible."""
    encoding = headers.get("content-encoding")
    if encoding:
        from transport_utils.compression import decode_body
        from transport_utils.errors import TransportError

        try:
            body = decode_body(body, encoding)
        except TransportError as error:
            body = f"(undecodable {encoding} body: {error})".encode()
    return Reply(status, headers, body)
