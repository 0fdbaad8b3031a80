"""What every backend promises, as tests: subclass :class:`BackendContract` in your suite and say how to make yours.

::

    class TestMyBackend(BackendContract):
        def make_backend(self):
            return MyBackend()

Needs pytest and trustme. An asynchronous backend is driven through :class:`AsyncAsSync`. The tests run against
:class:`~transport_utils.testing.faults.FaultServer` on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import functools
import hashlib
import io
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
import trustme

from transport_utils import errors
from transport_utils.backends import AsyncHttpBackend, HttpBackend
from transport_utils.deadline import Deadline, Timeout
from transport_utils.endpoint import Endpoint
from transport_utils.errors import SentState
from transport_utils.messages import Request, Response
from transport_utils.testing.faults import (
    Answer,
    Close,
    Drip,
    FaultServer,
    Reset,
    Silence,
    blackhole,
    refused_port,
)
from transport_utils.tls import TlsConfig

__all__ = ["AsyncAsSync", "BackendContract", "in_time"]

QUICK = Timeout(connect=2.0, read=2.0, write=2.0, pool=2.0)
HELLO = Answer(body=b"hello")

MALFORMED = {
    "a bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "a folded header": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "a NUL in a value": b"HTTP/1.1 200 OK\r\nA: \0\r\nContent-Length: 0\r\n\r\n",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "a signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
    "an unknown transfer coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a bad status": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "an upgrade": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "a bad chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n",
    "a negative chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
    "a chunk without its end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
}
"""Responses that must be refused, by what is wrong with them."""


@functools.cache
def _authority() -> trustme.CA:
    return trustme.CA()


class AsyncAsSync:
    """Runs an asynchronous backend in a loop of its own, so that the contract can be asked of it.

    Args:
        backend: Any asynchronous backend.
    """

    def __init__(self, backend: AsyncHttpBackend) -> None:
        self.name = backend.name
        self._backend = backend
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="contract loop")
        self._thread.start()
        self._closed = False

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def request(self, endpoint: Endpoint, request: Request, deadline: Deadline) -> Response:
        """Make the exchange in the loop."""
        answer = self._run(self._backend.request(endpoint, request, deadline))
        if not answer.is_streaming:
            return Response(answer.head, answer.content, answer.node, answer.reused)
        return Response(answer.head, None, answer.node, answer.reused, _Bridge(self, answer))

    def forget(self, endpoint: Endpoint) -> None:
        """Forget in the loop."""

        async def forget() -> None:
            self._backend.forget(endpoint)

        self._run(forget())

    def close(self, drain_s: float = 0.0) -> None:
        """Close the backend and end the loop."""
        if self._closed:
            return
        self._closed = True
        self._run(self._backend.aclose(drain_s))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _Bridge:
    """A streamed body read from another thread."""

    def __init__(self, owner: AsyncAsSync, answer: Any) -> None:
        self._owner = owner
        self._answer = answer
        self._pieces: Any = None

    def read(self, limit: int) -> bytes:
        if self._pieces is None:
            self._pieces = self._answer.aiter_bytes(limit)

        async def advance() -> bytes:
            piece: bytes = await anext(self._pieces, b"")
            return piece

        data: bytes = self._owner._run(advance())
        return data

    def read_into(self, buffer: memoryview) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        async def close() -> None:
            if self._pieces is not None:
                await self._pieces.aclose()
            await self._answer.aclose()

        self._owner._run(close())


def in_time(total_s: float, run: Callable[[], object]) -> None:
    """Check that ``run`` ends within ``total_s`` plus 10 % and 50 ms; a busy machine gets three tries."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        run()
        took.append(time.monotonic() - began)
        if took[-1] <= total_s * 1.1 + 0.05:
            return
    raise AssertionError(f"took {took} s, allowed {total_s} s + 10 % + 50 ms")


