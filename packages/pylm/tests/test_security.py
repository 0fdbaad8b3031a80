"""CURVE: members talk, plain and unknown peers do not."""

import logging
import stat
import time

import pytest
import zmq
from pylm import _wire, errors, standalone
from pylm._cacheclient import CacheClient
from pylm.clients import Client
from pylm.config import ConfigurationError, ServerOptions
from pylm.security import create_keys, load_curve, stop_authenticator
from pylm.servers import Master, Pipeline, Server, Worker

QUIET = {"log_level": logging.CRITICAL}


class Echo(Server):
    def foo(self, message):
        return b"s" + message


class Stage(Pipeline):
    def foo(self, message):
        return b"p" + message


class Hand(Worker):
    def foo(self, message):
        return b"w" + message


@pytest.fixture
def keys(tmp_path):
    import shutil

    for name in ("server", "client", "stranger"):
        create_keys(tmp_path, name)
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    for name in ("server", "client"):
        shutil.copy(tmp_path / f"{name}.key", allowed)

    def load(name):
        return load_curve(tmp_path / f"{name}.key_secret", tmp_path / "server.key", str(allowed))

    yield load
    stop_authenticator(zmq.Context.instance())


def test_members_of_a_cluster_talk(keys, address, running):
    options = ServerOptions(curve=keys("server"))
    first = running(
        Echo("s", address(), address(), address(), pipelined=True, **QUIET, options=options)
    )
    second = running(
        Stage("p", address(), first.pub_address, address(), "s", **QUIET, options=options)
    )
    with Client(
        "s", first.db_address, sub_address=second.pub_address, curve=keys("client"), timeout=10
    ) as talk:
        assert talk.eval(["s.foo", "p.foo"], b"x") == b"psx"
    master = running(Master("m", *(address() for _ in range(5)), **QUIET, options=options))
    running(Hand("w", master.db_address, **QUIET, options=options))
    with Client("m", master.db_address, curve=keys("client"), timeout=10) as talk:
        assert talk.eval("m.foo", b"x") == b"wx"


def test_the_first_api_talks_with_keys_too(keys, address, running):
    class Old(standalone.Server):
        def foo(self, message):
            return b"o" + message

    where = address()
    running(Old("o", where, **QUIET, options=ServerOptions(curve=keys("server"))))
    with standalone.Client(where, "o", curve=keys("client"), timeout=10) as talk:
        assert talk.job("foo", b"x") == b"ox"


@pytest.mark.parametrize("who", ["plain", "stranger"])
def test_plain_peers_and_strangers_are_refused(keys, address, running, who):
    server = running(
        Echo(
            "s",
            address(),
            address(),
            address(),
            **QUIET,
            options=ServerOptions(curve=keys("server")),
        )
    )
    with pytest.raises(errors.TimedOut):
        Client("s", server.db_address, timeout=0.5, curve=None if who == "plain" else keys(who))


def test_a_request_does_not_wait_for_a_socket_without_a_peer():
    options = ServerOptions()
    client = CacheClient("tcp://127.0.0.1:1", "s", "c", _wire.PalmMessage, options)
    client.socket.disconnect("tcp://127.0.0.1:1")  # as after a refusal
    began = time.monotonic()
    with pytest.raises(errors.TimedOut):
        client.exchange(b"x", timeout_s=0.3, resend=False)
    assert time.monotonic() - began < 5
    client.close()


def test_secret_keys_are_private_and_never_shown(tmp_path, keys):
    secret = tmp_path / "server.key_secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert keys("server").secret.decode() not in repr(keys("server"))
    with pytest.raises(FileExistsError):
        create_keys(tmp_path, "server")
    with pytest.raises(ConfigurationError, match="no secret key"):
        load_curve(tmp_path / "server.key", tmp_path / "server.key")
