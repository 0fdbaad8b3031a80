"""What every backend promises, as tests: subclass :class:`BackendContract` in your suite and say how to make yours.

::

    class TestMyBackend(BackendContract):
        def make_backend(self):
            return MyBackend()

Needs pytest and trustme. An asynchronous backend is driven through
:class:`~transport_utils.testing.bridge.AsyncAsSync`. The tests run against
:class:`~transport_utils.testing.faults.FaultServer` on 127.0.0.1.
"""

from __future__ import annotations

import contextlib
import io
import threading
import time
from typing import Any

import pytest

from transport_utils import errors
from transport_utils.backends import HttpBackend
from transport_utils.deadline import Timeout
from transport_utils.endpoint import Endpoint
from transport_utils.errors import SentState
from transport_utils.testing.bridge import AsyncAsSync
from transport_utils.testing.contract_tls import TlsPromises
from transport_utils.testing.corpus import MALFORMED
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
from transport_utils.testing.promises import HELLO, in_time

__all__ = ["BackendContract"]


class BackendContract(TlsPromises):
    """The promises; override ``make_backend``, and the attributes of ``Promises`` where the backend differs."""

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
        with FaultServer(act) as server:

            def call() -> None:
                with self.fails(errors.TotalTimeout):
                    self.send(backend, server, total_s=0.4)

            in_time(0.4, call)

    def test_deadline_holds_while_the_head_drips(self, backend: HttpBackend) -> None:
        if not self.deadline_in_head:
            pytest.skip("the library below knows no such limit")

        with FaultServer(Drip(HELLO, every_s=0.1)) as server:

            def call() -> None:
                with self.fails(errors.TotalTimeout):
                    self.send(backend, server, total_s=0.4)

            in_time(0.4, call)

    def test_deadline_holds_while_sending(self, backend: HttpBackend) -> None:
        body = b"x" * 20_000_000
        with FaultServer(Silence(read=False)) as server:

            def call() -> None:
                with self.fails(errors.TotalTimeout):
                    self.send(backend, server, "PUT", body=body, total_s=0.4)

            in_time(0.4, call)

    def test_nothing_is_sent_when_no_time_is_left(self, backend: HttpBackend) -> None:
        with FaultServer(HELLO) as server:
            self.send(backend, server)
            for method in ("GET", "POST"):
                with self.fails(errors.TotalTimeout, SentState.NOT_SENT):
                    self.send(backend, server, method, total_s=-1.0)
            assert len(server.requests) == 1

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
