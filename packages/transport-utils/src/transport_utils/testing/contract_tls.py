"""The part of the backend contract that is about TLS."""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
import trustme

from transport_utils import errors
from transport_utils.backends import HttpBackend
from transport_utils.deadline import Timeout
from transport_utils.endpoint import Endpoint
from transport_utils.errors import SentState
from transport_utils.testing.faults import Answer, FaultServer
from transport_utils.testing.promises import HELLO, Promises
from transport_utils.tls import TlsConfig

__all__ = ["TlsPromises"]


@functools.cache
def _authority() -> trustme.CA:
    return trustme.CA()


class TlsPromises(Promises):
    """See :class:`transport_utils.testing.contract.BackendContract`."""

    @pytest.fixture
    def authority(self) -> trustme.CA:
        return _authority()

    @contextlib.contextmanager
    def tls_server(
        self, authority: trustme.CA, *names: str, **options: Any
    ) -> Iterator[tuple[FaultServer, trustme.LeafCert]]:
        """Run a server with a certificate of ``authority``."""
        certificate = authority.issue_cert(*(names or ("127.0.0.1",)), **options)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        with FaultServer(Answer(body=b"x" * 100_000), tls=context) as server:
            yield server, certificate

    def trusting(self, authority: trustme.CA, **options: Any) -> TlsConfig:
        """Return TLS options that trust ``authority``."""
        return TlsConfig(trust=authority.cert_pem.bytes(), **options)

    def test_tls_with_an_authority_of_ones_own(
        self, backend: HttpBackend, authority: trustme.CA
    ) -> None:
        with self.tls_server(authority) as (server, _):
            endpoint = self.endpoint(server, tls=self.trusting(authority))
            assert len(self.send(backend, endpoint).content) == 100_000
            assert self.send(backend, endpoint, total_s=5.0).reused is True
            with self.send(backend, endpoint, stream=True) as response:
                assert len(response.content) == 100_000

    def test_tls_certificate_of_nobody_known(
        self, backend: HttpBackend, authority: trustme.CA
    ) -> None:
        with (
            self.tls_server(authority) as (server, _),
            self.fails(errors.CertificateError, SentState.NOT_SENT),
        ):
            self.send(backend, self.endpoint(server))

    def test_tls_certificate_of_another_host(
        self, backend: HttpBackend, authority: trustme.CA
    ) -> None:
        with self.tls_server(authority, "example.org") as (server, _):
            with self.fails(errors.CertificateError, SentState.NOT_SENT):
                self.send(backend, self.endpoint(server, tls=self.trusting(authority)))
            named = self.trusting(authority, assert_hostname="example.org")
            endpoint = Endpoint.from_url(server.url, tls=named)
            assert self.send(self.another(backend), endpoint).status == 200

    def test_tls_certificate_of_yesterday(
        self, backend: HttpBackend, authority: trustme.CA
    ) -> None:
        expired = datetime.datetime(2001, 1, 1, tzinfo=datetime.timezone.utc)
        expected = self.fails(errors.CertificateError, SentState.NOT_SENT)
        with self.tls_server(authority, not_after=expired) as (server, _), expected:
            self.send(backend, self.endpoint(server, tls=self.trusting(authority)))

    def test_tls_pins(self, backend: HttpBackend, authority: trustme.CA) -> None:
        with self.tls_server(authority) as (server, certificate):
            der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
            leaf = hashlib.sha256(der).hexdigest()
            pinned = TlsConfig(verify=False, fingerprints=(leaf,))
            endpoint = Endpoint.from_url(server.url, tls=pinned)
            assert self.send(backend, endpoint).status == 200
            wrong = TlsConfig(verify=False, fingerprints=("00" * 32,))
            endpoint = Endpoint.from_url(server.url, tls=wrong)
            with self.fails(errors.FingerprintMismatch, SentState.NOT_SENT):
                self.send(self.another(backend), endpoint)

    @pytest.mark.parametrize("fault", ["close", "stall"])
    def test_tls_handshake_that_fails(self, backend: HttpBackend, fault: str) -> None:
        with FaultServer(HELLO, tls_fault=fault) as server:
            kind = errors.ConnectTimeout if fault == "stall" else errors.ConnectionFailed
            with self.fails(kind, SentState.NOT_SENT):
                self.send(backend, self.endpoint(server), timeout=Timeout(connect=0.3))
