"""A real server on 127.0.0.1 that misbehaves as it is told, one act per request.

Used by the backend contract suite and by clients' tests::

    with FaultServer(Reset(after_bytes=20), Answer(body=b"hello")) as server:
        transport = Transport(server.url)
        ...
        assert [request.target for request in server.requests] == ["/x", "/x"]

An act is taken for each request in turn, the last one is repeated. Threads serve the connections; closing the server
closes them all and waits for the threads, so that a test that leaks one fails.
"""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Protocol

__all__ = [
    "Act",
    "Answer",
    "Close",
    "Drip",
    "FaultServer",
    "Peer",
    "RecordedRequest",
    "Reset",
    "Silence",
    "blackhole",
    "refused_port",
]


@dataclasses.dataclass(frozen=True)
class RecordedRequest:
    """A request as it arrived.

    Args:
        method: As sent.
        target: As sent.
        headers: Pairs, names as sent.
        body: Decoded from chunks.
        connection: Number of the connection it came on, from 0.
        head: The bytes of the head.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    connection: int
    head: bytes

    def header(self, name: str) -> str | None:
        """Return the value of a header, ``None`` without it."""
        return next((value for field, value in self.headers if field.lower() == name.lower()), None)


class Act(Protocol):
    """What is done with one request."""

    def perform(self, peer: Peer) -> bool:
        """Act; return whether the connection goes on."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """Reads the request and answers.

    Args:
        status: HTTP status.
        body: The body.
        headers: Further headers.
        length: ``content-length`` to announce instead of the true one; ``False`` for none, so that the body ends with
            the connection.
        chunked: Whether to send the body in chunks of this size instead; 0 for no chunks.
        trailers: Bytes between the last chunk and the final blank line.
        interim: How many ``103`` responses precede it.
        after: Bytes sent after the message.
        raw: Sent instead of everything above.
        delay_s: Seconds to wait before answering.
        then_close: Whether to close afterwards, without saying so.
    """

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    length: int | bool | None = None
    chunked: int = 0
    trailers: bytes = b""
    interim: int = 0
    after: bytes = b""
    raw: bytes | None = None
    delay_s: float = 0.0
    then_close: bool = False

    def encode(self) -> bytes:
        """Return what is sent."""
        if self.raw is not None:
            return self.raw + self.after
        lines = [f"HTTP/1.1 {self.status} Status"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        body = self.body
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
            pieces = [body[at : at + self.chunked] for at in range(0, len(body), self.chunked)]
            body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
            body += b"0\r\n" + self.trailers + b"\r\n"
        elif self.length is not False:
            length = len(body) if self.length is None else self.length
            lines.append(f"Content-Length: {length}")
        early = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" * self.interim
        return early + ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body + self.after

    def perform(self, peer: Peer) -> bool:
        """See :class:`Act`."""
        request = peer.read_request()
        if request is None:
            return False
        if self.delay_s and peer.stopping.wait(self.delay_s):
            return False
        data = self.encode()
        if request.method == "HEAD" and self.raw is None:
            data = data[: data.index(b"\r\n\r\n") + 4]
        peer.sock.sendall(data)
        return not self.then_close and self.length is not False


@dataclasses.dataclass(frozen=True)
class Close:
    """Closes the connection in an orderly way.

    Args:
        after_request: Whether to read the request first; otherwise at once.
        after_bytes: Bytes of ``answer`` to send before.
        answer: What is begun.
    """

    after_request: bool = True
    after_bytes: int = 0
    answer: Answer = dataclasses.field(default_factory=Answer)

    def perform(self, peer: Peer) -> bool:
        """See :class:`Act`."""
        if self.after_request and peer.read_request() is None:
            return False
        peer.sock.sendall(self.answer.encode()[: self.after_bytes])
        return False


@dataclasses.dataclass(frozen=True)
class Reset:
    """Ends the connection with RST.

    Args:
        read_bytes: Bytes of the request to read before; ``None`` for all of it.
        after_bytes: Bytes of ``answer`` to send before.
        answer: What is begun.
    """

    read_bytes: int | None = None
    after_bytes: int = 0
    answer: Answer = dataclasses.field(default_factory=Answer)

    def perform(self, peer: Peer) -> bool:
        """See :class:`Act`."""
        if self.read_bytes is None:
            if peer.read_request() is None:
                return False
        else:
            peer.read(self.read_bytes)
        if self.after_bytes:
            peer.sock.sendall(self.answer.encode()[: self.after_bytes])
            # RST overtakes data that the peer has not read yet.
            time.sleep(0.05)
        peer.reset()
        return False


@dataclasses.dataclass(frozen=True)
class Silence:
    """Never answers.

    Args:
        read: Whether to read the request.
        after_bytes: Bytes of ``answer`` to send first.
        answer: What is begun.
    """

    read: bool = True
    after_bytes: int = 0
    answer: Answer = dataclasses.field(default_factory=Answer)

    def perform(self, peer: Peer) -> bool:
        """See :class:`Act`."""
        if self.read and peer.read_request() is None:
            return False
        peer.sock.sendall(self.answer.encode()[: self.after_bytes])
        peer.stopping.wait()
        return False


@dataclasses.dataclass(frozen=True)
class Drip:
    """Sends an answer a few bytes at a time.

    Args:
        answer: What to send.
        every_s: Seconds between two pieces.
        size: Bytes per piece.
        start: Bytes sent at once before that.
    """

    answer: Answer
    every_s: float = 0.05
    size: int = 1
    start: int = 0

    def perform(self, peer: Peer) -> bool:
        """See :class:`Act`."""
        if peer.read_request() is None:
            return False
        data = self.answer.encode()
        peer.sock.sendall(data[: self.start])
        for at in range(self.start, len(data), self.size):
            if peer.stopping.wait(self.every_s):
                return False
            peer.sock.sendall(data[at : at + self.size])
        return True


class Peer:
    """The server's side of one connection, as acts use it.

    Attributes:
        sock: The socket.
        number: Which connection of the server it is, from 0.
        stopping: Set when the server closes.
    """

    def __init__(
        self,
        sock: socket.socket,
        number: int,
        stopping: threading.Event,
        requests: list[RecordedRequest],
    ) -> None:
        self.sock = sock
        self.number = number
        self.stopping = stopping
        self._requests = requests
        self._buffer = b""

    def _fill(self) -> bool:
        data = self.sock.recv(65536)
        self._buffer += data
        return bool(data)

    def wait_for_request(self) -> bool:
        """Wait for the first byte of a request; false at the end of the connection."""
        return bool(self._buffer) or self._fill()

    def read(self, count: int) -> bytes | None:
        """Return exactly ``count`` bytes; ``None`` when the connection ends before."""
        while len(self._buffer) < count:
            if not self._fill():
                return None
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def _read_line(self) -> bytes | None:
        while b"\r\n" not in self._buffer:
            if not self._fill():
                return None
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def read_request(self) -> RecordedRequest | None:
        """Read, record and return one request; ``None`` when the connection ends before."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._fill():
                return None
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = []
        for line in lines:
            name, _, value = line.partition(":")
            headers.append((name, value.strip()))
        fields = {name.lower(): value for name, value in headers}
        body: bytes | None
        if fields.get("transfer-encoding") == "chunked":
            body = self._read_chunks()
        else:
            body = self.read(int(fields.get("content-length", "0")))
        if body is None:
            return None
        request = RecordedRequest(method, target, tuple(headers), body, self.number, head)
        self._requests.append(request)
        return request

    def _read_chunks(self) -> bytes | None:
        body = b""
        while True:
            line = self._read_line()
            if line is None:
                return None
            size = int(line.partition(b";")[0], 16)
            piece = self.read(size)
            if piece is None or self._read_line() is None:
                return None
            if not size:
                return body
            body += piece

    def reset(self) -> None:
        """End the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class FaultServer:
    """A misbehaving server.

    Args:
        acts: What to do with the requests, one after another; the last one is repeated. None given: ``Answer()``.
        tls: Context to speak TLS with.
        tls_fault: ``"close"`` or ``"stall"`` in the middle of the handshake; ``None`` for a proper one.
        uds: Path of a unix socket to listen on instead of TCP.
        host: Address to listen on.

    Attributes:
        requests: What has arrived completely, in order.
        connections: How many connections have been accepted.
        port: The TCP port.
    """

    def __init__(
        self,
        *acts: Act,
        tls: ssl.SSLContext | None = None,
        tls_fault: str | None = None,
        uds: str | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self._acts = list(acts) or [Answer()]
        self._tls = tls
        self._tls_fault = tls_fault
        self._host = host
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._sockets: list[socket.socket] = []
        self.requests: list[RecordedRequest] = []
        self.connections = 0
        if uds is None:
            self._listener = socket.create_server((host, 0), backlog=256)
            self.port: int = self._listener.getsockname()[1]
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(uds)
            self._listener.listen(256)
            self.port = 0
        self._threads = [threading.Thread(target=self._accept, name="fault server")]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """Base URL."""
        scheme = "http" if self._tls is None and self._tls_fault is None else "https"
        return f"{scheme}://{self._host}:{self.port}"

    def then(self, *acts: Act) -> None:
        """Replace the acts to come."""
        with self._lock:
            self._acts = list(acts)

    def drop_connections(self) -> None:
        """Close all connections from this side, as a server does with idle ones."""
        with self._lock:
            for sock in self._sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._stopping.is_set():
                    sock.close()
                    return
                self._sockets.append(sock)
                number = self.connections
                self.connections += 1
                thread = threading.Thread(
                    target=self._serve, args=(sock, number), name="fault server connection"
                )
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        secured: socket.socket | None = None
        try:
            secured = self._handshake(sock)
            if secured is not None:
                peer = Peer(secured, number, self._stopping, self.requests)
                while self._act(peer):
                    pass
        except OSError:
            pass  # the client went away, or the server is closing
        finally:
            with self._lock:
                for one in (sock, secured):
                    if one is not None:
                        one.close()
                        if one in self._sockets:
                            self._sockets.remove(one)

    def _act(self, peer: Peer) -> bool:
        with self._lock:
            act = self._acts[0]
        immediate = isinstance(act, Close) and not act.after_request
        if not immediate and not peer.wait_for_request():
            return False
        with self._lock:
            # Another connection may have taken it while this one waited.
            act = self._acts.pop(0) if len(self._acts) > 1 else self._acts[0]
        return act.perform(peer)

    def _handshake(self, sock: socket.socket) -> socket.socket | None:
        if self._tls_fault is not None:
            sock.recv(1024)
            if self._tls_fault == "stall":
                self._stopping.wait()
            return None
        if self._tls is None:
            return sock
        with self._lock:
            secured = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            self._sockets.append(secured)
        try:
            secured.do_handshake()
        except OSError:
            secured.close()
            raise
        return secured

    def close(self) -> None:
        """Stop listening, close all connections and wait for the threads; idempotent."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_connections()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> FaultServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


@contextlib.contextmanager
def blackhole() -> Iterator[int]:
    """Yield a port of 127.0.0.1 whose connections never open: its queue of waiting ones is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = []
        try:
            for _ in range(8):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(address)
                fillers.append(filler)
            yield address[1]
        finally:
            for filler in fillers:
                filler.close()


@contextlib.contextmanager
def refused_port() -> Iterator[int]:
    """Yield a port of 127.0.0.1 that nobody listens on, reserved against other use."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
