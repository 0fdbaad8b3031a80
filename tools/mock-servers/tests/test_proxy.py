import contextlib
import socket
import socketserver
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mock_servers.proxy import Conditions, FaultProxy


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.request.recv(65536):
                self.request.sendall(data)


class EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = False
    block_on_close = True


@pytest.fixture
def echo():
    with EchoServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def connected(proxy, timeout_s=5.0):
    host, port = proxy.address.split(":")
    with socket.create_connection((host, int(port)), timeout=timeout_s) as client:
        yield client


def exactly(client, count):
    received = b""
    while len(received) < count:
        data = client.recv(count - len(received))
        if not data:
            break
        received += data
    return received


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.binary(min_size=1, max_size=5000), max_size=8))
def test_bytes_arrive_whole_and_in_order(echo, chunks):
    with FaultProxy(echo) as proxy, connected(proxy) as client:
        for chunk in chunks:
            client.sendall(chunk)
        sent = b"".join(chunks)
        assert exactly(client, len(sent)) == sent


def test_half_close_is_passed_on(echo, make_proxy):
    with connected(make_proxy(echo)) as client:
        client.sendall(b"abc")
        client.shutdown(socket.SHUT_WR)
        assert exactly(client, 10) == b"abc"


def test_latency_delays_every_direction_it_is_set_on(echo, make_proxy):
    proxy = make_proxy(
        echo, up=Conditions(latency_s=0.05), down=Conditions(latency_s=0.05, jitter_s=0.01)
    )
    with connected(proxy) as client:
        started = time.monotonic()
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        assert time.monotonic() - started >= 0.1


def test_latency_does_not_reduce_throughput(echo, make_proxy):
    proxy = make_proxy(echo, down=Conditions(latency_s=0.1))
    with connected(proxy) as client:
        started = time.monotonic()
        for _ in range(20):
            client.sendall(b"x" * 1000)
        assert len(exactly(client, 20_000)) == 20_000
        assert time.monotonic() - started < 1.5


def test_bandwidth_is_limited(echo, make_proxy):
    proxy = make_proxy(echo, down=Conditions(bandwidth_bytes_s=50_000))
    with connected(proxy) as client:
        started = time.monotonic()
        client.sendall(b"x" * 10_000)
        assert len(exactly(client, 10_000)) == 10_000
        assert time.monotonic() - started >= 0.19


def test_connection_is_reset_after_the_stated_bytes(echo, make_proxy):
    proxy = make_proxy(echo, down=Conditions(reset_after=4))
    with connected(proxy) as client:
        client.sendall(b"abcdefgh")
        assert exactly(client, 4) == b"abcd"
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_connection_is_closed_after_the_stated_bytes(echo, make_proxy):
    proxy = make_proxy(echo, down=Conditions(close_after=4))
    with connected(proxy) as client:
        client.sendall(b"abcdefgh")
        assert exactly(client, 8) == b"abcd"


def test_large_slow_upload_is_reset_too(echo, make_proxy):
    proxy = make_proxy(echo, up=Conditions(bandwidth_bytes_s=1_000_000, reset_after=100_000))
    with connected(proxy) as client, pytest.raises(ConnectionError):
        client.sendall(b"x" * 50_000_000)


def test_blackhole_swallows_and_ends_nothing(echo, make_proxy):
    proxy = make_proxy(echo, up=Conditions(blackhole=True))
    with connected(proxy, timeout_s=0.1) as client:
        client.sendall(b"lost")
        with pytest.raises(TimeoutError):
            client.recv(1)
        proxy.up = Conditions()
        client.settimeout(5)
        client.sendall(b"found")
        assert exactly(client, 5) == b"found"


def test_half_open_connection_stays_silent_after_the_server_is_gone(echo, make_proxy):
    proxy = make_proxy(echo)
    with connected(proxy) as client:
        client.sendall(b"a")
        assert client.recv(1) == b"a"
        assert proxy.half_open() == 1
        client.settimeout(0.1)
        client.sendall(b"b")
        with pytest.raises(TimeoutError):
            client.recv(1)


@pytest.mark.parametrize("reset", [True, False])
def test_cut_ends_open_connections(echo, make_proxy, reset):
    proxy = make_proxy(echo)
    with connected(proxy) as client:
        client.sendall(b"a")
        assert client.recv(1) == b"a"
        assert proxy.cut(reset=reset) == 1
        if reset:
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        else:
            assert client.recv(1) == b""


def test_refusing_proxy_accepts_again_at_its_port(echo, make_proxy):
    proxy = make_proxy(echo)
    address = proxy.address
    with connected(proxy) as client:
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError), connected(proxy):
            pass
        client.sendall(b"a")
        assert client.recv(1) == b"a"
    proxy.accept()
    proxy.accept()
    assert proxy.address == address
    with connected(proxy) as client:
        client.sendall(b"b")
        assert client.recv(1) == b"b"
    assert proxy.accepted == 2


def test_refused_upstream_resets_the_client(make_proxy):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    proxy = make_proxy(address)
    with pytest.raises(ConnectionResetError), connected(proxy) as client:
        client.recv(1)


def test_stop_ends_open_connections(echo):
    proxy = FaultProxy(echo).start()
    with connected(proxy) as client:
        client.sendall(b"a")
        assert client.recv(1) == b"a"
        assert proxy.connections == 1
        proxy.stop()
        assert client.recv(1) == b""
    proxy.stop()
    with pytest.raises(RuntimeError, match="not running"):
        proxy.cut()


def test_stop_does_not_wait_for_a_client_that_reads_no_more(make_proxy):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = make_proxy(f"127.0.0.1:{listener.getsockname()[1]}")
        with connected(proxy):
            server, _ = listener.accept()
            with server:
                server.settimeout(0.3)
                with contextlib.suppress(TimeoutError):
                    server.sendall(b"x" * 50_000_000)
                proxy.stop()


def test_proxy_starts_once_and_on_a_free_port(echo, make_proxy):
    proxy = make_proxy(echo)
    with pytest.raises(RuntimeError, match="already runs"):
        proxy.start()
    with pytest.raises(OSError, match="in use"):
        FaultProxy(echo, port=int(proxy.address.split(":")[1])).start()


@pytest.mark.parametrize(
    "values",
    [{"latency_s": -1}, {"bandwidth_bytes_s": 0}, {"reset_after": -1}],
)
def test_impossible_conditions_are_refused(values):
    with pytest.raises(ValueError, match="expected"):
        Conditions(**values)


def test_upstream_needs_a_port():
    with pytest.raises(ValueError, match="host:port"):
        FaultProxy("localhost")
