"""Corners: formats, collectors, draining, refusals, roles made from a file."""

import logging
import threading
import time

import pytest
import zmq
from pylm import errors, serializers
from pylm._services import EndPoint, PushHandler
from pylm.cluster import role
from pylm.cluster.config import load
from pylm.config import ServerOptions
from pylm.servers import Hub, Master, Server, Sink, Worker
from pylm.testing import Kit

QUIET = {"log_level": logging.CRITICAL}


class Echo(Server):
    def foo(self, message):
        return message

    def anything(self, value):
        return value

    def nap(self, message):
        time.sleep(0.01)
        return message


@pytest.fixture
def forget_pickle(monkeypatch):
    monkeypatch.setattr(serializers, "_pickle_allowed", False)
    monkeypatch.setattr(serializers, "_registry", {})


def test_pickle_travels_only_after_it_was_allowed(forget_pickle):
    with Kit() as kit:
        server = kit.run(Echo("s", *kit.addresses(3), **QUIET, options=kit.options()))
        client = kit.client("s", server.db_address)
        with pytest.raises(errors.WrongType, match="allow_pickle"):
            client.eval("s.anything", {1, 2}, serializer="pickle")
        with pytest.warns(UserWarning, match="run code of whoever sends them"):
            serializers.allow_pickle()
        assert client.eval("s.anything", {1, 2}, serializer="pickle") == {1, 2}


def test_a_format_of_ones_own_is_registered(forget_pickle):
    serializers.register(
        serializers.Serializer(
            "upper", lambda text: text.upper().encode(), bytes.decode, has_none=False
        )
    )
    with Kit() as kit:
        server = kit.run(Echo("s", *kit.addresses(3), **QUIET, options=kit.options()))
        assert kit.client("s", server.db_address).eval("s.anything", "x", serializer="upper") == "X"
    assert "upper" in serializers.names()


def test_what_a_format_cannot_express_is_an_error(forget_pickle):
    with pytest.raises(errors.WrongType, match="unknown serializer"):
        serializers.lookup("yaml2")
    with pytest.raises(errors.WrongType, match="cannot be written as JSON"):
        serializers.lookup("json").dumps({1, 2})
    for name in ("json", "msgpack"):
        with pytest.raises(errors.WrongType, match="is not"):
            serializers.lookup(name).loads(b"\xc1\xc1")


def test_an_endpoint_prints_logs_ticks_and_pings(address, capsys):
    places = [address() for _ in range(3)]
    endpoint = EndPoint("end", *places, messages=3)
    thread = threading.Thread(target=endpoint.start_debug)
    thread.start()
    for place, text in zip(places, (b"a line", b"a tick", b"ping"), strict=True):
        with zmq.Context.instance().socket(zmq.PUSH) as push:
            push.linger = 1000
            push.connect(place)
            push.send(text)
    thread.join(10)
    endpoint.cleanup()
    assert set(capsys.readouterr().out.splitlines()) == {"LOG: a line", "PRF: a tick", "PNG: ping"}


def test_an_endpoint_can_be_stopped_and_a_closed_handler_is_silent(address):
    endpoint = EndPoint("end", address(), address(), address())
    thread = threading.Thread(target=endpoint.start_debug)
    thread.start()
    endpoint.stop()
    thread.join(5)
    endpoint.cleanup()
    handler = PushHandler(address())
    handler.close()
    handler.emit(logging.LogRecord("n", logging.INFO, "p", 1, "text", (), None))


def test_a_draining_server_works_off_what_has_arrived():
    with Kit() as kit:
        server = kit.run(Echo("s", *kit.addresses(3), **QUIET, options=kit.options()))
        client = kit.client("s", server.db_address)
        job = client.job("s.nap", [b"x"] * 50, messages=50)
        results = [next(job)]
        server.stop(drain=True)
        results += list(job)
        assert len(results) == 50


def test_a_server_runs_once():
    with Kit() as kit:
        server = Echo("s", *kit.addresses(3), **QUIET, options=kit.options())
        with server.running():
            pass
        with pytest.raises(errors.Closed, match="has run"):
            server.start()


def test_the_message_limit_ends_a_server():
    with Kit() as kit:
        server = Echo("s", *kit.addresses(3), **QUIET, options=kit.options(), messages=2)
        thread = threading.Thread(target=server.start)
        thread.start()
        client = kit.client("s", server.db_address)
        assert list(client.job("s.foo", [b"1", b"2"], messages=2)) == [b"1", b"2"]
        thread.join(5)
        assert not thread.is_alive()


