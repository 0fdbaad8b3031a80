"""A forked child holds none of the servers' sockets."""

import os
import socket
import warnings

from mock_servers.proxy import FaultProxy
from mock_servers.runner import ServerThread
from starlette.responses import PlainTextResponse


def forked_child():
    """Fork a child that lives until its pipe is closed; return the pipe's end and the child's id."""
    reading, writing = os.pipe()
    lives_reading, lives_writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os.close(writing)
        os.write(lives_writing, b".")
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    os.read(lives_reading, 1)
    os.close(lives_reading)
    os.close(lives_writing)
    return writing, pid


def end(child):
    writing, pid = child
    os.close(writing)
    os.waitpid(pid, 0)


def test_port_of_a_stopped_server_is_free_while_a_child_lives():
    server = ServerThread(PlainTextResponse("hello")).start()
    child = forked_child()
    try:
        server.stop()
        server.start()
    finally:
        end(child)
        server.stop()


def test_connection_cut_by_the_proxy_ends_while_a_child_lives():
    with ServerThread(PlainTextResponse("hello")) as server:
        address = f"127.0.0.1:{server.port}"
        with FaultProxy(address) as proxy:
            host, port = proxy.address.split(":")
            with socket.create_connection((host, int(port)), timeout=5) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert client.recv(4096).startswith(b"HTTP/1.1 200")
                child = forked_child()
                try:
                    proxy.refuse()
                    proxy.accept()
                    proxy.cut(reset=False)
                    while client.recv(4096):
                        pass
                finally:
                    end(child)
