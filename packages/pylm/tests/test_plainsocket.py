"""The client that speaks the protocol over a socket of its own: same answers, same errors, nothing waits for ever."""

import contextlib
import logging
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pylm import _plainsocket, errors, standalone
from pylm.config import ConfigurationError
from pylm.security import Curve


class Echo(standalone.Server):
    def foo(self, message):
        return message

    def boom(self, message):
        raise ValueError("no")

    def slow(self, message):
        time.sleep(0.3)
        return message


@pytest.fixture
def server(address):
    where = address()
    with Echo("server", where, log_level=logging.CRITICAL).running():
        yield where


def connected(where, **more):
    return contextlib.closing(standalone.Client(where, "server", plain_socket=True, **more))


@pytest.mark.parametrize("size", [0, 1, 150, 200, 255, 256, 65536, 3 * 2**20])
def test_payloads_of_every_size_come_back(server, size):
    payload = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    with connected(server) as client:
        for _ in range(3):
            assert client.job("foo", payload) == payload


def test_errors_and_the_store_are_as_with_zeromq(server):
    with connected(server) as client:
        with pytest.raises(errors.RemoteError, match="no"):
            client.job("boom", b"x")
        with pytest.raises(errors.UnknownFunction):
            client.job("none", b"x")
        assert client.set(b"value", "key") == b"key"
        assert client.get("key") == b"value"
        assert client.delete("key") == b"key"


def test_an_ipc_address_and_a_plain_rep_socket_answer_too(tmp_path):
    context = zmq.Context()
    rep = context.socket(zmq.REP)
    rep.bind(f"ipc://{tmp_path}/s")
    thread = threading.Thread(target=lambda: [rep.send(rep.recv()) for _ in range(2)])
    thread.start()
    try:
        requester = _plainsocket.PlainRequester(f"ipc://{tmp_path}/s", "s")
        for frame in (b"abc", b"z" * 100_000):
            assert requester.exchange(frame, timeout_s=5, resend=False) == frame
        requester.close()
        with pytest.raises(errors.Closed):
            requester.exchange(b"", timeout_s=1, resend=False)
    finally:
        thread.join(5)
        context.destroy(0)


def test_a_late_answer_is_never_taken_for_the_next_one(server):
    with connected(server) as client:
        with pytest.raises(errors.TimedOut):
            client.job("slow", b"late", timeout=0.05)
        assert client.job("foo", b"next") == b"next"


def test_nobody_there_is_a_timeout_and_a_late_server_is_found(address):
    where = address()
    with connected(where) as client:
        with pytest.raises(errors.TimedOut, match="is a server running"):
            client.job("foo", b"x", timeout=0.1)
        server = Echo("server", where, log_level=logging.CRITICAL)
        with server.running():
            assert client.job("foo", b"x", timeout=5) == b"x"


@pytest.mark.parametrize("where", ["inproc://x", "udp://127.0.0.1:1"])
def test_other_addresses_and_keys_are_refused(where):
    with pytest.raises(ConfigurationError):
        standalone.Client(where, "server", plain_socket=True)
    with pytest.raises(ConfigurationError):
        standalone.Client(
            "tcp://127.0.0.1:1", "s", plain_socket=True, curve=Curve(*[b"k" * 40] * 3)
        )


def test_another_kind_of_socket_is_a_typed_error(address):
    context = zmq.Context()
    try:
        pull = context.socket(zmq.PULL)
        where = address()
        pull.bind(where)
        requester = _plainsocket.PlainRequester(where, "s")
        with pytest.raises((errors.Malformed, errors.TimedOut)):
            requester.exchange(b"x", timeout_s=0.3, resend=False)
        requester.close()
    finally:
        context.destroy(0)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(noise=st.binary(min_size=1, max_size=60))
def test_hostile_bytes_after_the_handshake_end_in_a_typed_error(noise):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        requester = _plainsocket.PlainRequester("ipc://x", "s")
        theirs.sendall(noise)
        theirs.shutdown(socket.SHUT_WR)
        with contextlib.suppress(errors.PylmError, ConnectionError, TimeoutError):
            answer = requester._receive(ours, time.monotonic() + 2)
            assert answer in noise


def test_an_answer_in_pieces_and_commands_between_are_put_together():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        requester = _plainsocket.PlainRequester("ipc://x", "s")
        body = b"y" * 300
        stream = b"\x04\x05\x04PING\x01\x00\x02" + len(body).to_bytes(8, "big") + body
        thread = threading.Thread(
            target=lambda: [theirs.sendall(stream[at : at + 7]) for at in range(0, len(stream), 7)]
        )
        thread.start()
        assert requester._receive(ours, time.monotonic() + 5) == body
        thread.join()


SERVER = """
import sys, logging, pylm.standalone
class Echo(pylm.standalone.Server):
    def foo(self, message): return message
print("ready", flush=True)
Echo("server", sys.argv[1], log_level=logging.CRITICAL).start()
"""


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_killed_server_loses_nothing_that_may_run_twice(address, idempotent):
    where = address()

    def start():
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, where], stdout=subprocess.PIPE, text=True
        )
        process.stdout.readline()
        return process

    process = start()
    try:
        with connected(where, timeout=20) as client:
            assert client.job("foo", b"warm", idempotent=True) == b"warm"
            process.send_signal(signal.SIGSTOP)
            outcome = []

            def call():
                try:
                    outcome.append(client.job("foo", b"x", idempotent=idempotent))
                except errors.PylmError as error:
                    outcome.append(error)

            thread = threading.Thread(target=call)
            thread.start()
            time.sleep(0.2)  # the request is in the stopped server's socket, or on its way
            process.kill()
            process.communicate()
            process = start()
            thread.join(15)
            assert not thread.is_alive()
            assert outcome == [b"x"] if idempotent else isinstance(outcome[0], errors.Closed)
            assert client.job("foo", b"after", idempotent=True) == b"after"
    finally:
        process.kill()
        process.communicate()
