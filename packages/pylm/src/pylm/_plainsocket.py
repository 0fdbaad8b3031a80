"""A requester without ZeroMQ: ZMTP 3.0 over a stream socket of its own, for one request at a time.

A round trip through ZeroMQ hands each message to a thread of the library and back, on both sides. Here the caller's
thread writes to and reads from the socket itself, which halves the time of a small request. Any REP or ROUTER answers
it, original or not. Used by :class:`pylm.standalone.clients.Client` on request. No keys, no ``inproc``.

Source: ZMTP 3.0 (NULL mechanism, REQ); wire reference, section G10.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import Final

from pylm._probe import open_stream, shake
from pylm.config import ConfigurationError
from pylm.errors import Closed, Malformed, TimedOut

__all__ = ["PlainRequester"]

_RETRY_S: Final = 0.05
_CHUNK: Final = 65536
_FRAME_LIMIT: Final = 2**31
_MORE: Final = 1
_LONG: Final = 2
_COMMAND: Final = 4


class PlainRequester:
    """Asks the service at one address; the counterpart of :class:`pylm._cacheclient.CacheClient`.

    Args:
        address: ``tcp://`` or ``ipc://``.
        server: Its name, for messages.

    Raises:
        ConfigurationError: The address is of another kind.

    Thread-safe: one request at a time. Not fork-safe.
    """

    def __init__(self, address: str, server: str) -> None:
        if address.partition("://")[0] not in ("tcp", "ipc"):
            raise ConfigurationError(
                f"a plain socket reaches tcp:// and ipc:// addresses, not {address}"
            )
        self._address = address
        self._server = server
        self._lock = threading.Lock()
        self.stream: socket.socket | None = None
        """The connected stream; ``None`` between a failure and the next request."""
        self._wait_s = -1.0
        self._closed = False

    def exchange(self, frame: bytes, *, timeout_s: float | None, resend: bool) -> bytes:
        """Send one frame, return the answer.

        Args:
            frame: The request.
            timeout_s: Seconds; ``None`` waits for ever. A server may be started after the call.
            resend: The request may reach the server twice: send it again when the connection breaks.

        Raises:
            TimedOut: No answer in time.
            Closed: The client is closed, or the connection broke after the request had left and ``resend`` is false.
            Malformed: The peer is another kind of socket, or what it sent is no answer.
        """
        began = time.monotonic()
        deadline = float("inf") if timeout_s is None else began + timeout_s
        with self._lock:
            while True:
                if self._closed:
                    raise Closed(f"the client of {self._address} is closed")
                stream = self.stream if self.stream is not None else self._connect(deadline)
                if stream is not None:
                    try:
                        self._send(stream, frame, deadline)
                        return self._receive(stream, deadline)
                    except TimeoutError:
                        self._drop()
                    except ConnectionError as error:
                        self._drop()
                        if not resend:
                            raise Closed(
                                f"{self._server} at {self._address} hung up with the request in its hands "
                                f"after {time.monotonic() - began:.1f} s; it may have run"
                            ) from error
                    except BaseException:
                        self._drop()
                        raise
                now = time.monotonic()
                if now >= deadline:
                    raise TimedOut(
                        f"{self._server} at {self._address} gave no answer in {now - began:.1f} s: "
                        "is a server running there?",
                        elapsed_s=now - began,
                    )
                time.sleep(min(_RETRY_S, deadline - now))

    def _connect(self, deadline: float) -> socket.socket | None:
        """Connect and shake hands; ``None`` when nobody is there yet."""
        limit = max(0.001, min(2.0, deadline - time.monotonic()))
        stream = None
        try:
            stream = open_stream(self._address, limit)
            kind = shake(stream)
        except (OSError, ValueError, struct.error):
            kind = ""
        if stream is None:
            return None
        if kind not in ("REP", "ROUTER"):
            stream.close()
            if kind:
                raise Malformed(f"{self._address} is a {kind} socket; requests need REP or ROUTER")
            return None
        if stream.family != socket.AF_UNIX:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.setblocking(True)  # limits are the kernel's, which costs no call per wait
        self.stream = stream
        self._wait_s = -1.0
        return stream

    def _limit(self, stream: socket.socket, deadline: float) -> None:
        """Bound the next wait in the kernel; unchanged while it is about the same."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        wait_s = 0.0 if left == float("inf") else left
        if abs(wait_s - self._wait_s) > 0.001 + 0.01 * wait_s:
            value = struct.pack("ll", int(wait_s), int(wait_s % 1 * 1e6) or (1 if wait_s else 0))
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                stream.setsockopt(socket.SOL_SOCKET, option, value)
            self._wait_s = wait_s

    def _send(self, stream: socket.socket, frame: bytes, deadline: float) -> None:
        """Send the empty delimiter and the request as one write."""
        self._limit(stream, deadline)
        size = len(frame)
        head = (
            bytes((_MORE, 0, 0, size))
            if size < 256
            else bytes((_MORE, 0, _LONG)) + struct.pack(">Q", size)
        )
        try:
            if size < _CHUNK:
                stream.sendall(head + frame)
            else:
                stream.sendall(head)
                stream.sendall(frame)
        except BlockingIOError:
            raise TimeoutError from None

    def _receive(self, stream: socket.socket, deadline: float) -> bytes:
        """Return the body of the answer."""
        try:
            data: bytes = stream.recv(_CHUNK)
            if not data:
                raise ConnectionError("closed by the peer")
            # Delimiter and a short frame, in one piece: what nearly every answer is.
            if data[:3] == b"\x01\x00\x00" and len(data) > 3 and len(data) == 4 + data[3]:
                return data[4:]
            return self._receive_any(stream, bytearray(data), deadline)
        except BlockingIOError:
            raise TimeoutError from None

    def _receive_any(self, stream: socket.socket, data: bytearray, deadline: float) -> bytes:
        """Read frames until the last of the message; commands are skipped."""
        parts: list[bytes] = []
        while True:
            self._fill(stream, data, 2, deadline)
            flags, at, size = data[0], 2, data[1]
            if flags & _LONG:
                self._fill(stream, data, 9, deadline)
                at, size = 9, struct.unpack_from(">Q", data, 1)[0]
            if flags > 6 or size > _FRAME_LIMIT:
                raise self._malformed(bytes(data[:9]))
            self._fill(stream, data, at + size, deadline)
            if not flags & _COMMAND:
                parts.append(bytes(memoryview(data)[at : at + size]))
            del data[: at + size]
            if not flags & (_MORE | _COMMAND):
                break
        if len(parts) != 2 or parts[0] or data:
            raise self._malformed(b"".join(parts)[:16])
        return parts[1]

    def _fill(self, stream: socket.socket, data: bytearray, size: int, deadline: float) -> None:
        """Read until ``data`` has at least ``size`` bytes."""
        have = len(data)
        if have >= size:
            return
        if size > _CHUNK:
            data.extend(bytes(size - have))
            view = memoryview(data)
            try:
                while have < size:
                    self._limit(stream, deadline)
                    got = stream.recv_into(view[have:])
                    if not got:
                        raise ConnectionError("closed by the peer")
                    have += got
            finally:
                view.release()
            return
        while len(data) < size:
            self._limit(stream, deadline)
            more = stream.recv(_CHUNK)
            if not more:
                raise ConnectionError("closed by the peer")
            data += more

    def _malformed(self, start: bytes) -> Malformed:
        return Malformed(
            f"{self._server} at {self._address} sent what is no answer to a request; it begins {start!r}"
        )

    def _drop(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()

    def close(self) -> None:
        """Close the stream; idempotent. A request in another thread ends with :class:`~pylm.errors.Closed`."""
        self._closed = True
        stream = self.stream
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._drop()
