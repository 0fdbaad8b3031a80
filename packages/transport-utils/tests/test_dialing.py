"""Dialing: names with several addresses, look-ups that hang or fail, options of sockets, idle TLS connections."""

import contextlib
import socket
import ssl
import threading
import time

import pytest
import trustme
from transport_utils import errors, sockets
from transport_utils.aio.transport import AsyncTransport
from transport_utils.deadline import Deadline
from transport_utils.endpoint import Endpoint
from transport_utils.sockets import keepalive_options, open_socket
from transport_utils.testing import Answer, FaultServer, blackhole, refused_port
from transport_utils.testing.promises import in_time
from transport_utils.tls import TlsConfig
from transport_utils.transport import Transport

HELLO = Answer(body=b"hello")


@pytest.fixture
def resolve(monkeypatch):
    """Let the name ``service.test`` have the given addresses."""
    real = socket.getaddrinfo

    def use(*addresses):
        def fake(host, port, *args):
            if host != "service.test":
                return real(host, port, *args)
            if args[-1] & socket.AI_NUMERICHOST if len(args) == 4 else False:
                raise socket.gaierror("not an address")
            return [
                (
                    socket.AF_INET6 if ":" in address else socket.AF_INET,
                    socket.SOCK_STREAM,
                    6,
                    "",
                    where,
                )
                for address, where in addresses
            ]

        monkeypatch.setattr(socket, "getaddrinfo", fake)

    return use


def v4(port):
    return "127.0.0.1", ("127.0.0.1", port)


@contextlib.contextmanager
def two_ports(first):
    with FaultServer(HELLO) as server, first() as port:
        yield port, server


@pytest.mark.parametrize("first", [refused_port, blackhole])
def test_next_address_is_tried_when_the_first_fails_or_lingers(first, resolve):
    with two_ports(first) as (port, server):
        resolve(v4(port), v4(server.port))
        with Transport("http://service.test:1", retry=None) as transport:
            assert transport.request("GET", "/x").content == b"hello"


@pytest.mark.parametrize("first", [refused_port, blackhole])
async def test_asyncio_tries_the_next_address_too(first, resolve):
    with two_ports(first) as (port, server):
        resolve(v4(port), v4(server.port))
        async with AsyncTransport("http://service.test:1", retry=None) as transport:
            assert (await transport.request("GET", "/x")).content == b"hello"


def test_error_names_every_address_that_was_tried(resolve):
    with refused_port() as one, refused_port() as other:
        resolve(v4(one), v4(other))
        with (
            Transport("http://service.test:1", retry=None) as transport,
            pytest.raises(errors.ConnectError, match=r"ECONNREFUSED.*ECONNREFUSED"),
        ):
            transport.request("GET", "/x")


async def test_asyncio_error_names_every_address_too(resolve):
    with refused_port() as one, refused_port() as other:
        resolve(v4(one), v4(other))
        async with AsyncTransport("http://service.test:1", retry=None) as transport:
            with pytest.raises(errors.ConnectError, match=r"failed.*;.*failed"):
                await transport.request("GET", "/x")


@pytest.fixture
def hanging_look_up(monkeypatch):
    released = threading.Event()
    real = socket.getaddrinfo
    threads = []

    def fake(host, *args):
        if host == "service.test" and threading.current_thread().name.startswith("look-up"):
            threads.append(threading.current_thread())
            released.wait()
            raise socket.gaierror("gave up")
        if host == "service.test":
            raise socket.gaierror("not an address")
        return real(host, *args)

    monkeypatch.setattr(socket, "getaddrinfo", fake)
    yield
    released.set()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("backend", ["native", "urllib3"])
def test_look_up_that_hangs_does_not_outlast_the_deadline(hanging_look_up, backend):
    def call():
        with (
            Transport("http://service.test:1", retry=None, backend=backend) as transport,
            pytest.raises(errors.TotalTimeout),
        ):
            transport.request("GET", "/x", timeout=0.3)

    in_time(0.3, call)


async def test_asyncio_look_up_that_hangs_does_not_either(hanging_look_up):
    async with AsyncTransport("http://service.test:1", retry=None) as transport:
        began = time.monotonic()
        with pytest.raises(errors.TotalTimeout):
            await transport.request("GET", "/x", timeout=0.3)
        assert time.monotonic() - began < 5


async def test_asyncio_unknown_name_is_said():
    async with AsyncTransport("http://no-such-host.invalid:1", retry=None) as transport:
        with pytest.raises(errors.DnsError, match="does not resolve"):
            await transport.request("GET", "/x")


def test_families_alternate():
    found = [
        (socket.AF_INET6, 1, 6, "", ("::1", 1, 0, 0)),
        (socket.AF_INET6, 1, 6, "", ("::2", 1, 0, 0)),
        (socket.AF_INET6, 1, 6, "", ("::1", 1, 0, 0)),
        (socket.AF_INET, 1, 6, "", ("127.0.0.1", 1)),
    ]
    addresses = sockets.usable_addresses(found, "h", "http://h")
    assert [address[0] for _, address in addresses] == ["::1", "127.0.0.1", "::2"]


def test_pain_9_keepalive_options_are_set_on_the_socket():
    options = keepalive_options(idle_s=20, interval_s=5, probes=2, user_timeout_s=3.0)
    with FaultServer(HELLO) as server:
        sock = open_socket("127.0.0.1", server.port, Deadline(), socket_options=options)
        with sock:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 20
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 3000
    with pytest.raises(errors.ConfigurationError):
        keepalive_options(idle_s=0)


@pytest.mark.parametrize("tls", [False, True])
def test_connection_that_died_while_idle_is_found_dead_before_use(tls, monkeypatch):
    monkeypatch.setattr("transport_utils.pool._FRESH_S", 0.0)
    authority = trustme.CA()
    context = None
    options = {}
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        options["tls"] = TlsConfig(trust=authority.cert_pem.bytes())
    with (
        FaultServer(HELLO, tls=context) as server,
        Transport(Endpoint.from_url(server.url, **options), retry=None) as transport,
    ):
        transport.request("POST", "/x")
        assert transport.request("POST", "/x").reused is True
        server.drop_connections()
        deadline = time.monotonic() + 0.05
        while time.monotonic() < deadline:
            pass
        assert transport.request("POST", "/x").reused is False


def test_body_beyond_what_is_believed_is_read_in_pieces(monkeypatch):
    monkeypatch.setattr("transport_utils.backends.conversation._LONG_BYTES", 100_000)
    body = bytes(range(256)) * 2000
    with FaultServer(Answer(body=body)) as server, Transport(server.url) as transport:
        assert transport.request("GET", "/x").content == body
        assert transport.request("GET", "/x").reused is True
