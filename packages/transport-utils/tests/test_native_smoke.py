"""The native transports exchange with a small real server; the fault matrix is in the contract suite."""

import asyncio
import contextlib
import socket
import threading

import pytest
from transport_utils.aio.transport import AsyncTransport
from transport_utils.errors import ConnectError, ReadTimeout, SentState, TotalTimeout
from transport_utils.transport import Transport


@contextlib.contextmanager
def serve(answer: bytes | None):
    """Answer every request head with ``answer`` on 127.0.0.1; ``None`` keeps silent."""
    listener = socket.create_server(("127.0.0.1", 0))
    opened = []

    def run(sock):
        data = b""
        while True:
            more = sock.recv(65536)
            if not more:
                return
            data += more
            while b"\r\n\r\n" in data:
                _, _, data = data.partition(b"\r\n\r\n")
                if answer is not None:
                    sock.sendall(answer)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                opened.append(sock)
                thread = threading.Thread(target=run, args=(sock,))
                threads.append(thread)
                thread.start()

    threads = [threading.Thread(target=accept)]
    threads[0].start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        threads[0].join()
        for sock in opened:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        for sock in opened:
            sock.close()


GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
)


@pytest.mark.parametrize(("answer", "content"), [(GOOD, b"hello"), (CHUNKED, b"hello world")])
def test_connection_is_reused_after_a_complete_response(answer, content):
    with serve(answer) as port, Transport(f"http://127.0.0.1:{port}") as transport:
        first, second = (transport.request("GET", "/") for _ in range(2))
        assert (first.content, second.content) == (content, content)
        assert (first.reused, second.reused) == (False, True)


async def test_async_connection_is_reused_after_a_complete_response():
    with serve(CHUNKED) as port:
        async with AsyncTransport(f"http://127.0.0.1:{port}") as transport:
            first, second = [await transport.request("GET", "/") for _ in range(2)]
            assert second.content == b"hello world"
            assert (first.reused, second.reused) == (False, True)


def test_silent_server_ends_in_a_timeout_that_names_the_node():
    with serve(None) as port, Transport(f"http://127.0.0.1:{port}", retry=None) as transport:
        with pytest.raises(TotalTimeout) as caught:
            transport.request("GET", "/x", timeout=0.2)
        assert f"127.0.0.1:{port}" in str(caught.value)
        assert caught.value.sent is SentState.SENT
        with pytest.raises(ReadTimeout):
            transport.request("GET", "/x", timeout=(1, 0.1))


async def test_async_silent_server_ends_in_a_timeout_and_cancellation_frees_the_place():
    with serve(None) as port:
        async with AsyncTransport(f"http://127.0.0.1:{port}", retry=None) as transport:
            with pytest.raises(TotalTimeout):
                await transport.request("GET", "/x", timeout=0.2)
            with pytest.raises(ReadTimeout):
                await transport.request("GET", "/x", timeout=(1, 0.1))
            task = asyncio.create_task(transport.request("GET", "/x"))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


def test_refused_connection_is_tried_again_and_reported_with_its_cause():
    with Transport("http://127.0.0.1:1", retry=1) as transport:
        with pytest.raises(ConnectError, match="ECONNREFUSED") as caught:
            transport.request("POST", "/x", body=b"x")
        assert caught.value.attempt_limit == 2
        assert caught.value.sent is SentState.NOT_SENT
