"""TLS options: contradictions are refused, equal ones share a context, client certificates and versions work."""

import contextlib
import dataclasses
import hashlib
import ssl

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from transport_utils import errors
from transport_utils.endpoint import Endpoint
from transport_utils.testing import Answer, FaultServer
from transport_utils.tls import TlsConfig, config_for
from transport_utils.transport import Transport

AUTHORITY = trustme.CA()
TRUST = AUTHORITY.cert_pem.bytes().decode()


@contextlib.contextmanager
def serve(**options):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = AUTHORITY.issue_cert("127.0.0.1")
    certificate.configure_cert(context)
    for name, value in options.items():
        setattr(context, name, value)
    if context.verify_mode is ssl.CERT_REQUIRED:
        AUTHORITY.configure_trust(context)
    with FaultServer(Answer(body=b"hello"), tls=context) as server:
        yield server, certificate


def get(server, tls):
    with Transport(Endpoint.from_url(server.url, tls=tls), retry=None) as transport:
        return transport.request("GET", "/x").content


@pytest.fixture
def client(tmp_path):
    """Paths of a client certificate, its key, and its key encrypted with ``secret``."""
    issued = AUTHORITY.issue_cert("client@example.org")
    cert, key, locked = (tmp_path / name for name in ("cert.pem", "key.pem", "locked.pem"))
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    locked.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    return cert, key, locked


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"verify": "ca.pem"}, "trust="),
        ({"verify": False, "trust": "system"}, "trust"),
        ({"key": "k"}, "cert"),
        ({"key_password": "p"}, "cert"),
        ({"fingerprints": ("abc",)}, "SHA-256"),
        ({"fingerprints": "zz" * 32}, "SHA-256"),
        ({"assert_hostname": True}, "assert_hostname"),
        ({"maximum_version": ssl.TLSVersion.TLSv1_1}, "maximum_version"),
        ({"context": ssl.create_default_context(), "verify": False}, "verify"),
        ({"context": ssl.create_default_context(), "cert": "c", "trust": "t"}, "trust, cert"),
    ],
)
def test_pain_17_contradictions_are_refused_by_name(options, named):
    with pytest.raises(errors.ConfigurationError, match=named):
        TlsConfig(**options)


def test_pain_17_equal_options_share_one_context():
    assert TlsConfig().build() is TlsConfig().build()
    assert TlsConfig().build() is not TlsConfig(verify=False).build()
    own = ssl.create_default_context()
    assert TlsConfig(context=own).build() is own


@pytest.mark.parametrize(
    "options",
    [{"trust": "/no/such/file"}, {"cert": "/no/such/file"}, {"trust": b"-----BEGIN nonsense"}],
)
def test_unusable_files_are_named(options):
    with pytest.raises(errors.ConfigurationError, match="TLS options cannot be used"):
        TlsConfig(**options).build()


def test_trust_is_a_file_a_folder_text_or_the_system(tmp_path):
    file = tmp_path / "ca.pem"
    file.write_text(TRUST)
    with serve() as (server, _):
        for trust in (str(file), TRUST, TRUST.encode()):
            assert get(server, TlsConfig(trust=trust)) == b"hello"
        for trust in ("certifi", "system", str(tmp_path)):
            with pytest.raises(errors.CertificateError):
                get(server, TlsConfig(trust=trust))


def test_client_certificate_with_and_without_a_password(client):
    cert, key, locked = client
    with serve(verify_mode=ssl.CERT_REQUIRED) as (server, _):
        for options in ({"key": str(key)}, {"key": str(locked), "key_password": "secret"}):
            assert get(server, TlsConfig(trust=TRUST, cert=str(cert), **options)) == b"hello"
        with pytest.raises(errors.ConnectionFailed):
            get(server, TlsConfig(trust=TRUST))


def test_wrong_or_missing_key_password_is_an_error_and_not_a_prompt(client):
    cert, _, locked = client
    for password in (None, "hunter2"):
        config = TlsConfig(cert=str(cert), key=str(locked), key_password=password)
        with pytest.raises(errors.ConfigurationError, match="password"):
            config.build()
        assert "hunter2" not in repr(config)


def test_old_versions_are_refused():
    with serve(maximum_version=ssl.TLSVersion.TLSv1_2) as (server, _):
        assert get(server, TlsConfig(trust=TRUST)) == b"hello"
        with pytest.raises(errors.TlsError):
            get(server, TlsConfig(trust=TRUST, minimum_version=ssl.TLSVersion.TLSv1_3))
    with serve() as (server, _):
        config = TlsConfig(trust=TRUST, maximum_version=ssl.TLSVersion.TLSv1_2)
        assert get(server, config) == b"hello"


def test_own_context_is_used_as_it_is():
    context = ssl.create_default_context(cadata=TRUST)
    with serve() as (server, _):
        assert get(server, context) == b"hello"
        assert get(server, TlsConfig(context=context)) == b"hello"


def digest(pem, name="sha256"):
    der = ssl.PEM_cert_to_DER_cert(pem.bytes().decode())
    return hashlib.new(name, der).hexdigest()


def test_pins_match_the_leaf_or_the_verified_chain():
    with serve() as (server, certificate):
        leaf = digest(certificate.cert_chain_pems[0])
        colons = ":".join(leaf[at : at + 2] for at in range(0, 64, 2)).upper()
        sha1 = digest(certificate.cert_chain_pems[0], "sha1")
        for pin in (leaf, colons, sha1):
            assert get(server, TlsConfig(verify=False, fingerprints=(pin,))) == b"hello"
        root = digest(AUTHORITY.cert_pem)
        assert get(server, TlsConfig(trust=TRUST, fingerprints=(root,))) == b"hello"
        # Without verification anybody can send a copy of the root along.
        with pytest.raises(errors.FingerprintMismatch, match=leaf):
            get(server, TlsConfig(verify=False, fingerprints=(root,)))


def test_name_to_look_for_can_be_another_or_none():
    with serve() as (server, _):
        with pytest.raises(errors.CertificateError):
            get(server, TlsConfig(trust=TRUST, assert_hostname="example.org"))
        endpoint = Endpoint("https", "localhost", server.port, tls=TlsConfig(trust=TRUST))
        with Transport(endpoint, retry=None) as transport, pytest.raises(errors.CertificateError):
            transport.request("GET", "/x")
        lax = TlsConfig(trust=TRUST, assert_hostname=False)
        with Transport(endpoint.replace(tls=lax), retry=None) as transport:
            assert transport.request("GET", "/x").content == b"hello"


def test_tls_option_of_another_type_is_refused():
    endpoint = Endpoint("https", "h", 1, tls="yes")
    with pytest.raises(errors.ConfigurationError, match="TlsConfig"):
        config_for(endpoint)


def test_session_keys_are_logged_where_the_variable_says(tmp_path, monkeypatch):
    log = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    assert dataclasses.replace(
        TlsConfig(), verify=False, fingerprints=("ab" * 32,)
    ).build().keylog_filename == str(log)
