"""TLS options, and the one shared context that is made from equal ones.

Used by the connection pools, by the compatibility backends and by clients that translate their historic options. A
context is built once per distinct :class:`TlsConfig` and process, whatever the number of nodes and transports:
loading the trust store costs more than many requests. Contradictory options are refused instead of ranked.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import re
import socket
import ssl
from typing import Any

from transport_utils.deadline import Deadline
from transport_utils.endpoint import Endpoint
from transport_utils.errors import (
    CertificateError,
    ConfigurationError,
    ConnectTimeout,
    FingerprintMismatch,
    TlsError,
)

__all__ = [
    "TlsConfig",
    "check_pins",
    "config_for",
    "context_for",
    "server_name",
    "tls_error",
    "wrap",
]

_DIGESTS = {40: "sha1", 64: "sha256"}


@dataclasses.dataclass(frozen=True, slots=True)
class TlsConfig:
    """How to speak TLS with an endpoint; immutable, hashable, shareable.

    Args:
        verify: Whether the certificate must be trusted and be the host's. With ``False`` anybody may answer, unless
            ``fingerprints`` pin the certificate.
        trust: Who is trusted: ``"certifi"`` (Mozilla's list as packaged), ``"system"`` (the operating system's
            store, through truststore where installed), the path of a PEM file or of a folder of hashed certificates, or
            PEM text.
        cert: Path of the client certificate (PEM, intermediates after it); ``None`` for none.
        key: Path of its key; ``None`` when it is in ``cert``.
        key_password: Password of the key; ``None`` when it is not encrypted.
        fingerprints: SHA-256 or SHA-1 of acceptable certificates as hex, colons allowed. One must match the peer's own
            certificate or, with ``verify``, one of the verified chain above it. (Without ``verify`` the rest of the
            chain proves nothing: anybody can send a copy of it.)
        assert_hostname: Name the certificate must have and that is sent as server name, instead of the host;
            ``False`` accepts any name of a trusted certificate.
        minimum_version: Lowest protocol version.
        maximum_version: Highest; ``None`` for the newest there is.
        context: A context of your own, used as it is; then only ``fingerprints`` and ``assert_hostname`` may
            accompany it.

    Raises:
        ConfigurationError: Options contradict each other or a fingerprint is malformed. Files are read by
            :meth:`build`.
    """

    verify: bool = True
    trust: str | bytes = "certifi"
    cert: str | None = None
    key: str | None = None
    key_password: str | bytes | None = dataclasses.field(default=None, repr=False)
    fingerprints: tuple[str, ...] = ()
    assert_hostname: str | bool | None = None
    minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    maximum_version: ssl.TLSVersion | None = None
    context: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        pins: Any = self.fingerprints
        pins = (pins,) if isinstance(pins, str) else pins
        object.__setattr__(self, "fingerprints", tuple(map(_clean_fingerprint, pins)))
        if not isinstance(self.verify, bool):
            raise ConfigurationError(
                f"verify={self.verify!r}: expected True or False; give a file or folder as trust="
            )
        if self.assert_hostname is True:
            raise ConfigurationError("assert_hostname=True: expected a name, False or None")
        if self.context is not None:
            clash = [name for name in _CONTEXT_OPTIONS if getattr(self, name) != _DEFAULTS[name]]
            if clash:
                raise ConfigurationError(
                    f"context and {', '.join(clash)} exclude each other: set these on your context"
                )
        if not self.verify and self.trust != "certifi":
            raise ConfigurationError("verify=False and trust exclude each other")
        if self.cert is None and (self.key is not None or self.key_password is not None):
            raise ConfigurationError("key and key_password need cert")
        if self.maximum_version is not None and self.maximum_version < self.minimum_version:
            raise ConfigurationError("maximum_version is below minimum_version")

    def build(self) -> ssl.SSLContext:
        """Return the context of these options, the same one for equal options.

        Raises:
            ConfigurationError: A file is missing or unusable, the key's password is wrong, or truststore is needed and
                missing.
        """
        return self.context if self.context is not None else _build(self)


_CONTEXT_OPTIONS = (
    "verify",
    "trust",
    "cert",
    "key",
    "key_password",
    "minimum_version",
    "maximum_version",
)
_DEFAULTS: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(TlsConfig)}


def _clean_fingerprint(text: str) -> str:
    clean = text.replace(":", "").lower() if isinstance(text, str) else ""
    if len(clean) not in _DIGESTS or not re.fullmatch("[0-9a-f]+", clean):
        raise ConfigurationError(
            f"fingerprint {text!r}: expected the SHA-256 (64 hex digits) or SHA-1 (40) of a certificate"
        )
    return clean


_DEFAULT = TlsConfig()


@functools.lru_cache(maxsize=64)
def _build(config: TlsConfig) -> ssl.SSLContext:
    try:
        context = _new_context(config)
        context.minimum_version = config.minimum_version
        if config.maximum_version is not None:
            context.maximum_version = config.maximum_version
        if config.cert is not None:
            # An empty password keeps OpenSSL from asking on the terminal when the key is encrypted after all.
            password = "" if config.key_password is None else config.key_password
            context.load_cert_chain(config.cert, config.key, password)
    except (OSError, ValueError) as cause:
        raise ConfigurationError(
            f"TLS options cannot be used (trust={_shown(config.trust)}, cert={config.cert!r}, key={config.key!r}): "
            f"{cause}; check that the files exist, are PEM, and that the key's password is right"
        ) from cause
    context.set_alpn_protocols(["http/1.1"])
    key_log = os.environ.get("SSLKEYLOGFILE")
    if key_log:
        context.keylog_filename = key_log
    return context


def _new_context(config: TlsConfig) -> ssl.SSLContext:
    if not config.verify:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    trust = config.trust
    if trust == "system":
        context = _system_context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if trust == "certifi":
            import certifi

            context.load_verify_locations(certifi.where())
        elif isinstance(trust, bytes) or "-----BEGIN" in trust:
            text = trust.decode("ascii") if isinstance(trust, bytes) else trust
            context.load_verify_locations(cadata=text)
        elif os.path.isdir(trust):
            context.load_verify_locations(capath=trust)
        else:
            context.load_verify_locations(trust)
    if config.assert_hostname is False:
        context.check_hostname = False
    return context


def _system_context() -> ssl.SSLContext:
    try:
        import truststore
    except ImportError:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_default_certs()
        return context
    made: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return made


def _shown(trust: str | bytes) -> str:
    return "<PEM>" if isinstance(trust, bytes) or "-----BEGIN" in trust else repr(trust)


def config_for(endpoint: Endpoint) -> TlsConfig:
    """Return the endpoint's TLS options, or the defaults.

    Raises:
        ConfigurationError: ``endpoint.tls`` is something else.
    """
    tls = endpoint.tls
    if tls is None:
        return _DEFAULT
    if isinstance(tls, TlsConfig):
        return tls
    if isinstance(tls, ssl.SSLContext):
        return TlsConfig(context=tls)
    raise ConfigurationError(f"tls={tls!r}: expected a TlsConfig, an ssl.SSLContext or None")


def context_for(endpoint: Endpoint) -> ssl.SSLContext:
    """Return the context for an https endpoint; see :meth:`TlsConfig.build`."""
    return config_for(endpoint).build()


def server_name(endpoint: Endpoint) -> str:
    """Return the name to send to the server and to look for in its certificate."""
    name = config_for(endpoint).assert_hostname
    return name if isinstance(name, str) else endpoint.host


def wrap(sock: socket.socket, endpoint: Endpoint, deadline: Deadline) -> ssl.SSLSocket:
    """Shake hands on a connected socket and check the pins; the socket is closed if that fails.

    Raises:
        CertificateError: The certificate is not trusted or of another host.
        ConnectTimeout: The handshake did not end before the deadline.
        FingerprintMismatch: No pin matches.
        TlsError: Any other failure.
    """
    import time

    where = endpoint.base_url
    try:
        left = deadline.bound(None, time.monotonic())
        if left is not None and left <= 0:
            raise TimeoutError("no time left")
        sock.settimeout(left)
        # Closes the plain socket itself when it fails.
        secured = context_for(endpoint).wrap_socket(sock, server_hostname=server_name(endpoint))
    except TimeoutError as cause:
        sock.close()
        raise ConnectTimeout(
            f"the TLS handshake with {where} did not end in time", node=where
        ) from cause
    except ConfigurationError:
        sock.close()
        raise
    except (OSError, ValueError) as cause:
        sock.close()
        raise tls_error(cause, where) from cause
    try:
        check_pins(secured, endpoint)
    except BaseException:
        secured.close()
        raise
    return secured


def tls_error(cause: Exception, where: str) -> TlsError:
    """Return the error for a failed handshake with the node ``where``."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        return CertificateError(
            f"the certificate of {where} is not accepted: {cause.verify_message}; "
            "check the host name, or give the authority as TlsConfig(trust=...)",
            node=where,
        )
    return TlsError(f"the TLS handshake with {where} failed: {cause}", node=where)