def test_an_exception_in_handle_stream_reaches_the_client():
    class Steering(Echo):
        def handle_stream(self, message):
            raise RuntimeError("no way")

    class SteeringMaster(Master):
        def handle_stream(self, message):
            raise RuntimeError("no way")

    with Kit() as kit:
        server = kit.run(Steering("s", *kit.addresses(3), **QUIET, options=kit.options()))
        with pytest.raises(errors.RemoteError, match="no way"):
            kit.client("s", server.db_address).eval("s.foo", b"x")
        master = kit.run(SteeringMaster("m", *kit.addresses(5), **QUIET, options=kit.options()))
        kit.run(Worker("w", master.db_address, **QUIET, options=kit.options()))
        with pytest.raises(errors.RemoteError, match="no way"):
            kit.client("m", master.db_address).eval("m.foo", b"x")


def test_a_full_queue_of_a_client_follows_its_policy():
    with Kit() as kit:
        server = Echo("s", *kit.addresses(3), **QUIET, options=kit.options())
        for overflow, kind in (("raise", errors.Overloaded), ("block", errors.TimedOut)):
            client = kit.client(
                "s",
                server.db_address,
                kit.address(),
                server.pub_address,
                this_config=True,
                overflow=overflow,
                timeout=0.3,
            )
            client._peer_is_new = True
            client._connected()._push.sndhwm = 1
            with pytest.raises(kind):
                list(client.job("s.foo", [b"x" * 1000] * 5000))
        server.close()


def test_an_endless_job_is_bounded_by_silence_of_the_server():
    class Quiet(Sink):
        def foo(self, message):
            return None

    with Kit() as kit:
        first = kit.run(
            Echo("s", *kit.addresses(3), pipelined=True, **QUIET, options=kit.options())
        )
        quiet = kit.run(
            Quiet(
                "q",
                kit.address(),
                [first.pub_address],
                kit.address(),
                ["s"],
                **QUIET,
                options=kit.options(),
            )
        )
        client = kit.client("s", first.db_address, sub_address=quiet.pub_address)
        with pytest.raises(errors.TimedOut, match="0 answers"):
            list(client.job(["s.foo", "q.foo"], [b"x"] * 3000, messages=10, timeout=0.5))
        assert quiet.stats.ended >= 1000


FILE = """
[cluster]
base_port = {port}

[[server]]
name = "first"
kind = "server"

[[server]]
name = "crew"
kind = "hub"
after = ["first"]

[[server]]
name = "sink"
kind = "sink"
after = ["crew"]

[[server]]
name = "boss"
kind = "master"

[[worker]]
of = "crew"
class = "pylm.aio:Worker"

[[client]]
name = "talk"
class = "{module}:talk"
server = "first"
last = "sink"
"""


def test_roles_and_clients_are_made_from_a_file(tmp_path, address, running):
    module = f"corner_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{module}.py").write_text(
        "def talk(client):\n    client.answer = client.eval(['first.echo', 'crew.unknown', 'sink.echo'], b'x')\n"
    )
    path = tmp_path / "roles.toml"
    port = int(address().rpartition(":")[2])
    path.write_text(FILE.format(port=min(port, 60000), module=module))
    cluster = load(path)
    made = [role.make_role(cluster, name) for name in ("first", "crew", "sink", "boss")]
    assert [type(each) for each in made] == [Server, Hub, Sink, Master]
    assert [getattr(each, "pipelined", None) for each in made] == [True, True, False, False]
    for each in made:
        running(each)
    running(role.make_role(cluster, "crew-worker-1"))
    with pytest.raises(errors.UnknownFunction):
        role.run_client(cluster, "talk")
    assert role.curve_of(cluster, server=True) is None
    assert isinstance(ServerOptions(), ServerOptions)


def test_the_command_says_errors_in_one_line(tmp_path):
    from click.testing import CliRunner
    from pylm.__main__ import main

    path = tmp_path / "c.toml"
    path.write_text("[[server]]\nname = 's'\nkind = 'server'\n")
    for arguments in (["role", str(path), "nobody"], ["client", str(path), "nobody"]):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 1
    assert "Error" in CliRunner().invoke(main, ["role", str(path), "nobody"]).output
