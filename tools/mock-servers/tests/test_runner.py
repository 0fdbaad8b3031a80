import http.client
import socket

import pytest
from mock_servers.runner import ServerThread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


def application() -> Starlette:
    return Starlette(routes=[Route("/", hello)])


def get(server: ServerThread, path: str = "/") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=5)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def raw_get(client: socket.socket) -> bytes:
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    received = b""
    while not received.endswith(b"hello"):
        received += client.recv(4096)
    return received


def test_server_listens_as_soon_as_start_returns():
    with ServerThread(application()) as server:
        assert get(server) == (200, b"hello")
        assert server.url == f"http://127.0.0.1:{server.port}"


def test_stopped_server_refuses_and_starts_again_on_its_port():
    server = ServerThread(application()).start()
    port = server.port
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        get(server)
    server.start()
    assert server.port == port
    assert get(server) == (200, b"hello")
    server.stop()
    server.stop()


def test_stop_closes_idle_keep_alive_connections():
    server = ServerThread(application()).start()
    with socket.create_connection((server.host, server.port), timeout=5) as client:
        assert raw_get(client).startswith(b"HTTP/1.1 200 OK")
        server.stop()
        assert client.recv(4096) == b""


def test_killed_server_resets_its_connections():
    server = ServerThread(application()).start()
    with socket.create_connection((server.host, server.port), timeout=5) as client:
        assert raw_get(client).startswith(b"HTTP/1.1 200 OK")
        server.kill()
        with pytest.raises(ConnectionResetError):
            client.recv(4096)


def test_reply_carries_a_date_and_no_server_header():
    with (
        ServerThread(application()) as server,
        socket.create_connection((server.host, server.port)) as client,
    ):
        head = raw_get(client).lower()
    assert b"\r\ndate: " in head
    assert b"\r\nserver: " not in head


def test_second_start_is_refused():
    with ServerThread(application()) as server, pytest.raises(RuntimeError, match="already runs"):
        server.start()


def test_application_that_fails_to_start_is_reported():
    async def broken(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no disk"})

    with pytest.raises(RuntimeError, match="did not start"):
        ServerThread(broken).start()


def test_taken_port_is_reported():
    with ServerThread(application()) as first, pytest.raises(OSError, match="in use"):
        ServerThread(application(), port=first.port).start()


def test_unix_socket_is_served_and_removed(tmp_path):
    path = tmp_path / "s"
    with (
        ServerThread(application(), uds=str(path)),
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client,
    ):
        client.settimeout(5)
        client.connect(str(path))
        assert raw_get(client).startswith(b"HTTP/1.1 200 OK")
    assert not path.exists()