def check_pins(secured: ssl.SSLSocket | ssl.SSLObject, endpoint: Endpoint) -> None:
    """Compare the peer's certificates with the endpoint's fingerprints, if it has any.

    Raises:
        FingerprintMismatch: None matches.
    """
    pins = config_for(endpoint).fingerprints
    if not pins:
        return
    leaf = secured.getpeercert(True)
    chain = [] if leaf is None else [leaf]
    if secured.context.verify_mode is ssl.CERT_REQUIRED:
        chain += _verified_chain(secured)
    for certificate in chain:
        for pin in pins:
            if (
                hashlib.new(_DIGESTS[len(pin)], certificate, usedforsecurity=False).hexdigest()
                == pin
            ):
                return
    seen = hashlib.sha256(leaf or b"").hexdigest()
    raise FingerprintMismatch(
        f"none of the pinned fingerprints matches the certificate of {endpoint.base_url}, whose SHA-256 is {seen}",
        node=endpoint.base_url,
    )


def _verified_chain(secured: Any) -> list[bytes]:
    """Return the chain as DER; public from Python 3.13 on, the same call one level down before."""
    if hasattr(secured, "get_verified_chain"):
        return [bytes(one) for one in secured.get_verified_chain()]
    import _ssl

    chain = secured._sslobj.get_verified_chain() or []
    return [one.public_bytes(_ssl.ENCODING_DER) for one in chain]


_DEFAULT = TlsConfig()
