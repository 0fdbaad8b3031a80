"""The connection class over requests. Source: loudml-python 1.6.3, ``connection.http_requests``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from loudml.connection.backend import BackendConnection
from loudml.errors import ImproperlyConfigured

__all__ = ["RequestsHttpConnection"]


class RequestsHttpConnection(BackendConnection):
    """A node spoken to through requests, which is imported when the first one is made.

    For ``http_auth`` objects that sign requests of that library, such as ``AWS4Auth``, and for the proxies of the
    environment, which is looked at once, at construction; so is ``REQUESTS_CA_BUNDLE``, used if ``ca_certs`` is not
    given. The other options are those of :class:`~loudml.connection.backend.BackendConnection`.

    Attributes:
        session: The ``requests.Session``; hooks and adapters may be added to it.

    Raises:
        ImproperlyConfigured: ``ca_certs`` with ``verify_certs=False``, or as for the base class.
    """

    backend_name = "requests"

    _session_auth: Any = None

    def __init__(
        self,
        host: str = "localhost",
        port: int = 8077,
        http_auth: Any = None,
        use_ssl: bool = False,
        verify_certs: bool = True,
        ca_certs: str | None = None,
        client_cert: str | None = None,
        client_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        if ca_certs and not verify_certs:
            raise ImproperlyConfigured("You cannot pass CA certificates when verify SSL is off.")
        super().__init__(
            host,
            port,
            http_auth,
            use_ssl,
            # The default must not be taken for an option given beside an ssl_context.
            None if verify_certs else False,
            ca_certs,
            client_cert,
            client_key,
            headers=headers,
            **kwargs,
        )

    def _take_auth(self, auth: Any) -> None:
        if isinstance(auth, (str, tuple, list)):
            super()._take_auth(auth)
        elif callable(auth):
            self._session_auth = auth
        else:
            raise ImproperlyConfigured(
                f"http_auth of type {type(auth).__name__}: expected (user, password), 'user:password' "
                "or an auth object of requests"
            )

    def _sends_credentials(self) -> bool:
        return super()._sends_credentials() or self.session.auth is not None

    def _trusted(self, ca_certs: str | None) -> str:
        environment = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        return ca_certs or environment or super()._trusted(ca_certs)

    def _make_backend(self) -> Any:
        import requests
        from transport_utils.backends.requests import RequestsBackend

        url = f"{self.host}{self.url_prefix}/"
        proxy = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))
        if proxy:
            self._endpoint = self._endpoint.replace(proxy=proxy)
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.auth = self._session_auth
        return RequestsBackend(self.session)

    def close(self) -> None:
        """Close all connections to the node; idempotent."""
        super().close()
        self.session.close()
