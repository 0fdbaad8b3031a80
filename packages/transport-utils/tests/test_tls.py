import ssl

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from transport_utils.errors import ConfigurationError
from transport_utils.tls import TlsConfig


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    certificate = authority.issue_cert("client.example")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    (folder / "cert.pem").write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
    locked = serialization.BestAvailableEncryption(b"sesame")
    form = serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, locked))
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    return folder


def test_equal_options_share_one_context():
    assert TlsConfig().build() is TlsConfig().build()
    assert TlsConfig().build() is not TlsConfig(minimum_version=ssl.TLSVersion.TLSv1_3).build()


def test_the_defaults_are_strict():
    context = TlsConfig().build()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_versions_are_bounded():
    context = TlsConfig(maximum_version=ssl.TLSVersion.TLSv1_2).build()
    assert context.maximum_version is ssl.TLSVersion.TLSv1_2


def test_authorities_come_from_a_file_or_from_text(authority, files):
    text = authority.cert_pem.bytes().decode()
    for trust in (str(files / "ca.pem"), text, text.encode()):
        (found,) = TlsConfig(trust=trust).build().get_ca_certs()
        assert ("organizationName", "trustme v" + trustme.__version__) in [
            pair for group in found["subject"] for pair in group
        ]


def test_a_client_certificate_is_loaded_with_its_password(files):
    TlsConfig(cert=str(files / "both.pem")).build()
    TlsConfig(
        cert=str(files / "cert.pem"), key=str(files / "key.pem"), key_password="sesame"
    ).build()


@pytest.mark.parametrize(
    "options",
    [
        {"trust": "missing.pem"},
        {"trust": "ca.pem:not a file"},
        {"cert": "missing.pem"},
        {"cert": "cert.pem"},
        {"cert": "cert.pem", "key": "key.pem", "key_password": "wrong"},
        {"trust": "key.pem"},
    ],
)
def test_files_that_do_not_serve_are_named_when_they_are_read(files, options):
    named = {
        name: str(files / value) if value.endswith(".pem") else value
        for name, value in options.items()
    }
    with pytest.raises(ConfigurationError) as caught:
        TlsConfig(**named).build()
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"verify": "ca.pem"},
        {"verify": None},
        {"assert_hostname": True},
        {"verify": False, "trust": "system"},
        {"key": "key.pem"},
        {"key_password": "x"},
        {"fingerprints": "abc"},
        {"fingerprints": ["zz" * 32]},
        {"fingerprints": [5]},
        {"maximum_version": ssl.TLSVersion.TLSv1_1},
        {"context": ssl.create_default_context(), "verify": False},
        {"context": ssl.create_default_context(), "cert": "x"},
    ],
)
def test_options_at_odds_are_refused_at_construction(options):
    with pytest.raises(ConfigurationError):
        TlsConfig(**options)


def test_pins_are_taken_as_people_copy_them():
    pin = ":".join(["AB"] * 32)
    assert TlsConfig(fingerprints=pin).fingerprints == ("ab" * 32,)
    assert TlsConfig(fingerprints=["cd" * 20]).fingerprints == ("cd" * 20,)


def test_a_context_of_ones_own_is_used_as_it_is():
    context = ssl.create_default_context()
    assert TlsConfig(context=context, fingerprints="ab" * 32).build() is context


def test_no_password_is_shown():
    assert "sesame" not in repr(TlsConfig(cert="c", key="k", key_password="sesame"))
