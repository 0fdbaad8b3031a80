"""CURVE keys of a cluster: every socket encrypts and authenticates, plain peers are refused.

One pair per party; servers (whatever binds) accept the public keys in their allow-list, clients (whatever connects)
know the one public key of the cluster's servers. Original peers cannot join such a cluster.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import threading
from typing import Any

import transport_utils.errors
import zmq

__all__ = ["Curve", "create_keys", "load_curve"]


@dataclasses.dataclass(frozen=True)
class Curve:
    """The keys one party holds.

    Args:
        public: Own public key, 40 characters of Z85.
        secret: Own secret key; never shown by ``repr``.
        server: Public key of the cluster's servers, for connecting sockets.
        allowed: Directory with the ``*.key`` certificates of peers that may connect to us; ``None`` lets every peer in
            that knows the servers' public key (encryption without authentication of clients).
    """

    public: bytes
    secret: bytes = dataclasses.field(repr=False)
    server: bytes
    allowed: str | None = None

    def apply(self, socket: zmq.Socket[bytes], *, as_server: bool) -> None:
        """Set the keys on a socket before it binds (``as_server``) or connects."""
        socket.curve_publickey = self.public
        socket.curve_secretkey = self.secret
        if as_server:
            _authenticate(socket.context, self.allowed)
            socket.curve_server = True
        else:
            socket.curve_serverkey = self.server


_authenticators: dict[int, tuple[Any, Any]] = {}
_lock = threading.Lock()


def _authenticate(context: zmq.Context[Any], allowed: str | None) -> None:
    """Start the context's authenticator once; it ends with :func:`stop_authenticator`."""
    with _lock:
        known = _authenticators.get(id(context))
        if known is not None and known[0] is context:
            return
        import zmq.auth
        from zmq.auth.thread import (
            ThreadAuthenticator,  # brings asyncio along: not before it is needed
        )

        authenticator = ThreadAuthenticator(context)
        authenticator.start()
        authenticator.configure_curve(
            domain="*", location=zmq.auth.CURVE_ALLOW_ANY if allowed is None else allowed
        )
        _authenticators[id(context)] = (context, authenticator)


def stop_authenticator(context: zmq.Context[Any]) -> None:
    """Stop the authenticator of a context before the context is terminated; harmless without one."""
    with _lock:
        known = _authenticators.pop(id(context), None)
    if known is not None:
        known[1].stop()


def create_keys(folder: str | os.PathLike[str], name: str) -> tuple[str, str]:
    """Write a new key pair ``<name>.key`` and ``<name>.key_secret`` (readable by the owner only).

    Returns:
        The two paths.

    Raises:
        FileExistsError: A pair of that name is there; it is not overwritten.
    """
    import zmq.auth

    place = pathlib.Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    for suffix in (".key", ".key_secret"):
        if (place / f"{name}{suffix}").exists():
            raise FileExistsError(
                f"{place / name}{suffix} exists; choose another name or remove it"
            )
    before = os.umask(0o077)
    try:
        public, secret = zmq.auth.create_certificates(str(place), name)
    finally:
        os.umask(before)
    with contextlib.suppress(OSError):
        os.chmod(public, 0o644)
    return public, secret


def load_curve(
    secret_file: str | os.PathLike[str],
    server_file: str | os.PathLike[str],
    allowed: str | None = None,
) -> Curve:
    """Read the keys of a party from the files :func:`create_keys` wrote.

    Args:
        secret_file: Own ``*.key_secret``.
        server_file: ``*.key`` of the cluster's servers.
        allowed: See :class:`Curve`.

    Raises:
        ConfigurationError: A file holds no key, or the secret file no secret one.
        OSError: A file cannot be read.
    """
    import zmq.auth

    public, secret = zmq.auth.load_certificate(secret_file)
    server, _ = zmq.auth.load_certificate(server_file)
    if secret is None:
        raise transport_utils.errors.ConfigurationError(
            f"{secret_file} holds no secret key; give the .key_secret file"
        )
    return Curve(public, secret, server, allowed)
