"""Is the service at an address one of this generation? Answered by the ZMTP handshake, before any message.

Our cache and request services are ROUTER sockets where the originals' are REP; the handshake names the type. The
clients and workers of the first API need this: a question in a message would kill an old master's cache service, and
would change the bytes old peers see. Source: ZMTP 3.0 (NULL mechanism); faults E-7, E-30.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Final

__all__ = ["Peer", "open_stream", "probe", "shake"]

_GREETING: Final = (
    b"\xff" + bytes(8) + b"\x7f" + bytes((3, 0)) + b"NULL".ljust(20, b"\0") + b"\0" + bytes(31)
)
_LIMIT: Final = 4096


class Peer:
    """What a handshake showed.

    Args:
        socket_type: ``ROUTER``, ``REP`` ...; empty when nobody answered.
        local_host: Our own address as the peer sees it; empty when not TCP.
    """

    __slots__ = ("is_known", "is_new", "local_host", "socket_type")

    def __init__(self, socket_type: str = "", local_host: str = "") -> None:
        self.socket_type = socket_type
        self.local_host = local_host
        self.is_new = socket_type == "ROUTER"
        """Whether the service is one of this generation."""
        self.is_known = bool(socket_type)
        """Whether anybody answered."""


def probe(address: str, timeout_s: float = 0.5) -> Peer:
    """Shake hands with the service at ``address`` and hang up; return what it said.

    Args:
        address: ``tcp://`` or ``ipc://``; an ``inproc://`` peer is of this generation.
        timeout_s: Longest wait, seconds; nobody there is no error.
    """
    if address.startswith("inproc:"):
        return Peer("ROUTER")
    with (
        contextlib.suppress(OSError, ValueError, struct.error),
        open_stream(address, timeout_s) as stream,
    ):
        local = str(stream.getsockname()[0]) if stream.family != socket.AF_UNIX else ""
        return Peer(shake(stream), local)
    return Peer()


def open_stream(address: str, timeout_s: float) -> socket.socket:
    """Return a stream socket connected to a ``tcp://`` or ``ipc://`` address, with the timeout set.

    Raises:
        OSError: Nobody listens there.
        ValueError: The address is of another kind.
    """
    scheme, _, rest = address.partition("://")
    if scheme == "tcp":
        host, _, port = rest.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), timeout_s)
    if scheme != "ipc":
        raise ValueError(f"{address} is not a stream")
    stream = socket.socket(socket.AF_UNIX)
    try:
        stream.settimeout(timeout_s)
        stream.connect(rest)
    except BaseException:
        stream.close()
        raise
    return stream


def shake(stream: socket.socket) -> str:
    """Introduce ourselves as REQ; return the peer's socket type, empty when it speaks something else.

    Raises:
        OSError: The peer hung up or did not answer in time.
    """
    stream.sendall(_GREETING)
    if _read(stream, 64)[:1] != b"\xff":
        return ""
    body = b"\x05READY" + _property(b"Socket-Type", b"REQ")
    stream.sendall(bytes((4, len(body))) + body)
    flags, size = _read(stream, 2)
    if flags & 2:
        size = struct.unpack(">Q", bytes((size,)) + _read(stream, 7))[0]
    if not flags & 4 or size > _LIMIT:
        return ""
    body = _read(stream, size)
    if body[:6] != b"\x05READY":
        return ""
    return _properties(body[6:]).get(b"socket-type", b"").decode("ascii", "replace")


def _property(name: bytes, value: bytes) -> bytes:
    return bytes((len(name),)) + name + struct.pack(">I", len(value)) + value


def _properties(data: bytes) -> dict[bytes, bytes]:
    found = {}
    while data:
        size = data[0]
        name, data = data[1 : 1 + size], data[1 + size :]
        (length,) = struct.unpack(">I", data[:4])
        found[name.lower()], data = data[4 : 4 + length], data[4 + length :]
    return found


def _read(stream: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = stream.recv(size - len(data))
        if not part:
            raise ConnectionError("closed during the handshake")
        data += part
    return data