class BackendContract:
    """The promises. Override :meth:`make_backend`, and the class attributes where the backend differs."""

    tolerates: ClassVar[frozenset[str]] = frozenset()
    """Keys of :data:`MALFORMED` that the library below accepts."""
    deadline_in_head: ClassVar[bool] = True
    """Whether the deadline holds while a response's head drips in."""
    knows_uds: ClassVar[bool] = True
    """Whether unix sockets are supported."""
    interrupts: ClassVar[bool] = False
    """Whether :meth:`HttpBackend.close` ends exchanges in progress."""
    limits_fields: ClassVar[bool] = True
    """Whether the number of header fields is limited to 256."""

    def make_backend(self) -> HttpBackend:
        """Return a new backend."""
        raise NotImplementedError

    @pytest.fixture
    def backend(self) -> Iterator[HttpBackend]:
        backend = self.make_backend()
        yield backend
        backend.close()

    @pytest.fixture
    def authority(self) -> trustme.CA:
        return _authority()

    def send(
        self,
        backend: HttpBackend,
        endpoint: Endpoint | FaultServer,
        method: str = "GET",
        target: str = "/x",
        total_s: float | None = None,
        **options: Any,
    ) -> Response:
        """Make one exchange."""
        if isinstance(endpoint, FaultServer):
            endpoint = self.endpoint(endpoint)
        options.setdefault("timeout", QUICK)
        deadline = Deadline.after(total_s, time.monotonic())
        return backend.request(endpoint, Request(method, target, **options), deadline)

    def endpoint(self, server: FaultServer, **options: Any) -> Endpoint:
        """Return the endpoint of a server; the same object each time, as a transport does."""
        known = self.__dict__.setdefault("_endpoints", {})
        key = (server.url, *sorted(options))
        if key not in known:
            known[key] = Endpoint.from_url(server.url, **options)
        endpoint: Endpoint = known[key]
        return endpoint

    @contextlib.contextmanager
    def fails(
        self, kind: type[errors.TransportError], sent: SentState | None = None
    ) -> Iterator[None]:
        """Expect a typed error that names node and request."""
        with pytest.raises(kind) as caught:
            yield
        error = caught.value
        assert error.node is not None
        assert error.node in str(error)
        if sent is not None:
            assert error.sent is sent

    # -- the usual

    def test_request_arrives_as_it_was_given(self, backend: HttpBackend) -> None:
        with FaultServer(HELLO) as server:
            endpoint = self.endpoint(server, path_prefix="/base", headers={"X-Mine": "1"})
            response = self.send(
                backend,
                endpoint,
                "POST",
                "/a%2Fb?q=%20~",
                headers={"X-Yours": "two, three", "x-mine": "0"},
                body=b"data",
            )
            assert (response.status, response.content) == (200, b"hello")
            assert response.headers["content-length"] == "5"
            [request] = server.requests
            assert (request.method, request.target) == ("POST", "/base/a%2Fb?q=%20~")
            assert request.body == b"data"
            assert dict(request.headers) == {
                "host": f"127.0.0.1:{server.port}",
                "x-mine": "0",
                "x-yours": "two, three",
                "content-length": "4",
            }

    def test_inherited_header_can_be_removed(self, backend: HttpBackend) -> None:
        with FaultServer(HELLO) as server:
            endpoint = self.endpoint(server, headers={"X-Mine": "1"})
            self.send(backend, endpoint, headers={"x-mine": None})
            assert server.requests[0].header("x-mine") is None

    @pytest.mark.parametrize(
        ("method", "answer", "content"),
        [
            ("HEAD", Answer(body=b"hello"), b""),
            ("GET", Answer(204, raw=b"HTTP/1.1 204 No Content\r\n\r\n"), b""),
            ("GET", Answer(304, raw=b"HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\n"), b""),
            ("GET", Answer(body=b"hello world", chunked=4), b"hello world"),
            ("GET", Answer(body=b"hello", chunked=5, trailers=b"X-Sum: 1\r\n"), b"hello"),
            ("GET", Answer(body=b"hello", interim=3), b"hello"),
            ("GET", Answer(body=b""), b""),
        ],
    )
    def test_body_is_framed_and_the_connection_reused(
        self, backend: HttpBackend, method: str, answer: Answer, content: bytes
    ) -> None:
        with FaultServer(answer) as server:
            first = self.send(backend, server, method)
            second = self.send(backend, server, method)
            assert (first.content, second.content) == (content, content)
            assert (first.reused, second.reused) == (False, True)
            assert server.connections == 1

    def test_body_may_end_with_the_connection(self, backend: HttpBackend) -> None:
        with FaultServer(Answer(body=b"hello", length=False)) as server:
            assert self.send(backend, server).content == b"hello"
            assert self.send(backend, server).reused is False

    def test_repeated_response_headers_are_kept(self, backend: HttpBackend) -> None:
        with FaultServer(Answer(headers=(("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")))) as server:
            assert self.send(backend, server).headers.get_all("set-cookie") == ["a=1", "b=2"]

    @pytest.mark.parametrize("framing", [{}, {"chunked": 70_000}, {"length": False}])
    def test_long_bodies_arrive_whole(self, backend: HttpBackend, framing: dict[str, Any]) -> None:
        body = bytes(range(256)) * 8192
        with FaultServer(Answer(body=body, **framing)) as server:
            response = self.send(backend, server, "POST", body=body)
            assert response.content == body
            assert server.requests[0].body == body

    @pytest.mark.parametrize("framing", [{}, {"chunked": 7000}, {"length": False}])
    def test_streamed_body_arrives_in_pieces(
        self, backend: HttpBackend, framing: dict[str, Any]
    ) -> None:
        body = bytes(range(256)) * 1024
        with FaultServer(Answer(body=body, **framing)) as server:
            with self.send(backend, server, stream=True) as response:
                pieces = list(response.iter_bytes(5000))
            assert b"".join(pieces) == body
            assert max(map(len, pieces)) <= 5000
            with self.send(backend, server, stream=True) as response:
                buffer = bytearray(len(body) + 10)
                assert response.read_into(buffer) == len(body)
            assert bytes(buffer[: len(body)]) == body

    def test_streamed_connection_is_reused_only_when_read_to_the_end(
        self, backend: HttpBackend
    ) -> None:
        with FaultServer(Answer(body=b"x" * 300_000)) as server:
            with self.send(backend, server, stream=True) as response:
                next(response.iter_bytes(10))
            with self.send(backend, server, stream=True) as response:
                assert response.reused is False
                assert len(response.content) == 300_000
            assert self.send(backend, server).reused is True

    def test_bodies_are_uploaded_from_files_and_iterables(self, backend: HttpBackend) -> None:
        with FaultServer(HELLO) as server:
            self.send(backend, server, "PUT", body=io.BytesIO(b"from a file"))
            self.send(backend, server, "PUT", body=iter([b"in ", b"", b"pieces"]))
            self.send(
                backend, server, "PUT", body=iter([b"12", b"345"]), headers={"Content-Length": "5"}
            )
            bodies = [request.body for request in server.requests]
            assert bodies == [b"from a file", b"in pieces", b"12345"]
            assert server.requests[0].header("content-length") == "11"
            assert server.requests[1].header("transfer-encoding") == "chunked"

    # -- bad input

    @pytest.mark.parametrize(
        "bad",
        [
            {"headers": {"X": "a\r\nY: b"}},
            {"headers": {"X\r\n": "a"}},
            {"headers": {"X": "\u20ac"}},
            {"headers": {"Content-Length": "7"}},
            {"headers": {"Transfer-Encoding": "gzip"}},
            {"target": "/a b"},
            {"target": "/a\r\nX: y"},
            {"target": "no-slash"},
            {"target": "/\u00e4"},
            {"method": "GET /\r\n"},
            {"body": "text"},
        ],
    )
    def test_injection_and_nonsense_are_refused_unsent(
        self, backend: HttpBackend, bad: dict[str, Any]
    ) -> None:
        with FaultServer(HELLO) as server:
            with pytest.raises(errors.LocalProtocolError):
                self.send(backend, server, **bad)
            assert server.requests == []

    # -- faults before the response

    def test_refused_connection(self, backend: HttpBackend) -> None:
        with refused_port() as port, self.fails(errors.ConnectError, SentState.NOT_SENT):
            self.send(backend, Endpoint("http", "127.0.0.1", port))

    def test_unknown_host(self, backend: HttpBackend) -> None:
        with self.fails(errors.ConnectionFailed, SentState.NOT_SENT):
            self.send(backend, Endpoint("http", "no-such-host.invalid", 80))

    def test_connection_that_never_opens(self, backend: HttpBackend) -> None:
        with blackhole() as port:
            endpoint = Endpoint("http", "127.0.0.1", port)
            timeout = Timeout(connect=0.3)
            with self.fails(errors.ConnectTimeout, SentState.NOT_SENT):
                self.send(backend, endpoint, timeout=timeout)

            def call() -> None:
                with self.fails(errors.TotalTimeout, SentState.NOT_SENT):
                    self.send(backend, endpoint, total_s=0.3)

            in_time(0.3, call)

    def test_close_without_an_answer(self, backend: HttpBackend) -> None:
        with FaultServer(Close()) as server, self.fails(errors.ConnectionReset, SentState.SENT):
            self.send(backend, server, "POST", body=b"x")

    def test_close_of_a_kept_alive_connection_is_told_apart(self, backend: HttpBackend) -> None:
        with FaultServer(HELLO, Close()) as server:
            self.send(backend, server)
            with self.fails(errors.StaleConnection):
                self.send(backend, server)

    def test_connection_closed_while_idle_is_not_used_again(self, backend: HttpBackend) -> None:
        with FaultServer(HELLO) as server:
            self.send(backend, server)
            server.drop_connections()
            for _ in range(3):
                try:
                    self.send(backend, server)
                    break
                except errors.StaleConnection:
                    continue
            assert server.connections == 2

    @pytest.mark.parametrize("read_bytes", [0, 20, None])
    def test_reset_before_an_answer(self, backend: HttpBackend, read_bytes: int | None) -> None:
        with (
            FaultServer(Reset(read_bytes=read_bytes)) as server,
            self.fails(errors.ConnectionReset),
        ):
            self.send(backend, server, "POST", body=b"x" * 500_000)

    def test_silence_ends_in_a_read_timeout(self, backend: HttpBackend) -> None:
        with FaultServer(Silence()) as server, self.fails(errors.ReadTimeout, SentState.SENT):
            self.send(backend, server, timeout=Timeout(read=0.2))

    def test_peer_that_takes_nothing_ends_in_a_write_timeout(self, backend: HttpBackend) -> None:
        with (
            FaultServer(Silence(read=False)) as server,
            self.fails(errors.WriteTimeout, SentState.PARTIAL),
        ):
            self.send(backend, server, "PUT", body=b"x" * 20_000_000, timeout=Timeout(write=0.3))

    # -- the deadline

    @pytest.mark.parametrize(
        "act",
        [
            Silence(),
            Silence(after_bytes=30, answer=HELLO),
            Drip(Answer(body=b"x" * 100), start=70, every_s=0.1),
            Drip(Answer(body=b"x" * 100, chunked=10), start=70, every_s=0.1),
            Drip(Answer(body=b"x" * 100, length=False), start=60, every_s=0.1),
        ],
        ids=["silent", "silent in the head", "drip", "drip chunks", "drip to the end"],
    )
    def test_deadline_holds_whatever_the_server_does(self, backend: HttpBackend, act: Any) -> None:
        def call() -> None:
            with FaultServer(act) as server, self.fails(errors.TotalTimeout):
                self.send(backend, server, total_s=0.4)

        in_time(0.4, call)

    def test_deadline_holds_while_the_head_drips(self, backend: HttpBackend) -> None:
        if not self.deadline_in_head:
            pytest.skip("the library below knows no such limit")

        def call() -> None:
            with FaultServer(Drip(HELLO, every_s=0.1)) as server, self.fails(errors.TotalTimeout):
                self.send(backend, server, total_s=0.4)

        in_time(0.4, call)

    def test_deadline_holds_while_sending(self, backend: HttpBackend) -> None:
        def call() -> None:
            with FaultServer(Silence(read=False)) as server, self.fails(errors.TotalTimeout):
                self.send(backend, server, "PUT", body=b"x" * 20_000_000, total_s=0.4)

        in_time(0.4, call)

    def test_drip_without_a_deadline_completes(self, backend: HttpBackend) -> None:
        act = Drip(HELLO, every_s=0.01, size=10)
        with FaultServer(act) as server:
            assert self.send(backend, server, timeout=Timeout(read=0.5)).content == b"hello"

    # -- faults in the response

    @pytest.mark.parametrize("after_bytes", [10, 30])
    def test_reset_inside_the_head(self, backend: HttpBackend, after_bytes: int) -> None:
        act = Reset(after_bytes=after_bytes, answer=HELLO)
        with FaultServer(act) as server, self.fails(errors.TransportError):
            self.send(backend, server)

    @pytest.mark.parametrize(
        "answer",
        [
            Answer(body=b"hello", length=10, then_close=True),
            Answer(body=b"x" * 200_000, length=300_000, then_close=True),
        ],
    )
    def test_body_shorter_than_announced(self, backend: HttpBackend, answer: Answer) -> None:
        with (
            FaultServer(answer) as server,
            self.fails(errors.TruncatedBody, SentState.RESPONSE_STARTED),
        ):
            self.send(backend, server)

    def test_chunks_without_an_end(self, backend: HttpBackend) -> None:
        act = Close(after_bytes=60, answer=Answer(body=b"hello world", chunked=5))
        with FaultServer(act) as server, self.fails(errors.TruncatedBody):
            self.send(backend, server)

    def test_reset_inside_the_body(self, backend: HttpBackend) -> None:
        act = Reset(after_bytes=1000, answer=Answer(body=b"x" * 5000))
        with (
            FaultServer(act) as server,
            self.fails(errors.TransportError, SentState.RESPONSE_STARTED),
        ):
            self.send(backend, server)

    @pytest.mark.parametrize("what", MALFORMED)
    def test_malformed_response_is_refused(self, backend: HttpBackend, what: str) -> None:
        if what in self.tolerates:
            pytest.skip("the library below accepts it")
        act = Answer(raw=MALFORMED[what], then_close=True)
        with FaultServer(act) as server, self.fails(errors.ProtocolError):
            self.send(backend, server)

    def test_head_of_more_than_64_kib(self, backend: HttpBackend) -> None:
        headers = tuple((f"X-{number}", "v" * 1000) for number in range(500))
        with FaultServer(Answer(headers=headers)) as server, self.fails(errors.ProtocolError):
            self.send(backend, server)

    def test_flood_of_header_fields(self, backend: HttpBackend) -> None:
        if not self.limits_fields:
            pytest.skip("the library below limits bytes only")
        headers = tuple((f"X-{number}", "v") for number in range(300))
        with FaultServer(Answer(headers=headers)) as server, self.fails(errors.HeaderTooLarge):
            self.send(backend, server)

    def test_flood_of_interim_responses(self, backend: HttpBackend) -> None:
        if not self.limits_fields:
            pytest.skip("the library below knows no such limit")
        with FaultServer(Answer(interim=20)) as server, self.fails(errors.BadResponse):
            self.send(backend, server)

    def test_bytes_after_the_message_never_reach_the_next_response(
        self, backend: HttpBackend
    ) -> None:
        if "bytes after the message" in self.tolerates:
            pytest.skip("the library below takes them for the next response")
        poison = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
        with FaultServer(Answer(body=b"hello", after=poison), HELLO) as server:
            assert self.send(backend, server).content == b"hello"
            with contextlib.suppress(errors.StaleConnection, errors.BadResponse):
                assert self.send(backend, server).content == b"hello"

    def test_answer_before_the_end_of_the_upload_is_not_lost(self, backend: HttpBackend) -> None:
        refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nstop"
        with FaultServer(_RefuseBody(refusal)) as server:
            try:
                response = self.send(backend, server, "PUT", body=b"x" * 5_000_000)
            except errors.ConnectionReset:
                return  # the reset overtook the answer: no client can tell
            assert (response.status, response.content) == (413, b"stop")

    # -- the pool

    def test_wait_for_a_connection_is_limited(self, backend: HttpBackend) -> None:
        with FaultServer(Answer(body=b"x" * 3_000_000)) as server:
            endpoint = self.endpoint(server, max_connections=1)
            with self.send(backend, endpoint, stream=True):
                with self.fails(errors.PoolTimeout, SentState.NOT_SENT):
                    self.send(backend, endpoint, timeout=Timeout(pool=0.2))

                def call() -> None:
                    with self.fails(errors.TotalTimeout, SentState.NOT_SENT):
                        self.send(backend, endpoint, total_s=0.3)

                in_time(0.3, call)

    def test_limit_of_connections_holds_under_threads(self, backend: HttpBackend) -> None:
        with FaultServer(Answer(body=b"hello", delay_s=0.005)) as server:
            endpoint = self.endpoint(server, max_connections=3)
            failures: list[BaseException] = []

            def work() -> None:
                try:
                    for _ in range(10):
                        assert self.send(backend, endpoint).content == b"hello"
                except BaseException as error:
                    failures.append(error)

            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert failures == []
            assert server.connections <= 3

    # -- closing

    def test_close_is_final_and_may_be_repeated(self, backend: HttpBackend) -> None:
        with FaultServer(HELLO) as server:
            self.send(backend, server)
            backend.close()
            backend.close()
            if not isinstance(backend, AsyncAsSync):
                with pytest.raises(errors.TransportClosed):
                    self.send(backend, server)

    def test_close_ends_exchanges_in_progress(self, backend: HttpBackend) -> None:
        if not self.interrupts:
            pytest.skip("the library below cannot be interrupted")
        caught: list[BaseException] = []
        with FaultServer(Silence()) as server:

            def call() -> None:
                try:
                    self.send(backend, server, timeout=Timeout(read=30))
                except errors.TransportError as error:
                    caught.append(error)

            thread = threading.Thread(target=call)
            thread.start()
            while not server.requests:
                time.sleep(0.001)
            backend.close()
            thread.join(5)
        assert [type(error) for error in caught] == [errors.TransportClosed]

    def test_forgotten_endpoint_is_closed_and_can_come_back(self, backend: HttpBackend) -> None:
        with FaultServer(HELLO) as server:
            self.send(backend, server)
            backend.forget(self.endpoint(server))
            assert self.send(backend, server).reused is False

    # -- other ways to a server

    def test_unix_socket(self, backend: HttpBackend, tmp_path: Any) -> None:
        if not self.knows_uds:
            pytest.skip("not supported, and refused by name")
        path = str(tmp_path / "s")
        with FaultServer(HELLO, uds=path):
            endpoint = Endpoint("http", "localhost", 80, uds=path)
            assert self.send(backend, endpoint).content == b"hello"
            assert self.send(backend, endpoint).reused is True

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

    def another(self, backend: HttpBackend) -> HttpBackend:
        """Return a second backend, closed with the first."""
        other = self.make_backend()
        close = backend.close

        def close_both(drain_s: float = 0.0) -> None:
            other.close(drain_s)
            close(drain_s)

        backend.close = close_both  # type: ignore[method-assign]
        return other

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


class _RefuseBody:
    """Answers after the head, without reading the body, and closes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def perform(self, peer: Any) -> bool:
        """See :class:`transport_utils.testing.faults.Act`."""
        peer.read(10)
        peer.sock.sendall(self._answer)
        # Let the answer arrive before the close turns into a reset.
        peer.stopping.wait(0.1)
        return False
